/**
 * Answers the calls in the body of a `POST /rpc`.
 * Actions run here, the other calls in the tenant's object.
 */
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import type { App } from "../../contract/App.ts"
import { unavailable } from "../../protocol/Exit.ts"
import type { Request as RpcRequest } from "../../protocol/Messages.ts"
import { retryHeaders } from "../rpc/CallRates.ts"
import { answerAll, joinMessages, messagesResponse } from "../rpc/HttpBody.ts"
import { ndjsonResponse } from "../rpc/Ndjson.ts"
import type { ObjectAnswer, ObjectStub } from "../rpc/ObjectStub.ts"
import { parentOf, spanFields } from "../rpc/RequestSpan.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import { collectedLine } from "./CollectedActions.ts"
import type { GatewayHost } from "./GatewayOptions.ts"
import { reach } from "./ObjectReach.ts"
import { noAnswer } from "./Refusal.ts"
import { type Routes, route } from "./Routing.ts"

/** A body of a caller who may be here. */
export interface CallBody {
  readonly host: GatewayHost
  readonly object: ObjectStub
  readonly session: RequestSession
  readonly requests: ReadonlyArray<RpcRequest>
  /** The text of the requests as it came. */
  readonly text?: string
  /** Whether the messages are sent as they come: only object and Worker ask for that. */
  readonly isStream: boolean
  /** Whether a Worker collects the messages for one body. It has a span for that body. */
  readonly isCollected: boolean
  readonly signal: AbortSignal
}

type Answered = Pick<App<Rpc.Any>, "api" | "jobs" | "limits">

/** Answers the calls in a body. */
export const answerBody = (app: App<any>, body: CallBody): Promise<Response> =>
  !body.host.isTraced || body.isCollected ? run(app, body) : traced(body, (body) => run(app, body))

/** Has requests answered: by the object, by the actions here, or by both. */
const run = async (app: App<any>, body: CallBody): Promise<Response> => {
  const { requests } = body
  const routes = route(app, requests, body.isStream)
  if (routes.transactions.length > 0 && routes.transactions.length === requests.length) {
    const { body: text, retryAfter, status } = await transact(body, requests, body.text)
    return messagesResponse(text, status, retryAfter === undefined ? {} : retryHeaders(retryAfter))
  }
  const isUnknown = routes.unknown.length > 0 && routes.unknown.length === requests.length
  return body.isStream ? stream(app, body, routes) : mixed(body, routes, isUnknown)
}

/** Has the object answer calls of queries and mutations. */
const transact = async (
  { host, object, session }: CallBody,
  requests: ReadonlyArray<RpcRequest>,
  text?: string
): Promise<ObjectAnswer> => {
  const answer = await reach(host, () => object.call(session, text ?? JSON.stringify(requests), text === undefined))
  // The object may have been reset while it answered, or could not start. A mutation may have committed.
  return answer ?? { status: 503, body: joinMessages(answerAll(requests, unavailable(noAnswer))) }
}

/** Actions whose messages are sent as they come. */
const stream = async (
  { limits }: Answered,
  { host, isCollected, object, session, signal }: CallBody,
  { actions, unknown }: Routes
): Promise<Response> => {
  const runner = actions.length > 0 ? await host.actions() : undefined
  const run = (onMessage: (message: FromServerEncoded) => Promise<void>) => {
    const resultBytes = isCollected ? limits.resultBytes : undefined
    const ran = runner?.run({ requests: actions, session, object, onMessage, resultBytes }) ?? Effect.succeed([])
    // The object may run a version of the app that still has them.
    const answered = Effect.forEach(unknown, (text) => Effect.promise(() => onMessage(JSON.parse(text))))
    return unknown.length === 0 ? ran : Effect.andThen(answered, ran)
  }
  return ndjsonResponse(signal, host.waitUntil, run, isCollected ? collectedLine(limits) : JSON.stringify)
}

/** A body with actions: they run in the Worker, beside the object's calls. */
const mixed = async (
  body: CallBody,
  { actions, transactions, unknown }: Routes,
  isUnknown: boolean
): Promise<Response> => {
  const { host, session, signal } = body
  const [fromObject, fromActions] = await Promise.all([
    transactions.length === 0 ? undefined : transact(body, transactions),
    actions.length === 0 ? [] : host.runApart(actions, session, signal)
  ])
  const messages = [...unknown, ...fromActions]
  if (fromObject?.body.startsWith("[") === false) {
    // It refused the body as a whole: it may run another version of the app.
    messages.push(...answerAll(transactions, unavailable(`the tenant's object refused the calls: ${fromObject.body}`)))
  } else if (fromObject !== undefined && fromObject.body !== "[]") messages.push(fromObject.body.slice(1, -1))
  return messagesResponse(joinMessages(messages), isUnknown ? 404 : 200)
}

/** Answers a body within a span of the Worker's. The spans of its calls become children of it. */
const traced = ({ text: _, ...body }: CallBody, answer: (body: CallBody) => Promise<Response>): Promise<Response> => {
  const { host, requests, session } = body
  const parent = requests[0] && parentOf(requests[0])
  return host.run(
    Effect.useSpan(
      "dormouse.gateway",
      {
        kind: "server",
        attributes: { "dormouse.tenant": session.tenant, "dormouse.subject": session.identity.subject },
        ...(parent && { parent })
      },
      (span) => {
        const children = requests.map((request) => ({ ...request, ...spanFields(span) }))
        return Effect.promise(() => answer({ ...body, requests: children }))
      }
    )
  )
}
