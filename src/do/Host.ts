/**
 * What Worker and object have in common: the runtime of the author's layer, and the flushing of telemetry.
 * Also the exports of the deployment, by which the two call each other.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import type { ObjectStub } from "../engine/rpc/ObjectStub.ts"
import type { RequestSession } from "../engine/rpc/SessionHeader.ts"
import * as WorkerEnv from "../layers/cloudflare/WorkerEnv.ts"

/** The author's options for Worker and object. */
export interface HostOptions<R = never> {
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

/** What the object passes along when it has the Worker run an action. */
export interface WorkerProps {
  readonly session?: RequestSession
}

/** A tenant's object, as the platform's stub shows it. */
export interface TenantStub {
  readonly call: ObjectStub["call"]
  readonly explain: () => Promise<unknown>
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>
}

/** The exports of a deployment. */
interface Exports {
  readonly TenantObject: { readonly getByName: (name: string) => TenantStub }
  readonly default: (options: { readonly props: WorkerProps }) => Fetcher
}

/** The exports of the deployment that a class belongs to. */
export const exportsOf = (ctx: { readonly exports?: unknown }): Exports => {
  if (hasExports(ctx)) return ctx.exports
  throw new Error("the Worker must export TenantObject, and the Worker of Cloudflare.serve as its default")
}

const hasExports = (ctx: { readonly exports?: unknown }): ctx is { readonly exports: Exports } =>
  typeof ctx.exports === "object" && ctx.exports !== null && "TenantObject" in ctx.exports && "default" in ctx.exports

/** The runtime of Worker or object: the author's layer over the services of the environment. */
export const makeRuntime = <R>(options: HostOptions<R>, env: object): ManagedRuntime.ManagedRuntime<R, never> => {
  const environment = Layer.succeedContext(WorkerEnv.contextOf({ ...env }))
  // Without a layer of the author's, nothing requires services: R is never.
  const own = options.layer ?? (Layer.empty as unknown as Layer.Layer<R>)
  return ManagedRuntime.make(Layer.provideMerge(own, environment))
}

/** Logs why Worker or object could not start. The author's layer, and its loggers with it, may be what failed. */
export const logStartFailure = async <R>(
  runtime: ManagedRuntime.ManagedRuntime<R, never>,
  message: string,
  cause: unknown
): Promise<void> => {
  const log = Effect.logError(message, cause)
  const logged = await runtime.runPromiseExit(log)
  if (Exit.isFailure(logged)) await Effect.runPromise(log)
}

/** Milliseconds between two flushes. */
const flushInterval = 1000

/** Runs the author's `flush` after something happened. */
export class Flushing<R> {
  private readonly runtime: ManagedRuntime.ManagedRuntime<R, never>
  private readonly flush: Effect.Effect<void, never, R> | undefined
  private isScheduled = false

  constructor(runtime: ManagedRuntime.ManagedRuntime<R, never>, { flush }: HostOptions<R>) {
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
