/**
 * What Worker and object have in common: the runtime of the author's layer, and the flushing of telemetry.
 * Also the exports of the deployment, by which the two call each other.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { ndjson } from "../engine/rpc/Ndjson.ts"
import type { ObjectStub } from "../engine/rpc/ObjectStub.ts"
import { objectUrl, type RequestSession, tokenHeaders } from "../engine/rpc/SessionHeader.ts"
import type { SessionOptions } from "../engine/rpc/SessionOptions.ts"
import * as WorkerEnv from "../layers/cloudflare/WorkerEnv.ts"
import type { Request as RpcRequest } from "../protocol/Messages.ts"

/** The author's options for Worker and object. */
export interface HostOptions<R = never> extends SessionOptions {
  /**
   * Tracer, loggers, metrics and whatever else Worker and object should have. It is built once for each of them, with
   * `WorkerEnv` and a `ConfigProvider` of the environment.
   */
  readonly layer?: Layer.Layer<R>
  /**
   * Sends what exporters have collected. It runs at most once a second while something happens, and once afterwards. An
   * exporter with a timer of its own would keep the object awake.
   */
  readonly flush?: Effect.Effect<void, never, R>
}

/** What the object, or the Worker itself, passes along when it has the Worker run actions. */
export interface WorkerProps {
  readonly session?: RequestSession
  /** Whether the Worker collects their messages for one body. */
  readonly isCollected?: boolean
  /** The session of a socket for which the Worker verifies a new token. */
  readonly renews?: RequestSession
}

/** Why the platform ended a Worker that waited for nothing that could still happen, if it did. It says so only in words. */
export const hungDetail = (cause: unknown): string | undefined =>
  cause instanceof Error && cause.message.includes("code had hung")
    ? "the platform ended the action: it waited for something that cannot happen any more, and had hung"
    : undefined

/** Has the Worker run actions in a request of their own. Their messages return as lines. */
export const fetchActions = (
  ctx: { readonly exports?: unknown },
  props: WorkerProps,
  requests: RpcRequest | ReadonlyArray<RpcRequest>,
  signal: AbortSignal
): Promise<Response> =>
  exportsOf(ctx)
    .default({ props })
    .fetch(objectUrl, { method: "POST", headers: { accept: ndjson }, body: JSON.stringify(requests), signal })

/** Has the Worker verify a new token of a socket: only the Worker verifies tokens. */
export const fetchSession = (
  ctx: { readonly exports?: unknown },
  token: string | null,
  renews: RequestSession,
  signal: AbortSignal
): Promise<Response> =>
  exportsOf(ctx)
    .default({ props: { renews } })
    .fetch(objectUrl, { method: "POST", headers: tokenHeaders(token), signal })

/** A tenant's object, as the platform's stub shows it. */
export interface TenantStub {
  readonly call: ObjectStub["call"]
  readonly readQuery: ObjectStub["readQuery"]
  readonly explain: () => Promise<unknown>
  readonly plan: ObjectStub["plan"]
  readonly update: NonNullable<ObjectStub["update"]>
  readonly migrate: NonNullable<ObjectStub["migrate"]>
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>
}

/** The exports of a deployment. */
interface Exports {
  readonly TenantObject: { readonly getByName: (name: string) => TenantStub }
  readonly default: (options: { readonly props: WorkerProps }) => Pick<TenantStub, "fetch">
}

/** The exports of the deployment that a class belongs to. */
export const exportsOf = (ctx: { readonly exports?: unknown }): Exports => {
  if (hasExports(ctx)) return ctx.exports
  throw new Error("the Worker must export TenantObject, and the Worker of Cloudflare.serve as its default")
}

const hasExports = (ctx: { readonly exports?: unknown }): ctx is { readonly exports: Exports } =>
  typeof ctx.exports === "object" && ctx.exports !== null && "TenantObject" in ctx.exports && "default" in ctx.exports

/** Runs effects with the services of Worker or object: the author's layer over the services of the environment. */
export class HostRuntime<R> {
  /** Done at once, unless the author's layer waits for something. */
  private readonly services: Effect.Effect<Context.Context<R>>

  /** Starts to build the author's layer, which then lives as long as the heap. */
  constructor({ layer }: HostOptions<R>, env: object) {
    const environment = WorkerEnv.contextOf(env)
    // Without a layer of the author's, nothing requires services: R is never.
    const own = layer ?? (Layer.empty as unknown as Layer.Layer<R>)
    const building = Effect.runForkWith(environment)(
      Layer.build(own).pipe(
        Scope.provide(Scope.makeUnsafe()),
        Effect.map((services) => Context.merge(environment, services))
      )
    )
    this.services = building.pollUnsafe() ?? Fiber.join(building)
  }

  /** Starts an effect. Fails as the author's layer does. */
  runFork<A, E>(effect: Effect.Effect<A, E, R>): Fiber.Fiber<A, E> {
    const { services } = this
    return isBuilt(services)
      ? Effect.runForkWith(services.value)(effect)
      : Effect.runFork(Effect.flatMap(services, (context) => Effect.provideContext(effect, context)))
  }

  /** Runs an effect. The promise does not reject. */
  runPromiseExit<A, E>(effect: Effect.Effect<A, E, R>): Promise<Exit.Exit<A, E>> {
    return Effect.runPromise(Fiber.await(this.runFork(effect)))
  }

  /** Runs an effect. */
  runPromise<A, E>(effect: Effect.Effect<A, E, R>): Promise<A> {
    return Effect.runPromise(Fiber.join(this.runFork(effect)))
  }
}

const isBuilt = <A>(services: Effect.Effect<A>): services is Exit.Success<A> =>
  Exit.isExit(services) && Exit.isSuccess(services)

/** Logs why Worker or object could not start. The author's layer, and its loggers with it, may be what failed. */
export const logStartFailure = async <R>(runtime: HostRuntime<R>, message: string, cause: unknown): Promise<void> => {
  const log = Effect.logError(message, cause)
  const logged = await runtime.runPromiseExit(log)
  if (Exit.isFailure(logged)) await Effect.runPromise(log)
}

/** Milliseconds between two flushes. */
const flushInterval = 1000

/** Runs the author's `flush` after something happened. */
export class Flushing<R> {
  private readonly runtime: HostRuntime<R>
  private readonly flush: Effect.Effect<void, never, R> | undefined
  private isScheduled = false

  constructor(runtime: HostRuntime<R>, { flush }: HostOptions<R>) {
    this.runtime = runtime
    this.flush = flush
  }

  /** Something happened that exporters may have collected. */
  request(waitUntil: (work: Promise<unknown>) => void): void {
    const { flush } = this
    if (flush === undefined || this.isScheduled) return
    this.isScheduled = true
    const run = async () => {
      await scheduler.wait(flushInterval)
      this.isScheduled = false
      await this.runtime.runPromise(flush)
    }
    waitUntil(run())
  }
}
