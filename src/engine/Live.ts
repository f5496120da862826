import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type { ResponseExitEncoded } from "effect/rpc/RpcMessage"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Api from "../contract/Api.ts"
import { anonymous } from "../contract/Auth.ts"
import { type Group, type LiveQueries, type Question, Subscription } from "./LiveQueries.ts"
import type { Queries } from "./Queries.ts"

/**
 * Live queries where the tables are, without a socket between. A stream lives in the heap: an object that sleeps loses
 * it, and does not sleep less for it.
 */
export class Live extends Context.Service<
  Live,
  {
    /** The latest value now and after every change; a slow reader misses what was in between. */
    readonly stream: (tag: string, payload: unknown) => Stream.Stream<any, any>
  }
>()("effect-dormouse/engine/Live") {}

/** The live value of a query of this contract. Who is asking is nobody. */
export const stream = <Rpcs extends Rpc.Any, Tag extends Api.TagOf<Rpcs, "query">>(
  _api: Api.Declared<Rpcs>,
  tag: Tag,
  payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>
): Stream.Stream<Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>, Rpc.Error<Rpc.ExtractTag<Rpcs, Tag>>, Live> =>
  Stream.unwrap(Effect.map(Live, (live) => live.stream(tag, payload)))

export const make = (group: RpcGroup.RpcGroup<any>, queries: Queries, live: LiveQueries): Live["Service"] => ({
  stream: (tag, payload) =>
    Stream.callback<any, any>(
      (queue) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const rpc = group.requests.get(tag) as Rpc.AnyWithProps
            const success = Schema.toCodecJson(rpc.successSchema as Schema.Codec<unknown, unknown>)
            const decode = Schema.decodeUnknownSync(success)
            const question = questionOf(queries, rpc, payload)
            if ("_tag" in question) {
              Queue.failCauseUnsafe(queue, causeOf(rpc, question))
              return () => {}
            }
            return watch(live, question, (subscription) => {
              const { failure, value } = subscription.query
              if (failure !== undefined) Queue.failCauseUnsafe(queue, causeOf(rpc, failure))
              else Queue.offerUnsafe(queue, decode(value!.json))
            })
          }),
          (end) => Effect.sync(end)
        ),
      { bufferSize: 1, strategy: "sliding" }
    )
})

/** Calls `onResult` with each new result or failure of a question, until the function that it gives is called. */
export const watch = (
  live: LiveQueries,
  question: Question,
  onResult: (subscription: Subscription) => void
): (() => void) => {
  const group: Group = {
    identity: question.identity,
    changed: new Set(),
    deliver() {
      for (const subscription of [...group.changed]) {
        group.changed.delete(subscription)
        if (!subscription.isDue) continue
        subscription.sent = subscription.query.value?.hash
        onResult(subscription)
      }
    }
  }
  const subscription = new Subscription(group, "local")
  live.subscribe(subscription, question)
  live.deliver()
  return () => live.unsubscribe(subscription)
}

/** The question that nobody in particular asks, or the exit that refuses it. */
export const questionOf = (
  queries: Queries,
  rpc: Rpc.AnyWithProps,
  payload: unknown
): Question | ResponseExitEncoded["exit"] => {
  const schema = rpc.payloadSchema as Schema.Codec<unknown, unknown>
  return queries.question(rpc._tag, {
    payload: Schema.encodeSync(Schema.toCodecJson(schema))(schema.make(payload)),
    headers: [],
    identity: JSON.stringify(anonymous)
  })
}

const causeOf = (rpc: Rpc.AnyWithProps, exit: ResponseExitEncoded["exit"]): Cause.Cause<unknown> => {
  const schema = Rpc.exitSchema(rpc as Rpc.Any) as unknown as Schema.Codec<Exit.Exit<unknown, unknown>, unknown>
  const decoded = Schema.decodeUnknownSync(Schema.toCodecJson(schema))(exit)
  return Exit.isFailure(decoded) ? decoded.cause : Cause.die(new Error("a live query does not end well"))
}
