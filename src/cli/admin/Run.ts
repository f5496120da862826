/**
 * `dormouse run`: calls an rpc of the app's contract, in the name of a caller.
 * A result is printed as JSON; a failure is the command's own.
 */

import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import { Identity } from "../../contract/Auth.ts"
import { CommandFailed, connect, connection, print, readInput, runCommand, tenant } from "./Shared.ts"

const decodeJson = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Json))
const decodeCaller = Schema.decodeUnknownEffect(
  Schema.fromJsonString(
    Schema.Struct({ subject: Identity.fields.subject, claims: Schema.optionalKey(Identity.fields.claims) })
  )
)

const Exit = Schema.Union([
  Schema.Struct({ _tag: Schema.tag("Success"), value: Schema.optionalKey(Schema.Json) }),
  Schema.Struct({ _tag: Schema.tag("Failure"), cause: Schema.Array(Schema.Json) })
])
const decodeExit = Schema.decodeUnknownSync(Exit)

/** The error or the defect of a failure, as JSON. */
const failureOf = (cause: ReadonlyArray<Schema.Json>): string => {
  const reason = cause[0]
  if (typeof reason !== "object" || reason === null || Array.isArray(reason)) return JSON.stringify(cause)
  const error = "error" in reason ? reason["error"] : "defect" in reason ? reason["defect"] : reason
  return JSON.stringify(error)
}

const parse = <A, E>(what: string, decoded: Effect.Effect<A, E>) =>
  Effect.mapError(decoded, () => new CommandFailed({ message: `${what} is not what it should be: see --help` }))

/** The command. */
export const run = Command.make(
  "run",
  {
    rpc: Argument.String("rpc").pipe(Argument.withDescription("The tag of a query, a mutation or an action")),
    payload: Argument.String("json").pipe(
      Argument.withDescription("The payload as JSON; - reads it from the standard input"),
      Argument.withDefault("{}")
    ),
    ...connection,
    tenant,
    as: Flag.String("as").pipe(
      Flag.withDescription('The caller as JSON: {"subject": "ada", "claims": {}}; anonymous unless given'),
      Flag.optional
    )
  },
  ({ as, payload, rpc, tenant, ...connection }) =>
    Effect.gen(function* () {
      const text = payload === "-" ? yield* readInput : payload
      const json = yield* parse("the payload", decodeJson(text))
      const caller = yield* Effect.transposeOption(Option.map(as, (text) => parse("--as", decodeCaller(text))))
      const call = yield* connect(connection)
      const { exit, values } = yield* call("run", {
        tenant,
        tag: rpc,
        payload: json,
        ...(Option.isSome(caller) && { as: { claims: {}, ...caller.value } })
      })
      const indent = (yield* (yield* Stdio.Stdio).stdoutIsTerminal) ? 2 : 0
      for (const value of values) yield* print(`${JSON.stringify(value)}\n`)
      const ended = decodeExit(exit)
      if (ended._tag === "Failure") return yield* new CommandFailed({ message: failureOf(ended.cause) })
      // A stream has ended, and an rpc without a result has none.
      if (ended.value !== undefined && ended.value !== null)
        yield* print(`${JSON.stringify(ended.value, null, indent)}\n`)
    }).pipe(Effect.scoped, runCommand)
).pipe(
  Command.withDescription(
    "Call an rpc of the app's contract, in the name of any caller. Exits with 1 and the error when it fails."
  ),
  Command.withShortDescription("Call an rpc of the app"),
  Command.withExamples([
    { command: "dormouse run channels.list", description: "A query without a payload" },
    {
      command: `dormouse run messages.send '{"channel":"c1","body":"hello"}' --as '{"subject":"ada"}'`,
      description: "A mutation in the name of a caller"
    }
  ])
)
