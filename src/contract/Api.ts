/**
 * A contract: the rpcs that an author declares, each of a kind, and the live stream of each query.
 * It is an ordinary `RpcGroup` of Effect, which server and clients import.
 */
import type * as Rpc from "effect/rpc/Rpc"
import { make as makeRpc } from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import type * as Schema from "effect/Schema"
import { authenticateTag } from "../protocol/Authenticate.ts"
import { Frame, livePrefix } from "../protocol/Frame.ts"
import { withSchemas } from "../protocol/RpcCodec.ts"
import type { ToLayer } from "./Handlers.ts"
import type { Internal } from "./Internal.ts"
import { type KindOf, kindOf } from "./Kind.ts"

export { type Internal, internal } from "./Internal.ts"

/** The tags of one kind. */
export type TagOf<Rpcs extends Rpc.Any, K extends string> = Rpcs extends Rpc.Any
  ? KindOf<Rpcs> extends K
    ? Rpcs["_tag"]
    : never
  : never

/** The tags of one kind that clients may call. */
export type PublicTagOf<Rpcs extends Rpc.Any, K extends string> = Rpcs extends Internal ? never : TagOf<Rpcs, K>

/** The live stream of a query: a streaming rpc whose items are frames. */
export type Live<R> =
  R extends Rpc.Rpc<infer Tag, infer Payload, infer Success, infer Error, infer Middleware, infer Requires>
    ? KindOf<R> extends "query"
      ? Rpc.Rpc<
          `${typeof livePrefix}${Tag}`,
          Payload,
          RpcSchema.Stream<Frame<Success>, Error>,
          typeof Schema.Never,
          Middleware,
          Requires
        >
      : never
    : never

/** The rpcs that an author declared, and the function that implements them. */
export interface Declared<in out Rpcs extends Rpc.Any> {
  /** The declared rpcs, without the live streams, which have no handlers of their own. */
  readonly declared: RpcGroup.RpcGroup<Rpcs>
  /** Makes the layer of the contract's handlers. The kind of an rpc decides which services its handler can use. */
  readonly toLayer: ToLayer<Rpcs>
}

/** A contract: an `RpcGroup` of the declared rpcs and of the live stream of each query. */
export interface Api<in out Rpcs extends Rpc.Any> extends RpcGroup.RpcGroup<Rpcs | Live<Rpcs>>, Declared<Rpcs> {
  readonly toLayer: Declared<Rpcs>["toLayer"]
}

/** The declared rpcs of a contract, as a union. */
export type RpcsOf<A> = A extends Declared<infer Rpcs> ? Rpcs : never

/** The compile error for an rpc without a kind. */
type CheckKinds<Rpcs extends ReadonlyArray<Rpc.Any>> = {
  readonly [I in keyof Rpcs]: [KindOf<Rpcs[I]>] extends [never]
    ? { readonly "declare this rpc with Query.make, Mutation.make, Action.make or Topic.make": never }
    : unknown
}

/** Makes a contract from rpcs that were declared with `Query.make`, `Mutation.make`, `Action.make` and `Topic.make`. */
export const make = <const Rpcs extends ReadonlyArray<Rpc.Any>>(
  ...rpcs: Rpcs & CheckKinds<Rpcs>
): Api<Rpcs[number]> => {
  const declared: Rpcs = rpcs
  return fromRpcs(RpcGroup.make(...declared))
}

/**
 * Merges contracts into one. Merge their handlers with `Handlers.merge`. Throws when two contracts declare different
 * rpcs with the same tag.
 */
export const merge = <const Apis extends readonly [Declared<any>, ...Array<Declared<any>>]>(
  ...apis: Apis
): Api<RpcsOf<Apis[number]>> => {
  const rpcs = new Map<string, Rpc.Any>()
  for (const { declared } of apis) {
    for (const rpc of declared.requests.values()) {
      const other = rpcs.get(rpc._tag)
      if (other !== undefined && other !== rpc) throw new Error(`two contracts declare different rpcs ${rpc._tag}`)
      rpcs.set(rpc._tag, rpc)
    }
  }
  const [first, ...others] = apis
  const group: RpcGroup.RpcGroup<RpcsOf<Apis[number]>> = first.declared.merge(...others.map(({ declared }) => declared))
  return fromRpcs(group)
}

/** The tags of the rpcs without a kind. */
type WithoutKind<Rpcs extends Rpc.Any> = Rpcs extends Rpc.Any
  ? [KindOf<Rpcs>] extends [never]
    ? Rpcs["_tag"]
    : never
  : never

/** The compile error for a group with rpcs without a kind. */
type CheckGroup<Tag> = [Tag] extends [never]
  ? unknown
  : { readonly "declare this rpc with Query.make, Mutation.make, Action.make or Topic.make": Tag }

/** Makes a contract from a group whose rpcs have kinds, for example a group to which middleware was added. */
export const fromGroup = <Rpcs extends Rpc.Any>(
  group: RpcGroup.RpcGroup<Rpcs> & CheckGroup<WithoutKind<Rpcs>>
): Api<Rpcs> => fromRpcs(group)

const fromRpcs = <Rpcs extends Rpc.Any>(group: RpcGroup.RpcGroup<Rpcs>): Api<Rpcs> => {
  const declared: Array<Rpc.Any> = []
  const live: Array<Rpc.Any> = []
  for (const rpc of group.requests.values()) {
    if (rpc._tag.startsWith(livePrefix)) continue
    if (rpc._tag === authenticateTag) throw new Error(`the tag ${authenticateTag} is reserved`)
    const kind = kindOf(rpc)
    if (kind === undefined) {
      throw new Error(`rpc ${rpc._tag} has no kind: declare it with Query.make`)
    }
    declared.push(rpc)
    if (kind === "query") live.push(liveOf(rpc))
  }
  const rpcs = RpcGroup.make(...declared).annotateMerge(group.annotations)
  const all = RpcGroup.make(...declared, ...live).annotateMerge(group.annotations)
  // The loop lost the types of the rpcs: `all` has those of `Rpcs` and their live streams, and `toLayer` those of
  // `Rpcs`.
  return Object.assign(all, { declared: rpcs, toLayer: rpcs.toLayer.bind(rpcs) }) as unknown as Api<Rpcs>
}

const isGroup = <Rpcs extends Rpc.Any>(api: Declared<Rpcs>): api is Api<Rpcs> => "requests" in api

/** The contract as the group of its rpcs and live streams. Throws for a contract that this module did not make. */
export const toGroup = <Rpcs extends Rpc.Any>(api: Declared<Rpcs>): Api<Rpcs> => {
  if (isGroup(api)) return api
  throw new Error("the contract was not made by Api.make")
}

const liveOf = (query: Rpc.Any): Rpc.Any => {
  const { annotations, errorSchema, middlewares, payloadSchema, successSchema } = withSchemas(query)
  let live: Rpc.Rpc<any, any, any, any, any, any> = makeRpc(`${livePrefix}${query._tag}`, {
    payload: payloadSchema,
    success: Frame(successSchema),
    error: errorSchema,
    stream: true
  })
  for (const middleware of middlewares) live = live.middleware(middleware)
  return live.annotateMerge(annotations)
}
