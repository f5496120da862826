/**
 * Topics: messages that reach whoever reads now. No table holds them, unless the topic has a history.
 * A topic is a streaming rpc of the contract. Its handler decides who may read it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { CallError } from "../protocol/CallError.ts"
import { jsonCodec } from "../protocol/JsonCodec.ts"
import * as Limits from "../protocol/Limits.ts"
import * as RpcCodec from "../protocol/RpcCodec.ts"
import { type PayloadSchema, schemaOf } from "./Options.ts"
import { Publisher } from "./Publisher.ts"
import { requireBytes } from "./Refusals.ts"
import { type After, Histories, HistoryItem, Reading } from "./TopicHistory.ts"
import { TopicKind } from "./TopicKind.ts"

export { After, Cursor } from "./TopicHistory.ts"

/** What a reader is sent: a message, and how many it has missed since the one before. */
export const Item = <Message extends Schema.Top>(message: Message) =>
  Schema.Struct({ message, missed: Schema.optionalKey(Schema.Int) })
/** What a reader is sent: a message, and how many it has missed since the one before. */
export interface Item<Message extends Schema.Top> extends ReturnType<typeof Item<Message>> {}

/** How the messages of a topic are kept. */
export interface TopicSettings {
  /** Messages that are kept for a reader that has not acknowledged those before: the newest of them. */
  readonly buffer: number
  /** Messages of each key that are stored. None unless given. */
  readonly history?: number | undefined
  /** Whether it is a change feed. */
  readonly isFeed?: boolean
}

/** The settings of a topic, as an annotation of its rpc. */
export class Settings extends Context.Service<Settings, TopicSettings>()("effect-dormouse/Topic/Settings") {}

/** What topics with and without a history have in common. */
interface TopicBase<
  Key extends Schema.Top | Schema.Struct.Fields,
  Message extends Schema.Top | Schema.Struct.Fields,
  Error extends Schema.Top
> {
  /** What divides the topic: a reader gets the messages of one key. A schema, or the fields of a struct. */
  readonly key: Key
  /** A schema, or the fields of a struct. */
  readonly message: Message
  /** How the handler refuses a reader. */
  readonly error?: Error
}

/** How a topic is declared. */
export interface TopicOptions<
  Key extends Schema.Top | Schema.Struct.Fields,
  Message extends Schema.Top | Schema.Struct.Fields,
  Error extends Schema.Top
> extends TopicBase<Key, Message, Error> {
  /**
   * How many messages are kept for a reader that is slow, 100 unless given. When there are more, the oldest are dropped, and
   * the next item says how many. With 1 a slow reader gets the latest message only.
   */
  readonly buffer?: number
  readonly history?: undefined
}

/** How a topic with a history is declared. */
export interface HistoryOptions<
  Key extends Schema.Top | Schema.Struct.Fields,
  Message extends Schema.Top | Schema.Struct.Fields,
  Error extends Schema.Top
> extends TopicBase<Key, Message, Error> {
  /**
   * How many messages of each key are stored at least. A reader that gives the cursor of its last item misses none of them. A
   * quarter more may be kept, and all that were published together.
   */
  readonly history: number
  /** Its readers are served from what is stored. */
  readonly buffer?: undefined
}

/** How messages are published to a topic: from a mutation when it has committed, from an action at once. */
export interface Publishing<Key extends Schema.Top, Message extends Schema.Top> {
  /** Publishes a message. Fails when it is too large. */
  readonly publish: (
    key: Key["~type.make.in"],
    message: Message["~type.make.in"]
  ) => Effect.Effect<void, CallError, Publisher>
  /** Publishes messages together and in their order: all of them, or none when one is too large. */
  readonly publishAll: (
    key: Key["~type.make.in"],
    messages: ReadonlyArray<Message["~type.make.in"]>
  ) => Effect.Effect<void, CallError, Publisher>
  /**
   * Publishes what a stream emits, such as the words of a model, until it ends. For an action: what is emitted while messages
   * are on their way is published with the next ones, together.
   */
  readonly publishStream: <E, R>(
    key: Key["~type.make.in"],
    messages: Stream.Stream<Message["~type.make.in"], E, R>
  ) => Effect.Effect<void, E | CallError, R | Publisher>
}

