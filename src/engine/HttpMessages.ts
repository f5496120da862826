import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import type { FromClientEncoded, FromServerEncoded } from "effect/rpc/RpcMessage"
import * as Schema from "effect/Schema"
import { Identity } from "../contract/Auth.ts"
import { CallError, Unavailable } from "../protocol/CallError.ts"
import * as Limits from "../protocol/Limits.ts"
import { decodeMessages, isDeeper, type Request as RpcRequest } from "../protocol/Messages.ts"
import type { App } from "./App.ts"
import { isAction } from "./Backend.ts"
import type { Session } from "./Host.ts"
import { read } from "./Lines.ts"
import { encode, failure, refusal } from "./Server.ts"

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
  const body = await readBody(request, limits.requestBytes)
  if (body === undefined) return exceeded("requestBytes", limits.requestBytes)
  const text = decodeText(body)
  if (text === undefined) return refused(400, "the body is not UTF-8")
  if (isDeeper(text, limits.requestDepth)) return exceeded("requestDepth", limits.requestDepth)
  const messages = decodeMessages(text)
  if (messages === undefined) return refused(400, "the body is not made of messages of effect/rpc")
  if (messages.length > limits.requestsPerBatch) {
    return exceeded("requestsPerBatch", limits.requestsPerBatch, messages.length)
  }
  const requests = messages.filter(isRequest)
  const answered = requests.filter(({ isNotification }) => isNotification !== true)
  if (new Set(answered.map(({ id }) => String(id))).size < answered.length) {
    return refused(400, "two requests have the same id")
  }
  return { text, requests }
}

export const isRequest = (message: FromClientEncoded): message is RpcRequest => message._tag === "Request"

const exceeded = (limit: Limits.LimitName, max: number, actual?: number) =>
  refused(413, Limits.describe(limit, max, actual))

/** The bytes of a body, or `undefined` when there are more than `max`. No more than that are kept. */
const readBody = async (request: Request, max: number): Promise<Uint8Array | undefined> => {
  const length = request.headers.get("content-length")
  if (Number(length) > max) return undefined
  if (length !== null || request.body === null) {
    const bytes = new Uint8Array(await request.arrayBuffer())
    return bytes.length > max ? undefined : bytes
  }
  const chunks: Array<Uint8Array> = []
  let size = 0
  for await (const chunk of read(request.body)) {
    size += chunk.length
    if (size > max) return undefined
    chunks.push(chunk)
  }
  const bytes = new Uint8Array(size)
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk, offset)
    offset += chunk.length
  }
  return bytes
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false })

/** The text of bytes that came from outside, or `undefined` when they are not UTF-8. */
export const decodeText = (bytes: ArrayBuffer | Uint8Array): string | undefined => {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
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
      if (request.isNotification === true) continue
      refusals.push({ _tag: "Exit", requestId: request.id, exit: refusal(app.api as any, request)! })
    } else if (isAction(app, request.tag)) actions.push(request)
    else transactions.push(request)
  }
  return { refusals, actions, transactions }
}

/** The answer in the place of an object that cannot give one. What was asked of it may have been done all the same. */
export const unavailable = (requests: ReadonlyArray<RpcRequest>, limits: Limits.Limits): Response => {
  const exit = failure(new CallError({ reason: new Unavailable({ detail: "the tenant's object did not answer" }) }))
  return answers(
    requests.map(({ id }) => ({ _tag: "Exit", requestId: id, exit })),
    limits,
    503
  )
}

/** The answers as an HTTP body; an answer that is too large becomes a failure that says so. */
export const answers = (messages: ReadonlyArray<FromServerEncoded>, limits: Limits.Limits, status = 200): Response =>
  new Response(`[${messages.map((message) => encode(message, limits)).join(",")}]`, {
    status,
    headers: { "content-type": "application/json" }
  })

/** What the Worker found out about a request, for the object. Only the Worker can reach the object. */
const sessionHeader = "x-dormouse-session"
const SessionText = Schema.fromJsonString(Schema.Struct({ tenant: Schema.String, identity: Identity }))
const decodeSession = Schema.decodeUnknownOption(SessionText)

/** The session that was read last: calls of one caller come one after another. */
let lastSession: { readonly header: string; readonly session: Session } | undefined

export const sessionHeaders = (session: Session): Record<string, string> => ({
  // Header values are Latin-1; names and claims may be anything.
  [sessionHeader]: encodeURIComponent(JSON.stringify(session))
})

/** What the Worker wrote there, or `undefined` when the request did not come through it. */
export const readSession = (request: Request): Session | undefined => {
  const header = request.headers.get(sessionHeader) ?? ""
  if (lastSession?.header === header) return lastSession.session
  try {
    const session = Option.getOrUndefined(decodeSession(decodeURIComponent(header)))
    if (session !== undefined) lastSession = { header, session }
    return session
  } catch {
    // Not what `encodeURIComponent` gives.
    return undefined
  }
}

/** How the object asks for an action's messages as they come, one to a line. */
export const ndjson = "application/x-ndjson"

/** The subprotocol of sockets, and the header that names it. Clients that give a token must offer one. */
export const subprotocol = "dormouse"
export const protocolHeader = "sec-websocket-protocol"

/** Where the Worker, and the object behind it, tell about their live queries. */
export const explainPath = "/rpc/explain"

/** Where an object listens; the name means nothing, the object is chosen by its tenant. */
export const objectUrl = "https://dormouse/rpc"

const ignore = () => {}

/**
 * Messages as they come, one to a line. What runs is interrupted when nobody reads any more; `waitUntil` is told of it, so
 * that what it has to do about that is still done.
 */
export const lines = (
  signal: AbortSignal,
  waitUntil: (work: Promise<unknown>) => void,
  run: (onMessage: (message: FromServerEncoded) => Promise<void>) => Effect.Effect<unknown>
): Response => {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const writer = writable.getWriter()
  const encoder = new TextEncoder()
  const effect = run((message) => writer.write(encoder.encode(`${JSON.stringify(message)}\n`)))
  // Lines that end without an exit say that there is none.
  const end = () => void writer.close().catch(ignore)
  waitUntil(Effect.runPromise(Effect.ignoreCause(effect, { log: "Error" }), { signal }).then(end, end))
  // When the stream is cut, nobody is left to hear of it.
  writer.closed.catch(ignore)
  return new Response(readable, { headers: { "content-type": ndjson } })
}
