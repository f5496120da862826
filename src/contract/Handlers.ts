/**
 * Layers that implement a contract. Their types record what handlers require in transactions and in actions.
 * Transactions run in the object and actions in the Worker, so `App.make` requires services for each.
 */
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import type { Scope } from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Covariant } from "effect/Types"
import type { CallError } from "../protocol/CallError.ts"
import type { Auth } from "./Auth.ts"
import type { Forbidden, KindOf } from "./Kind.ts"
import type { StorageError } from "./Storage.ts"

/**
 * The rpcs by tag. A lookup in the union itself would check every member, once for each handler: quadratic for a large
 * contract.
 */
type ByTag<Rpcs extends Rpc.Any> = { readonly [R in Rpcs as R["_tag"]]: R }

/** Failures that a handler need not declare: the engine encodes them itself. */
type Uncaught<R> = KindOf<R> extends "action" ? CallError : StorageError | CallError

/**
 * An effect without its services. A handler's expected type must not mention services: TypeScript would infer them from
 * there and not from the handler, and the check of its kind would see nothing.
 */
interface EffectOf<out A, out E> {
  readonly [Effect.TypeId]: { readonly _A: Covariant<A>; readonly _E: Covariant<E> }
}

/** A stream without its services. */
interface StreamOf<out A, out E> {
  readonly [Stream.TypeId]: { readonly _A: Covariant<A>; readonly _E: Covariant<E> }
}

/** The handler of one rpc. With `unknown` as further failures, every failure fits. */
export type Handler<R extends Rpc.Any, Further = never> =
  R extends Rpc.Rpc<infer _Tag, infer Payload, infer Success, infer Error, infer _Middleware, infer _Requires>
    ? (
        payload: Payload["Type"],
        options: Parameters<Rpc.ToHandlerFn<R>>[1]
      ) => [Success] extends [RpcSchema.Stream<infer A, infer E>]
        ? KindOf<R> extends "topic"
          ? EffectOf<void, E["Type"] | Uncaught<R> | Further>
          : StreamOf<A["Type"], E["Type"] | Error["Type"] | Uncaught<R> | Further>
        : EffectOf<Success["Type"], Error["Type"] | Uncaught<R> | Further>
    : never

/** The handlers of a contract, by tag. */
export type HandlersFrom<Rpcs extends Rpc.Any, Further = never> = {
  readonly [R in Rpcs as R["_tag"]]: Handler<R, Further>
}

type ServicesOf<H> = H extends (...args: any) => Effect.Effect<infer _A, infer _E, infer R>
  ? R
  : H extends (...args: any) => Stream.Stream<infer _A, infer _E, infer R>
    ? R
    : never

type FailuresOf<H> = H extends (...args: any) => Effect.Effect<infer _A, infer E, infer _R>
  ? E
  : H extends (...args: any) => Stream.Stream<infer _A, infer E, infer _R>
    ? E
    : never

/** The failures that the handler of an rpc may have. */
type Declared<R> =
  R extends Rpc.Rpc<infer _Tag, infer _Payload, infer Success, infer Error, infer _Middleware, infer _Requires>
    ? ([Success] extends [RpcSchema.Stream<infer _A, infer E>] ? E["Type"] : never) | Error["Type"] | Uncaught<R>
    : never

/** The services that the middleware of an rpc provides to its handler, including those of its kind. */
type Provided<R> =
  R extends Rpc.Rpc<infer _Tag, infer _Payload, infer _Success, infer _Error, infer Middleware, infer _Requires>
    ? RpcMiddleware.Provides<Middleware["Identifier"]>
    : never

/**
 * The services that the middleware of an rpc requires and that neither its other middleware nor the engine provides.
 */
type RequiredByMiddleware<R> =
  R extends Rpc.Rpc<infer _Tag, infer _Payload, infer _Success, infer _Error, infer _Middleware, infer Requires>
    ? Exclude<Requires, Auth | Scope>
    : never

type IsAny<T> = 0 extends 1 & T ? true : false

/** The compile error for a handler that requires a service which its kind must not have. */
type Check<Rpcs extends Rpc.Any, H> = {
  readonly [Tag in keyof H]: Tag extends keyof ByTag<Rpcs>
    ? IsAny<ServicesOf<H[Tag]>> extends true
      ? unknown
      : Extract<ServicesOf<H[Tag]>, Forbidden<KindOf<ByTag<Rpcs>[Tag]>>> extends infer Service
        ? [Service] extends [never]
          ? unknown
          : Misuse<KindOf<ByTag<Rpcs>[Tag]>, Service>
        : never
    : { readonly "the contract has no such rpc": Tag }
}

