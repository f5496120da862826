/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { Client, DeviceStatus } from "effect-dormouse/client"
import { expect, it } from "vitest"
import { ChatApi } from "../../examples/minimal/api.ts"
import { type ChannelId, Message, type MessageId } from "../../examples/minimal/schema.ts"
import { WorkerdProcess } from "../deployment/workerd.ts"
import { isLong, Random, startSeed } from "../random.ts"

/** Kills the server's process in the middle of writes, repeatedly. */

const kills = isLong ? 20 : 5

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
  const random = new Random(startSeed())
  const server = await WorkerdProcess.start(fileURLToPath(new URL("../../examples/minimal/worker.ts", import.meta.url)))
  const { status, wake } = device()

  const test = Effect.gen(function* () {
    const clients = yield* Effect.forEach(["p", "q", "r"], (name) =>
      Effect.map(
        Client.make(ChatApi, { url: server.url }).pipe(Effect.provideService(DeviceStatus, status)),
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
          // A list has the last thousand: on a slow machine the server is away for long.
          while (sent.size - done.size > 60) yield* Effect.sleep(100)
        }
      })
    const sent = new Set<string>()
    const writers = yield* Effect.forEach(clients, (client) => Effect.forkChild(write(client)))

    const isLive = () => watched.every(({ observed }) => observed.live().connection._tag === "Live")
    for (let i = 0; i < kills; i++) {
      yield* until("the clients are live", isLive)
      const enough = sent.size + random.int(9)
      yield* until("more messages are sent", () => sent.size >= enough)
      yield* Effect.promise(() => server.kill())
      yield* Effect.promise(() => server.start())
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
    await server.close()
  }
}, 600_000)

const until = (what: string, condition: () => boolean): Effect.Effect<void> =>
  Effect.gen(function* () {
    while (!condition()) yield* Effect.sleep(10)
  }).pipe(
    Effect.timeoutOrElse({
      duration: "2 minutes",
      orElse: () => Effect.die(new Error(`timed out waiting until ${what}`))
    })
  )
