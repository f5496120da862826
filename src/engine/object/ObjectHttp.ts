/**
 * Calls over HTTP that reached the object: one body of requests in, one body of answers out.
 * There is no connection and no client behind a body; its requests are one unit of the queue.
 */

import { Unauthenticated } from "../../protocol/CallError.ts"
import { chunkMessage, done, type EncodedExit, exitMessage, failed, unavailable } from "../../protocol/Exit.ts"
import { livePrefix } from "../../protocol/Frame.ts"
import type * as Limits from "../../protocol/Limits.ts"
import { describe } from "../../protocol/Limits.ts"
import type { Request } from "../../protocol/Messages.ts"
import { type CallRates, keysOf, type TooMany, tooManyExit } from "../rpc/CallRates.ts"
import { answerAll, joinMessages, limitsInside, parseRequests } from "../rpc/HttpBody.ts"
import type { ObjectAnswer, ObjectValue, ValueRequest } from "../rpc/ObjectStub.ts"
import { parentOf } from "../rpc/RequestSpan.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import { type Caller, type Executor, exitText } from "./Executor.ts"
import type { LiveQueries, QueryKey, QueryRun } from "./LiveQueries.ts"
import { QueryResult } from "./QueryResult.ts"
import type { SessionEnds } from "./SessionEnds.ts"
import { callerOf, headersOf, type ReadQueryKey } from "./SocketSession.ts"
import type { TurnQueue } from "./TurnQueue.ts"

/** What the HTTP side of an object works with. */
export interface ObjectHttpOptions {
  readonly executor: Executor
  readonly live: LiveQueries
  readonly readQueryKey: ReadQueryKey
  readonly runQuery: (key: QueryKey) => QueryRun
  readonly turns: TurnQueue
  readonly ends: SessionEnds
  readonly limits: Limits.Limits
  readonly rates: CallRates
  readonly now: () => number
  readonly isMutation: (tag: string) => boolean
  /** Why no call is answered now. */
  readonly refusal: () => string | undefined
}

/** A request that waits for its turn. */
interface Submitted<A> {
  readonly session: RequestSession
  /** Requests of one source are handled in order. */
  readonly source: object
  readonly mayCommit: boolean
  readonly text: string
  readonly refuse: (status: number, exit: EncodedExit) => A
  readonly run: () => A | Promise<A>
}

/** Answers bodies of requests. */
export class ObjectHttp {
  private readonly options: ObjectHttpOptions
  /** The caller of the body before: one caller often calls again and again. */
  private last: { readonly session: string; readonly caller: Caller } | undefined

  constructor(options: ObjectHttpOptions) {
    this.options = options
  }

  /** Answers the requests in a body. */
  async call(session: RequestSession, text: string, isRewritten = false): Promise<ObjectAnswer> {
    const { isMutation, limits } = this.options
    const body = parseRequests(text, isRewritten ? limitsInside(limits) : limits)
    if (body instanceof Response) return { status: body.status, body: await body.text() }
    const { requests } = body
    const refusal = this.options.refusal()
    if (refusal !== undefined) return { status: 503, body: joinMessages(answerAll(requests, unavailable(refusal))) }
    const refused = this.tooMany(session, requests.length)
    if (refused !== undefined) {
      const body = joinMessages(answerAll(requests, tooManyExit(refused)))
      return { status: 429, body, retryAfter: refused.retryAfter }
    }
    const caller = this.callerFor(session)
    return this.submit<ObjectAnswer>({
      session,
      // Bodies are not ordered among each other.
      source: requests,
      mayCommit: requests.some(({ tag }) => isMutation(tag)),
      text,
      refuse: (status, exit) => ({ status, body: joinMessages(answerAll(requests, exit)) }),
      run: () => {
        const answers = requests.map((request) => this.answer(request, caller, session))
        if (answers.every((answer) => typeof answer === "string")) return ok(answers)
        return Promise.all(answers).then(ok)
      }
    })
  }

