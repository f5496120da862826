/**
 * The rpc by which an action publishes to the topics of its tenant: the Worker calls it in the object.
 * No client can: its tag is reserved.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Api from "../../contract/Api.ts"
import type { Calls } from "../../contract/CallsTag.ts"
import * as Mutation from "../../contract/Mutation.ts"
import { Published, Publisher } from "../../contract/Publisher.ts"
import type { CallError } from "../../protocol/CallError.ts"

/** What an action does with topics. */
export class PubsubApi extends Api.make(
  Mutation.make("~pubsub.publish", { payload: { published: Schema.Array(Published) } })
) {}

/** The handler, for the object. */
export const handlers: Layer.Layer<never, never, any> = PubsubApi.toLayer({
  "~pubsub.publish": ({ published }) =>
    Effect.flatMap(Publisher, ({ publish }) => Effect.forEach(published, publish, { discard: true }))
})

/** What waits for the call before it, and who waits for its own. */
interface Batch {
  readonly published: Array<Published>
  length: number
  readonly sent: Deferred.Deferred<void, CallError>
}

/** Characters after which a batch takes no more messages. */
const batchLength = 256 * 1024

/**
 * The publisher of an action. One call is under way at a time, which keeps the order; what is published meanwhile shares the
 * next one. Each call is a transaction of its own in the object.
 */
export const servicesOver = ({ call }: Calls["Service"]): Context.Context<Publisher> => {
  const waiting: Array<Batch> = []
  let isSending = false
  const batchFor = (more: number): Batch => {
    const last = waiting.at(-1)
    if (last !== undefined && last.length + more <= batchLength) return last
    const batch: Batch = { published: [], length: 0, sent: Deferred.makeUnsafe() }
    waiting.push(batch)
    return batch
  }
  const send: Effect.Effect<void> = Effect.gen(function* () {
    for (let batch = waiting.shift(); batch !== undefined; batch = waiting.shift()) {
      const exit = yield* Effect.exit(call("~pubsub.publish", { published: batch.published }))
      Deferred.doneUnsafe(batch.sent, exit)
    }
    isSending = false
  })
  return Context.make(Publisher, {
    publish: (published) =>
      Effect.suspend(() => {
        const length = published.messages.reduce((sum, text) => sum + text.length, 0)
        const batch = batchFor(length)
        batch.published.push(published)
        batch.length += length
        const sent = Deferred.await(batch.sent)
        if (isSending) return sent
        isSending = true
        // A publisher that is interrupted takes nothing from those that wait with it.
        return Effect.andThen(Effect.forkDetach(send, { startImmediately: true }), sent)
      })
  })
}
