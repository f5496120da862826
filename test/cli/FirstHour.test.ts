/// <reference types="node" />
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Client } from "../../src/client.ts"
import { AppApi } from "../../templates/minimal/src/api.ts"
import { packed } from "../packed.ts"
import { isLong } from "../random.ts"
import { inProcess, patient, root, run, scratch, shown, start, until } from "./command.ts"
import { install, killGroups } from "./project.ts"

/**
 * Apps that `dormouse init` makes, with the package as it is published. The other packages are those of this repository; the
 * long version installs them.
 */

const home = scratch()
const command = join(home, "node_modules/effect-dormouse/dist/cli.js")
const started = new Set<number>()

const combinations = ["minimal", "chat", "kanban"].flatMap((template) =>
  [true, false].map((react) => ({ template, react, name: `${template}-${react ? "react" : "dom"}` }))
)
const tested = isLong ? combinations : combinations.slice(0, 1)

const make = (name: string, args: ReadonlyArray<string>) =>
  inProcess(["init", join(home, name), "--no-install", ...args], { DORMOUSE_PACKAGE: "file:effect-dormouse.tgz" })

beforeAll(() => install(home))

afterAll(() => killGroups(started))

const key = "a key of an operator, with 32 characters".replaceAll(" ", "-").replaceAll(",", "")

/** A plugin of Vite, as code, that fails at the first start as a port does that was taken meanwhile. */
const portTaken = `{
  name: "port-taken",
  configureServer: async () => {
    const { existsSync, writeFileSync } = await import("node:fs")
    if (existsSync("port-taken")) return
    writeFileSync("port-taken", "")
    throw new Error("listen EADDRINUSE: address already in use 127.0.0.1:9229")
  }
}`

/** Runs `dormouse` of the package in the folder of an app. */
const dormouse = (name: string, ...args: ReadonlyArray<string>) =>
  run([command, ...args], { cwd: join(home, name), env: { WRANGLER_SEND_METRICS: "false", DORMOUSE_KEY: key } })

/** A later version of the minimal app, whose tasks have a title and no text. */
const nextVersion = (options: string) => `
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Api, App, Query, Table } from "effect-dormouse"
class Task extends Model.Class<Task>("app/Task")({
  id: Table.key(Schema.String),
  title: Schema.String,
  done: Schema.Boolean,
  createdAt: Table.insertedAt
}) {}
const tasks = Table.make("tasks", Task, { key: "id", indexes: { byAge: ["createdAt"] }, ${options} })
class NextApi extends Api.make(Query.make("nothing", { payload: {} })) {}
export const app = App.make({
  api: NextApi,
  tables: [tasks],
  handlers: NextApi.toLayer({ nothing: () => Effect.void })
})
`

describe.each(tested)("the app $name", ({ name, react, template }) => {
  beforeAll(async () => {
    const { code, stdout } = await make(name, ["--template", template, react ? "--react" : "--no-react"])
    expect(code, stdout).toBe(0)
    expect(JSON.parse(readFileSync(join(home, name, "package.json"), "utf8")).dependencies["effect-dormouse"]).toBe(
      "file:effect-dormouse.tgz"
    )
  })

  it("CL2: passes its own tests", async () => {
    const vitest = join(root, "node_modules/vitest/vitest.mjs")
    const { code, stderr, stdout } = await run([vitest, "run", ...patient], { cwd: join(home, name) })
    expect(code, stdout + stderr).toBe(0)
  })

  // That of docs/your-first-app.md is built by every run: see `FirstApp.test.ts`.
  it.skipIf(!isLong)("CL2, CL6: type-checks, and is built for a deployment, which a dry run leaves out", async () => {
    const { code, stderr, stdout } = await dormouse(name, "deploy", "--dry-run")
    expect(code, stdout + stderr).toBe(0)
    expect(stdout).toContain("--dry-run: exiting now")
    expect(existsSync(join(home, name, "dist/client/index.html"))).toBe(true)
    expect(existsSync(join(home, name, "dormouse.contract.json"))).toBe(false)
  })
})

