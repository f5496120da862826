/**
 * How a query that failed is answered over plain HTTP: the error as JSON, with the status that fits it.
 * A declared error may have a status of its own, as the annotation `httpApiStatus` of Effect's `HttpApi` gives it.
 */
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { CallError, type CallErrorReason } from "../../protocol/CallError.ts"
import { jsonCodec } from "../../protocol/JsonCodec.ts"
import * as RpcCodec from "../../protocol/RpcCodec.ts"
import { retryHeaders } from "../rpc/CallRates.ts"

/** The status of a declared error that has none of its own. */
export const declaredStatus = 422

/** The statuses of `CallError`s, by their reason. */
export const statusByReason: Readonly<Record<CallErrorReason["_tag"], number>> = {
  PayloadInvalid: 400,
  Outdated: 400,
  Unauthenticated: 401,
  Forbidden: 403,
  UnknownRpc: 404,
  MutationMismatch: 409,
  OutcomeUnreadable: 409,
  LimitExceeded: 413,
  TooManyRequests: 429,
  CallLost: 503,
  Unavailable: 503
}

const Failed = Schema.fromJsonString(
  Schema.Struct({
    _tag: Schema.Literal("Failure"),
    cause: Schema.Array(
      Schema.Struct({
        _tag: Schema.String,
        error: Schema.optionalKey(Schema.Json),
        defect: Schema.optionalKey(Schema.Json)
      })
    )
  })
)
const decodeFailed = Schema.decodeUnknownOption(Failed)
const decodeCallError = Schema.decodeUnknownOption(jsonCodec(CallError))

/** The members of the error schema of an rpc. */
const membersOf = (schema: Schema.Top): ReadonlyArray<Schema.Top> =>
  "members" in schema && Array.isArray(schema.members) && schema.members.every(Schema.isSchema)
    ? schema.members.flatMap((member) => membersOf(member))
    : [schema]

/** The errors that an rpc declares, each with its status. */
export const errorsOf = (rpc: Rpc.Any): ReadonlyArray<{ readonly schema: Schema.Top; readonly status: number }> =>
  membersOf(RpcCodec.withSchemas(rpc).errorSchema)
    .filter(({ ast }) => ast._tag !== "Never")
    .map((schema) => ({ schema, status: SchemaAST.resolveAt<number>("httpApiStatus")(schema.ast) ?? declaredStatus }))

const statusOf = (rpc: Rpc.Any, error: Schema.Json): number => {
  const known = Option.getOrUndefined(decodeCallError(error))
  if (known instanceof CallError) return statusByReason[known.reason._tag]
  const declared = errorsOf(rpc).find(({ schema }) =>
    Option.isSome(Schema.decodeUnknownOption(jsonCodec(schema))(error))
  )
  return declared?.status ?? declaredStatus
}

/** A response that no cache keeps. */
const refusal = (status: number, error: Schema.Json, headers: Record<string, string> = {}): Response =>
  Response.json({ error }, { status, headers: { "cache-control": "no-store", ...headers } })

/** The response for the failed exit of a query, as text. */
export const failureResponse = (rpc: Rpc.Any, exit: string, retryAfter?: number): Response => {
  const [reason] = Option.getOrUndefined(decodeFailed(exit))?.cause ?? []
  if (reason?.error !== undefined) {
    const status = statusOf(rpc, reason.error)
    const wait = retryAfter ?? waitOf(reason.error)
    return refusal(status, reason.error, {
      ...(status === 401 && { "www-authenticate": 'Bearer error="invalid_token"' }),
      ...(wait !== undefined && retryHeaders(wait))
    })
  }
  if (reason?.defect !== undefined) return refusal(500, reason.defect)
  return refusal(503, "the query was interrupted")
}

/** After how many milliseconds a call may be accepted that a handler has refused. */
const waitOf = (error: Schema.Json): number | undefined => {
  const known = Option.getOrUndefined(decodeCallError(error))
  return known instanceof CallError && known.reason._tag === "TooManyRequests" ? known.reason.retryAfter : undefined
}