type Misuse<K extends string, Service> = K extends "action"
  ? { readonly "an action may not use tables or SQL, only call queries and mutations": Service }
  : { readonly "a handler of this kind may not use": Service }

/** The compile error for a handler with a failure that its rpc does not declare. */
type CheckFailures<Rpcs extends Rpc.Any, H> = {
  readonly [Tag in keyof H]: Tag extends keyof ByTag<Rpcs>
    ? Exclude<FailuresOf<H[Tag]>, Declared<ByTag<Rpcs>[Tag]>> extends infer Failure
      ? [Failure] extends [never]
        ? unknown
        : { readonly "declare this failure in the rpc's error": Failure }
      : never
    : unknown
}

type RequirementsOf<Rpcs extends Rpc.Any, H, K extends string> = {
  readonly [Tag in keyof H & keyof ByTag<Rpcs>]: KindOf<ByTag<Rpcs>[Tag]> extends K
    ? Exclude<ServicesOf<H[Tag]>, Scope | Provided<ByTag<Rpcs>[Tag]>> | RequiredByMiddleware<ByTag<Rpcs>[Tag]>
    : never
}[keyof H & keyof ByTag<Rpcs>]

/**
 * Marks a layer of handlers with what its transactions and its actions required at first. The mark stays when services
 * are provided to the layer and when layers are merged. What is still required is in the layer's own requirements.
 */
export interface Requirements<in out Transactions, in out Actions> {
  readonly "~effect-dormouse/Handlers/Requirements": readonly [Transactions, Actions]
}

/** A layer of the handlers of a contract. */
export type Handlers<Rpcs extends Rpc.Any, Transactions, Actions, E = never> = Layer.Layer<
  Rpc.ToHandler<Rpcs> | Requirements<Transactions, Actions>,
  E,
  Transactions | Actions
>

type TransactionsIn<Out> = Out extends Requirements<infer Transactions, infer _Actions> ? Transactions : never
type ActionsIn<Out> = Out extends Requirements<infer _Transactions, infer Actions> ? Actions : never

/** The services that a layer of handlers still requires in transactions. A service of unknown use counts for both. */
export type TransactionServices<Out, In> = Extract<In, TransactionsIn<Out>> | Exclude<In, ActionsIn<Out>>

/** The services that a layer of handlers still requires in actions. A service of unknown use counts for both. */
export type ActionServices<Out, In> = Extract<In, ActionsIn<Out>> | Exclude<In, TransactionsIn<Out>>

type Implemented<Rpcs extends Rpc.Any, H, EX, RX> = Handlers<
  Rpcs,
  Exclude<RX, Scope> | RequirementsOf<Rpcs, H, "query" | "mutation" | "topic">,
  Exclude<RX, Scope> | RequirementsOf<Rpcs, H, "action">,
  EX
>

/**
 * Implements a contract. No call matches the second signature: it makes this type assignable to the `toLayer` of
 * `RpcGroup`, which has no kinds. The first signature types the payloads of handlers, the last one reports the errors:
 * it lets every failure through to `CheckFailures`, whose message says what to do.
 */
export interface ToLayer<in out Rpcs extends Rpc.Any> {
  <H extends HandlersFrom<Rpcs>, EX = never, RX = never>(
    build: (H & Check<Rpcs, H>) | Effect.Effect<H & Check<Rpcs, H>, EX, RX>
  ): Implemented<Rpcs, H, EX, RX>
  (build: never): any
  <H extends HandlersFrom<Rpcs, unknown>, EX = never, RX = never>(
    build:
      | (H & Check<Rpcs, H> & CheckFailures<Rpcs, H>)
      | Effect.Effect<H & Check<Rpcs, H> & CheckFailures<Rpcs, H>, EX, RX>
  ): Implemented<Rpcs, H, EX, RX>
}

/**
 * Merges the handlers of several contracts, for an app of `Api.merge`. What each requires, and in which kind, is kept.
 * `Layer.mergeAll` does the same.
 */
export const merge = <
  const Layers extends readonly [Layer.Layer<never, any, any>, ...Array<Layer.Layer<never, any, any>>]
>(
  ...handlers: Layers
): Layer.Layer<Layer.Success<Layers[number]>, Layer.Error<Layers[number]>, Layer.Services<Layers[number]>> =>
  Layer.mergeAll(...handlers)
