import { Jobs } from "effect-dormouse/jobs"
import { ImportsLive } from "./imports/consumer.ts"
import { PreviewsLive } from "./previews/consumer.ts"

/** What the chat does later and beside its calls. Mutations schedule it, and send to the queues. */
export const ChatJobs = Jobs.make({ queues: [PreviewsLive, ImportsLive] })
