/**
 * What a caller may see of a failure: declared errors, limits by name, and an id for everything else.
 * Causes, SQL and stack traces go to the log under the same id.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { memoize } from "effect/Function"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import { StorageError } from "../../contract/Storage.ts"
import { CallError, Forbidden, InternalError, LimitExceeded } from "../../protocol/CallError.ts"
import { Suspended } from "../../services/storage/Synchronous.ts"

/** Whether an rpc declared this failure, itself or through a middleware. */
const isDeclared: (rpc: Rpc.AnyWithProps) => (error: unknown) => boolean = memoize((rpc) => {
  const schemas = [rpc.errorSchema, ...[...rpc.middlewares].map((middleware) => middleware.error)]
  if (RpcSchema.isStreamSchema(rpc.successSchema)) schemas.push(rpc.successSchema.error)
  return Schema.is(Schema.Union(schemas))
})

/**
 * How a call ended, as its caller may see it: success, declared failures, limits by name, what policies deny. Anything else is logged, and its
 * caller gets the id of the log entry.
 */
export const sanitizeExit = <A, E>(rpc: Rpc.AnyWithProps, exit: Exit.Exit<A, E>): Effect.Effect<A, E | CallError> => {
  if (Exit.isSuccess(exit)) return exit
  const failure = Cause.findErrorOption(exit.cause)
  if (Option.isSome(failure) && isDeclared(rpc)(failure.value)) return exit
  if (Option.isNone(failure) && Cause.hasInterruptsOnly(exit.cause)) return exit
  if (isSanitized(exit.cause)) return exit
  const reason = reasonOf(exit.cause)
  if (reason !== undefined) return Effect.fail(new CallError({ reason }))
  return Effect.flatMap(toInternalError(rpc._tag, exit.cause), Effect.die)
}

/** Whether a failure was logged already, and stands for its log entry. */
const isSanitized = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.every((reason) => Cause.isDieReason(reason) && isInternalError(reason.defect))
/** Whether a defect was made here. */
export const isInternalError = Schema.is(InternalError)

/**
 * The limit that a handler exceeded, or that a policy denied what it did; also when that is the cause of a defect or of an
 * `SqlError`.
 */
const reasonOf = (cause: Cause.Cause<unknown>): LimitExceeded | Forbidden | undefined => {
  for (const reason of cause.reasons) {
    let error: unknown = Cause.isFailReason(reason) ? reason.error : Cause.isDieReason(reason) && reason.defect
    for (let depth = 0; error instanceof Error && depth < 4; depth++) {
      if (error instanceof StorageError && error.reason._tag === "StorageLimit") {
        const { actual, limit, max } = error.reason
        return new LimitExceeded({ limit, max, actual })
      }
      if (error instanceof StorageError && error.reason._tag === "PolicyDenied") return new Forbidden()
      error = error.cause
    }
  }
  return undefined
}

/** Logs a cause, and returns what the caller may see of it. */
export const toInternalError = (tag: string, cause: Cause.Cause<unknown>): Effect.Effect<InternalError> =>
  Effect.flatMap(Random.nextInt, (random) => {
    const id = Math.abs(random).toString(36)
    // Effect's client makes an `Error` of the defect, and keeps only its message.
    const message = suspensionOf(tag, cause) ?? `the server could not answer; the cause is in its log under ${id}`
    const defect: InternalError = { _tag: "InternalError", id, message }
    return Effect.logError(message, cause).pipe(Effect.annotateLogs({ rpc: tag, id }), Effect.as(defect))
  })

/** The message for a handler or middleware that waited. */
const suspensionOf = (tag: string, cause: Cause.Cause<unknown>): string | undefined => {
  for (const reason of cause.reasons) {
    if (!Cause.isDieReason(reason) || !(reason.defect instanceof Suspended)) continue
    return reason.defect.what === "handler"
      ? `the handler of ${tag} waited for something, and a transaction cannot wait: make it an action`
      : `the middleware of ${tag} waited for something: around a query or a reaction it must not wait`
  }
  return undefined
}
