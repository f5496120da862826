import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type * as Result from "effect/Result"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { CallError, Unavailable } from "../protocol/CallError.ts"

/** A query or a mutation as it is used without its types: its name on the wire, and how its payloads and values are written and read. */
export interface LiveRpc {
  readonly tag: string
  readonly encodePayload: (payload: unknown) => unknown
  readonly decodePayload: (json: unknown) => Result.Result<unknown, unknown>
  /** Rows of a list that did not change are not read again, and stay the same objects. */
  readonly decode: (json: Schema.Json) => unknown
  /** The failure that an exit carries. */
  readonly decodeFailure: (exit: unknown) => Cause.Cause<unknown>
}

export const make = (rpc: Rpc.AnyWithProps): LiveRpc => {
  const payload = rpc.payloadSchema as Schema.Codec<unknown, unknown>
  const encode = Schema.encodeUnknownSync(Schema.toCodecJson(payload))
  const exit = Rpc.exitSchema(rpc as Rpc.Any) as unknown as Schema.Codec<Exit.Exit<unknown, unknown>, unknown>
  const decodeExit = Schema.decodeUnknownExit(Schema.toCodecJson(exit))
  return {
    tag: rpc._tag,
    encodePayload: (input) => encode(payload.make(input)),
    decodePayload: Schema.decodeUnknownResult(Schema.toCodecJson(payload)),
    decode: rowDecoder(rpc.successSchema as Schema.Codec<unknown, unknown>),
    decodeFailure: (input) => {
      const decoded = decodeExit(input)
      if (Exit.isFailure(decoded)) return unfit(`the end of live:${rpc._tag}`, decoded.cause)
      const { value } = decoded
      // Neither has been asked for; whoever watches must not take it for an end of their own.
      if (Exit.isSuccess(value) || Cause.hasInterruptsOnly(value.cause))
        return unfit(`the end of live:${rpc._tag}`, "none")
      return value.cause
    }
  }
}

/** What the server sent is not what the contract says. */
export const unfit = (what: string, why: unknown): Cause.Cause<CallError> =>
  Cause.fail(new CallError({ reason: new Unavailable({ detail: `${what} does not fit the contract: ${why}` }) }))

const rowDecoder = (schema: Schema.Codec<unknown, unknown>): ((json: Schema.Json) => unknown) => {
  const { ast } = schema
  // What holds for the list as a whole needs the whole list.
  const isList = ast._tag === "Arrays" && ast.elements.length === 0 && ast.checks === undefined
  const item = isList && "value" in schema ? (schema.value as typeof schema) : undefined
  if (item === undefined) return Schema.decodeUnknownSync(Schema.toCodecJson(schema)) as (json: Schema.Json) => unknown
  const decode = Schema.decodeUnknownSync(Schema.toCodecJson(item))
  const rows = new WeakMap<object, unknown>()
  return (json) =>
    (json as ReadonlyArray<Schema.Json>).map((row) => {
      if (typeof row !== "object" || row === null) return decode(row)
      let value = rows.get(row)
      if (value === undefined) {
        value = decode(row)
        rows.set(row, value)
      }
      return value
    })
}
