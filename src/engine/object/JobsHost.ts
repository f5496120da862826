/**
 * What jobs need of the object: mutations run by the executor, and actions in the Worker, as if their caller called them.
 * Deliveries decide what runs and when; here is only how.
 */
import { ServerClient } from "effect/rpc/Rpc"
import * as Tracer from "effect/Tracer"
import type { JobsHost } from "../../contract/Jobs.ts"
import type { EncodedExit } from "../../protocol/Exit.ts"
import { promisedRequest, promisedSession } from "../rpc/PromisedRequests.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import type { ActionHost } from "./ActionRelay.ts"
import { type Execution, type Executor, noHeaders } from "./Executor.ts"

/** What the calls of jobs run with. */
export interface JobCallsOptions {
  readonly executor: Executor
  readonly actions: ActionHost["Service"]
  /** The tenant, as its callers name it, and its object. */
  readonly session: () => Pick<RequestSession, "tenant" | "object">
  /** Milliseconds since the epoch. */
  readonly time: () => number
}

/** The calls that jobs and queues promise. */
export const jobCalls = ({ actions, executor, session, time }: JobCallsOptions): Pick<JobsHost, "mutate" | "act"> => ({
  mutate: ({ caller, id, payload, span, target }, { begin, end }) => {
    // What the outbox holds was promised by handlers and by services of the engine, not by a client.
    const decoded = executor.decode(target, payload, true)
    if ("_tag" in decoded) return decoded
    const { tenant } = session()
    const started = executor.start({
      ...decoded,
      caller: {
        identity: caller,
        client: new ServerClient(-1),
        annotations: { tenant, subject: caller.subject, job: id }
      },
      headers: noHeaders,
      requestId: `job ${id}`,
      ...(span !== null && { parent: Tracer.externalSpan({ traceId: span[0], spanId: span[1], sampled: true }) }),
      onStart: begin,
      alongside: end
    })
    return "execution" in started ? started.execution.then(exitOf) : exitOf(started)
  },
  act: async (call, signal) => {
    const caller = promisedSession(session(), call.caller, time())
    for await (const message of actions.runAction(promisedRequest(String(call.id), call), caller, signal)) {
      if (message._tag === "Exit") return message.exit
    }
    return undefined
  }
})

const exitOf = ({ failure }: Execution): EncodedExit => failure ?? succeeded

/** What a mutation returns is of no interest. */
const succeeded: EncodedExit = { _tag: "Success", value: null }
