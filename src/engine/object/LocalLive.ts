/**
 * Live queries for code that runs in the object: the `Live` service.
 * The subscriber behind it is also the one behind reactors.
 */
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as Queue from "effect/Queue"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as Stream from "effect/Stream"
import { anonymous } from "../../contract/Auth.ts"
import type { Live } from "../../contract/Live.ts"
import type { EncodedExit } from "../../protocol/Exit.ts"
import * as RpcCodec from "../../protocol/RpcCodec.ts"
import { type LiveQueries, type QueryKey, type Subscriber, Subscription } from "./LiveQueries.ts"
import type { ReadQueryKey } from "./SocketSession.ts"

/** What `makeLocalLive` works with. */
export interface LocalLiveOptions {
  readonly group: RpcGroup.RpcGroup<any>
  readonly live: LiveQueries
  readonly readQueryKey: ReadQueryKey
  /** Runs a body as a turn of the object. */
  readonly turn: (body: () => void) => void
}

/** The `Live` service of an object. */
export const makeLocalLive = ({ group, live, readQueryKey, turn }: LocalLiveOptions): Live["Service"] => ({
  stream: (tag, payload, options) =>
    Stream.callback<any, any>(
      (queue) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const rpc: Rpc.Any | undefined = group.requests.get(tag)
            if (rpc === undefined) throw new Error(`the contract has no query ${tag}`)
            const codec = RpcCodec.of(rpc)
            const key = localKey(codec, payload, readQueryKey, options?.headers)
            if ("_tag" in key) {
              Queue.failCauseUnsafe(queue, codec.decodeFailure(key))
              return () => {}
            }
            let end = () => {}
            turn(() => {
              end = watch(live, key, ({ query: { failure, result } }) => {
                if (failure !== undefined) Queue.failCauseUnsafe(queue, codec.decodeFailure(failure))
                else if (result !== undefined) Queue.offerUnsafe(queue, codec.decodeValue(result.json()))
              })
            })
            return end
          }),
          (end) => Effect.sync(end)
        ),
      { bufferSize: 1, strategy: "sliding" }
    )
})

/** Calls `onResult` with each new result or failure of a query, until the function that it returns is called. */
export const watch = (
  live: LiveQueries,
  key: QueryKey,
  onResult: (subscription: Subscription) => void
): (() => void) => {
  const subscriber: Subscriber = {
    identity: key.identity,
    pending: new Set(),
    notify() {
      for (const subscription of [...subscriber.pending]) {
        subscriber.pending.delete(subscription)
        if (!subscription.isDue) continue
        subscription.sent = subscription.query.result?.hash
        onResult(subscription)
      }
    }
  }
  const subscription = new Subscription(subscriber, "local")
  live.subscribe(subscription, key)
  live.notify()
  return () => live.unsubscribe(subscription)
}

/** The key of a query that the object itself watches, or the exit that refuses it. The caller is anonymous. */
export const localKey = (
  codec: RpcCodec.RpcCodec,
  payload: unknown,
  readQueryKey: ReadQueryKey,
  headers?: Headers.Input
): QueryKey | EncodedExit =>
  readQueryKey(codec.tag, {
    payload: codec.encodePayload(payload),
    headers: Object.entries(Headers.fromInput(headers)),
    identity: JSON.stringify(anonymous)
  })
