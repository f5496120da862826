/**
 * Gives a message the preview of the page that it links to.
 * The message may be gone by then, or link to another page since its author changed it.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { firstLink } from "../links.ts"
import { messages } from "../schema.ts"
import { PreviewsApi } from "./api.ts"

export const PreviewsHandlers = PreviewsApi.toLayer({
  "messages.preview": Effect.fnUntraced(function* ({ message: id, preview }) {
    const message = yield* Effect.option(messages.get(id))
    if (Option.isNone(message) || firstLink(message.value.body) !== preview.url) return
    yield* Effect.orDie(messages.patch(id, { preview }))
  })
})
