/**
 * What the command needs of the platform: files, paths, processes and the terminal, from Node.
 * The only other modules that use Node directly are those that load modules of the author's project.
 */
import * as NodeChildProcessSpawner from "@effect/platform-node-shared/NodeChildProcessSpawner"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import * as NodeStdio from "@effect/platform-node-shared/NodeStdio"
import * as NodeTerminal from "@effect/platform-node-shared/NodeTerminal"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliError from "effect/cli/CliError"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"

const files = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer)

/** What the terminal can do. On a machine for tests (`CI`) nothing moves and nothing is asked. */
const capabilities = Layer.effect(
  TerminalCapabilities.TerminalCapabilities,
  Effect.gen(function* () {
    const detected = yield* TerminalCapabilities.TerminalCapabilities.pipe(Effect.provide(TerminalCapabilities.layer))
    const ci = yield* Effect.orDie(Config.option(Config.String("CI")))
    const isUnattended = Option.exists(ci, (value) => value !== "" && value !== "0" && value !== "false")
    return isUnattended ? { ...detected, canAnimate: false, canPrompt: false } : detected
  })
)

/** `--help`, `--version` and `--completions` of every command. */
const builtIns = CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })

/** The services of all commands. */
export const layer = Layer.mergeAll(
  capabilities.pipe(Layer.provideMerge(NodeStdio.layer)),
  NodeChildProcessSpawner.layer.pipe(Layer.provideMerge(files)),
  NodeTerminal.layer,
  FetchHttpClient.layer,
  builtIns
)

/** 0; 1 for a failure, which was printed; 2 for a command line that is wrong; 130 after Ctrl-C. */
export const exitCode = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit)) return 0
  if (Cause.hasInterruptsOnly(exit.cause)) return 130
  const error = Cause.squash(exit.cause)
  if (CliError.isCliError(error)) return error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : 2
  return Runtime.getErrorExitCode(error)
}

/** Runs an effect as the whole process. A signal to stop interrupts it, so that its scopes are closed. */
export const runMain: <E, A>(effect: Effect.Effect<A, E>) => void = NodeRuntime.runMain({
  disableErrorReporting: true,
  // Modules of the author's may have left something open.
  teardown: (exit, onExit) => onExit(exitCode(exit))
})