describe("an app that is edited", () => {
  const name = "minimal-react"
  beforeAll(async () => {
    // The same app as above: nothing is made again if it is there.
    expect((await make(name, [])).code).toBe(0)
  })

  /** Changes a file. With a gap, in milliseconds, it is empty for so long. Returns how long it was empty. */
  const edit = (file: string, change: (text: string) => string, gap = 0) => {
    const path = join(home, name, file)
    const text = change(readFileSync(path, "utf8"))
    const start = performance.now()
    if (gap > 0) {
      writeFileSync(path, "")
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, gap)
    }
    writeFileSync(path, text)
    return performance.now() - start
  }

  it("CL2, CL5, CL6, AD14: runs, says what a start would do, is live after an edit, goes on after a mistake, and leaves nothing behind", async () => {
    edit("src/worker.ts", (text) =>
      `import * as Config from "effect/Config"\nimport { Admin } from "effect-dormouse/admin"\n${text}`.replace(
        "serve(app, {",
        'serve(app, {\n  admin: Admin.make({ key: Config.Redacted("DORMOUSE_KEY") }),'
      )
    )
    writeFileSync(join(home, name, ".dev.vars"), `DORMOUSE_KEY="${key}"\n`)
    // Another app takes the port of the debugger before this one opens it.
    edit("vite.config.ts", (text) => text.replace("plugins: [", `plugins: [${portTaken}, `))
    edit("src/handlers.ts", (text) => `${text}\nexport const mistake = (`)
    const { child, ended, output } = start([command, "dev", "--port", "0"], { cwd: join(home, name) })
    started.add(child.pid!)
    await until("the mistake at the start", () => (output.stdout.includes("It starts when") ? true : undefined))
    expect(output.stderr).toMatch(/src\/handlers\.ts:\d+/)
    expect(output.stdout).toContain("Another program took a port meanwhile: it starts again.")
    edit("src/handlers.ts", (text) => text.replace("\nexport const mistake = (", ""))
    const url = await until(
      () => `a URL in ${shown(output)}`,
      () => /local\s+(http\S+?)\/?\s/.exec(output.stdout)?.[1]
    )
    // The page and the Worker answer at one address.
    expect(await (await fetch(url)).text()).toContain("/src/page/main.tsx")

    const texts = await Effect.gen(function* () {
      const client = yield* Client.make(AppApi, { url })
      return yield* client.live("tasks.list", {}).pipe(
        Stream.map((tasks) => tasks.map(({ text }) => text)),
        Stream.tap((texts) => (texts.length === 0 ? client.mutate("tasks.add", { text: "first" }) : Effect.void)),
        Stream.take(2),
        Stream.runCollect
      )
    }).pipe(Effect.scoped, Effect.timeout("2 minutes"), Effect.runPromise, (promise) =>
      promise.catch((cause) => Promise.reject(new Error(`no live message after ${shown(output)}`, { cause })))
    )
    expect(texts).toEqual([[], ["first"]])
    await until("the state of the tenant", () => (output.stdout.includes("1 row in 1 table") ? true : undefined))

    // What a start of a version would do, before it is deployed.
    const plan = (app: string) =>
      dormouse(name, "check", "--no-types", "--no-compare", "--app", app, "--url", url, "--tenants", "main,new")
    const same = await plan("src/app.ts")
    expect([same.code, same.stdout], same.stderr).toEqual([
      0,
      expect.stringMatching(/^no change {2}tenant main\nchanges {2}tenant new\n {2}CREATE TABLE "tasks"/)
    ])
    writeFileSync(join(home, name, "renamed.ts"), nextVersion('renamedFrom: { columns: { title: "text" } }'))
    const renamed = await plan("renamed.ts")
    expect(renamed.code, renamed.stdout + renamed.stderr).toBe(0)
    expect(renamed.stdout).toContain(
      'changes  tenant main\n  table tasks: column text becomes title\n  ALTER TABLE "tasks" RENAME COLUMN "text" TO "title"'
    )
    writeFileSync(join(home, name, "refused.ts"), nextVersion('dropped: ["text"]'))
    const refused = await plan("refused.ts")
    expect(refused.code, refused.stdout + refused.stderr).toBe(1)
    expect(refused.stdout).toContain(
      "refused  tenant main: the start would be refused, and the data stay as they are\n" +
        "  table tasks, column title: is new and required, and the rows that exist have no value for it\n  → make it optional"
    )
    const kept = await dormouse(
      name,
      "deploy",
      "--dry-run",
      ...["--app", "refused.ts", "--url", url, "--tenants", "main"]
    )
    expect([kept.code, kept.stderr], kept.stdout).toEqual([
      1,
      expect.stringContaining("the start of some tenants would be refused (see above)")
    ])
    expect(kept.stdout).not.toContain("--dry-run: exiting now")
    const missing = await dormouse(name, "check", "--no-types", "--no-compare", "--url", url, "--all-tenants")
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining("the app has no registry of tenants")])

    const add = (text: string) =>
      Effect.gen(function* () {
        const client = yield* Client.make(AppApi, { url })
        return (yield* client.mutate("tasks.add", { text })).text
      }).pipe(Effect.scoped, Effect.timeout("10 seconds"), Effect.runPromise, (promise) =>
        promise.catch(() => undefined)
      )
    /** Waits until a task that is added gets this text. */
    const adds = (what: string, text: string) =>
      until(
        () => `${what} after ${shown(output)}`,
        async () => ((await add("a")) === text ? true : undefined)
      )
    const suffix = (mark: string) => (text: string) =>
      text.replace(/insert\(\{ text.*?,/, `insert({ text: text + "${mark}",`)
    let read = { stdout: 0, stderr: 0 }
    /** What was printed since it was called last. */
    const printed = () => {
      const { stdout, stderr } = output
      const text = `${stdout.slice(read.stdout)}\n${stderr.slice(read.stderr)}`
      read = { stdout: stdout.length, stderr: stderr.length }
      return text
    }
    const checked = [printed()]
    // An editor that empties the file before it writes it.
    for (const mark of ["1", "2", "3"]) {
      const gap = edit("src/handlers.ts", suffix(mark), 3)
      await adds(`edit ${mark}`, `a${mark}`)
      const text = printed()
      // The platform reports a file that was empty for longer.
      if (gap < 20) checked.push(text)
    }
    edit("src/handlers.ts", suffix("!"))
    await adds("the edit", "a!")

    edit("src/handlers.ts", (text) => `${text}\nexport const mistake = (`)
    const reported = () => [...`${output.stdout}${output.stderr}`.matchAll(/src\/handlers\.ts:\d+/g)].length
    await until("the mistake after the start", () => (reported() > 1 ? true : undefined))
    edit("src/handlers.ts", (text) => text.replace("\nexport const mistake = (", "").replace('"!"', '"?"'))
    await adds("the correction", "a?")
    expect([...checked, printed()].join("\n")).not.toMatch(/^\s+at /m)

    const children = processesOf(child.pid!)
    expect(children.some((line) => line.includes("workerd"))).toBe(true)
    process.kill(child.pid!, "SIGINT")
    await until(
      () => `the end after ${shown(output)}`,
      () => child.exitCode ?? undefined
    )
    expect(await ended).toBe(130)
    await until("the end of workerd", () => (processesOf(child.pid!).length === 0 ? true : undefined))
  })

  it("CL4, CL5: a port that stays taken is said after some starts, and ends it", async () => {
    rmSync(join(home, name, "port-taken"))
    const folder = join(home, name)
    const last = await run([command, "dev", "--port", "0"], { cwd: folder, env: { DORMOUSE_DEV_STARTS: "8" } })
    expect([last.code, last.stderr.trim()]).toEqual([
      1,
      "error listen EADDRINUSE: address already in use 127.0.0.1:9229; " +
        "end the program that has the port, or choose another port in the Vite config"
    ])
  })

  it("CL6: is not deployed when a type is wrong, or when old clients may break", async () => {
    const saved = await dormouse(name, "check", "--save", "--no-types")
    expect(saved.code, saved.stdout + saved.stderr).toBe(0)
    expect(existsSync(join(home, name, "dormouse.contract.json"))).toBe(true)
    edit("src/schema.ts", (text) => text.replace("isBetweenLength(1, 200)", "isBetweenLength(1, 100)"))
    const checked = await dormouse(name, "check", "--no-types")
    expect(checked.code).toBe(1)
    expect(checked.stdout).toContain(
      "breaking  tasks.add › payload › text: the new version requires at most 100 characters"
    )
    const refused = await dormouse(name, "deploy", "--dry-run")
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain("old clients may break (see above); keep what they need")
    expect(refused.stdout).not.toContain("--dry-run: exiting now")
    edit("src/schema.ts", (text) => text.replace("isBetweenLength(1, 100)", "isBetweenLength(1, 200)"))

    edit("src/app.ts", (text) => `${text}\nexport const wrong: number = "text"\n`)
    const wrong = await dormouse(name, "deploy", "--dry-run")
    expect(wrong.code).toBe(1)
    expect(wrong.stdout).toContain("src/app.ts")
    expect(wrong.stderr).toContain("the project has type errors (see above)")
    edit("src/app.ts", (text) => text.replace('\nexport const wrong: number = "text"\n', ""))
  })

  it.each([
    [
      "an app that is not there",
      ["check", "--no-types", "--app", "src/none.ts"],
      "there is no src/none.ts; name the module"
    ],
    [
      "a module without an app",
      ["check", "--no-types", "--app", "src/schema.ts"],
      "src/schema.ts exports no app; export it as"
    ],
    ["a Worker", ["check", "--no-types", "--app", "src/worker.ts"], "keep what imports cloudflare:workers out of it"],
    [
      "a contract that is none",
      ["check", "--no-types", "--contract", "package.json"],
      "is not the contract of a release"
    ]
  ])("CL4: %s is refused in one sentence", async (_, args, message) => {
    const { code, stderr } = await dormouse(name, ...args)
    expect(code).toBe(1)
    expect(stderr).toContain(message)
    expect(stderr.trim().split("\n")).toHaveLength(1)
  })
})

