/**
 * Runs other programs: the package manager, the compiler, wrangler.
 * They end with the command that started them.
 */
import * as Effect from "effect/Effect"
import * as ChildProcess from "effect/process/ChildProcess"
import type * as ChildProcessSpawner from "effect/process/ChildProcessSpawner"
import * as Stream from "effect/Stream"
import { Failure } from "./Failure.ts"

/** How a program is run. */
export interface RunOptions {
  readonly folder: string
  readonly env?: Record<string, string>
}

/** The exit code of a program and what it has printed. */
export interface Output {
  readonly code: number
  readonly text: string
}

const notStarted = (program: string) => (cause: unknown) =>
  new Failure({ problem: `${program} could not be started`, remedy: `check that ${program} is installed`, cause })

/** Runs a program and collects what it prints. */
export const capture = (
  program: string,
  args: ReadonlyArray<string>,
  { env = {}, folder }: RunOptions
): Effect.Effect<Output, Failure, ChildProcessSpawner.ChildProcessSpawner> =>
  Effect.gen(function* () {
    const child = yield* ChildProcess.make(program, args, {
      cwd: folder,
      env,
      extendEnv: true,
      stdin: "ignore",
      forceKillAfter: "5 seconds"
    })
    const text = yield* child.all.pipe(Stream.decodeText(), Stream.mkString)
    return { code: yield* child.exitCode, text }
  }).pipe(Effect.scoped, Effect.mapError(notStarted(program)))

/** Runs a program in the terminal of this command, where it may ask. Gives its exit code. */
export const inherit = (
  program: string,
  args: ReadonlyArray<string>,
  { env = {}, folder }: RunOptions
): Effect.Effect<number, Failure, ChildProcessSpawner.ChildProcessSpawner> =>
  Effect.gen(function* () {
    const child = yield* ChildProcess.make(program, args, {
      cwd: folder,
      env,
      extendEnv: true,
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
      // A process group of its own could not read from the terminal.
      detached: false,
      forceKillAfter: "5 seconds"
    })
    return yield* child.exitCode
  }).pipe(Effect.scoped, Effect.mapError(notStarted(program)))

/** The last lines of a text. */
export const tail = (text: string, lines: number): string => text.trimEnd().split("\n").slice(-lines).join("\n")
