import type * as Rpc from "effect/rpc/Rpc"
import type { FromClientEncoded, FromServerEncoded } from "effect/rpc/RpcMessage"
import { kindOf } from "../contract/Kind.ts"
import type { App } from "../engine/App.ts"
import { failure, refusal } from "../engine/Server.ts"
import { CallError, LimitExceeded } from "../protocol/CallError.ts"
import type * as Limits from "../protocol/Limits.ts"
import { decodeMessage, type Request as RpcRequest } from "../protocol/Messages.ts"

/** A tenant's name: what may stand in a header and a URL without being escaped. */
const tenantName = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/

/** The tenant a request is for, or `undefined` when it names none that can exist. */
export const tenantOf = (request: Request, url: URL): string | undefined => {
  const name = request.headers.get("x-dormouse-tenant") ?? url.searchParams.get("tenant") ?? "main"
  return tenantName.test(name) ? name : undefined
}

export const refused = (status: number, error: string, headers?: Record<string, string>): Response =>
  Response.json({ error }, headers === undefined ? { status } : { status, headers })

/** Reads the requests of an HTTP body, or gives the answer to a body that cannot be one. */
export const readRequests = async (
  request: Request,
  limits: Limits.Limits
): Promise<{ readonly text: string; readonly requests: ReadonlyArray<RpcRequest> } | Response> => {
  const length = Number(request.headers.get("content-length") ?? 0)
  if (length > limits.requestBytes) return tooLarge(limits)
  const text = await request.text()
  if (text.length > limits.requestBytes) return tooLarge(limits)
  const messages = parseMessages(text)
  if (messages === undefined) return refused(400, "the body is not JSON")
  if (messages.length > limits.requestsPerBatch) {
    return refused(413, `limit requestsPerBatch is ${limits.requestsPerBatch}, got ${messages.length}`)
  }
  const requests: Array<RpcRequest> = []
  for (const message of messages) {
    const decoded = decodeMessage(message)
    if (decoded._tag === "None") return refused(400, "the body is not a message of effect/rpc")
    if (decoded.value._tag === "Request") requests.push(decoded.value as RpcRequest)
  }
  return { text, requests }
}

const tooLarge = (limits: Limits.Limits) => refused(413, `limit requestBytes is ${limits.requestBytes}`)

/** The messages of a body or a frame: one, or an array of them. `undefined` when it is not JSON. */
export const parseMessages = (text: string): ReadonlyArray<unknown> | undefined => {
  try {
    const parsed: unknown = JSON.parse(text)
    return Array.isArray(parsed) ? parsed : [parsed]
  } catch {
    return undefined
  }
}

/** The messages of a socket's frame, or `undefined` when one of them is none of `effect/rpc`. */
export const decodeFrame = (text: string): ReadonlyArray<FromClientEncoded> | undefined => {
  const messages: Array<FromClientEncoded> = []
  for (const message of parseMessages(text) ?? [undefined]) {
    const decoded = decodeMessage(message)
    if (decoded._tag === "None") return undefined
    messages.push(decoded.value)
  }
  return messages
}

/** Where each request of a batch is answered. */
export interface Routes {
  readonly refusals: ReadonlyArray<FromServerEncoded>
  readonly actions: ReadonlyArray<RpcRequest>
  readonly transactions: ReadonlyArray<RpcRequest>
}

export const route = <Rpcs extends Rpc.Any>(app: App<Rpcs>, requests: ReadonlyArray<RpcRequest>): Routes => {
  const refusals: Array<FromServerEncoded> = []
  const actions: Array<RpcRequest> = []
  const transactions: Array<RpcRequest> = []
  for (const request of requests) {
    const rpc = app.api.requests.get(request.tag)
    if (rpc === undefined) {
      refusals.push({ _tag: "Exit", requestId: request.id, exit: refusal(app.api as any, request)! })
    } else if (isAction(app, request)) actions.push(request)
    else transactions.push(request)
  }
  return { refusals, actions, transactions }
}

export const isAction = <Rpcs extends Rpc.Any>(app: App<Rpcs>, request: { readonly tag: string }): boolean => {
  const rpc = app.api.requests.get(request.tag)
  return rpc !== undefined && kindOf(rpc) === "action"
}

/** The answers as the text of one message or body; an answer that is too large becomes a failure that says so. */
export const encodeAnswers = (answers: ReadonlyArray<FromServerEncoded>, limits: Limits.Limits): string =>
  `[${answers.map((answer) => encodeAnswer(answer, limits)).join(",")}]`

export const encodeAnswer = (answer: FromServerEncoded, limits: Limits.Limits): string => {
  const text = JSON.stringify(answer)
  if (text.length <= limits.resultBytes || !("requestId" in answer)) return text
  const reason = new LimitExceeded({ limit: "resultBytes", max: limits.resultBytes, actual: text.length })
  return JSON.stringify({ _tag: "Exit", requestId: answer.requestId, exit: failure(new CallError({ reason })) })
}
