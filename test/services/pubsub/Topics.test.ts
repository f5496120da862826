import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { App } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { Jobs } from "effect-dormouse/jobs"
import { Pubsub, Topic } from "effect-dormouse/pubsub"
import { describe, expect, it, vi } from "vitest"
import { type Published, Publisher } from "../../../src/contract/Publisher.ts"
import * as Patch from "../../../src/protocol/Patch.ts"
import { ping } from "../../../src/protocol/Ping.ts"
import { HistoryReaders } from "../../../src/services/pubsub/HistoryReaders.ts"
import { LogReader } from "../../../src/services/pubsub/LogReader.ts"
import { servicesOver } from "../../../src/services/pubsub/PubsubApi.ts"
import { append } from "../../../src/services/pubsub/TopicLog.ts"
import { TopicReader } from "../../../src/services/pubsub/TopicReader.ts"
import { errorOf, type Peer, post, request } from "../../deployment/Deployment.ts"
import { memory, turns } from "../../deployment/memory.ts"
import { forAll, forAllAsync, type Random, Violation } from "../../random.ts"
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
    forAllAsync(20, history))

  it("finds a reader that is not told what it missed", async () => {
    const take = TopicReader.prototype.flush
    const spy = vi.spyOn(TopicReader.prototype, "flush").mockImplementation(function (this: any) {
      this.missed = 0
      take.call(this)
    })
    await expect(forAllAsync(1000, history)).rejects.toThrow(Violation)
    spy.mockRestore()
  })
})

describe("histories at random", () => {
  interface HistoryReader {
    readonly room: string
    peer: Peer
    /** What it got before its last reconnect. */
    before: ReadonlyArray<any>
    acknowledged: number
  }
  const kept = 40

  /** Publishes, reads, reconnects, evicts and crashes at random: each reader gets each message of its room, or is told. */
  const history = async (random: Random) => {
    const { call, close, connect, evict, object } = await opened()
    const published = new Map<string, number>()
    let readers: ReadonlyArray<HistoryReader> = []
    const itemsOf = ({ before, peer }: HistoryReader) => [...before, ...peer.items("r")]
    const publish = async (room: string, count: number) => {
      const from = published.get(room) ?? 0
      const texts = Array.from({ length: count }, (_, i) => `${from + i}`)
      const response = await call("emit", { room, texts, together: random.chance(0.5) }).catch(() => undefined)
      const answer: any = await response?.json().catch(() => undefined)
      if (answer?.[0]?.exit?._tag === "Success") published.set(room, from + count)
    }
    const begin = async (reader: HistoryReader) => {
      reader.before = itemsOf(reader)
      reader.peer.close()
      reader.peer = await connect("ada")
      reader.acknowledged = 0
      const after = reader.before.at(-1)?.cursor
      const payload = { key: { room: reader.room }, ...(after !== undefined && { after }) }
      reader.peer.send(request("r", "tokens", payload))
    }
    const beginAgain = async () => {
      for (const reader of readers) if (reader.peer.closed !== undefined) await begin(reader)
    }
    const acknowledge = (reader: HistoryReader) => {
      const chunks = reader.peer.messages.filter(({ _tag }) => _tag === "Chunk").length
      for (; reader.acknowledged < chunks; reader.acknowledged++) reader.peer.send({ _tag: "Ack", requestId: "r" })
    }
    for (const room of ["a", "b"]) await call("join", { room, subject: "ada" })
    for (const room of ["a", "a", "b"]) {
      const reader = { room, peer: await connect("ada"), before: [], acknowledged: 0 }
      readers = [...readers, reader]
      await begin(reader)
    }
    for (let step = 0; step < 120; step++) {
      const chance = random.next()
      if (chance < 0.5) await publish(random.pick(["a", "a", "b"]), 1 + random.int(random.chance(0.1) ? 60 : 4))
      else if (chance < 0.8) acknowledge(random.pick(readers))
      else if (chance < 0.86) await evict(tenant)
      else if (chance < 0.92) await begin(random.pick(readers))
      else if (chance < 0.95) await object.crash()
      else if (chance < 0.97) object.failNextCommit()
      else await turns()
      await beginAgain()
    }
    for (const room of ["a", "b"]) await publish(room, 1)
    for (const room of ["a", "b"]) await publish(room, 1)
    await expect
      .poll(async () => {
        await beginAgain()
        for (const reader of readers) acknowledge(reader)
        return readers.map((reader) => Number(itemsOf(reader).at(-1)?.message.text) + 1)
      })
      .toEqual(readers.map(({ room }) => published.get(room)))
    for (const reader of readers) {
      let next = 0
      for (const { message, missed = 0 } of itemsOf(reader)) {
        next += missed
        const number = Number(message.text)
        if (number !== next) throw new Violation(`got ${number}, ${missed} missed, expected ${next}`)
        if (missed > 0 && number + kept > published.get(reader.room)!) throw new Violation(`${number} was kept`)
        next++
      }
    }
    const { count } = object.database.prepare("SELECT sum(count) AS count FROM _dormouse_topics").get()!
    expect(count).toBeLessThan(2 * (kept * 1.25 + 60))
    await close()
  }

  it("PS11, PS12, PS13: whatever is evicted, cut and lost, a reader gets each message once, or is told of it", () =>
    forAllAsync(8, history))

  it("finds a reader whose position is that before its last delivery", async () => {
    const serve = LogReader.prototype.serve
    const spy = vi.spyOn(LogReader.prototype, "serve").mockImplementation(function (this: any) {
      const { host } = this
      this.host = { ...host, progress: () => {} }
      serve.call(this)
      this.host = host
    })
    await expect(forAllAsync(1000, history)).rejects.toThrow(Violation)
    spy.mockRestore()
  })

  it("finds a reader of a history that is not told what it missed", async () => {
    const serve = LogReader.prototype.serve
    const spy = vi.spyOn(LogReader.prototype, "serve").mockImplementation(function (this: any) {
      const { read } = this
      this.read = (from: number) => {
        const items = read(from)
        return items && { ...items, missed: 0 }
      }
      serve.call(this)
      this.read = read
    })
    await expect(forAllAsync(1000, history)).rejects.toThrow(Violation)
    spy.mockRestore()
  })
})

