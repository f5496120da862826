/**
 * HTTP bodies of rpc messages: reads and checks the requests in one, and writes the answers to it.
 * A body that is not made of messages is refused here, before any object is woken. Messages of sockets have the same limits.
 */
import type { FromClientEncoded } from "effect/rpc/RpcMessage"
import { type EncodedExit, exitMessage, limitExceeded } from "../../protocol/Exit.ts"
import * as Limits from "../../protocol/Limits.ts"
import { decodeMessages, isDeeper, type Request as RpcRequest } from "../../protocol/Messages.ts"
import { readChunks } from "./Ndjson.ts"

/** A body that was read: its text, and the requests in it. */
export interface RequestBody {
  readonly text: string
  readonly requests: ReadonlyArray<RpcRequest>
}

/** A response that refuses a request as a whole. */
export const errorResponse = (status: number, error: string, headers?: Record<string, string>): Response =>
  Response.json({ error }, headers === undefined ? { status } : { status, headers })

const limitResponse = (limit: Limits.LimitName, max: number, actual?: number) =>
  errorResponse(413, Limits.describe(limit, max, actual))

/** Reads the requests of an HTTP body, or returns the response that refuses the body. */
export const readRequests = async (request: Request, limits: Limits.Limits): Promise<RequestBody | Response> => {
  const body = await readBody(request, limits.requestBytes)
  if (body === undefined) return limitResponse("requestBytes", limits.requestBytes)
  const text = decodeText(body)
  if (text === undefined) return errorResponse(400, "the body is not UTF-8")
  return parseRequests(text, limits)
}

/**
 * The limits for a text that Worker or object made of requests within the limits. It may be longer than theirs was: numbers
 * are written with all digits, and spans are added.
 */
export const limitsInside = (limits: Limits.Limits): Limits.Limits => ({
  ...limits,
  requestBytes: Number.POSITIVE_INFINITY,
  requestDepth: Number.POSITIVE_INFINITY
})

/** Levels up to which a text is read although it is too deep, so that each of its requests can be answered. */
const readableDepth = 10_000

/** A text that exceeds a limit, with the messages that could be read in it nevertheless. */
export class OverLimit {
  readonly limit: "requestBytes" | "requestDepth" | "requestsPerBatch"
  readonly max: number
  readonly actual: number | undefined
  readonly messages: ReadonlyArray<FromClientEncoded>

  constructor(
    limit: OverLimit["limit"],
    limits: Limits.Limits,
    messages: OverLimit["messages"] = [],
    actual?: number | undefined
  ) {
    this.limit = limit
    this.max = limits[limit]
    this.actual = actual
    this.messages = messages
  }

  /** What to answer each request with. */
  get exit(): EncodedExit {
    return limitExceeded(this.limit, this.max, this.actual)
  }
}

/** The messages in a text that came from a client. `undefined` when it is not made of messages. */
export const readMessages = (
  text: string,
  limits: Limits.Limits
): ReadonlyArray<FromClientEncoded> | OverLimit | undefined => {
  const bytes = Limits.bytesBeyond(text, limits.requestBytes)
  if (bytes !== undefined) return new OverLimit("requestBytes", limits, [], bytes)
  if (isDeeper(text, limits.requestDepth)) {
    return new OverLimit("requestDepth", limits, isDeeper(text, readableDepth) ? [] : decodeMessages(text))
  }
  const messages = decodeMessages(text)
  return messages !== undefined && messages.length > limits.requestsPerBatch
    ? new OverLimit("requestsPerBatch", limits, messages, messages.length)
    : messages
}

/** The requests in the text of a body, or the response that refuses the text. */
export const parseRequests = (text: string, limits: Limits.Limits): RequestBody | Response => {
  const messages = readMessages(text, limits)
  if (messages === undefined) return errorResponse(400, "the body is not made of messages of effect/rpc")
  if (messages instanceof OverLimit) {
    const answers = answerAll(messages.messages.filter(isRequest), messages.exit)
    if (answers.length > 0) return messagesResponse(joinMessages(answers), 413)
    return limitResponse(messages.limit, messages.max, messages.actual)
  }
  const requests = messages.filter(isRequest)
  if (requests.length > 1) {
    const answered = requests.filter(({ isNotification }) => isNotification !== true)
    if (new Set(answered.map(({ id }) => String(id))).size < answered.length) {
      return errorResponse(400, "two requests have the same id")
    }
  }
  return { text, requests }
}

/** Whether a message is a call. */
export const isRequest = (message: FromClientEncoded): message is RpcRequest => message._tag === "Request"

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
  for await (const chunk of readChunks(request.body)) {
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

/** The text of the answers to a body. */
export const joinMessages = (messages: ReadonlyArray<string>): string => `[${messages.join(",")}]`

/** Answers each request with the same exit. A notification is not answered. */
export const answerAll = (requests: ReadonlyArray<RpcRequest>, exit: EncodedExit): ReadonlyArray<string> => {
  const text = JSON.stringify(exit)
  return requests
    .filter(({ isNotification }) => isNotification !== true)
    .map(({ id }) => exitMessage(JSON.stringify(id), text))
}

/** A response whose body is the text of answers. */
export const messagesResponse = (body: string, status = 200, headers: Record<string, string> = {}): Response =>
  new Response(body, { status, headers: { "content-type": "application/json", ...headers } })