/** The processes of a group. */
const processesOf = (group: number): ReadonlyArray<string> =>
  spawnSync("ps", ["-eo", "pgid=,args="], { encoding: "utf8" })
    .stdout.split("\n")
    .filter((line) => Number(line.trim().split(/\s+/)[0]) === group)

describe("the package", () => {
  /** The Node of this machine, not the one of this repository. */
  const nodes = (process.env["PATH"] ?? "")
    .split(":")
    .filter((folder) => !folder.includes("node_modules"))
    .map((folder) => join(folder, "node"))
    .filter(existsSync)

  it.skipIf(nodes.length === 0)("runs on the Node of this machine", async () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    const { code, stderr, stdout } = await run([command, "--version"], { cwd: home, node: nodes[0]! })
    expect([code, stderr]).toEqual([0, ""])
    expect(stdout).toContain(version)
  })

  it.skipIf(!isLong).each(["minimal", "chat", "kanban"])("%s is installed from the registry", async (template) => {
    const folder = scratch()
    const tarball = await packed()
    const result = await inProcess([
      "init",
      join(folder, "app"),
      "--template",
      template,
      "--dormouse",
      `file:${tarball}`
    ])
    expect(result.code, result.stderr).toBe(0)
    const bin = join(folder, "app/node_modules/.bin/dormouse")
    expect(existsSync(bin)).toBe(true)
    const checked = await run([bin, "check"], { cwd: join(folder, "app") })
    expect(checked.code, checked.stdout + checked.stderr).toBe(0)
    expect(dirname(bin)).toContain("app")
  })
})
