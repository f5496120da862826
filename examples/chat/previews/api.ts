/** What the queue of previews calls. The policies of messages allow it to the system alone. */
import { Api, Mutation } from "effect-dormouse"
import { MessageId, Preview } from "../schema.ts"

export class PreviewsApi extends Api.make(
  Api.internal(Mutation.make("messages.preview", { payload: { message: MessageId, preview: Preview } }))
) {}
