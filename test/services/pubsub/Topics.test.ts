import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import { App } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { Jobs } from "effect-dormouse/jobs"
import { Pubsub } from "effect-dormouse/pubsub"
import { describe, expect, it, vi } from "vitest"
import * as Patch from "../../../src/protocol/Patch.ts"
import { ping } from "../../../src/protocol/Ping.ts"
import { TopicReader } from "../../../src/services/pubsub/TopicReader.ts"
import { type Peer, post, request } from "../../deployment/Deployment.ts"
import { memory, turns } from "../../deployment/memory.ts"
import { forAllAsync, type Random, Violation } from "../../random.ts"
import { app, options, TopicsApi, TopicsHandlers } from "../../worker/topics.ts"
import { suite } from "./topicCases.ts"

suite("in memory", () => memory(app, options))

const tenant = "topics-own"

const opened = async (clock = TestClock.layer(), of: App.App<any> = app) => {
  const deployment = await memory(of, options, clock)
  const connect = (subject: string) => deployment.connect(tenant, "header", Auth.testToken({ subject }))
  const pass = async (millis: number) => {
    await deployment.run(TestClock.adjust(millis))
    await turns()
  }
  const call = (tag: string, payload: unknown) => post(deployment, tenant, JSON.stringify(request("1", tag, payload)))
  return { ...deployment, object: deployment.object(tenant), connect, pass, call }
}

/** The value of a live query, from its frames. */
const valueOf = (peer: Peer, id: string): any => {
  let value: any
  for (const frame of peer.items(id)) {
    value = frame._tag === "Snapshot" ? frame.value : Result.getOrThrow(Patch.apply(value, frame.ops))
  }
  peer.send({ _tag: "Ack", requestId: id })
  return value
}

const namesOf = (peer: Peer): ReadonlyArray<string> => valueOf(peer, "here").map(({ subject }: any) => subject)

describe("topics", () => {
  it("PS2: messages and changes of presence write no row", async () => {
    const { call, close, connect, object } = await opened()
    await call("join", { room: "a", subject: "ada" })
    const peer = await connect("ada")
    peer.send(request("r", "said", { room: "a" }), request("here", "live:here", { room: "a" }))
    await peer.itemsOf("here", 1)
    const written = () => object.database.prepare("SELECT total_changes() AS count").get()
    const before = written()
    for (let i = 0; i < 50; i++) {
      await call("say", { room: "a", texts: [`${i}`] })
      peer.send({ _tag: "Ack", requestId: "r" })
    }
    for (let i = 0; i < 10_000; i++) {
      peer.send(request(`j${i}`, "here.join", { key: { room: "a" }, state: { mood: `${i}` } }))
      peer.send({ _tag: "Interrupt", requestId: `j${i - 1}` })
      if (i % 100 === 0) await turns()
    }
    await expect.poll(() => peer.items("r").length).toBe(50)
    await expect.poll(() => valueOf(peer, "here")).toMatchObject([{ state: { mood: "9999" } }])
    expect(written()).toEqual(before)
    // The control: a row counts.
    await call("join", { room: "b", subject: "ada" })
    expect(written()).not.toEqual(before)
    await close()
  })

  it("PS10: who was not heard of for a while is gone, and an object in which nobody is sleeps", async () => {
    const jobs = App.make({
      api: TopicsApi,
      tables: app.tables,
      handlers: TopicsHandlers,
      pubsub: Pubsub.make(),
      jobs: Jobs.make()
    })
    for (const one of [app, jobs]) {
      const { close, connect, evict, object, pass } = await opened(TestClock.layer(), one)
      const [ada, bob, eve] = [await connect("ada"), await connect("bob"), await connect("eve")]
      eve.send(request("here", "live:here", { room: "a" }))
      for (const peer of [ada, bob]) peer.send(request("j", "here.join", { key: { room: "a" }, state: { mood: "" } }))
      await expect.poll(() => namesOf(eve)).toEqual(["ada", "bob"])
      for (let i = 0; i < 6; i++) {
        await evict(tenant)
        ada.sendText(ping)
        bob.sendText(ping)
        await pass(20_000)
      }
      expect(namesOf(eve)).toEqual(["ada", "bob"])
      // From now on nothing is heard of bob.
      for (let i = 0; i < 6; i++) {
        // Each start sets the alarm again, and must not postpone it, nor forget of whom was heard before.
        ada.sendText(JSON.stringify(request(`call ${i}`, "members", {})))
        await ada.exit(`call ${i}`)
        await evict(tenant)
        await pass(20_000)
      }
      await expect.poll(() => namesOf(eve)).toEqual(["ada"])
      expect(bob.closed).toMatchObject({ code: 1001 })
      ada.close()
      await expect.poll(() => namesOf(eve)).toEqual([])
      await pass(60_000)
      await evict(tenant)
      const { starts } = object
      await pass(3_600_000)
      expect(object.starts).toBe(starts)
      await close()
    }
  })

  it("PS8, PS9: a hundred that come, go and change at random, with evictions, are those of a model", () =>
    forAllAsync(3, async (random) => {
      const { close, connect, evict } = await opened()
      const watcher = await connect("watcher")
      watcher.send(request("here", "live:here", { room: "a" }))
      const peers = new Map<string, Peer>()
      const expected = new Map<string, string>()
      let requests = 0
      for (let step = 0; step < 300; step++) {
        const name = `user ${random.int(100)}`
        const peer = peers.get(name)
        if (peer === undefined || random.chance(0.3)) {
          const mood = `${random.int(1000)}`
          const joining = peer ?? (await connect(name))
          peers.set(name, joining)
          joining.send(request(`j${requests++}`, "here.join", { key: { room: "a" }, state: { mood } }))
          expected.set(name, mood)
        } else if (random.chance(0.6)) {
          peer.close()
          peers.delete(name)
          expected.delete(name)
        }
        if (random.chance(0.05)) await evict(tenant)
        if (random.chance(0.1)) watcher.send({ _tag: "Ack", requestId: "here" })
      }
      const seen = () => new Map(valueOf(watcher, "here").map(({ state, subject }: any) => [subject, state.mood]))
      await expect.poll(() => [...seen()].sort()).toEqual([...expected].sort())
      await close()
    }))
})

