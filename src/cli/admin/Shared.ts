/**
 * What the commands on a running app share: where it is, the key, the tenant, and how they fail.
 * All of them write through `Stdio`, so that tests run them without a process.
 */
import * as Config from "effect/Config"
import * as Flag from "effect/cli/Flag"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as AdminClient from "../../admin/AdminClient.ts"
import { CallError } from "../../protocol/CallError.ts"
import { tenantNamePattern } from "../../system/Names.ts"

/** A command failed. The message is for whoever ran it: the main program prints it. */
export class CommandFailed extends Data.TaggedError("CommandFailed")<{ readonly message: string }> {}

/** Where the app is, and the key: flags of every command. */
export const connection = {
  url: Flag.String("url").pipe(
    Flag.withDescription("Where the app runs; or DORMOUSE_URL"),
    Flag.withFallbackConfig(Config.String("DORMOUSE_URL").pipe(Config.withDefault("http://localhost:8787")))
  ),
  key: Flag.Redacted("key").pipe(
    Flag.withDescription("The admin key; or DORMOUSE_KEY, which other users of this machine cannot read"),
    Flag.withFallbackConfig(Config.Redacted("DORMOUSE_KEY")),
    Flag.optional
  )
} as const

/** The values of `connection`. */
export interface Connection {
  readonly url: string
  readonly key: Option.Option<Redacted.Redacted>
}

/** The name of a tenant, as a flag or an argument gives it: others are refused before anything is sent. */
const isTenant = (name: string): boolean => tenantNamePattern.test(name)

/** Refuses a name that no tenant can have. */
export const checkTenant = (name: string): Effect.Effect<string, CommandFailed> =>
  isTenant(name) ? Effect.succeed(name) : Effect.fail(new CommandFailed({ message: `no tenant can be named ${name}` }))

/** The tenant. */
export const tenant = Flag.String("tenant").pipe(
  Flag.withAlias("t"),
  Flag.withDescription("The tenant"),
  Flag.withDefault("main"),
  Flag.filter(isTenant, () => "the name of a tenant: letters, digits and _ . -")
)

/** Attempts of a call that can be repeated. */
const retries = Schedule.exponential("200 millis").pipe(Schedule.upTo({ times: 5 }))

/** Whether a call may succeed when it is repeated: the server was not reached, or could not answer. */
const isTransient = (error: unknown): boolean =>
  error instanceof AdminClient.AdminUnreachable
    ? error.status === undefined || error.status >= 500
    : error instanceof CallError && error.isRetryable

/** Repeats a call that changes nothing when it has run before. */
export const repeatable = <A, E, R>(call: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.retry(call, { schedule: retries, while: isTransient })

/** A client of the app. */
export const connect = Effect.fnUntraced(function* ({ key, url }: Connection) {
  if (Option.isNone(key)) {
    return yield* new CommandFailed({ message: "give the admin key: --key, or the variable DORMOUSE_KEY" })
  }
  if (!URL.canParse(url)) return yield* new CommandFailed({ message: `${url} is not a URL` })
  return yield* AdminClient.make({ url, key: key.value })
}, Effect.provide(FetchHttpClient.layer))

/** Runs a command: its failures become messages. */
export const runCommand = <A, E extends { readonly message: string }, R>(command: Effect.Effect<A, E, R>) =>
  Effect.mapError(command, ({ message }) => new CommandFailed({ message }))

/** Writes text to the standard output, as it is. */
export const print = (text: string) =>
  Effect.flatMap(Stdio.Stdio, (stdio) => Stream.run(Stream.make(text), stdio.stdout({ endOnDone: false })))

/** Writes text to the standard error output, as it is. */
export const note = (text: string) =>
  Effect.flatMap(Stdio.Stdio, (stdio) => Stream.run(Stream.make(text), stdio.stderr({ endOnDone: false })))

/** A file that a command reads more than once, by its path, and the name that it has in messages. */
export interface Source {
  readonly path: string
  readonly name: string
}

/** A file; for `-` the standard input, which is kept in a temporary one while the command runs. */
export const sourceOf = Effect.fnUntraced(function* (file: string) {
  if (file !== "-") return { path: file, name: file }
  const fs = yield* FileSystem.FileSystem
  const path = yield* fs.makeTempFileScoped({ prefix: "dormouse-" })
  yield* Effect.flatMap(Stdio.Stdio, ({ stdin }) => Stream.run(stdin, fs.sink(path)))
  return { path, name: "the standard input" }
})

/** The standard input as text. */
export const readInput = Effect.flatMap(Stdio.Stdio, ({ stdin }) => Stream.mkString(Stream.decodeText(stdin)))
