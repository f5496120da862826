/**
 * Topics and presence without the engine, for other Effect apps: whoever publishes and whoever reads are in this process.
 * There are no handlers: the program decides who reads what.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import { CurrentIdentity } from "../contract/Auth.ts"
import type { Peer, Presence } from "../contract/Presence.ts"
import { Presences } from "../contract/Presences.ts"
import { Publisher } from "../contract/Publisher.ts"
import { type Item, Settings, type Topic } from "../contract/Topic.ts"
import { jsonCodec } from "../protocol/JsonCodec.ts"
import * as RpcCodec from "../protocol/RpcCodec.ts"
import { LocalTopics } from "./pubsub/LocalTopics.ts"
import { CurrentStorage } from "./storage/RawSql.ts"

/** The topics and the presence of this process. */
export class LocalPubsub extends Context.Service<LocalPubsub, LocalTopics>()("effect-dormouse/services/LocalPubsub") {}

/**
 * Topics and presence in this process: `publish` of a topic reaches those who `subscribe` to it. In a transaction of `Transactor`
 * it does so after the commit, or not at all; elsewhere at once.
 */
export const layer: Layer.Layer<LocalPubsub | Publisher | Presences> = Layer.effectContext(
  Effect.sync(() => {
    const topics = new LocalTopics()
    return Context.make(LocalPubsub, topics).pipe(
      Context.add(Publisher, { publish: (message) => afterCommit(() => topics.publish(message)) }),
      Context.add(Presences, { peers: (tag, key) => Effect.sync(() => topics.peers(tag, key)) })
    )
  })
)

/** Runs what belongs to a commit: after that of the running transaction, or now if there is none. */
const afterCommit = (run: () => void): Effect.Effect<void> =>
  Effect.contextWith((context: Context.Context<never>) =>
    Effect.sync(() => {
      const transaction = Context.getOption(context, CurrentStorage)
      if (Option.isNone(transaction)) return run()
      const { storage } = transaction.value
      storage.checkOpen()
      if (storage.readOnly) throw new Error("a transaction that reads cannot publish: make it a `write`")
      storage.afterCommit.push(Effect.sync(run))
    })
  )

/**
 * The items of a topic from when the stream runs: each with its message, and with how many were missed before it, if some were. A
 * reader that is slow loses the oldest, as a reader of an app does.
 */
export const subscribe = <Tag extends string, Key extends Schema.Top, Message extends Schema.Top>(
  topic: Topic<Tag, Key, Message, any>,
  key: Key["~type.make.in"]
): Stream.Stream<Item<Message>["Type"], never, LocalPubsub> => {
  const { annotations, successSchema } = RpcCodec.withSchemas(topic)
  const item = RpcSchema.isStreamSchema(successSchema) ? successSchema.success : Schema.Never
  const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(jsonCodec(item)))
  const { buffer } = Context.getUnsafe(annotations, Settings)
  const texts = Effect.map(LocalPubsub, (topics) =>
    topics.read(topic._tag, RpcCodec.of(topic).encodePayload(key), buffer)
  )
  return Stream.mapEffect(
    Stream.unwrap(texts),
    (text) => Effect.orDie(decode(text)) as Effect.Effect<Item<Message>["Type"]>
  )
}

/**
 * Is present at a key until the scope closes, as `Auth.CurrentIdentity`. Returns how to change the state. The peers are
 * `Here.peers(key)`, and live those of `peers`.
 */
export const join = <Tag extends string, Key extends Schema.Top, State extends Schema.Top>(
  presence: Presence<Tag, Key, State, any>,
  key: Key["~type.make.in"],
  state: State["~type.make.in"]
): Effect.Effect<(state: State["~type.make.in"]) => Effect.Effect<void>, never, Scope | LocalPubsub> =>
  Effect.gen(function* () {
    const topics = yield* LocalPubsub
    const { subject } = yield* CurrentIdentity
    const [, rpc] = presence.rpcs
    const encode = (state: State["~type.make.in"]) => decodeJoin(RpcCodec.of(rpc).encodePayload({ key, state }))
    const connection = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const { key, state: said } = encode(state)
        const connection = topics.join(presence.tag, key, subject)
        connection.say(said)
        return connection
      }),
      ({ leave }) => Effect.sync(leave)
    )
    return (state) => Effect.sync(() => connection.say(encode(state).state))
  })

/** Who is at a key, now and after each change. A slow consumer gets the latest list and skips older ones. */
export const peers = <Tag extends string, Key extends Schema.Top, State extends Schema.Top>(
  presence: Presence<Tag, Key, State, any>,
  key: Key["~type.make.in"]
): Stream.Stream<ReadonlyArray<Peer<State>["Type"]>, never, LocalPubsub | Presences> => {
  const [list] = presence.rpcs
  const changes = Effect.map(LocalPubsub, (topics) =>
    topics.changes(presence.tag, RpcCodec.of(list).encodePayload(key))
  )
  return Stream.mapEffect(Stream.unwrap(changes), () => presence.peers(key))
}

const decodeJoin = Schema.decodeUnknownSync(Schema.Struct({ key: Schema.Json, state: Schema.Json }))
