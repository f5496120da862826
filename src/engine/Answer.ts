import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import { StorageError } from "../contract/Storage.ts"
import { CallError, type InternalError, LimitExceeded } from "../protocol/CallError.ts"
import { Suspended } from "../services/Synchronous.ts"

/** Whether an rpc declared this failure, itself or through a middleware. */
const isDeclared = (rpc: Rpc.AnyWithProps): ((error: unknown) => boolean) => {
  const declared = declaredCache.get(rpc)
  if (declared !== undefined) return declared
  const schemas = [rpc.errorSchema, ...[...rpc.middlewares].map((middleware) => middleware.error)]
  if (RpcSchema.isStreamSchema(rpc.successSchema)) schemas.push(rpc.successSchema.error)
  const is = Schema.is(Schema.Union(schemas))
  declaredCache.set(rpc, is)
  return is
}
const declaredCache = new WeakMap<Rpc.AnyWithProps, (error: unknown) => boolean>()

/**
 * What a caller may see of how a handler ended: success, failures that its rpc declared, limits by name. Everything
 * else goes to the log, and an id of it to the caller.
 */
export const toAnswer = <A, E>(rpc: Rpc.AnyWithProps, exit: Exit.Exit<A, E>): Effect.Effect<A, E | CallError> => {
  if (Exit.isSuccess(exit)) return exit
  const failed = Cause.findErrorOption(exit.cause)
  if (Option.isSome(failed)) {
    const error = failed.value
    if (isDeclared(rpc)(error)) return exit
    if (error instanceof StorageError && error.reason._tag === "StorageLimit") {
      const { actual, limit, max } = error.reason
      return Effect.fail(new CallError({ reason: new LimitExceeded({ limit, max, actual }) }))
    }
  } else if (Cause.hasInterruptsOnly(exit.cause)) {
    return exit
  }
  return hide(rpc, exit.cause)
}

/** Logs a cause and answers with its id alone. */
export const hide = (rpc: Rpc.Any, cause: Cause.Cause<unknown>): Effect.Effect<never> =>
  Effect.flatMap(Random.nextInt, (random) => {
    const id = Math.abs(random).toString(36)
    const suspended = cause.reasons.some((reason) => Cause.isDieReason(reason) && reason.defect instanceof Suspended)
    const message = suspended
      ? `the handler of ${rpc._tag} waited for something, and a transaction cannot wait: make it an action`
      : "the server could not answer; the cause is in its log"
    const defect: InternalError = { _tag: "InternalError", id, message }
    return Effect.logError(message, cause).pipe(
      Effect.annotateLogs({ rpc: rpc._tag, id }),
      Effect.andThen(Effect.die(defect))
    )
  })
