/**
 * Refuses sockets with a close code. A browser does not show its page the status that answers a handshake, so a refused
 * socket is opened, and closed with a code that says whether a retry can help.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { errorResponse } from "../rpc/HttpBody.ts"
import { protocolHeader, subprotocol } from "../rpc/SessionHeader.ts"

/** How a socket is closed. */
export interface Close {
  readonly code: number
  readonly reason: string
}

/** Answers a handshake with these headers, and closes the socket. */
export type CloseSocket = (close: Close, headers: Record<string, string>) => Response

/** Whether a request opens a socket. */
export const isUpgrade = (request: Request): boolean =>
  request.method === "GET" && request.headers.get("upgrade")?.toLowerCase() === "websocket"

/** Whether a path is that of calls and sockets. The stock client ends it with a slash. */
export const isRpcPath = (path: string): boolean => path === "/rpc" || path === "/rpc/"

/** Offers a token beside the subprotocol: browsers cannot set headers on a socket. */
const tokenProtocol = `${subprotocol}.bearer.`

/**
 * The token of a request: a header over HTTP, a subprotocol of a socket. Empty when the request announces a token and has
 * none that can be read: its caller must not be taken for one without a token.
 */
export const tokenOf = (request: Request): string | undefined => {
  const [, bearer] = /^Bearer(.*)$/is.exec(request.headers.get("authorization") ?? "") ?? []
  if (bearer !== undefined) return /^ +(\S+)$/.exec(bearer)?.[1] ?? ""
  const offered = (request.headers.get(protocolHeader) ?? "").split(",").map((name) => name.trim())
  return offered.find((name) => name.startsWith(tokenProtocol))?.slice(tokenProtocol.length)
}

/** The headers that answer a handshake: a client that offers the protocol, with its token beside it, must be answered with it. */
export const handshakeHeaders = (request: Request): Record<string, string> => {
  const offered = request.headers.get(protocolHeader)?.split(",") ?? []
  return offered.some((name) => name.trim() === subprotocol) ? { [protocolHeader]: subprotocol } : {}
}

/** What is said of an object that does not answer. */
export const noAnswer = "the tenant's object did not answer"

/** What is said when a tenant's object could not start. */
export const objectNotStarted = "the tenant's object could not start"

/** The response for a tenant that does not exist, or that the caller may not enter. */
export const noSuchTenant = (): Response => errorResponse(404, "no such tenant")

/** The response to a request: one that refuses a socket becomes the close of that socket, where the platform can close one. */
export const closeRefused = async (
  request: Request,
  response: Response,
  closeSocket: CloseSocket | undefined
): Promise<Response> => {
  if (closeSocket === undefined || response.status < 400) return response
  if (!isUpgrade(request) || !isRpcPath(new URL(request.url).pathname)) return response
  return closeSocket(
    { code: codeOf(response.status), reason: reasonOf(await response.text()) },
    handshakeHeaders(request)
  )
}

/** Statuses below 500 by which a server says that a later retry may help. */
const retryable: ReadonlySet<number> = new Set([408, 425, 429])

/** 4400 to 4499 say that a retry does not help. */
const codeOf = (status: number): number => {
  if (status === 503 || retryable.has(status)) return 1013
  return status < 500 ? 4000 + status : 1011
}

const decodeError = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ error: Schema.String })))

/** The bytes of a close reason. A longer one cannot be sent. */
const reasonBytes = 123
const encoder = new TextEncoder()

const reasonOf = (text: string): string => {
  const reason = Option.match(decodeError(text), { onNone: () => text, onSome: ({ error }) => error })
  return reason.slice(0, encoder.encodeInto(reason, new Uint8Array(reasonBytes)).read)
}