describe("topics at random", () => {
  /** Publishes, acknowledges and evicts at random. What a reader got and what it was told that it missed must be everything. */
  const history = async (random: Random) => {
    const { call, close, connect, evict } = await opened()
    const readers: Array<{ readonly peer: Peer; readonly from: number; acknowledged: number }> = []
    let published = 0
    const publish = async () => {
      const count = 1 + random.int(4)
      const numbers = Array.from({ length: count }, () => published++)
      await call("say", { room: "a", texts: numbers.map(String) })
    }
    const acknowledge = (reader: (typeof readers)[number]) => {
      const chunks = reader.peer.messages.filter(({ _tag }) => _tag === "Chunk").length
      for (; reader.acknowledged < chunks; reader.acknowledged++) reader.peer.send({ _tag: "Ack", requestId: "r" })
    }
    for (let step = 0; step < 150; step++) {
      const reader = readers.length > 0 ? random.pick(readers) : undefined
      if (reader === undefined || (readers.length < 4 && random.chance(0.1))) {
        // What was published just before may still be on its way, and a new reader would get it.
        await turns()
        const peer = await connect("ada")
        peer.send(request("r", "said", { room: "a" }))
        await peer.call("members", {})
        readers.push({ peer, from: published, acknowledged: 0 })
        continue
      }
      const what = random.pick(["publish", "publish", "publish", "acknowledge", "evict", "wait"] as const)
      if (what === "publish") await publish()
      else if (what === "acknowledge") acknowledge(reader)
      else if (what === "evict") await evict(tenant)
      else await turns()
    }
    await turns()
    // Whoever has acknowledged everything gets what follows.
    for (;;) {
      const before = readers.map(({ acknowledged }) => acknowledged)
      for (const reader of readers) acknowledge(reader)
      await turns()
      if (readers.every(({ acknowledged }, i) => acknowledged === before[i])) break
    }
    await publish()
    for (const { peer } of readers)
      await expect.poll(() => peer.items("r").at(-1)?.message.text).toBe(`${published - 1}`)
    for (const { from, peer } of readers) {
      let next = from
      for (const { message, missed = 0 } of peer.items("r")) {
        next += missed
        if (Number(message.text) !== next)
          throw new Violation(`got ${message.text}, ${missed} missed, expected ${next}`)
        next++
      }
    }
    await close()
  }

  it("PS1, PS3, PS4: what a reader got, and what it was told that it missed, is everything in its order", () =>
    forAllAsync(30, history))

  it("finds a reader that is not told what it missed", async () => {
    const take = TopicReader.prototype.flush
    const spy = vi.spyOn(TopicReader.prototype, "flush").mockImplementation(function (this: any) {
      this.missed = 0
      take.call(this)
    })
    await expect(forAllAsync(30, history)).rejects.toThrow(Violation)
    spy.mockRestore()
  })
})

describe("an app", () => {
  it("PS5: a contract with a topic needs `pubsub`", () => {
    const without = { api: TopicsApi, tables: app.tables, handlers: TopicsHandlers }
    // @ts-expect-error: it has topics
    expect(() => App.make(without)).not.toThrow()
    expect(Effect.isEffect(App.make({ ...without, pubsub: Pubsub.make() }))).toBe(false)
  })
})
