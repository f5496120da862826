/**
 * Asks for the page of a link, outside of any transaction, and writes its preview back.
 * A page that cannot be read leaves its message as it is.
 */
import * as Effect from "effect/Effect"
import { Calls } from "effect-dormouse"
import { PreviewsApi } from "./api.ts"
import { previewOf } from "./page.ts"
import { maxAttempts, Previews } from "./queue.ts"

export const PreviewsLive = Previews.toLayer(
  Effect.fnUntraced(function* ({ message, url }, { attempt }) {
    const isLast = attempt === maxAttempts
    // A message of a queue that failed for good would be kept for somebody to look at, which no link is worth.
    const preview = yield* Effect.catch(previewOf(url), (error) => (isLast ? Effect.undefined : Effect.fail(error)))
    if (preview === undefined) return
    const { mutate } = yield* Calls.of(PreviewsApi)
    yield* mutate("messages.preview", { message, preview })
  })
)