describe("a history", () => {
  it("PS14: the cursors of a database that was deleted are not those of the one that replaces it", async () => {
    const { call, close, connect, evict, object } = await opened()
    await call("join", { room: "a", subject: "ada" })
    await call("emit", { room: "a", texts: ["old"] })
    const peer = await connect("ada")
    peer.send(request("old", "tokens", { key: { room: "a" } }))
    const [{ cursor: after }] = await peer.itemsOf("old", 1)
    await evict(tenant)
    object.database.exec("DELETE FROM _dormouse_topics")
    await call("emit", { room: "a", texts: ["new", "newer"] })
    const other = await connect("ada")
    const refused = await other.call("tokens", { key: { room: "a" }, after })
    expect(errorOf(refused)?.reason).toMatchObject({ _tag: "PayloadInvalid" })
    other.send(request("new", "tokens", { key: { room: "a" } }))
    expect((await other.itemsOf("new", 1)).map(({ message }) => message.text)).toEqual(["new", "newer"])
    await close()
  })

  it("PS15: what an action publishes while a call is under way shares the next one, in its order", async () => {
    const calls: Array<{ readonly published: ReadonlyArray<Published>; readonly end: () => void }> = []
    const call = (_tag: string, { published }: any) =>
      Effect.callback<void>((resume) => {
        calls.push({ published, end: () => resume(Effect.void) })
      })
    const { publish } = Context.get(servicesOver({ call } as never), Publisher)
    const send = (text: string) => Effect.runPromise(publish({ topic: "t", key: text, messages: [text] }))
    const first = send("1")
    const others = Promise.all(["2", "3", "x".repeat(300_000), "5"].map(send))
    const texts = () => calls.map(({ published }) => published.map(({ messages }) => messages[0]!.slice(0, 1)))
    expect(texts()).toEqual([["1"]])
    calls[0]!.end()
    await first
    expect(texts()).toEqual([["1"], ["2", "3"]])
    for (let i = 1; i < 4; i++) {
      await expect.poll(() => calls.length).toBe(i + 1)
      calls[i]!.end()
    }
    await others
    expect(texts()).toEqual([["1"], ["2", "3"], ["x"], ["5"]])
  })

  it("PS11: a message that the table has before it is heard of is sent once", () => {
    const rows = (sql: string) => (sql.includes("DESC LIMIT 1") ? [[1, 2, 2, "e"]] : [[1, "0\n1"]])
    const readers = new HistoryReaders(() => ({ rows, deliverLater: () => {} }))
    const sent: Array<string> = []
    const host = { send: (items: ReadonlyArray<string>) => void sent.push(...items), progress: () => {} }
    readers.open(host as never, "t", { progress: 2 }).granted()
    // Two transactions have committed, and what follows the first of them runs now.
    for (let first = 1; first <= 2; first++) {
      readers.published("t", "e", { first, messages: [`${first - 1}`] })
      readers.deliver()
    }
    expect(sent).toEqual(['{"message":1,"cursor":"e.2"}'])
  })

  it("PS12: the rows of a history are few, whatever is published", () => {
    forAll(200, (random) => {
      const kept = 1 + random.int(200)
      const rows: Array<{ first: number; messages: Array<string> }> = []
      let published = 0
      for (let step = 0; step < 60; step++) {
        const messages = random.array(1 + random.int(random.chance(0.1) ? 400 : 3), () => "x".repeat(random.int(40)))
        const last = rows.at(-1)
        const tail = last && { first: last.first, count: last.messages.length, length: last.messages.join("").length }
        const { merged, rows: added } = append(tail, messages, kept)
        last?.messages.push(...merged)
        for (const { first, messages } of added) rows.push({ first, messages: [...messages] })
        published += messages.length
        expect([...merged, ...added.flatMap(({ messages }) => messages)]).toEqual(messages)
      }
      let next = 1
      for (const { first, messages } of rows) {
        expect(first).toBe(next)
        expect(messages.length).toBeLessThanOrEqual(Math.max(1, kept / 4))
        next += messages.length
      }
      expect(next).toBe(published + 1)
    })
  })
})

describe("an app", () => {
  it("PS5: a contract with a topic needs `pubsub`", () => {
    const without = { api: TopicsApi, tables: app.tables, handlers: TopicsHandlers }
    // @ts-expect-error: it has topics
    expect(() => App.make(without)).not.toThrow()
    expect(Effect.isEffect(App.make({ ...without, pubsub: Pubsub.make() }))).toBe(false)
  })

  it("PS11: a topic with a history has no buffer", () => {
    const options = { key: Schema.String, message: Schema.String, history: 10, buffer: 3 }
    // @ts-expect-error: nothing waits for its readers in memory
    expect(() => Topic.make("both", options)).not.toThrow()
    expect(() => Topic.make("none", { key: Schema.String, message: Schema.String, history: 0 })).toThrow(/history/)
  })
})
