import * as Schema from "effect/Schema"

/** The request was not understood: its payload does not fit the rpc's schema. Nothing ran. */
export class PayloadInvalid extends Schema.TaggedError<PayloadInvalid>("effect-dormouse/CallError/PayloadInvalid")(
  "PayloadInvalid",
  { issue: Schema.String }
) {
  readonly isRetryable = false
}

/** The contract has no rpc of this tag. */
export class UnknownRpc extends Schema.TaggedError<UnknownRpc>("effect-dormouse/CallError/UnknownRpc")("UnknownRpc", {
  tag: Schema.String
}) {
  readonly isRetryable = false
}

/** A limit of `Limits` was met. Nothing was written. */
export class LimitExceeded extends Schema.TaggedError<LimitExceeded>("effect-dormouse/CallError/LimitExceeded")(
  "LimitExceeded",
  { limit: Schema.String, max: Schema.Number, actual: Schema.optionalKey(Schema.Number) }
) {
  readonly isRetryable = false
  override get message() {
    const actual = this.actual === undefined ? "" : `, got ${this.actual}`
    return `limit ${this.limit} is ${this.max}${actual}`
  }
}

/**
 * The object went to sleep or was replaced while the call was under way. A query can be asked again; a mutation may or
 * may not have been committed.
 */
export class CallLost extends Schema.TaggedError<CallLost>("effect-dormouse/CallError/CallLost")("CallLost", {}) {
  readonly isRetryable = true
}

/** The server could not be reached, or answered with something that is not an answer. */
export class Unavailable extends Schema.TaggedError<Unavailable>("effect-dormouse/CallError/Unavailable")(
  "Unavailable",
  { detail: Schema.String }
) {
  readonly isRetryable = true
}

export const CallErrorReason = Schema.Union([PayloadInvalid, UnknownRpc, LimitExceeded, CallLost, Unavailable])
export type CallErrorReason = typeof CallErrorReason.Type

/**
 * What may go wrong with any call beside the errors that its rpc declares. It crosses the wire typed; everything else
 * that an rpc did not declare crosses as an opaque defect with an id, and its cause goes to the log.
 */
export class CallError extends Schema.TaggedError<CallError>("effect-dormouse/CallError")("CallError", {
  reason: CallErrorReason
}) {
  override readonly cause = this.reason
  override get message(): string {
    return `${this.reason._tag}: ${this.reason.message}`
  }
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }
}

/**
 * What a caller sees of a failure that its rpc did not declare. The cause is in the log under the same id.
 */
export const InternalError = Schema.Struct({
  _tag: Schema.tag("InternalError"),
  id: Schema.String,
  message: Schema.String
})
export type InternalError = typeof InternalError.Type
