/**
 * How the functions that authors call refuse what they are given, in a handler or where something is declared.
 * The engine itself refuses calls in `Exit.ts`.
 */
import * as Effect from "effect/Effect"
import { CallError, LimitExceeded, PayloadInvalid } from "../protocol/CallError.ts"
import * as Limits from "../protocol/Limits.ts"

/** Fails because of what was given. */
export const refuse = (issue: string): Effect.Effect<never, CallError> =>
  Effect.fail(new CallError({ reason: new PayloadInvalid({ issue }) }))

/** Fails for a text that has more bytes than a limit allows. */
export const requireBytes = (limit: string, max: number, text: string): Effect.Effect<void, CallError> => {
  const actual = Limits.bytesBeyond(text, max)
  if (actual === undefined) return Effect.void
  return Effect.fail(new CallError({ reason: new LimitExceeded({ limit, max, actual }) }))
}
