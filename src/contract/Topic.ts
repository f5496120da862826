/**
 * Topics: messages that reach whoever reads now, and that no table holds.
 * A topic is a streaming rpc of the contract. Its handler decides who may read it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import type { CallError } from "../protocol/CallError.ts"
import { jsonCodec } from "../protocol/JsonCodec.ts"
import * as Limits from "../protocol/Limits.ts"
import * as RpcCodec from "../protocol/RpcCodec.ts"
import { type PayloadSchema, schemaOf } from "./Options.ts"
import { Publisher } from "./Publisher.ts"
import { requireBytes } from "./Refusals.ts"
import { TopicKind } from "./TopicKind.ts"

/** What a reader is sent: a message, and how many it has missed since the one before. */
export const Item = <Message extends Schema.Top>(message: Message) =>
  Schema.Struct({ message, missed: Schema.optionalKey(Schema.Int) })
/** What a reader is sent: a message, and how many it has missed since the one before. */
export interface Item<Message extends Schema.Top> extends ReturnType<typeof Item<Message>> {}

/** How the messages of a topic are kept for a reader that is slow. */
export interface TopicSettings {
  /** Messages that are kept for a reader that has not acknowledged those before: the newest of them. */
  readonly buffer: number
}

/** The settings of a topic, as an annotation of its rpc. */
export class Settings extends Context.Service<Settings, TopicSettings>()("effect-dormouse/Topic/Settings") {}

/** How a topic is declared. */
export interface TopicOptions<
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
  /**
   * How many messages are kept for a reader that is slow, 100 unless given. When there are more, the oldest are dropped, and
   * the next item says how many. With 1 a slow reader gets the latest message only.
   */
  readonly buffer?: number
}

/** A topic, declared once: an rpc of the contract, and what publishes to it. */
export interface Topic<
  Tag extends string,
  Key extends Schema.Top,
  Message extends Schema.Top,
  Error extends Schema.Top = typeof Schema.Never
> extends Rpc.Rpc<Tag, Key, RpcSchema.Stream<Item<Message>, Error>, typeof Schema.Never, typeof TopicKind> {
  /** Publishes a message: from a mutation when it has committed, from an action at once. Fails when it is too large. */
  readonly publish: (
    key: Key["~type.make.in"],
    message: Message["~type.make.in"]
  ) => Effect.Effect<void, CallError, Publisher>
}

/** Declares a topic. */
export const make = <
  const Tag extends string,
  Key extends Schema.Top | Schema.Struct.Fields,
  Message extends Schema.Top | Schema.Struct.Fields,
  Error extends Schema.Top = typeof Schema.Never
>(
  tag: Tag,
  { buffer = 100, error, key, message }: TopicOptions<Key, Message, Error>
): Topic<Tag, PayloadSchema<Key>, PayloadSchema<Message>, Error> => {
  if (!(Number.isInteger(buffer) && buffer > 0)) throw new Error(`topic ${tag}: buffer must be a positive whole number`)
  const schema: Schema.Top = schemaOf(message)
  const rpc = Rpc.make(tag, {
    payload: key,
    success: Item(schema),
    ...(error !== undefined && { error }),
    stream: true
  })
    .middleware(TopicKind)
    .annotate(Settings, { buffer })
  const codec = jsonCodec(schema)
  const publish = Effect.fnUntraced(function* (key: unknown, message: unknown) {
    const made: unknown = schema.make(message)
    const text = JSON.stringify(yield* Effect.orDie(Schema.encodeUnknownEffect(codec)(made)))
    yield* requireBytes("topicMessageBytes", Limits.topicMessageBytes, text)
    const { publish } = yield* Publisher
    yield* publish({ topic: tag, key: RpcCodec.of(rpc).encodePayload(key), message: text })
  })
  // The rpc's types are lost with the optional error; its schemas are those of the result.
  return Object.assign(rpc, { publish }) as unknown as Topic<Tag, PayloadSchema<Key>, PayloadSchema<Message>, Error>
}
