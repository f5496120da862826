/**
 * Decodes the messages of clients: the JSON messages of `effect/rpc`.
 * Payloads stay encoded here; the schema of the rpc decodes them later.
 */
import * as Option from "effect/Option"
import type { FromClientEncoded, RequestEncoded } from "effect/rpc/RpcMessage"
import * as Schema from "effect/Schema"

export { ping, pong } from "./Ping.ts"

/** Bounded, because ids are stored in the socket's attachment while the object hibernates. */
const RequestId = Schema.Union([Schema.String.check(Schema.isMaxLength(128)), Schema.Finite])

const RequestMessage = Schema.Struct({
  _tag: Schema.tag("Request"),
  id: RequestId,
  tag: Schema.String,
  payload: Schema.Unknown,
  headers: Schema.Array(Schema.mutable(Schema.Tuple([Schema.String, Schema.String]))),
  isNotification: Schema.optionalKey(Schema.Literal(true)),
  discard: Schema.optionalKey(Schema.Literal(true)),
  traceId: Schema.optionalKey(Schema.String),
  spanId: Schema.optionalKey(Schema.String),
  sampled: Schema.optionalKey(Schema.Boolean)
})
/** A message that calls an rpc. */
export type Request = RequestEncoded

const FromClient = Schema.Union([
  RequestMessage,
  Schema.Struct({ _tag: Schema.tag("Ack"), requestId: RequestId }),
  Schema.Struct({ _tag: Schema.tag("Interrupt"), requestId: RequestId }),
  Schema.Struct({ _tag: Schema.tag("Ping") }),
  Schema.Struct({ _tag: Schema.tag("Eof") })
])

const decode: (input: unknown) => Option.Option<FromClientEncoded> = Schema.decodeUnknownOption(FromClient)

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
  const messages: Array<FromClientEncoded> = []
  for (const message of Array.isArray(parsed) ? parsed : [parsed]) {
    const decoded = decode(message)
    if (Option.isNone(decoded)) return undefined
    messages.push(decoded.value)
  }
  return messages
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
