import type { FromClientEncoded } from "effect/rpc/RpcMessage"
import * as Schema from "effect/Schema"

/**
 * What clients send: the JSON messages of `effect/rpc`. They come from outside and are decoded here, once; payloads are
 * decoded later, by the schema of the rpc they name.
 */

export const RequestId = Schema.Union([Schema.String, Schema.Finite])

export const Request = Schema.Struct({
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
export type Request = typeof Request.Type

export const FromClient = Schema.Union([
  Request,
  Schema.Struct({ _tag: Schema.tag("Ack"), requestId: RequestId }),
  Schema.Struct({ _tag: Schema.tag("Interrupt"), requestId: RequestId }),
  Schema.Struct({ _tag: Schema.tag("Ping") }),
  Schema.Struct({ _tag: Schema.tag("Eof") })
])
export type FromClient = typeof FromClient.Type

const decode = Schema.decodeUnknownOption(FromClient)
export const decodeMessage: (
  input: unknown
) => { readonly _tag: "Some"; readonly value: FromClientEncoded } | { readonly _tag: "None" } = decode as any

/** The text that a client pings with. The platform answers it by these very bytes without waking the object. */
export const ping = '{"_tag":"Ping"}'
export const pong = '{"_tag":"Pong"}'
