import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import { make as makeRpc } from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import type * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import type * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Covariant } from "effect/Types"
import type { CallError } from "../protocol/CallError.ts"
import { Frame, livePrefix } from "../protocol/Frame.ts"
import { type Forbidden, type KindOf, kindOf } from "./Kind.ts"
import type { StorageError } from "./Storage.ts"

/**
 * The rpcs by tag. Looking one up in the union itself goes through all the others, and a large contract is looked into
 * once for each handler.
 */
type ByTag<Rpcs extends Rpc.Any> = { readonly [R in Rpcs as R["_tag"]]: R }

/** The tags of one kind. */
export type TagOf<Rpcs extends Rpc.Any, K extends string> = Rpcs extends Rpc.Any
  ? KindOf<Rpcs> extends K
    ? Rpcs["_tag"]
    : never
  : never

/** What a handler may fail with beside its rpc's errors: what the engine turns into an answer by itself. */
type Uncaught<R> = KindOf<R> extends "action" ? CallError : StorageError | CallError

/**
 * An effect seen without its services. A handler's expected type must not mention them: TypeScript would take them from
 * there instead of from the handler, and nothing would be checked.
 */
interface EffectOf<out A, out E> {
  readonly [Effect.TypeId]: { readonly _A: Covariant<A>; readonly _E: Covariant<E> }
}
/** The same for a stream. */
interface StreamOf<out A, out E> {
  readonly [Stream.TypeId]: { readonly _A: Covariant<A>; readonly _E: Covariant<E> }
}

/** The handler of one rpc. */
export type Handler<R extends Rpc.Any> =
  R extends Rpc.Rpc<infer _Tag, infer Payload, infer Success, infer Error, infer _Middleware, infer _Requires>
    ? (
        payload: Payload["Type"],
        options: Parameters<Rpc.ToHandlerFn<R>>[1]
      ) => [Success] extends [RpcSchema.Stream<infer A, infer E>]
        ? StreamOf<A["Type"], E["Type"] | Error["Type"] | Uncaught<R>>
        : EffectOf<Success["Type"], Error["Type"] | Uncaught<R>>
    : never

export type HandlersFrom<Rpcs extends Rpc.Any> = { readonly [R in Rpcs as R["_tag"]]: Handler<R> }

type ServicesOf<H> = H extends (...args: any) => Effect.Effect<infer _A, infer _E, infer R>
  ? R
  : H extends (...args: any) => Stream.Stream<infer _A, infer _E, infer R>
    ? R
    : never

/** What the middleware of an rpc gives its handler, the services of its kind included. */
type Provided<R> =
  R extends Rpc.Rpc<infer _Tag, infer _Payload, infer _Success, infer _Error, infer Middleware, infer _Requires>
    ? RpcMiddleware.Provides<Middleware["Identifier"]>
    : never

type IsAny<T> = 0 extends 1 & T ? true : false

/** The compile error that a handler gets for asking what its kind may not have. */
type Check<Rpcs extends Rpc.Any, H> = {
  readonly [Tag in keyof H]: Tag extends keyof ByTag<Rpcs>
    ? IsAny<ServicesOf<H[Tag]>> extends true
      ? unknown
      : Extract<ServicesOf<H[Tag]>, Forbidden<KindOf<ByTag<Rpcs>[Tag]>>> extends infer Service
        ? [Service] extends [never]
          ? unknown
          : { readonly "a handler of this kind may not use": Service }
        : never
    : { readonly "the contract has no such rpc": Tag }
}

type RequirementsOf<Rpcs extends Rpc.Any, H, K extends string> = {
  readonly [Tag in keyof H & keyof ByTag<Rpcs>]: KindOf<ByTag<Rpcs>[Tag]> extends K
    ? Exclude<ServicesOf<H[Tag]>, Scope | Provided<ByTag<Rpcs>[Tag]>>
    : never
}[keyof H & keyof ByTag<Rpcs>]

/**
 * The implementation of a contract: a layer of its handlers. What its transactions need and what its actions need are
 * told apart, because transactions run in the object and actions in the Worker.
 */
