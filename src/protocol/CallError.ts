/**
 * The typed errors that any call can fail with besides those that its rpc declares, and the opaque defect.
 * A reason says whether a retry can help.
 */
import * as Schema from "effect/Schema"

/** The payload does not fit the rpc's schema. The handler did not run. */
export class PayloadInvalid extends Schema.TaggedError<PayloadInvalid>("effect-dormouse/CallError/PayloadInvalid")(
  "PayloadInvalid",
  {
    issue: Schema.String,
    /** Set by the server when its contract refused the payload, and not a handler. */
    byContract: Schema.optionalKey(Schema.Literal(true))
  }
) {
  readonly isRetryable = false
}

/**
 * Client and server have different contracts: one of them was deployed after the other. The payload fits the client's contract
 * and not the server's, or the result the other way round. Load the client again. A call with this failure did not run,
 * unless it was a query or an action whose result could not be decoded.
 */
export class Outdated extends Schema.TaggedError<Outdated>("effect-dormouse/CallError/Outdated")("Outdated", {
  detail: Schema.String
}) {
  readonly isRetryable = false
}

/** The contract has no rpc with this tag. */
export class UnknownRpc extends Schema.TaggedError<UnknownRpc>("effect-dormouse/CallError/UnknownRpc")("UnknownRpc", {
  tag: Schema.String
}) {
  readonly isRetryable = false
  /** As in `PayloadInvalid`: no handler refuses a call so. */
  readonly byContract = true
}

/** A limit of `Limits` was exceeded. Nothing was written. */
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
 * The object hibernated or was replaced while the call was running, or the client did not take a value of a stream. A query
 * can be retried; a mutation may have been committed or not.
 */
export class CallLost extends Schema.TaggedError<CallLost>("effect-dormouse/CallError/CallLost")("CallLost", {}) {
  readonly isRetryable = true
}

/**
 * The number of a mutation was used before: by another caller, for another mutation, or with another payload. Nothing ran.
 */
export class MutationMismatch extends Schema.TaggedError<MutationMismatch>(
  "effect-dormouse/CallError/MutationMismatch"
)("MutationMismatch", {}) {
  readonly isRetryable = false
}

/**
 * The mutation has ended before under its number, and its outcome cannot be repeated: the record does not fit the contract
 * any more, or it was deleted, because the client had settled it or because it may be older than a day. Nothing ran.
 */
export class OutcomeUnreadable extends Schema.TaggedError<OutcomeUnreadable>(
  "effect-dormouse/CallError/OutcomeUnreadable"
)("OutcomeUnreadable", {}) {
  readonly isRetryable = false
}

/** The server could not be reached, or its response is not a valid answer. */
export class Unavailable extends Schema.TaggedError<Unavailable>("effect-dormouse/CallError/Unavailable")(
  "Unavailable",
  { detail: Schema.String }
) {
  readonly isRetryable = true
}

/** Why a token is not accepted. `missing`: there is none, and the app has no anonymous callers. */
export const TokenProblem = Schema.Literals([
  "missing",
  "malformed",
  "algorithm",
  "key",
  "signature",
  "issuer",
  "audience",
  "expired",
  "early",
  "claims",
  "revoked"
])
/** Why a token is not accepted. */
export type TokenProblem = typeof TokenProblem.Type

/** The caller is not signed in, or its token is not accepted (any more). */
export class Unauthenticated extends Schema.TaggedError<Unauthenticated>("effect-dormouse/CallError/Unauthenticated")(
  "Unauthenticated",
  { problem: TokenProblem }
) {
  readonly isRetryable = false
}

/** The caller may not do this. */
export class Forbidden extends Schema.TaggedError<Forbidden>("effect-dormouse/CallError/Forbidden")("Forbidden", {}) {
  readonly isRetryable = false
}

/** The caller made too many calls. Nothing ran. */
export class TooManyRequests extends Schema.TaggedError<TooManyRequests>("effect-dormouse/CallError/TooManyRequests")(
  "TooManyRequests",
  {
    /** Milliseconds after which a retry may be accepted. */
    retryAfter: Schema.Number
  }
) {
  readonly isRetryable = true
}

/** Why a call failed. */
export const CallErrorReason = Schema.Union([
  PayloadInvalid,
  UnknownRpc,
  LimitExceeded,
  CallLost,
  MutationMismatch,
  OutcomeUnreadable,
  Unauthenticated,
  Forbidden,
  TooManyRequests,
  Outdated,
  Unavailable
])
/** Why a call failed. */
export type CallErrorReason = typeof CallErrorReason.Type

/**
 * The failure of any call besides the errors that its rpc declares. It crosses the wire typed. Every other failure that
 * an rpc does not declare crosses as an `InternalError`, and its cause is logged.
 */
export class CallError extends Schema.TaggedError<CallError>("effect-dormouse/CallError")("CallError", {
  reason: CallErrorReason
}) {
  override readonly cause = this.reason
  override get message(): string {
    return `${this.reason._tag}: ${this.reason.message}`
  }
  /** Whether the same call may succeed later. */
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }
}

/**
 * A failure as it is for a client that checks its payloads by its own contract: a server whose contract refuses one has another
 * contract.
 */
export const orOutdated = <E>(error: E): E | CallError =>
  error instanceof CallError && "byContract" in error.reason ? outdated(error.message) : error

/** The failure of a client whose contract is not the server's. */
export const outdated = (detail: string): CallError => new CallError({ reason: new Outdated({ detail }) })

/** Whether a failure says that the page should be loaded again: the server has another version of the contract. */
export const isOutdated = (error: unknown): boolean => error instanceof CallError && error.reason._tag === "Outdated"

/**
 * The opaque defect that a caller gets for a failure that its rpc does not declare. The log has its cause, with its id.
 */
export const InternalError = Schema.Struct({
  _tag: Schema.tag("InternalError"),
  id: Schema.String,
  message: Schema.String
})
/** The opaque defect that a caller gets for a failure that its rpc does not declare. */
export type InternalError = typeof InternalError.Type
