/**
 * What routes and cron triggers of the Worker run with: the services of the author's layer and of actions, an `HttpClient`, and calls
 * of tenants.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import type * as HttpClient from "effect/http/HttpClient"
import * as Scope from "effect/Scope"
import { TenantCalls } from "../contract/Calls.ts"
import type { BuiltActions } from "../engine/worker/ActionRunner.ts"
import { collectAnswers } from "../engine/worker/CollectedActions.ts"
import type { GatewayHost } from "../engine/worker/Gateway.ts"
import type { AnswerRoute, Routes } from "../engine/worker/Routes.ts"
import { fetchActions, type HostRuntime, hungDetail } from "./Host.ts"

/**
 * What routes and cron triggers may require: the services of `layer`, those of actions, an `HttpClient`, and calls of tenants
 * (`Calls.forTenant`).
 */
export type WorkerServices<R, ActionServices> = NoInfer<R | ActionServices> | HttpClient.HttpClient | TenantCalls

/** A cron trigger of the Worker that has fired. */
export interface CronTrigger {
  /** The expression, as the Worker's configuration has it. */
  readonly cron: string
  /** When it was to fire, in milliseconds since the epoch. */
  readonly scheduledTime: number
}

/** What runs when a cron trigger fires, by its expression. */
export type Scheduled<R, ActionServices> = Readonly<
  Record<string, (trigger: CronTrigger) => Effect.Effect<unknown, unknown, WorkerServices<R, ActionServices>>>
>

/** What of a Worker these services are made of. */
export interface WorkerParts<R, ActionServices> {
  readonly runtime: HostRuntime<R>
  readonly actions: () => Promise<BuiltActions<ActionServices>>
  readonly calls: TenantCalls["Service"]
}

/** Provides an effect with what the Worker has besides the author's layer. */
const provided = <A, R, ActionServices>(
  { actions, calls }: WorkerParts<R, ActionServices>,
  // Of `WorkerServices` and a scope, which the types cannot subtract from an unknown R.
  effect: Effect.Effect<A, unknown, any>
): Effect.Effect<A, unknown, R> =>
  Effect.flatMap(Effect.promise(actions), ({ services }) =>
    effect.pipe(Effect.provide(FetchHttpClient.layer), Effect.provideContext(Context.add(services, TenantCalls, calls)))
  )

/** Builds the author's routes. They live as long as the isolate. */
export const buildRoutes = <R, ActionServices>(
  parts: WorkerParts<R, ActionServices>,
  { build }: Routes<WorkerServices<R, ActionServices>>
): Promise<AnswerRoute> => parts.runtime.runPromise(provided(parts, Scope.provide(build, Scope.makeUnsafe())))

/** Runs what is declared for a cron trigger. Fails, and logs the cause, when that fails or nothing is declared. */
export const runTrigger = <R, ActionServices>(
  parts: WorkerParts<R, ActionServices>,
  scheduled: Scheduled<R, ActionServices> = {},
  { cron, scheduledTime }: CronTrigger
): Effect.Effect<unknown, unknown, R> => {
  const handler = scheduled[cron]
  const running =
    handler === undefined
      ? Effect.die(new Error(`nothing is declared for the cron trigger ${cron}`))
      : Effect.suspend(() => handler({ cron, scheduledTime }))
  return provided(parts, running).pipe(
    Effect.tapCause((cause) => Effect.logError(`the cron trigger ${cron} failed`, cause)),
    Effect.withSpan("dormouse.scheduled", { attributes: { "dormouse.cron": cron } })
  )
}

/** Runs the actions of a body in a request of their own. */
export const apartIn =
  (ctx: { readonly exports?: unknown }, waitUntil: (work: Promise<unknown>) => void): GatewayHost["runApart"] =>
  (requests, session, signal) => {
    const props = { session, isCollected: true }
    // The platform does not hand a request's own signal on to another request.
    const disconnected = new AbortController()
    const answers = collectAnswers(
      () => fetchActions(ctx, props, requests, disconnected.signal),
      requests,
      (cause) => hungDetail(cause) ?? "the action could not be run"
    )
    const disconnect = () => {
      disconnected.abort()
      // The actions are told before this request ends.
      waitUntil(answers)
    }
    if (signal.aborted) disconnect()
    else signal.addEventListener("abort", disconnect, { once: true })
    return answers
  }
