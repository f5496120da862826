/**
 * Decodes the messages of clients: the JSON messages of `effect/rpc`.
 * Payloads stay encoded here; the schema of the rpc decodes them later.
 */
import type { FromClientEncoded, RequestEncoded } from "effect/rpc/RpcMessage"

export { ping, pong } from "./Ping.ts"

/** A message that calls an rpc. */
export type Request = RequestEncoded

/** Characters of a request id. It is stored in the socket's attachment while the object hibernates. */
const idLength = 128

const isString = (value: unknown): value is string => typeof value === "string"
const isTrueIfGiven = (value: unknown): boolean => value === undefined || value === true
const isStringIfGiven = (value: unknown): boolean => value === undefined || isString(value)
const isId = (value: unknown): value is string | number =>
  isString(value) ? value.length <= idLength : Number.isFinite(value)
const isHeader = (value: unknown): boolean =>
  Array.isArray(value) && value.length === 2 && isString(value[0]) && isString(value[1])

/**
 * Whether a JSON value is a message. Every message that arrives is checked here, so the checks are written by hand: a schema
 * would take longer than the rest of the handling of the message.
 */
const isMessage = (message: any): message is FromClientEncoded => {
  switch (message?._tag) {
    case "Request":
      return (
        isId(message.id) &&
        isString(message.tag) &&
        "payload" in message &&
        Array.isArray(message.headers) &&
        message.headers.every(isHeader) &&
        isTrueIfGiven(message.isNotification) &&
        isTrueIfGiven(message.discard) &&
        isStringIfGiven(message.traceId) &&
        isStringIfGiven(message.spanId) &&
        (message.sampled === undefined || typeof message.sampled === "boolean")
      )
    case "Ack":
    case "Interrupt":
      return isId(message.requestId)
    case "Ping":
    case "Eof":
      return true
    default:
      return false
  }
}

/**
 * The messages in an HTTP body or a socket message. `undefined` when the text is not JSON, or one message is invalid.
 */
export const decodeMessages = (text: string): ReadonlyArray<FromClientEncoded> | undefined => {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return undefined
  }
  const messages: ReadonlyArray<unknown> = Array.isArray(parsed) ? parsed : [parsed]
  return messages.every(isMessage) ? messages : undefined
}

/** Whether a JSON text nests arrays and objects deeper than `max`. Check before code recurses over the value. */
export const isDeeper = (text: string, max: number): boolean => {
  // Each level takes two characters.
  if (text.length <= 2 * max) return false
  let depth = 0
  let isQuoted = false
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i)
    if (isQuoted) {
      if (char === backslash) i++
      else if (char === quote) isQuoted = false
    } else if (char === quote) isQuoted = true
    else if (char === openBracket || char === openBrace) {
      if (++depth > max) return true
    } else if (char === closeBracket || char === closeBrace) depth--
  }
  return false
}

const [quote, backslash, openBracket, closeBracket, openBrace, closeBrace] = [34, 92, 91, 93, 123, 125]
