/**
 * Reads topics and takes part in presence with a client of the contract: over its socket, again after each lost connection.
 * In a module of its own: a page without topics does not bundle it.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Rpc from "effect/rpc/Rpc"
import { RpcClientError } from "effect/rpc/RpcClientError"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { PublicTagOf } from "../contract/Api.ts"
import type { Presence } from "../contract/Presence.ts"
import { CallError } from "../protocol/CallError.ts"
import type { ConnectionRefused } from "./ClientError.ts"
import type { Client } from "./ClientTypes.ts"
import { untyped } from "./UntypedClient.ts"

type Of<Rpcs extends Rpc.Any, Tag extends string> = Rpc.ExtractTag<Rpcs, Tag>

/** An item of a topic: a message, and how many were missed since the one before. */
export type ItemOf<Rpcs extends Rpc.Any, Tag extends string> =
  Rpc.SuccessSchema<Of<Rpcs, Tag>> extends RpcSchema.Stream<infer A, infer _E> ? A["Type"] : never

/** How a reader of a topic can be refused. */
export type FailureOf<Rpcs extends Rpc.Any, Tag extends string> =
  | (Rpc.SuccessSchema<Of<Rpcs, Tag>> extends RpcSchema.Stream<infer _A, infer E> ? E["Type"] : never)
  | Rpc.Error<Of<Rpcs, Tag>>
  | ConnectionRefused

/** Milliseconds before a stream is asked for again that ended although the connection is there. */
const pause = 1000

/** Whether a stream ended because its connection was lost, or the object left memory before it knew the reader. */
const isTransient = (error: unknown): boolean =>
  error instanceof CallError ? error.isRetryable : error instanceof RpcClientError

/** A stream of the contract that is asked for again when its connection was lost. A history goes on after its last item. */
export const lasting = (client: Client<any>, tag: string, payload: any): Stream.Stream<any, any> =>
  Stream.suspend(() => {
    let after: { readonly after: string } | undefined
    const read = Stream.suspend(
      (): Stream.Stream<any, any> => untyped(client).act(tag, after ? { ...payload, ...after } : payload)
    )
    return againAfter(
      Stream.map(read, (item) => {
        if (item?.cursor !== undefined) after = { after: item.cursor }
        return item
      })
    )
  })

/** A stream that begins again when it ends because its connection was lost. */
const againAfter = (read: Stream.Stream<any, any>): Stream.Stream<any, any> => {
  const again: Stream.Stream<any, any> = Stream.catch(read, (error) =>
    isTransient(error) ? Stream.concat(Stream.drain(Stream.fromEffect(Effect.sleep(pause))), again) : Stream.fail(error)
  )
  return again
}

/**
 * The items of a topic: each with its message, and with how many were missed before it, if some were. It fails when the handler
 * of the topic refuses. Without a history they are those that are published from now on; what is published while the connection
 * is lost is missed and not counted. A history goes on after its last item, and `after` of the payload says where it begins.
 */
export const items = <Rpcs extends Rpc.Any, Tag extends PublicTagOf<Rpcs, "topic">>(
  client: Client<Rpcs>,
  tag: Tag,
  payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
): Stream.Stream<ItemOf<Rpcs, Tag>, FailureOf<Rpcs, Tag>> => lasting(client, tag, payload)

/** The messages of a topic, as `items` without what was missed. */
export const messages = <Rpcs extends Rpc.Any, Tag extends PublicTagOf<Rpcs, "topic">>(
  client: Client<Rpcs>,
  tag: Tag,
  payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
): Stream.Stream<
  ItemOf<Rpcs, Tag> extends { readonly message: infer Message } ? Message : never,
  FailureOf<Rpcs, Tag>
> => Stream.map(lasting(client, tag, payload), ({ message }) => message)

/** Milliseconds for which the stream of an old state stays open beside that of the new one: nobody sees the peer go. */
const overlap = 100

/**
 * Is present at a key while this effect runs: it ends only with a failure. The state is a value, or a stream whose latest
 * value counts. After a lost connection the peer comes back under another id. The peers are the value of the query:
 * `client.live(Here.tag, key)`.
 */
export const join = <Rpcs extends Rpc.Any, Tag extends string, Key extends Schema.Top, State extends Schema.Top>(
  client: Client<Rpcs>,
  presence: Presence<Tag, Key, State, any> & Declares<Rpcs, `${NoInfer<Tag>}.join`>,
  key: Key["~type.make.in"],
  state: State["~type.make.in"] | Stream.Stream<State["~type.make.in"]>
): Effect.Effect<never, FailureOf<Rpcs, `${Tag}.join`>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const states: Stream.Stream<unknown> = Stream.isStream(state) ? state : Stream.succeed(state)
      const failure = yield* Deferred.make<never, any>()
      let current: Fiber.Fiber<unknown> | undefined
      const enter = Effect.fnUntraced(function* (state: unknown) {
        const before = current
        const open = Stream.runDrain(lasting(client, `${presence.tag}.join`, { key, state }))
        const failing = Effect.catchCause(open, (cause) => Deferred.failCause(failure, cause))
        current = yield* Effect.forkScoped(failing, { startImmediately: true })
        if (before === undefined) return
        yield* Effect.sleep(overlap)
        yield* Fiber.interrupt(before)
      })
      const entering = Stream.runForEach(Stream.buffer(states, { capacity: 1, strategy: "sliding" }), enter)
      return yield* Effect.raceFirst(Deferred.await(failure), Effect.andThen(entering, Effect.never))
    })
  )

/** The compile error for a presence that the contract does not have. */
export type Declares<Rpcs extends Rpc.Any, Tag extends string> =
  Tag extends PublicTagOf<Rpcs, "topic"> ? unknown : { readonly "add the rpcs of this presence to Api.make": never }
