import * as Option from "effect/Option"
import type { FromClientEncoded, RequestEncoded } from "effect/rpc/RpcMessage"
import * as Schema from "effect/Schema"

/**
 * What clients send: the JSON messages of `effect/rpc`. They come from outside and are decoded here, once; payloads are
 * decoded later, by the schema of the rpc they name.
 */

/** Ids are remembered while an object sleeps, and have little room there. */
const RequestId = Schema.Union([Schema.String.check(Schema.isMaxLength(128)), Schema.Finite])

const RequestMessage = Schema.Struct({
  _tag: Schema.tag("Request"),
  id: RequestId,
  tag: Schema.String,
  payload: Schema.Unknown,
  headers: Schema.Array(Schema.Tuple([Schema.String, Schema.String])),
  isNotification: Schema.optionalKey(Schema.Literal(true)),
  discard: Schema.optionalKey(Schema.Literal(true)),
  traceId: Schema.optionalKey(Schema.String),
  spanId: Schema.optionalKey(Schema.String),
  sampled: Schema.optionalKey(Schema.Boolean)
})
/** One call. */
export type Request = RequestEncoded

const FromClient = Schema.Union([
  RequestMessage,
  Schema.Struct({ _tag: Schema.tag("Ack"), requestId: RequestId }),
  Schema.Struct({ _tag: Schema.tag("Interrupt"), requestId: RequestId }),
  Schema.Struct({ _tag: Schema.tag("Ping") }),
  Schema.Struct({ _tag: Schema.tag("Eof") })
])

// The schema gives what the type of `effect/rpc` says; its arrays are merely readonly all the way down.
const decode = Schema.decodeUnknownOption(FromClient) as unknown as (input: unknown) => Option.Option<FromClientEncoded>

/** The messages of a body or of a socket's message, or `undefined` when it is not JSON or holds anything else. */
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

/** Whether a JSON text nests arrays and objects deeper than `max`. It is looked at before anything walks the value. */
export const isDeeper = (text: string, max: number): boolean => {
  // Every level takes two characters.
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

/** The text that a client pings with. The platform answers it by these very bytes without waking the object. */
export const ping = '{"_tag":"Ping"}'
export const pong = '{"_tag":"Pong"}'
