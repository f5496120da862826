/**
 * Presence: who is here, with a state of each connection, as the value of a query.
 * It is two rpcs of the contract: a query that lists the peers, and a stream that is open as long as its caller is here.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import { jsonCodec } from "../protocol/JsonCodec.ts"
import * as RpcCodec from "../protocol/RpcCodec.ts"
import { type PayloadSchema, schemaOf } from "./Options.ts"
import { Presences } from "./Presences.ts"
import * as Query from "./Query.ts"
import { Settings } from "./Topic.ts"
import { TopicKind } from "./TopicKind.ts"

/** One connection that is here. */
export const Peer = <State extends Schema.Top>(state: State) =>
  Schema.Struct({
    /** Names the connection. One that was lost comes back under another. */
    id: Schema.String,
    /** Who it is; null for an anonymous caller. One subject can have several connections. */
    subject: Schema.NullOr(Schema.String),
    state
  })
/** The schema of one connection that is here. */
export interface Peer<State extends Schema.Top> extends ReturnType<typeof Peer<State>> {}

/** Marks the stream of a presence, with the tag of its query. */
export class Marker extends Context.Service<Marker, string>()("effect-dormouse/Presence/Marker") {}

/** How presence is declared. */
export interface PresenceOptions<
  Key extends Schema.Top | Schema.Struct.Fields,
  State extends Schema.Top | Schema.Struct.Fields,
  Error extends Schema.Top
> {
  /** Where one can be. A schema, or the fields of a struct. */
  readonly key: Key
  /** What each connection says of itself. A schema, or the fields of a struct. */
  readonly state: State
  /** How the handlers refuse a caller. */
  readonly error?: Error
}

/** Presence, declared once. */
export interface Presence<
  Tag extends string,
  Key extends Schema.Top,
  State extends Schema.Top,
  Error extends Schema.Top = typeof Schema.Never
> {
  readonly tag: Tag
  /** The rpcs, for `Api.make(...Here.rpcs)`: the query of the peers, and the stream `<tag>.join`. */
  readonly rpcs: readonly [
    list: Query.Query<Tag, Key, Schema.$Array<Peer<State>>, Error>,
    join: Rpc.Rpc<
      `${Tag}.join`,
      Schema.Struct<{ readonly key: Key; readonly state: State }>,
      RpcSchema.Stream<typeof Schema.Never, Error>,
      typeof Schema.Never,
      typeof TopicKind
    >
  ]
  /** Who is here, those first that came first. A live query that reads it runs again when somebody comes, changes or leaves. */
  readonly peers: (key: Key["~type.make.in"]) => Effect.Effect<ReadonlyArray<Peer<State>["Type"]>, never, Presences>
}

/** Declares presence. */
export const make = <
  const Tag extends string,
  Key extends Schema.Top | Schema.Struct.Fields,
  State extends Schema.Top | Schema.Struct.Fields,
  Error extends Schema.Top = typeof Schema.Never
>(
  tag: Tag,
  options: PresenceOptions<Key, State, Error>
): Presence<Tag, PayloadSchema<Key>, PayloadSchema<State>, Error> => {
  const key: Schema.Top = schemaOf(options.key)
  const state: Schema.Top = schemaOf(options.state)
  const error = options.error === undefined ? {} : { error: options.error }
  const list = Query.make(tag, { payload: key, success: Schema.Array(Peer(state)), ...error })
  const join = Rpc.make(`${tag}.join`, {
    payload: { key, state },
    success: Schema.Never,
    ...error,
    stream: true
  })
    .middleware(TopicKind)
    .annotate(Settings, { buffer: 1 })
    .annotate(Marker, tag)
  const decode = Schema.decodeUnknownEffect(jsonCodec(Schema.Array(Peer(state))))
  const peers = (key: unknown) =>
    Effect.flatMap(Presences, ({ peers }) =>
      Effect.orDie(Effect.flatMap(peers(tag, RpcCodec.of(list).encodePayload(key)), decode))
    )
  // The types of the rpcs are lost with the optional error; their schemas are those of the result.
  return { tag, rpcs: [list, join], peers } as unknown as Presence<Tag, PayloadSchema<Key>, PayloadSchema<State>, Error>
}
