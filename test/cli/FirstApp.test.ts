/// <reference types="node" />
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Accounts } from "../../src/accounts-client.ts"
import { Client } from "../../src/client.ts"
import { Bucket } from "../../src/files.ts"
import { Uploads } from "../../src/files-client.ts"
import { Api, Mutation, Query } from "../../src/index.ts"
import { packed } from "../packed.ts"
import { isLong } from "../random.ts"
import { cleanEnv, patient, root, run, scratch, shown, start, until } from "./command.ts"
import { install, killGroups } from "./project.ts"

/**
 * docs/your-first-app.md from an empty folder, with the package as it is published: each file is written and each command is run, as
 * the page says. The packages are those of this repository; the long version installs them with the page's own commands. What needs an
 * account of Cloudflare is left out, and the deployment is a dry run.
 */

const page = readFileSync(join(root, "docs/your-first-app.md"), "utf8")
const blocks = [...page.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language, text]) => ({
  language: language!,
  text: text!
}))
/** The commands of the page, line by line. */
const commands = blocks.filter(({ language }) => language === "sh").flatMap(({ text }) => text.trim().split("\n"))
/** What needs an account. */
const remote = /^(npx wrangler (login|r2)|openssl rand .*wrangler secret put)/

const home = scratch()
const folder = join(home, "lost-and-found")
const started = new Set<number>()
let command: string

/** Runs a command of the page. */
const shell = (line: string): string => {
  expect(commands).toContain(line)
  return execFileSync("sh", ["-c", line], { cwd: folder, encoding: "utf8", env: cleanEnv(), stdio: "pipe" })
}

beforeAll(async () => {
  mkdirSync(folder)
  command = await install(home)
})
afterAll(() => killGroups(started))

describe("the first app of the pages", () => {
  it("is installed", async () => {
    shell("npm init -y")
    shell("npm pkg set type=module")
    const named = commands
      .filter((line) => line.startsWith("npm install "))
      .flatMap((line) => line.split(" ").slice(2))
      .filter((name) => !name.startsWith("-"))
    expect(named).toContain("effect-dormouse")
    for (const name of named) expect(existsSync(join(home, "node_modules", name)), name).toBe(true)
    if (!isLong) return
    const own = `effect-dormouse@file:${await packed()}`
    for (const line of commands.filter((line) => line.startsWith("npm install "))) {
      const replaced = line.replace("effect-dormouse", own)
      execFileSync("sh", ["-c", replaced], { cwd: folder, env: cleanEnv(), stdio: "pipe" })
    }
    command = join(folder, "node_modules/effect-dormouse/dist/cli.js")
  })

  it("has the files of the page", () => {
    const written = blocks.flatMap(({ text }) => {
      const [, path] = /^(?:\/\/|<!--) write: (\S+)/.exec(text) ?? []
      return path === undefined ? [] : [{ path, text: text.slice(text.indexOf("\n") + 1) }]
    })
    for (const { path, text } of written) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    expect(written.map(({ path }) => path)).toEqual(
      expect.arrayContaining(["tsconfig.json", "wrangler.jsonc", "src/worker.ts", "test/lost.test.ts", "index.html"])
    )
  })

  it("CL2: type-checks, and passes its tests", () => {
    const bin = (line: string) => {
      expect(commands).toContain(line)
      const [, name, ...args] = line.split(" ")
      const path = { tsc: "typescript/bin/tsc", vitest: "vitest/vitest.mjs" }[name!]!
      return run([join(root, "node_modules", path), ...args, ...(name === "vitest" ? patient : [])], { cwd: folder })
    }
    return Promise.all([bin("npx tsc"), bin("npx vitest run")]).then(([types, tests]) => {
      expect(types.stdout).toBe("")
      expect(types.code).toBe(0)
      expect(tests.code, tests.stdout + tests.stderr).toBe(0)
      expect(tests.stdout).toContain("3 passed")
    })
  })

  it("runs: somebody gets an account, reports what was found with a photo, and everybody sees it", async () => {
    for (const line of commands.filter((line) => /^(echo|printf)/.test(line))) shell(line)
    expect(readFileSync(join(folder, ".dev.vars"), "utf8")).toMatch(/^ACCOUNTS_SECRET=.{40,}/)
    expect(commands).toContain("npx dormouse dev")
    const { child, ended, output } = start([command, "dev", "--port", "0"], { cwd: folder })
    started.add(child.pid!)
    const url = await until(
      () => `a URL in ${shown(output)}`,
      () => /local\s+(http\S+?)\/?\s/.exec(output.stdout)?.[1]
    )
    expect(await (await fetch(url)).text()).toContain("<h1>Lost and found</h1>")
    // What the page's own contract says, as far as this test calls it.
    const Item = Schema.Struct({ text: Schema.String, photo: Schema.NullOr(Schema.String), isMine: Schema.Boolean })
    class LostApi extends Api.make(
      Query.make("items.list", { payload: {}, success: Schema.Array(Item) }),
      Mutation.make("items.report", {
        payload: { text: Schema.String, photo: Schema.NullOr(Bucket.FileRef) },
        success: Schema.String
      }),
      Mutation.make("photos.begin", { payload: { file: Bucket.NewFile }, success: Bucket.Upload })
    ) {}
    const lists = await Effect.gen(function* () {
      const accounts = yield* Client.make(Accounts.AccountsApi, { url })
      const stored = new Map<string, string>()
      const session = yield* Accounts.session(accounts, {
        getItem: (key) => stored.get(key) ?? null,
        setItem: (key, value) => void stored.set(key, value),
        removeItem: (key) => void stored.delete(key)
      })
      const finder = yield* Client.make(LostApi, { url, token: session.token })
      const visitor = yield* Client.make(LostApi, { url })
      const photo = new Blob(["the bytes of a photo"], { type: "image/png" })
      const report = Effect.gen(function* () {
        const file = { name: "umbrella.png", type: photo.type, bytes: photo.size }
        const upload = yield* finder.mutate("photos.begin", { file })
        yield* Stream.runDrain(Uploads.send(upload, photo, { url }))
        yield* finder.mutate("items.report", { text: "an umbrella", photo: upload.file })
      })
      const found = yield* visitor.live("items.list", {}).pipe(
        Stream.tap((items) => (items.length === 0 ? report : Effect.void)),
        Stream.take(2),
        Stream.runCollect
      )
      const response = yield* Effect.promise(() => fetch(`${url}${found[1]?.[0]?.photo}`))
      expect(yield* Effect.promise(() => response.text())).toBe("the bytes of a photo")
      return found
    }).pipe(Effect.scoped, Effect.runPromise)
    expect(lists[0]).toEqual([])
    expect(lists[1]).toMatchObject([{ text: "an umbrella", isMine: false }])
    process.kill(child.pid!, "SIGINT")
    expect(await ended).toBe(130)
  })

  it("CL6: can be deployed", async () => {
    expect(commands).toContain("npx dormouse deploy")
    expect(commands.filter((line) => remote.test(line))).toHaveLength(3)
    const env = { WRANGLER_SEND_METRICS: "false" }
    const { code, stderr, stdout } = await run([command, "deploy", "--dry-run"], { cwd: folder, env })
    expect(code, stdout + stderr).toBe(0)
    expect(stdout).toContain("--dry-run: exiting now")
  })
})
