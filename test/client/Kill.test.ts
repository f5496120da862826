/// <reference types="node" />
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { Client, DeviceStatus } from "effect-dormouse/client"
import * as Esbuild from "esbuild"
import { afterAll, expect, it } from "vitest"
import { ChatApi } from "../../examples/chat/api.ts"
import { type ChannelId, Message, type MessageId } from "../../examples/chat/schema.ts"
import { Random } from "../random.ts"

/** Kills the server's process in the middle of writes, repeatedly. */

const kills = 20

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number }
      server.close(() => resolve(port))
    })
  })

/** Bundles the chat's Worker into one module. */
const bundle = async (file: string): Promise<void> => {
  await Esbuild.build({
    entryPoints: [fileURLToPath(new URL("../../examples/chat/worker.ts", import.meta.url))],
    outfile: file,
    bundle: true,
    format: "esm",
    target: "es2024",
    conditions: ["source", "workerd", "worker", "browser"],
    external: ["cloudflare:*"],
    logLevel: "silent"
  })
  // esbuild runs as a process of its own, which would keep waiting for more to bundle.
  await Esbuild.stop()
}

const started: Array<ChildProcess> = []
afterAll(() => {
  for (const child of started) endGroup(child)
})

/** Starts the chat's server as the leader of a process group. Resolves when it listens. */
const start = (port: number, data: string, worker: string): Promise<ChildProcess> =>
  new Promise((resolve, reject) => {
    const script = fileURLToPath(new URL("chatProcess.ts", import.meta.url))
    const child = spawn(process.execPath, [script, String(port), data, worker], {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"]
    })
    started.push(child)
    let log = ""
    const listen = (chunk: Buffer) => {
      log += chunk
      if (log.includes("listening at")) resolve(child)
    }
    child.stdout.on("data", listen)
    child.stderr.on("data", listen)
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${log}`)))
    setTimeout(() => reject(new Error(`the server did not start: ${log}`)), 20_000).unref()
  })

const endGroup = (child: ChildProcess): boolean =>
  child.exitCode === null && child.signalCode === null && process.kill(-child.pid!, "SIGKILL")

/** Kills the process and everything it started, and waits until its port is free. */
const kill = async (child: ChildProcess, port: number): Promise<void> => {
  const ended = new Promise((resolve) => child.once("exit", resolve))
  if (endGroup(child)) await ended
  while (!(await isFree(port))) await new Promise((resolve) => setTimeout(resolve, 10))
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer()
    probe.once("error", () => resolve(false))
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)))
  })

/** A device that reports when a retry is worthwhile, so that the test need not wait for the clients' delays. */
const device = () => {
  const listeners = new Set<(signal: "offline" | "wake") => void>()
  const status: DeviceStatus = {
    isOnline: () => true,
    listen: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    }
  }
  return {
    status,
    wake: () => {
      for (const listener of [...listeners]) listener("wake")
    }
  }
}

it(`C7: ${kills} kills in the middle of writes lose no mutation and run none twice`, async () => {
  const data = mkdtempSync(join(tmpdir(), "dormouse-kill-"))
  const port = await freePort()
  const random = new Random(1)
  const worker = join(data, "worker.js")
  await bundle(worker)
  let server = await start(port, data, worker)
  const { status, wake } = device()

  const test = Effect.gen(function* () {
    const clients = yield* Effect.forEach(["p", "q", "r"], (name) =>
      Effect.map(
        Client.make(ChatApi, { url: `http://127.0.0.1:${port}` }).pipe(Effect.provideService(DeviceStatus, status)),
        (client) => ({ name, client })
      )
    )
    const { client: first } = clients[0]!
    const channels: ReadonlyArray<ChannelId> = yield* Effect.forEach(["one", "two"], (name) =>
      Effect.map(first.mutate("channels.create", { name }), ({ id }) => id)
    )
    const list = (channel: ChannelId) => ({ channel, limit: 1000 })
    const watched = clients.flatMap(({ client, name }) =>
      channels.map((channel) => {
        const observed = client.observe("messages.list", list(channel), () => {
          const { value } = observed.live()
          if (Option.isNone(value)) return
          const bodies = value.value.map(({ body }) => body)
          if (new Set(bodies).size < bodies.length) wrong.push(`${name} shows a message twice: ${bodies}`)
          for (const body of done) {
            if (body.startsWith(`${name} ${channel}`) && !bodies.includes(body)) wrong.push(`${name} lacks ${body}`)
          }
        })
        return { name, channel, observed }
      })
    )
    const wrong: Array<string> = []
    const done = new Set<string>()
    let isWriting = true
    const write = ({ client, name }: (typeof clients)[number]) =>
      Effect.gen(function* () {
        for (let i = 0; isWriting; i++) {
          const channel = channels[i % 2]!
          const body = `${name} ${channel} ${i}`
          const guess = new Message({
            id: body as MessageId,
            channel,
            author: name,
            body,
            sentAt: DateTime.makeUnsafe(0)
          })
          const sending = client.mutate(
            "messages.send",
            { channel, author: name, body },
            {
              timeout: "5 minutes",
              optimistic: (view) => view.update("messages.list", list(channel), (messages) => [guess, ...messages])
            }
          )
          yield* Effect.forkDetach(Effect.map(sending, () => void done.add(body)))
          sent.add(body)
          yield* Effect.sleep(100)
        }
      })
    const sent = new Set<string>()
    const writers = yield* Effect.forEach(clients, (client) => Effect.forkChild(write(client)))

    const isLive = () => watched.every(({ observed }) => observed.live().connection._tag === "Live")
    for (let i = 0; i < kills; i++) {
      yield* until("the clients are live", isLive)
      yield* Effect.sleep(random.int(300))
      yield* Effect.promise(() => kill(server, port))
      server = yield* Effect.promise(() => start(port, data, worker))
      wake()
    }
    isWriting = false
    yield* Effect.forEach(writers, (fiber) => Fiber.await(fiber))
    yield* until("every message is sent", () => done.size === sent.size)
    yield* until("the clients are live", isLive)
    yield* until("nothing is a guess", () => watched.every(({ observed }) => !observed.live().isOptimistic))

    expect(wrong).toEqual([])
    expect(sent.size).toBeGreaterThan(kills * 3)
    for (const channel of channels) {
      const rows = yield* first.query("messages.list", list(channel))
      const bodies = rows.map(({ body }) => body)
      expect(bodies.length).toBeLessThan(1000)
      expect([...bodies].sort()).toEqual([...sent].filter((body) => body.includes(channel)).sort())
      for (const { observed } of watched.filter((query) => query.channel === channel)) {
        expect(Option.getOrThrow(observed.live().value)).toEqual(rows)
      }
    }
    console.info(`${sent.size} messages of ${clients.length} clients`)
  })

  try {
    await Effect.runPromise(Effect.scoped(test))
  } finally {
    // Only the last one is still running; kill it first.
    for (const child of started.reverse()) await kill(child, port)
    rmSync(data, { recursive: true, force: true })
  }
}, 120_000)

const until = (what: string, condition: () => boolean): Effect.Effect<void> =>
  Effect.gen(function* () {
    while (!condition()) yield* Effect.sleep(10)
  }).pipe(
    Effect.timeoutOrElse({
      duration: "20 seconds",
      orElse: () => Effect.die(new Error(`timed out waiting until ${what}`))
    })
  )
