import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import type { Scope } from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Covariant } from "effect/Types"
import type { CallError } from "../protocol/CallError.ts"
import { type Forbidden, type KindOf, kindOf } from "./Kind.ts"
import type { StorageError } from "./Storage.ts"

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

type IsAny<T> = 0 extends 1 & T ? true : false

/** The compile error that a handler gets for asking what its kind may not have. */
type Check<Rpcs extends Rpc.Any, H> = {
  readonly [Tag in keyof H]: Tag extends Rpcs["_tag"]
    ? IsAny<ServicesOf<H[Tag]>> extends true
      ? unknown
      : Extract<ServicesOf<H[Tag]>, Forbidden<KindOf<Rpc.ExtractTag<Rpcs, Tag>>>> extends infer Service
        ? [Service] extends [never]
          ? unknown
          : { readonly "a handler of this kind may not use": Service }
        : never
    : { readonly "the contract has no such rpc": Tag }
}

type RequirementsOf<Rpcs extends Rpc.Any, H, K extends string> = {
  readonly [Tag in keyof H & string]: KindOf<Rpc.ExtractTag<Rpcs, Tag>> extends K
    ? Exclude<Rpc.ExcludeProvides<ServicesOf<H[Tag]>, Rpcs, Tag>, Scope>
    : never
}[keyof H & string]

/**
 * The implementation of a contract: a layer of its handlers. What its transactions need and what its actions need are
 * told apart, because transactions run in the object and actions in the Worker.
 */
export interface Handlers<in out Rpcs extends Rpc.Any, out Transactions, out Actions, out E = never>
  extends Layer.Layer<Rpc.ToHandler<Rpcs>, E, Transactions | Actions> {
  readonly "~transactions"?: Transactions
  readonly "~actions"?: Actions
}

/** A contract: an `RpcGroup` whose rpcs have kinds. */
export interface Api<in out Rpcs extends Rpc.Any>
  extends Omit<RpcGroup.RpcGroup<Rpcs>, "toLayer" | "add" | "merge" | "middleware" | "annotate" | "annotateRpcs"> {
  new (_: never): {}
  /** Implements the contract. Each handler is an effect; its kind decides which services exist. */
  readonly toLayer: <H extends HandlersFrom<Rpcs>, EX = never, RX = never>(
    build: (H & Check<Rpcs, H>) | Effect.Effect<H & Check<Rpcs, H>, EX, RX>
  ) => Handlers<
    Rpcs,
    Exclude<RX, Scope> | RequirementsOf<Rpcs, H, "query" | "mutation">,
    Exclude<RX, Scope> | RequirementsOf<Rpcs, H, "action">,
    EX
  >
}

export const make = <const Rpcs extends ReadonlyArray<Rpc.Any>>(...rpcs: Rpcs): Api<Rpcs[number]> => {
  for (const rpc of rpcs) {
    if (kindOf(rpc) === undefined) {
      throw new Error(`rpc ${rpc._tag} has no kind: declare it with Query.make, Mutation.make or Action.make`)
    }
  }
  return RpcGroup.make(...rpcs) as any
}
