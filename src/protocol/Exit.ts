/**
 * The exits of calls, and the messages around them, as they cross the wire.
 * Messages are concatenated by hand where a result is already JSON text, so that nothing is stringified twice.
 */
import * as Cause from "effect/Cause"
import type { ResponseExitEncoded } from "effect/rpc/RpcMessage"
import * as Schema from "effect/Schema"
import {
  CallError,
  type CallErrorReason,
  CallLost,
  LimitExceeded,
  PayloadInvalid,
  Unavailable,
  UnknownRpc
} from "./CallError.ts"
import { jsonCodec } from "./JsonCodec.ts"

/** An exit as it crosses the wire. */
export type EncodedExit = ResponseExitEncoded["exit"]

const encodeError = Schema.encodeSync(jsonCodec(CallError))

/** The exit of a call that failed with a `CallError`. */
export const failed = (reason: CallErrorReason): EncodedExit => ({
  _tag: "Failure",
  cause: [{ _tag: "Fail", error: encodeError(new CallError({ reason })) }]
})

/** The exit of a call that was interrupted. */
export const interrupted: EncodedExit = { _tag: "Failure", cause: [{ _tag: "Interrupt", fiberId: null }] }

/** The successful exit of a call without a result. */
export const done: EncodedExit = { _tag: "Success", value: null }

/** The exit of a call that was running when the object left memory. */
export const lost: EncodedExit = failed(new CallLost({}))

/** The exit of a call that could not be run. */
export const unavailable = (detail: string): EncodedExit => failed(new Unavailable({ detail }))

/** The exit of a call that exceeded a limit. */
export const limitExceeded = (limit: string, max: number, actual?: number): EncodedExit =>
  failed(new LimitExceeded({ limit, max, ...(actual !== undefined && { actual }) }))

/** The exit of a call that names no rpc of the contract. */
export const unknownRpc = (tag: string): EncodedExit => failed(new UnknownRpc({ tag }))

/** The exit of a call whose payload does not fit its contract. The text of the issue says where. */
export const payloadInvalid = (cause: Cause.Cause<unknown>): EncodedExit => {
  const error = Cause.squash(cause)
  return failed(
    new PayloadInvalid({ issue: Schema.isSchemaError(error) ? error.message : String(error), byContract: true })
  )
}

/** The text of a successful exit, from the JSON text of its value. */
export const successText = (value: string): string => `{"_tag":"Success","value":${value}}`

/** The text of the message that ends a call. `id` is the JSON of the request's id, `exit` the text of the exit. */
export const exitMessage = (id: string, exit: string): string => `{"_tag":"Exit","requestId":${id},"exit":${exit}}`

/** The text of the message with one item of a stream. `id` is the JSON of the request's id. */
export const chunkMessage = (id: string, item: string): string =>
  `{"_tag":"Chunk","requestId":${id},"values":[${item}]}`
