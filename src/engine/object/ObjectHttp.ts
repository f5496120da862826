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
import type { ObjectAnswer } from "../rpc/ObjectStub.ts"
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
    const { ends, isMutation, limits, turns } = this.options
    const body = parseRequests(text, isRewritten ? limitsInside(limits) : limits)
    if (body instanceof Response) return { status: body.status, body: await body.text() }
    const { requests } = body
    const refused = session.fromAction === true ? undefined : this.tooMany(session, requests.length)
    if (refused !== undefined) {
      const body = joinMessages(answerAll(requests, tooManyExit(refused)))
      return { status: 429, body, retryAfter: refused.retryAfter }
    }
    const caller = this.callerFor(session)
    return new Promise((resolve, reject) => {
      const refused = turns.submit({
        // Bodies are not ordered among each other.
        source: requests,
        mayCommit: requests.some(({ tag }) => isMutation(tag)),
        data: text,
        run: () => {
          try {
            // The Worker does not know what was revoked, and the token may have expired while the body waited.
            const problem = ends.endOf(session)
            if (problem !== undefined) {
              const exit = failed(new Unauthenticated({ problem }))
              return resolve({ status: 401, body: joinMessages(answerAll(requests, exit)) })
            }
            const answers = requests.map((request) => this.answer(request, caller, session))
            if (answers.every((answer) => typeof answer === "string")) resolve(ok(answers))
            else Promise.all(answers).then((answers) => resolve(ok(answers)), reject)
          } catch (cause) {
            reject(cause)
          }
        }
      })
      if (refused === undefined) return
      const exit = unavailable(describe(refused, limits[refused]))
      resolve({ status: 503, body: joinMessages(answerAll(requests, exit)) })
    })
  }

  private tooMany(session: RequestSession, calls: number): TooMany | undefined {
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
    const decoded = executor.decode(request.tag, request.payload, session.fromAction)
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
