/**
 * Gives a message the preview of the page that it links to.
 * The message may be gone by then.
 */
import * as Effect from "effect/Effect"
import { messages } from "../schema.ts"
import { PreviewsApi } from "./api.ts"

export const PreviewsHandlers = PreviewsApi.toLayer({
  "messages.preview": ({ message, preview }) =>
    messages.patch(message, { preview }).pipe(
      Effect.asVoid,
      Effect.catchTag("RowNotFound", () => Effect.void)
    )
})