  /** The value of a query, for caches: with its hash, and without the value for a caller who has it. */
  async readQuery(session: RequestSession, { have, payload, tag }: ValueRequest): Promise<ObjectValue> {
    const { live, readQueryKey, runQuery } = this.options
    const refusal = this.options.refusal()
    if (refusal !== undefined) return { status: 503, body: JSON.stringify(unavailable(refusal)) }
    const refused = this.tooMany(session, 1)
    if (refused !== undefined) {
      const body = JSON.stringify(tooManyExit(refused))
      return { status: 429, body, retryAfter: refused.retryAfter }
    }
    const refuse = (status: number, exit: EncodedExit) => ({ status, body: JSON.stringify(exit) })
    return this.submit<ObjectValue>({
      session,
      source: {},
      mayCommit: false,
      text: JSON.stringify(payload) ?? "",
      refuse,
      run: () => {
        const key = readQueryKey(tag, { payload, headers: [], identity: JSON.stringify(session.identity) })
        if ("_tag" in key) return refuse(422, key)
        const { failure = done, reads, result } = runQuery(key)
        if (result === undefined) return refuse(422, failure)
        const { hash, text } = new QueryResult(result, live.currentVersion)
        const isKnown = have.includes(hash) || have.includes("*")
        return { status: isKnown ? 304 : 200, body: isKnown ? "" : text, hash, isPersonal: reads.identity }
      }
    })
  }

  /** Runs what a request asks for when its turn has come. `refuse` answers it when it must not run. */
  private submit<A>({ mayCommit, refuse, run, session, source, text }: Submitted<A>): Promise<A> {
    const { ends, limits, turns } = this.options
    return new Promise((resolve, reject) => {
      const refused = turns.submit({
        source,
        mayCommit,
        data: text,
        run: () => {
          try {
            // The Worker does not know what was revoked, and the token may have expired while the request waited.
            const problem = ends.endOf(session)
            if (problem !== undefined) return resolve(refuse(401, failed(new Unauthenticated({ problem }))))
            resolve(run())
          } catch (cause) {
            reject(cause)
          }
        }
      })
      if (refused !== undefined) resolve(refuse(503, unavailable(describe(refused, limits[refused]))))
    })
  }

  private tooMany(session: RequestSession, calls: number): TooMany | undefined {
    // What an action calls is not counted: the action was.
    if (session.fromAction === true) return undefined
    return this.options.rates.charge(keysOf(session), calls, this.options.now())
  }

  private callerFor(session: RequestSession): Caller {
    const text = JSON.stringify(session)
    if (this.last?.session !== text) this.last = { session: text, caller: callerOf(session, this.options.ends) }
    return this.last.caller
  }

  /** The text of the messages that answer a request; empty for a notification. */
  private answer(request: Request, caller: Caller, session: RequestSession): string | Promise<string> {
    const { executor } = this.options
    const id = JSON.stringify(request.id)
    if (request.tag.startsWith(livePrefix)) return this.snapshot(request, id, session)
    const isNotification = request.isNotification === true
    const decoded = executor.decode(
      request.tag,
      request.payload,
      session.fromAction === true || session.isInternal === true
    )
    if ("_tag" in decoded) return isNotification ? "" : exitMessage(id, JSON.stringify(decoded))
    let isAcknowledged = false
    const started = executor.start({
      ...decoded,
      caller,
      headers: headersOf(request),
      requestId: request.id,
      parent: parentOf(request),
      onStart: () => {
        isAcknowledged = request.discard === true
      }
    })
    const message = (exit: string) => (isNotification ? "" : exitMessage(id, isAcknowledged ? doneText : exit))
    return "execution" in started
      ? started.execution.then((execution) => message(exitText(execution)))
      : message(exitText(started))
  }

  /** A live query over HTTP, where nothing can follow, is its first frame and an end. */
  private snapshot(request: Request, id: string, session: RequestSession): string {
    if (request.isNotification === true) return ""
    if (request.discard === true) return exitMessage(id, doneText)
    const { live, readQueryKey, runQuery } = this.options
    const key = readQueryKey(request.tag.slice(livePrefix.length), {
      payload: request.payload,
      headers: request.headers,
      identity: JSON.stringify(session.identity)
    })
    const exit = (exit: EncodedExit) => exitMessage(id, JSON.stringify(exit))
    if ("_tag" in key) return exit(key)
    const { failure = done, result } = runQuery(key)
    if (result === undefined) return exit(failure)
    const version = live.currentVersion
    const frame = new QueryResult(result, version).frameFrom(undefined, version)
    return `${chunkMessage(id, frame.text(id))},${exitMessage(id, doneText)}`
  }
}

const doneText = JSON.stringify(done)

const ok = (answers: ReadonlyArray<string>): ObjectAnswer => ({
  status: 200,
  body: joinMessages(answers.filter((answer) => answer !== ""))
})
