/**
 * Writes the parts of imports, some lines at a time: other calls of the tenant run in between.
 * It runs in the name of who imports, so the policies of messages hold for each line.
 */
import * as Effect from "effect/Effect"
import { Calls } from "effect-dormouse"
import { Queue } from "effect-dormouse/jobs"
import { ImportsApi } from "./api.ts"
import { Parts } from "./queue.ts"

/** How many lines are one transaction. */
const step = 50

export const ImportsLive = Parts.toLayer(
  Effect.fnUntraced(
    function* ({ import: id, lines }, { progress }) {
      const { mutate } = yield* Calls.of(ImportsApi)
      for (let first = 0; first < lines.length; first += step) {
        const isRunning = yield* mutate("imports.write", { id, lines: lines.slice(first, first + step) })
        if (!isRunning) return
        yield* progress(Math.min(lines.length, first + step))
      }
    },
    // Who may not write in the channel any more may not do so later either.
    Effect.catchTag("ChannelNotFound", () => new Queue.Reject({ reason: "the channel is not there" }))
  )
)