/** A topic, declared once: an rpc of the contract, and what publishes to it. */
export interface Topic<
  Tag extends string,
  Key extends Schema.Top,
  Message extends Schema.Top,
  Error extends Schema.Top = typeof Schema.Never
> extends Rpc.Rpc<Tag, Key, RpcSchema.Stream<Item<Message>, Error>, typeof Schema.Never, typeof TopicKind>,
    Publishing<Key, Message> {}

/** A topic with a history, declared once. Its readers say after which message they begin. */
export interface HistoryTopic<
  Tag extends string,
  Key extends Schema.Top,
  Message extends Schema.Top,
  Error extends Schema.Top = typeof Schema.Never
> extends Rpc.Rpc<
      Tag,
      Reading<Key>,
      RpcSchema.Stream<HistoryItem<Message>, Error>,
      typeof Schema.Never,
      typeof TopicKind
    >,
    Publishing<Key, Message> {
  /**
   * The cursor of the newest message of a key, in a query or a mutation. A reader that begins after it continues what the same
   * transaction has read from tables.
   */
  readonly newest: (key: Key["~type.make.in"]) => Effect.Effect<After, never, Histories>
}

/** Declares a topic. */
export const make: {
  <
    const Tag extends string,
    Key extends Schema.Top | Schema.Struct.Fields,
    Message extends Schema.Top | Schema.Struct.Fields,
    Error extends Schema.Top = typeof Schema.Never
  >(
    tag: Tag,
    options: HistoryOptions<Key, Message, Error>
  ): HistoryTopic<Tag, PayloadSchema<Key>, PayloadSchema<Message>, Error>
  <
    const Tag extends string,
    Key extends Schema.Top | Schema.Struct.Fields,
    Message extends Schema.Top | Schema.Struct.Fields,
    Error extends Schema.Top = typeof Schema.Never
  >(
    tag: Tag,
    options: TopicOptions<Key, Message, Error>
  ): Topic<Tag, PayloadSchema<Key>, PayloadSchema<Message>, Error>
} = (tag: string, options: HistoryOptions<any, any, any> | TopicOptions<any, any, any>): any => {
  const { error, history } = options
  const buffer = options.history === undefined ? (options.buffer ?? 100) : 1
  for (const [name, count] of Object.entries({ buffer, history: history ?? 1 })) {
    if (!(Number.isInteger(count) && count > 0))
      throw new Error(`topic ${tag}: ${name} must be a positive whole number`)
  }
  const key: Schema.Top = schemaOf(options.key)
  const message: Schema.Top = schemaOf(options.message)
  const rpc = Rpc.make(tag, {
    payload: history === undefined ? key : Reading(key),
    success: history === undefined ? Item(message) : HistoryItem(message),
    ...(error !== undefined && { error }),
    stream: true
  })
    .middleware(TopicKind)
    .annotate(Settings, { buffer, history })
  const codec = RpcCodec.of(Rpc.make(tag, { payload: key }))
  const encodeKey = (key: unknown) => codec.encodePayload(key)
  return Object.assign(rpc, publishing(tag, encodeKey, message), {
    newest: (key: unknown) => Effect.flatMap(Histories, ({ newest }) => newest(tag, encodeKey(key)))
  })
}

const publishing = (
  topic: string,
  encodeKey: (key: unknown) => Schema.Json,
  schema: Schema.Top
): Publishing<Schema.Top, Schema.Top> => {
  const encode = Schema.encodeUnknownEffect(jsonCodec(schema))
  const textOf = Effect.fnUntraced(function* (message: unknown) {
    const text = JSON.stringify(yield* Effect.orDie(encode(schema.make(message))))
    yield* requireBytes("topicMessageBytes", Limits.topicMessageBytes, text)
    return text
  })
  const publishAll = Effect.fnUntraced(function* (key: unknown, messages: ReadonlyArray<unknown>) {
    const texts = yield* Effect.forEach(messages, textOf)
    const { publish } = yield* Publisher
    if (texts.length > 0) yield* publish({ topic, key: encodeKey(key), messages: texts })
  })
  return {
    publishAll,
    publish: (key, message) => publishAll(key, [message]),
    publishStream: (key, messages) =>
      Stream.bufferArray(messages, { capacity: streamAhead }).pipe(
        Stream.runForEachArray((batch) => publishAll(key, batch))
      )
  }
}

/** Messages of a stream that wait while those before are published. */
const streamAhead = 1024
