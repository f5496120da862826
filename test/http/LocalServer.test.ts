/// <reference types="node" />
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import { afterAll, beforeAll, expect, it } from "vitest"
import { call, type Deployment } from "../deployment/Deployment.ts"
import { readEvents } from "../deployment/events.ts"

/** `examples/node` as a process: an Effect server with the routes of an app, over files of SQLite. */

const folder = mkdtempSync(join(tmpdir(), "dormouse-node-"))
const script = fileURLToPath(new URL("../../examples/node/start.ts", import.meta.url))

let server: ChildProcess
let url: string

const start = (): Promise<void> =>
  new Promise((resolve, reject) => {
    server = spawn(process.execPath, ["--conditions=source", script, folder], {
      env: { ...process.env, PORT: "0" },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let log = ""
    const listen = (chunk: Buffer) => {
      log += chunk
      const [, found] = /listening at (\S+)/.exec(log) ?? []
      if (found === undefined) return
      url = found
      resolve()
    }
    server.stdout!.on("data", listen)
    server.stderr!.on("data", listen)
    server.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${log}`)))
  })

/** Kills the process: nothing is closed. */
const kill = async (): Promise<void> => {
  const ended = new Promise((resolve) => server.once("exit", resolve))
  server.kill("SIGKILL")
  await ended
}

const unsupported = () => {
  throw new Error("a process does not do this")
}
const app: Deployment = {
  fetch: (path, init) => {
    // A connection that is kept may be closed already, when this process was busy.
    const headers = new Headers(init?.headers)
    headers.set("connection", "close")
    return fetch(`${url}${path}`, { ...init, headers })
  },
  connect: unsupported,
  protocol: unsupported,
  evict: unsupported,
  starts: unsupported,
  logged: unsupported
}

beforeAll(() => start())
afterAll(async () => {
  await kill()
  rmSync(folder, { recursive: true, force: true })
})

it("HT11: an app answers inside an Effect server on Node, beside a route of the server's", async () => {
  const { value } = await call(app, "main", "channels.create", { name: "general" })
  const sent = { channel: value.id, author: "ada", body: "hello" }
  expect(await call(app, "main", "messages.send", sent)).toMatchObject({ _tag: "Success" })
  expect(await (await app.fetch("/channels")).text()).toBe("general")
  const listed = await app.fetch(`/rpc/messages.list?channel=${value.id}&limit=10`)
  expect(await listed.json()).toMatchObject([{ body: "hello" }])
  const etag = listed.headers.get("etag")!
  const same = await app.fetch(`/rpc/messages.list?channel=${value.id}&limit=10`, {
    headers: { "if-none-match": etag }
  })
  expect(same.status).toBe(304)
  expect((await app.fetch("/rpc/nothing")).status).toBe(404)
  expect((await app.fetch("/nothing")).status).toBe(404)
  expect((await app.fetch("/rpc")).status).toBe(426)
})

it("HT11: a live query is a stream of events, and what was answered is there after a kill", async () => {
  const live = await readEvents(app, "other", "/rpc/live/channels.list")
  await expect.poll(() => live.events.map(({ data }) => data)).toEqual([[]])
  await call(app, "other", "channels.create", { name: "kept" })
  await expect.poll(() => live.events.at(-1)?.data).toMatchObject([{ name: "kept" }])
  await kill()
  await expect.poll(() => live.isEnded()).toBe(true)
  await start()
  const kept = await app.fetch("/rpc/channels.list?tenant=other")
  expect(await kept.json()).toMatchObject([{ name: "kept" }])
})

it("HT11: a name that no tenant can have makes no file, and names differ by their capital letters", async () => {
  for (const name of ["..", "../x", "~system", "a/b", "A b", "x".repeat(64)]) {
    expect([name, (await app.fetch(`/rpc/channels.list?tenant=${encodeURIComponent(name)}`)).status]).toEqual([
      name,
      404
    ])
  }
  await call(app, "Team", "channels.create", { name: "large" })
  await call(app, "team", "channels.create", { name: "small" })
  const files = readdirSync(folder).filter((name) => name.endsWith(".sqlite"))
  expect(files.toSorted()).toEqual(["+team.sqlite", "main.sqlite", "other.sqlite", "team.sqlite"])
  expect(await (await app.fetch("/rpc/channels.list?tenant=Team")).json()).toMatchObject([{ name: "large" }])
})