export interface Handlers<in out Rpcs extends Rpc.Any, out Transactions, out Actions, out E = never>
  extends Layer.Layer<Rpc.ToHandler<Rpcs>, E, Transactions | Actions> {
  readonly "~transactions"?: Transactions
  readonly "~actions"?: Actions
}

/** The live stream of a query: an rpc of its own, whose items are frames. */
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

type Implemented<Rpcs extends Rpc.Any, H, EX, RX> = Handlers<
  Rpcs,
  Exclude<RX, Scope> | RequirementsOf<Rpcs, H, "query" | "mutation">,
  Exclude<RX, Scope> | RequirementsOf<Rpcs, H, "action">,
  EX
>

/**
 * Implements a contract. The signature between, that no call fits, lets a contract be an `RpcGroup` without having that
 * one's `toLayer`, which knows no kinds; TypeScript types a handler's payload by the first and reports errors by the last.
 */
interface ToLayer<in out Rpcs extends Rpc.Any> {
  <H extends HandlersFrom<Rpcs>, EX = never, RX = never>(
    build: (H & Check<Rpcs, H>) | Effect.Effect<H & Check<Rpcs, H>, EX, RX>
  ): Implemented<Rpcs, H, EX, RX>
  (build: never): any
  <H extends HandlersFrom<Rpcs>, EX = never, RX = never>(
    build: (H & Check<Rpcs, H>) | Effect.Effect<H & Check<Rpcs, H>, EX, RX>
  ): Implemented<Rpcs, H, EX, RX>
}

/** What the author declared, and how it is implemented. */
export interface Declared<in out Rpcs extends Rpc.Any> {
  /** The rpcs that have handlers; live streams have none of their own. */
  readonly declared: RpcGroup.RpcGroup<Rpcs>
  /** Implements the contract. Each handler is an effect; its kind decides which services exist. */
  readonly toLayer: ToLayer<Rpcs>
}

/** A contract: an `RpcGroup` of the declared rpcs and of the live stream of each query. */
export interface Api<in out Rpcs extends Rpc.Any> extends RpcGroup.RpcGroup<Rpcs | Live<Rpcs>>, Declared<Rpcs> {
  readonly toLayer: Declared<Rpcs>["toLayer"]
}

/** The compile error that an rpc without a kind gets. */
type CheckKinds<Rpcs extends ReadonlyArray<Rpc.Any>> = {
  readonly [I in keyof Rpcs]: [KindOf<Rpcs[I]>] extends [never]
    ? { readonly "declare this rpc with Query.make, Mutation.make or Action.make": never }
    : unknown
}

export const make = <const Rpcs extends ReadonlyArray<Rpc.Any>>(...rpcs: Rpcs & CheckKinds<Rpcs>): Api<Rpcs[number]> =>
  fromGroup(RpcGroup.make(...(rpcs as Rpcs)))

/** Makes a contract of a group whose rpcs have kinds: several contracts merged, or one that was given middleware. */
export const fromGroup = <Rpcs extends Rpc.Any>(group: RpcGroup.RpcGroup<Rpcs>): Api<Rpcs> => {
  const declared: Array<Rpc.Any> = []
  const live: Array<Rpc.Any> = []
  for (const rpc of group.requests.values()) {
    if (rpc._tag.startsWith(livePrefix)) continue
    const kind = kindOf(rpc)
    if (kind === undefined) {
      throw new Error(`rpc ${rpc._tag} has no kind: declare it with Query.make, Mutation.make or Action.make`)
    }
    declared.push(rpc)
    if (kind === "query") live.push(liveOf(rpc as unknown as Rpc.AnyWithProps))
  }
  const rpcs = RpcGroup.make(...declared)
  const all = RpcGroup.make(...declared, ...live).annotateMerge(group.annotations)
  return Object.assign(all, { declared: rpcs, toLayer: rpcs.toLayer.bind(rpcs) }) as unknown as Api<Rpcs>
}

const liveOf = (rpc: Rpc.AnyWithProps): Rpc.Any => {
  let live: any = makeRpc(`${livePrefix}${rpc._tag}`, {
    payload: rpc.payloadSchema,
    success: Frame(rpc.successSchema),
    error: rpc.errorSchema,
    stream: true
  })
  for (const middleware of rpc.middlewares) live = live.middleware(middleware)
  return live.annotateMerge(rpc.annotations)
}
