/// <reference types="node" />
import * as NodeChildProcessSpawner from "@effect/platform-node-shared/NodeChildProcessSpawner"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import * as NodeTerminal from "@effect/platform-node-shared/NodeTerminal"
import * as Cause from "effect/Cause"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Console from "effect/Console"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { adminCommands } from "../../src/cli/admin/Commands.ts"

/** How a command ended, and what it wrote. */
export interface Ended {
  readonly isSuccess: boolean
  readonly out: string
  readonly err: string
}

/** Where a command runs. */
export interface Surroundings {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  readonly isTerminal?: boolean
  /** The runtime's own unless given. */
  readonly fetch?: typeof globalThis.fetch
}

const platform = Layer.mergeAll(
  NodeChildProcessSpawner.layer.pipe(Layer.provideMerge(Layer.mergeAll(NodeFileSystem.layer, NodePath.layer))),
  NodeTerminal.layer
)

const globalConsole = Effect.runSync(Console.consoleWith(Effect.succeed))
const encoder = new TextEncoder()

const root = Command.make("dormouse").pipe(Command.withSubcommands(adminCommands))

/** Runs a command in this process, with real files and without a process of its own. */
export const command =
  ({ env = {}, fetch, input = "", isTerminal = false }: Surroundings) =>
  async (...args: ReadonlyArray<string>): Promise<Ended> => {
    let out = ""
    let err = ""
    const collect = (add: (text: string) => void) => () => {
      const take = (chunk: string | Uint8Array) =>
        Effect.sync(() => add(typeof chunk === "string" ? chunk : new TextDecoder().decode(chunk)))
      return Sink.forEach(take)
    }
    const toOut = (text: string) => {
      out += text
    }
    const toErr = (text: string) => {
      err += text
    }
    const line = (parts: ReadonlyArray<unknown>) => `${parts.join(" ")}\n`
    const console: Console.Console = Object.assign(Object.create(globalConsole), {
      log: (...parts: ReadonlyArray<unknown>) => toOut(line(parts)),
      error: (...parts: ReadonlyArray<unknown>) => toErr(line(parts))
    })
    const stdio = Stdio.make({
      args: Effect.succeed(args),
      stdin: Stream.make(encoder.encode(input)),
      stdout: collect(toOut),
      stderr: collect(toErr),
      stdoutIsTerminal: Effect.succeed(isTerminal),
      stderrIsTerminal: Effect.succeed(isTerminal)
    })
    let running = Command.runWith(root, { version: "0" })(args).pipe(
      Effect.provideService(Stdio.Stdio, stdio),
      Effect.provideService(Console.Console, console),
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env })),
      Effect.provide(platform)
    )
    if (fetch !== undefined) running = Effect.provideService(running, FetchHttpClient.Fetch, fetch)
    const exit = await Effect.runPromiseExit(running)
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
    // As the main program does; `effect/cli` has printed its own.
    if (error instanceof Error && !CliError.isCliError(error)) err += `${error.message}\n`
    return { isSuccess: Exit.isSuccess(exit), out, err }
  }
