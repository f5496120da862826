/// <reference types="node" />

/**
 * How long it takes from `dormouse init` to the first live message, with the package as it is published and with npm's cache
 * warm: once to warm it, then `runs` times into an empty folder. And how long an edit of the Worker takes to be live.
 *
 *     node --conditions=source bench/firstHour.ts [runs]
 */
import { spawn, spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath, URL } from "node:url"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Client } from "../src/client.ts"
import { AppApi } from "../templates/minimal/src/api.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const runs = Number(process.argv[2] ?? 3)
const folder = mkdtempSync(join(tmpdir(), "dormouse-first-hour-"))

const packed = spawnSync("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: root, encoding: "utf8" })
if (packed.status !== 0) throw new Error(packed.stderr)
const tarball = join(folder, packed.stdout.trim().split("\n").at(-1)!)

/** Adds a task and waits until a live query shows it. */
const firstMessage = (url: string) =>
  Effect.gen(function* () {
    const client = yield* Client.make(AppApi, { url })
    yield* client.live("tasks.list", {}).pipe(
      Stream.tap((tasks) => (tasks.length === 0 ? client.mutate("tasks.add", { text: "first" }) : Effect.void)),
      Stream.takeUntil((tasks) => tasks.length > 0),
      Stream.runDrain
    )
  }).pipe(Effect.scoped, Effect.runPromise)

/** Edits a handler, and calls it until the edit shows. */
const edited = async (url: string, file: string): Promise<number> => {
  const text = readFileSync(file, "utf8")
  const begun = performance.now()
  writeFileSync(file, text.replace(".take(500)", ".take(0)"))
  await Effect.gen(function* () {
    const client = yield* Client.make(AppApi, { url })
    while ((yield* client.query("tasks.list", {})).length > 0) yield* Effect.sleep("10 millis")
  }).pipe(Effect.scoped, Effect.runPromise)
  return performance.now() - begun
}

const once = async (name: string) => {
  const home = join(folder, name)
  const begun = performance.now()
  const seconds = () => Number(((performance.now() - begun) / 1000).toFixed(1))
  const command = ["--conditions=source", join(root, "src/cli.ts"), "init", home, "--dormouse", `file:${tarball}`]
  const made = spawnSync(process.execPath, command, { encoding: "utf8" })
  if (made.status !== 0) throw new Error(made.stdout + made.stderr)
  const installed = seconds()
  const bin = join(home, "node_modules/.bin/dormouse")
  const dev = spawn(process.execPath, [bin, "dev", "--port", "0"], { cwd: home, stdio: ["ignore", "pipe", "inherit"] })
  let output = ""
  dev.stdout.setEncoding("utf8").on("data", (text: string) => (output += text))
  try {
    let url: string | undefined
    while (url === undefined) {
      if (dev.exitCode !== null) throw new Error(output)
      await setTimeout(50)
      url = /local\s+(http\S+?)\/?\s/.exec(output)?.[1]
    }
    await firstMessage(url)
    const live = seconds()
    const edits = Math.round(await edited(url, join(home, "src/handlers.ts")))
    return { "init (s)": installed, "first live message (s)": live, "edit (ms)": edits }
  } finally {
    const end = new Promise((resolve) => dev.once("exit", resolve))
    dev.kill("SIGINT")
    await end
    rmSync(home, { recursive: true, force: true })
  }
}

try {
  await once("warm")
  const results = []
  for (let i = 0; i < runs; i++) results.push(await once(`run${i}`))
  console.table(results)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
