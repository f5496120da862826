/**
 * Runs the calls of queues that a broker delivers, outside of the object: asks the object for each call, runs the handler as the
 * action that the object would run, and tells the object how it ended. What the object does not know is left out.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Api from "../../contract/Api.ts"
import type { App } from "../../contract/App.ts"
import { type Consumer, consumerTag, type Handled } from "../../contract/Queue.ts"
import { CallError } from "../../protocol/CallError.ts"
import type { EncodedExit } from "../../protocol/Exit.ts"
import type { Request } from "../../protocol/Messages.ts"
import { type CarriedCall, readCall } from "../../services/Broker.ts"
import { handledBy, leaseMargin } from "../../services/outbox/Lanes.ts"
import { OutboxApi } from "../../services/outbox/OutboxApi.ts"
import { tenantNamePattern } from "../../system/Names.ts"
import type { ObjectStub } from "../rpc/ObjectStub.ts"
import { promisedRequest, promisedSession } from "../rpc/PromisedRequests.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import { deploymentCalls } from "./DeploymentCalls.ts"
import { missingStatus } from "./Tenancy.ts"

/** What a platform does for the consumer. */
export interface ConsumerHost {
  /** The object of a tenant, by its name. */
  readonly object: (name: string) => Pick<ObjectStub, "call">
  /** Runs an action in the name of a caller. `undefined` when it ended without an exit. */
  readonly act: (request: Request, session: RequestSession, signal: AbortSignal) => Promise<EncodedExit | undefined>
}

/** What becomes of what a broker has delivered: it is done with, or it is to be delivered again. */
export type Verdict = "done" | "again"

/** While the object starts again, for example after a deploy. */
const patience = { schedule: Schedule.exponential("100 millis"), times: 5 }

/** The names of objects of tenants. A registry of tenants adds a number to some. */
const objectPattern = /^[A-Za-z0-9][A-Za-z0-9_.~-]*$/

/** Handles what a broker has delivered, each with a verdict. It does not fail. */
export type QueueConsumer = (bodies: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Verdict>>

/** Names of objects that are remembered. */
const maxKnown = 10_000

/** What handles the calls of an app. */
export const make = (app: App<any>, host: ConsumerHost): QueueConsumer => {
  const consumer: Consuming = { app, host, known: new Set() }
  return (bodies) => Effect.forEach(bodies, (body) => handle(consumer, body), { concurrency: "unbounded" })
}

interface Consuming {
  readonly app: App<any>
  readonly host: ConsumerHost
  /** Objects that had a call. Others may not exist, and are asked first in a way that leaves nothing behind. */
  readonly known: Set<string>
}

const handle = (consuming: Consuming, body: unknown): Effect.Effect<Verdict> => {
  const { app, host } = consuming
  const carried = readCall(body)
  if (carried === undefined) return Effect.as(Effect.logWarning("a queue delivered what no object has sent"), "done")
  const queue = app.jobs?.queues.find(({ name }) => name === carried.queue)
  const { tenant, object = tenant } = carried
  if (queue === undefined || !tenantNamePattern.test(tenant) || !objectPattern.test(object)) {
    return Effect.as(Effect.logWarning("a queue delivered a call that no object has sent", carried), "done")
  }
  let isMissing = false
  const stub = {
    call: async (...call: Parameters<ObjectStub["call"]>) => {
      const answer = await host.object(object).call(...call)
      isMissing = answer.status === missingStatus
      return answer
    }
  }
  const calls = deploymentCalls(OutboxApi, tenant, stub)
  return Effect.matchCauseEffect(run(consuming, { calls, carried, queue }), {
    onSuccess: () => Effect.succeed<Verdict>("done"),
    onFailure: (cause) => {
      if (isMissing)
        return Effect.as(Effect.logInfo("a queue delivered a call of a tenant that is away", carried), "done")
      const verdict: Verdict = isUnreached(cause) ? "again" : "done"
      return Effect.as(Effect.logWarning("the object of a queue's call did not answer", carried, cause), verdict)
    }
  })
}

/** Whether the object could not be reached, and may be later. */
const isUnreached = (cause: Cause.Cause<unknown>): boolean => {
  const error = Option.getOrUndefined(Cause.findErrorOption(cause))
  return error instanceof CallError && error.reason._tag === "Unavailable"
}

/** A call that was delivered, with its queue and the calls of its object. */
interface Delivered {
  readonly carried: CarriedCall
  readonly queue: Consumer<unknown>
  readonly calls: ReturnType<typeof deploymentCalls<Api.RpcsOf<typeof OutboxApi>>>
}

const run = Effect.fnUntraced(function* ({ app, host, known }: Consuming, { calls, carried, queue }: Delivered) {
  const { call, object, tenant } = carried
  const { timeout } = queue.settings
  const which = { queue: queue.name, call }
  const name = object ?? tenant
  const mayBegin = known.has(name) || (yield* calls.query("~outbox.isWaiting", which))
  const lease = timeout + leaseMargin
  // The other half is for what else is in the object's answer.
  const maxBytes = app.limits.resultBytes / 2
  const begun = mayBegin ? yield* calls.mutate("~outbox.begin", { ...which, lease, maxBytes }) : null
  if (begun === null) {
    return yield* Effect.logInfo("a queue delivered a call that has begun before, or that no object has", carried)
  }
  if (known.size >= maxKnown) known.clear()
  known.add(name)
  const { caller, messages, span, time } = begun
  const request = promisedRequest(call, { target: consumerTag(queue.name), payload: { messages }, span })
  const place = { tenant, ...(object !== undefined && { object }) }
  const session = promisedSession(place, caller, time)
  const [took, handled] = yield* Effect.timed(act(host, request, session, timeout))
  const millis = Duration.toMillis(took)
  const results = messages.map(({ id }, place) => ({ id, handled: handled(place) }))
  yield* Effect.retry(calls.mutate("~outbox.settle", { ...which, results, millis }), patience)
})

/** Runs the handler for as long as it may take. Returns how it ended for each message, by its place. */
const act = (
  host: ConsumerHost,
  request: Request,
  session: RequestSession,
  timeout: number
): Effect.Effect<(place: number) => Handled> =>
  Effect.suspend(() => {
    const abort = new AbortController()
    const cut = (cause: unknown) => (): Handled => ({ kind: "cut", detail: messageOf(cause) })
    const ended = Effect.promise(() => host.act(request, session, abort.signal).then(handledBy).catch(cut))
    const tooLong = Effect.sync(() => {
      abort.abort()
      return (): Handled => ({ kind: "timeout", detail: `no end within ${timeout} ms` })
    })
    return Effect.raceFirst(ended, Effect.delay(tooLong, timeout))
  })

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
