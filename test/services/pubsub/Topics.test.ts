import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import { App } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { Jobs } from "effect-dormouse/jobs"
import { Pubsub } from "effect-dormouse/pubsub"
import { describe, expect, it } from "vitest"
import * as Patch from "../../../src/protocol/Patch.ts"
import { ping } from "../../../src/protocol/Ping.ts"
import { type Peer, post, request } from "../../deployment/Deployment.ts"
import { memory, turns } from "../../deployment/memory.ts"
import { forAllAsync } from "../../random.ts"
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
        ada.sendText(ping)
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

describe("an app", () => {
  it("PS5: a contract with a topic needs `pubsub`", () => {
    const without = { api: TopicsApi, tables: app.tables, handlers: TopicsHandlers }
    // @ts-expect-error: it has topics
    expect(() => App.make(without)).not.toThrow()
    expect(Effect.isEffect(App.make({ ...without, pubsub: Pubsub.make() }))).toBe(false)
  })
})
