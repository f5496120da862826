import { Jobs } from "effect-dormouse/jobs"

/** What the chat does later and beside its calls. Mutations schedule it, and send to the queues. */
export const ChatJobs = Jobs.make()
