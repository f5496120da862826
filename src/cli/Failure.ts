/**
 * How a command fails: one plain sentence of what is wrong and one of what to do. The caller sees no cause and no stack;
 * the environment variable `DORMOUSE_DEBUG` shows them.
 */
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as CliError from "effect/cli/CliError"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Style from "./Style.ts"

/** A command could not do what it was asked for. */
export class Failure extends Schema.TaggedError<Failure>()("Failure", {
  /** What is wrong, as a clause: "port 5173 is taken". */
  problem: Schema.String,
  /** What to do about it, as a clause: "choose another with --port". */
  remedy: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message() {
    return this.remedy === "" ? this.problem : `${this.problem}; ${this.remedy}`
  }
}

/** A command has found what it was looking for, and has printed it: nothing else is to be said. */
export class Found extends Schema.TaggedError<Found>()("Found", {}) {}

/** Prints the failure of a command. What effect/cli has printed itself, and Ctrl-C, are not printed again. */
export const report = Effect.fnUntraced(function* (cause: Cause.Cause<unknown>) {
  if (Cause.hasInterruptsOnly(cause)) return
  const error = Cause.squash(cause)
  if (CliError.isCliError(error) || error instanceof Found) return
  const style = yield* Style.style
  const isDebug = yield* Effect.orElseSucceed(Config.Boolean("DORMOUSE_DEBUG"), () => false)
  const message = messageOf(error)
  const isExpected = Cause.hasFails(cause)
  const text = isExpected ? message : `this is a fault of dormouse: ${message}; DORMOUSE_DEBUG=1 shows where`
  yield* Console.error(`${style.red("error")} ${text}`)
  if (isDebug) yield* Console.error(Cause.pretty(cause))
})

/** The message of an error in one line. */
const messageOf = (error: unknown): string => {
  const text = error instanceof Error ? error.message : String(error)
  return text.trim().split("\n")[0] ?? "it failed without a message"
}
