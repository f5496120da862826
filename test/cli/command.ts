/// <reference types="node" />
/**
 * Runs the command as a process of its own, from the sources.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath, URL } from "node:url"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { afterAll } from "vitest"
import * as Main from "../../src/cli/Main.ts"
import * as Platform from "../../src/cli/Platform.ts"

export const root = fileURLToPath(new URL("../..", import.meta.url))

/** The command from the sources, as arguments of Node. */
export const fromSources = ["--conditions=source", join(root, "src/cli.ts")]

/** A folder that is deleted after the tests of the file. */
export const scratch = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "dormouse-cli-"))
  afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

export interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Without what a terminal, a machine for tests or another package manager would change. */
export const cleanEnv = (env: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv => {
  const {
    CI: _,
    FORCE_COLOR: __,
    NO_COLOR: ___,
    npm_config_user_agent: ____,
    VITEST: _____,
    NODE_ENV: ______,
    ...rest
  } = process.env
  return { ...rest, ...env }
}

/** Starts Node with these arguments. */
export const start = (
  args: ReadonlyArray<string>,
  { cwd, env = {}, node = process.execPath }: { cwd: string; env?: Record<string, string>; node?: string }
) => {
  const child = spawn(node, args, { cwd, env: cleanEnv(env), stdio: ["ignore", "pipe", "pipe"], detached: true })
  const output = { stdout: "", stderr: "" }
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text))
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text))
  return { child, output, ended: ended(child) }
}

/** What a process wrote, for the message of a failure. */
export const shown = ({ stderr, stdout }: { readonly stdout: string; readonly stderr: string }) =>
  JSON.stringify({ stdout: stdout.slice(-3000), stderr: stderr.slice(-3000) })

/** Arguments of a Vitest of an app, whose tests take as long as they do on a machine that is busy with something else. */
export const patient = ["--testTimeout=300000", "--hookTimeout=300000"]

/** Runs Node with these arguments until it ends. */
export const run = async (args: ReadonlyArray<string>, options: Parameters<typeof start>[1]): Promise<Result> => {
  const { ended, output } = start(args, options)
  return { code: await ended, ...output }
}

/** Runs `dormouse` from the sources. */
export const dormouse = (args: ReadonlyArray<string>, cwd: string, env: Record<string, string> = {}): Promise<Result> =>
  run([...fromSources, ...args], { cwd, env })

const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code) => resolve(code))
  })

/** Looks again and again until there is something. */
export const until = async <A>(
  what: string | (() => string),
  look: () => A | undefined | Promise<A | undefined>
): Promise<A> => {
  const end = performance.now() + 120_000
  while (performance.now() < end) {
    const found = await look()
    if (found !== undefined) return found
    await setTimeout(100)
  }
  throw new Error(`${typeof what === "string" ? what : what()} did not happen`)
}

/** Runs `dormouse` in this process, where it is faster: without a terminal, in the current folder. */
export const inProcess = async (args: ReadonlyArray<string>, env: Record<string, string> = {}): Promise<Result> => {
  const output = { stdout: "", stderr: "" }
  const writer =
    (name: keyof typeof output) =>
    (...parts: ReadonlyArray<unknown>) => {
      output[name] += `${parts.join(" ")}\n`
    }
  const captured = { ...console, log: writer("stdout"), error: writer("stderr") }
  const exit = await Main.run(args).pipe(
    Effect.provide(Platform.layer),
    Effect.provideService(Console.Console, captured),
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(env)),
    Effect.runPromiseExit
  )
  return { code: Platform.exitCode(exit), ...output }
}
