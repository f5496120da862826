import * as Result from "effect/Result"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { socketMessageBytes } from "../../src/protocol/Limits.ts"
import * as Patch from "../../src/protocol/Patch.ts"
import { errorOf, newTenant, type Peer, request } from "../deployment/Deployment.ts"

/** A running app of `test/worker/lists.ts`. */
export interface Driver {
  /** Opens a socket to a tenant's object, with an identity. */
  readonly connect: (tenant: string, subject?: string) => Promise<Peer>
  /** Evicts the heap of a tenant's object. Its sockets stay open. */
  readonly evict: (tenant: string) => Promise<void>
  readonly explain: (tenant: string) => Promise<ReadonlyArray<any>>
  /** Runs a statement in a tenant's database and returns its rows. */
  readonly rows: (tenant: string, sql: string) => Promise<ReadonlyArray<any>>
  readonly close?: () => Promise<void>
}

/** A live query on a socket, with the value computed from its frames. */
class Watch {
  readonly id: string
  readonly peer: Peer
  value: any
  hash: string | undefined
  version = 0
  /** The frames that arrived, joined from their parts. */
  readonly frames: Array<any> = []
  private readonly pieces: Array<string> = []

  constructor(peer: Peer, id: string) {
    this.peer = peer
    this.id = id
  }

  received(item: any): void {
    if (item._tag === "Part") {
      this.pieces.push(item.text)
      if (item.last) this.frame(JSON.parse(this.pieces.splice(0).join("")))
    } else this.frame(item)
  }

  private frame(frame: any): void {
    this.frames.push(frame)
    if (frame._tag === "Snapshot") this.value = frame.value
    if (frame._tag === "Patch") this.value = Result.getOrThrow(Patch.apply(this.value, frame.ops))
    expect(frame.version).toBeGreaterThanOrEqual(this.version)
    this.version = frame.version
    this.hash = frame.hash ?? this.hash
  }

  get tags(): ReadonlyArray<string> {
    return this.frames.map(({ _tag }) => _tag)
  }

  get titles(): ReadonlyArray<string> | undefined {
    return this.value?.map(({ title }: any) => title)
  }

  acknowledge(): void {
    this.peer.send({ _tag: "Ack", requestId: this.id })
  }

  frameCount(count: number): Promise<unknown> {
    return this.peer.until(() => this.frames.length >= count)
  }

  /** Resolves when the items have these titles. */
  shows(...titles: ReadonlyArray<string>): Promise<unknown> {
    return this.peer.until(() => JSON.stringify(this.titles) === JSON.stringify(titles))
  }
}

/** How a client watches. It acknowledges on arrival unless `slow`; `prompt` sends the header that says so. */
interface Options {
  readonly slow?: boolean
  readonly prompt?: boolean
  readonly have?: string | undefined
}

/** The watches of each peer, by id. */
const watchesOf = new WeakMap<Peer, Map<string, { readonly watch: Watch; readonly isSlow: boolean }>>()
let ids = 0

export const watchRequest = (peer: Peer, tag: string, payload: unknown, options: Options = {}) => {
  let watches = watchesOf.get(peer)
  if (watches === undefined) {
    const known = new Map<string, { readonly watch: Watch; readonly isSlow: boolean }>()
    watches = known
    watchesOf.set(peer, known)
    const received = peer.received.bind(peer)
    peer.received = (text) => {
      const parsed = JSON.parse(text)
      for (const message of Array.isArray(parsed) ? parsed : [parsed]) {
        const found = message._tag === "Chunk" ? known.get(message.requestId) : undefined
        if (found === undefined) continue
        for (const item of message.values) found.watch.received(item)
        if (!found.isSlow) found.watch.acknowledge()
      }
      received(text)
    }
  }
  const id = `live-${ids++}`
  const watch = new Watch(peer, id)
  watches.set(id, { watch, isSlow: options.slow ?? false })
  const headers: Array<readonly [string, string]> = []
  if (options.prompt) headers.push(["dormouse-prompt", "1"])
  if (options.have !== undefined) headers.push(["dormouse-have", options.have])
  return { watch, message: request(id, `live:${tag}`, payload, headers) }
}

export const watch = (peer: Peer, tag: string, payload: unknown, options?: Options): Watch => {
  const { message, watch } = watchRequest(peer, tag, payload, options)
  peer.send(message)
  return watch
}

/** Sends several messages as one. */
const sendTogether = (peer: Peer, ...messages: ReadonlyArray<unknown>): void => peer.sendText(JSON.stringify(messages))

export const ok = async (exit: Promise<any>): Promise<any> => {
  const { _tag, value, ...rest } = await exit
  if (_tag !== "Success") throw new Error(JSON.stringify(rest))
  return value
}

/** Waits until all messages caused by earlier events have arrived. */
export const quiet = async (...peers: ReadonlyArray<Peer>): Promise<void> => {
  for (let i = 0; i < 2; i++) for (const peer of peers) await peer.settled("constant")
}

/** The suite of live queries, over real sockets of one platform. */
export const suite = (name: string, open: () => Promise<Driver>): void => {
  describe(name, () => {
    let driver: Driver
    beforeAll(async () => {
      driver = await open()
    })
    afterAll(() => driver.close?.())

    /** A tenant with a list, and a peer that writes to the list. */
    const start = async (...more: ReadonlyArray<string>) => {
      const tenant = newTenant("live")
      const writer = await driver.connect(tenant)
      for (const id of ["a", ...more]) await ok(writer.call("lists.add", { id }))
      const add = (title: string, rank = 0, list = "a", extra: object = {}) =>
        ok(writer.call("items.add", { list, title, rank, ...extra }))
      const explain = async (tag: string) => (await driver.explain(tenant)).filter((query) => query.tag === tag)
      return { tenant, writer, add, explain, connect: (subject?: string) => driver.connect(tenant, subject) }
    }
    const listA = { list: "a", limit: 100 }

    describe("notifications", () => {
      it("L1: a write that changes a result reaches its subscribers", async () => {
        const { add, connect, writer } = await start()
        const items = watch(await connect(), "items", listA)
        await items.frameCount(1)
        expect(items.value).toEqual([])
        await add("one", 1)
        await items.shows("one")
        const two = await add("two", 0)
        await items.shows("two", "one")
        await ok(writer.call("items.rename", { id: two.id, title: "2" }))
        await items.shows("2", "one")
      })

      it("L1: a row that leaves a range, enters another, or is deleted by a cascade, changes both results", async () => {
        const { add, connect, writer } = await start("b")
        const { id } = await add("one")
        const peer = await connect()
        const a = watch(peer, "items", listA)
        const b = watch(peer, "items", { list: "b", limit: 100 })
        const count = watch(peer, "items.count", { list: "b" })
        await count.frameCount(1)
        await ok(writer.call("items.move", { id, list: "b", rank: 7 }))
        await Promise.all([a.shows(), b.shows("one")])
        await peer.until(() => count.value === 1)
        await ok(writer.call("lists.remove", { id: "b" }))
        await b.shows()
        await peer.until(() => count.value === 0)
      })

      it("L1: a write during the first run of a query is in its first value or follows it", async () => {
        const { connect, writer } = await start()
        const before = watchRequest(writer, "items", listA)
        const after = watchRequest(writer, "items", listA)
        const other = watch(await connect(), "items", listA)
        await other.frameCount(1)
        sendTogether(
          writer,
          before.message,
          request("first", "items.add", { list: "a", title: "one", rank: 0 }),
          after.message
        )
        await Promise.all([before.watch.shows("one"), after.watch.shows("one"), other.shows("one")])
        await quiet(writer)
        expect(after.watch.frames.length).toBe(1)
        expect(other.frames.length).toBe(2)
      })

      it("T1 L1: a handler that fails after a write leaves neither a row nor a frame", async () => {
        const { add, connect, writer } = await start()
        const peer = await connect()
        const items = watch(peer, "items", listA)
        await items.frameCount(1)
        const exit = await writer.call("items.addAndFail", { list: "a" })
        expect(errorOf(exit)).toEqual({ _tag: "Broken", why: "requested" })
        await quiet(writer, peer)
        expect(items.frames.length).toBe(1)
        // The control: the same write sends a frame if it succeeds.
        await add("one")
        await items.shows("one")
      })

      it("L1: a query that fails in a later run ends its stream with its declared error", async () => {
        const { add, connect, explain, writer } = await start()
        const peer = await connect()
        const fragile = watch(peer, "items.fragile", { list: "a" })
        const items = watch(peer, "items", listA)
        await Promise.all([fragile.frameCount(1), items.frameCount(1)])
        await ok(writer.call("flags.set", { id: "broken", on: true }))
        const exit: any = await peer.exit(fragile.id)
        expect(exit.cause).toEqual([{ _tag: "Fail", error: { _tag: "Broken", why: "the flag is set" } }])
        expect(await explain("items.fragile")).toEqual([])
        const again: any = await peer.call("live:items.fragile", { list: "a" })
        expect(errorOf(again)._tag).toBe("Broken")
        await ok(writer.call("flags.set", { id: "broken", on: false }))
        await add("one")
        await items.shows("one")
        expect(fragile.frames.length).toBe(1)
        await watch(peer, "items.fragile", { list: "a" }).shows("one")
      })

      it("L1: an invalid request for a live query is refused", async () => {
        const { writer } = await start()
        expect(errorOf(await writer.call("live:nothing", {})).reason._tag).toBe("UnknownRpc")
        expect(errorOf(await writer.call("live:items.add", {})).reason._tag).toBe("UnknownRpc")
        expect(errorOf(await writer.call("live:items", { list: 1 })).reason._tag).toBe("PayloadInvalid")
      })
    })

    describe("many queries", () => {
      it("L1 L4 L5: calls come between the slices of a flush, and each client is sent one message for a commit", async () => {
        const { add, connect, writer } = await start()
        await add("one")
        const peers = await Promise.all(Array.from({ length: 8 }, () => connect()))
        const watches = peers.flatMap((peer, i) =>
          Array.from({ length: 30 }, (_, j) =>
            watch(peer, "items", { list: "a", limit: 10 + 30 * i + j }, { prompt: true })
          )
        )
        await Promise.all(watches.map((items) => items.frameCount(1)))
        await quiet(...peers)
        const before = peers.map((peer) => peer.texts.length)
        // The second write comes between two slices of the flush of the first, or before it, or after it.
        writer.send(request("first", "items.add", { list: "a", title: "two", rank: 1 }))
        await writer.exit("first")
        writer.send(request("second", "items.add", { list: "a", title: "three", rank: 2 }))
        await Promise.all(watches.map((items) => items.shows("one", "two", "three")))
        for (const [i, peer] of peers.entries()) {
          const withFrames = peer.texts.slice(before[i]).filter((text) => text.includes("Chunk"))
          expect(withFrames.length).toBeLessThanOrEqual(2)
          for (const text of withFrames) expect(text.split('"_tag":"Chunk"').length - 1).toBe(30)
        }
      })

      it("L1 L7: an eviction after a write that touched many queries does not lose the change", async () => {
        const { add, connect, tenant, writer } = await start()
        const peer = await connect()
        const watches = Array.from({ length: 240 }, (_, i) =>
          watch(peer, "items", { list: "a", limit: 10 + i }, { prompt: true })
        )
        await Promise.all(watches.map((items) => items.frameCount(1)))
        await quiet(peer)
        writer.send(request("write", "items.add", { list: "a", title: "one", rank: 1 }))
        await writer.exit("write")
        await driver.evict(tenant)
        await Promise.all(watches.map((items) => items.shows("one")))
        await add("two", 2)
        await Promise.all(watches.map((items) => items.shows("one", "two")))
      })
    })

    describe("runs", () => {
      it("L2: a write outside of what a query read causes no run", async () => {
        const { add, connect, explain } = await start("b")
        for (const rank of [1, 2, 3]) await add(`item ${rank}`, rank)
        const peer = await connect()
        const first = watch(peer, "items", { list: "a", limit: 2 })
        const constant = watch(peer, "constant", {})
        await Promise.all([first.frameCount(1), constant.frameCount(1)])
        await add("in another list", 0, "b")
        await add("after the last row that was read", 9)
        await quiet(peer)
        expect((await explain("items"))[0]).toMatchObject({ runs: 1, unchangedRuns: 0, frames: 1 })
        expect((await explain("constant"))[0]).toMatchObject({ runs: 1 })
        // The control.
        await add("in front", 0)
        await first.shows("in front", "item 1")
        expect((await explain("items"))[0]).toMatchObject({
          runs: 2,
          unchangedRuns: 0,
          frames: 2,
          invalidatedBy: ["items"]
        })
      })

      it("L3: sockets with the same query share one run, and one unsubscribing does not affect the others", async () => {
        const { add, connect, explain } = await start()
        const peers = await Promise.all(Array.from({ length: 12 }, (_, i) => connect(`user ${i}`)))
        // The order of properties is not part of a payload.
        const watches = peers.map((peer, i) => watch(peer, "items", i % 2 === 0 ? listA : { limit: 100, list: "a" }))
        await Promise.all(watches.map((items) => items.frameCount(1)))
        expect(await explain("items")).toMatchObject([{ subscribers: 12, runs: 1, perIdentity: false }])
        await add("one")
        await Promise.all(watches.map((items) => items.shows("one")))
        expect(await explain("items")).toMatchObject([{ subscribers: 12, runs: 2, frames: 24 }])
        peers[0]!.close()
        peers[1]!.send({ _tag: "Interrupt", requestId: watches[1]!.id })
        const left: any = await peers[1]!.exit(watches[1]!.id)
        expect(left.cause[0]._tag).toBe("Interrupt")
        await add("two", 1)
        await Promise.all(watches.slice(2).map((items) => items.shows("one", "two")))
        expect(await explain("items")).toMatchObject([{ subscribers: 10, runs: 3 }])
        expect(watches[1]!.frames.length).toBe(2)
      })

      it("L3: payloads with the same properties in another order are equal, also in records", async () => {
        const { add, connect, explain } = await start("b")
        await add("of a", 1, "a")
        await add("of b", 1, "b")
        const first = watch(await connect(), "items.from", { ranks: { b: 1, a: 0 } })
        await first.shows("of a", "of b")
        const second = watch(await connect(), "items.from", { ranks: { a: 0, b: 1 } })
        await second.shows("of a", "of b")
        await add("new", 2, "a")
        await first.shows("of a", "new", "of b")
        await second.shows("of a", "new", "of b")
        expect(await explain("items.from")).toMatchObject([{ subscribers: 2, runs: 2 }])
      })

      it("L3: a query that reads the identity runs for each caller, shared by the sockets of one caller", async () => {
        const { add, connect, explain } = await start()
        const [ada, again, bob] = await Promise.all([connect("ada"), connect("ada"), connect("bob")])
        const watches = [ada, again, bob].map((peer) => watch(peer, "items.mine", {}))
        const [adas, agains, bobs] = watches as [Watch, Watch, Watch]
        await Promise.all(watches.map((items) => items.frameCount(1)))
        await add("of ada", 0, "a", { owner: "ada" })
        await Promise.all([adas.shows("of ada"), agains.shows("of ada")])
        await add("of bob", 0, "a", { owner: "bob" })
        await bobs.shows("of bob")
        await quiet(ada, bob)
        expect(adas.titles).toEqual(["of ada"])
        const explained = (await explain("items.mine")).toSorted((a, b) => b.subscribers - a.subscribers)
        expect(explained).toMatchObject([
          { subscribers: 2, runs: 2, perIdentity: true },
          { subscribers: 1, runs: 2, perIdentity: true }
        ])
      })

      it("L3: a query that begins to read the identity is split by caller from then on", async () => {
        const { add, connect, explain, writer } = await start()
        await add("of ada", 1, "a", { owner: "ada" })
        await add("of bob", 2, "a", { owner: "bob" })
        const peers = await Promise.all([connect("ada"), connect("bob"), connect("bob")])
        const [ada, bob, again] = peers.map((peer) => watch(peer, "items.visible", { list: "a" })) as [
          Watch,
          Watch,
          Watch
        ]
        await Promise.all([ada, bob, again].map((items) => items.shows("of ada", "of bob")))
        expect(await explain("items.visible")).toMatchObject([{ subscribers: 3, runs: 1, perIdentity: false }])
        await ok(writer.call("flags.set", { id: "private", on: true }))
        await Promise.all([ada.shows("of ada"), bob.shows("of bob"), again.shows("of bob")])
        for (const items of [ada, bob, again]) expect(items.frames.length).toBe(2)
        const explained = (await explain("items.visible")).toSorted((a, b) => a.subscribers - b.subscribers)
        expect(explained).toMatchObject([
          { subscribers: 1, perIdentity: true },
          { subscribers: 2, perIdentity: true }
        ])
        // A later subscriber gets its own result, and not that of the first one.
        const eve = watch(await connect("eve"), "items.visible", { list: "a" })
        await eve.frameCount(1)
        expect(eve.value).toEqual([])
        await add("more of bob", 3, "a", { owner: "bob" })
        await Promise.all([bob.shows("of bob", "more of bob"), again.shows("of bob", "more of bob")])
        await quiet(...peers)
        expect([ada.titles, eve.titles]).toEqual([["of ada"], []])
      })

      it("L3: a subscriber that arrives between that commit and its flush gets its own result", async () => {
        const { add, connect, writer } = await start()
        await add("of ada", 1, "a", { owner: "ada" })
        const ada = watch(await connect("ada"), "items.visible", { list: "a" })
        await ada.shows("of ada")
        const bob = await connect("bob")
        const { message, watch: bobs } = watchRequest(bob, "items.visible", { list: "a" })
        // The commit is not flushed yet when the request arrives.
        sendTogether(bob, request("switch", "flags.set", { id: "private", on: true }), message)
        await bobs.frameCount(1)
        expect(bobs.value).toEqual([])
        await quiet(bob, writer)
        expect(bobs.value).toEqual([])
        expect(ada.titles).toEqual(["of ada"])
      })

      it("K4 L3: a query that reads the time runs again for a later subscriber, but not without a write", async () => {
        const { add, connect, explain } = await start()
        const first = watch(await connect(), "items.timed", { list: "a" })
        await first.frameCount(1)
        // Until the clock shows another time.
        const now = Date.now()
        await expect.poll(() => Date.now()).toBeGreaterThan(now)
        const second = watch(await connect(), "items.timed", { list: "a" })
        await second.frameCount(1)
        expect(second.value.at).toBeGreaterThan(first.frames[0].value.at)
        // All subscribers show the same.
        await first.peer.until(() => first.value.at === second.value.at)
        await add("one")
        await first.peer.until(() => first.value.items.length === 1)
        const [explained] = await explain("items.timed")
        expect(explained).toMatchObject({ subscribers: 2, runs: 3, reads: { clock: true, identity: false } })
      })
    })

    describe("frames", () => {
      it("L4 T2: the writer is answered before subscribers are notified, and batched commits are flushed together", async () => {
        const { connect, writer } = await start()
        const own = watch(writer, "items", listA)
        const other = watch(await connect(), "items", listA)
        await Promise.all([own.frameCount(1), other.frameCount(1)])
        const ids = Array.from({ length: 10 }, (_, i) => `write-${i}`)
        sendTogether(writer, ...ids.map((id, rank) => request(id, "items.add", { list: "a", title: id, rank })))
        await Promise.all([own.shows(...ids), other.shows(...ids)])
        expect(own.frames.length).toBe(2)
        expect(other.frames.length).toBe(2)
        const order = writer.messages.map((message) => ("requestId" in message ? message.requestId : message._tag))
        expect(order.lastIndexOf(own.id)).toBeGreaterThan(order.indexOf(ids.at(-1)!))
      })

      it("L5: a frame is the smaller of patch and snapshot, and an unchanged result sends none", async () => {
        const { add, connect, explain, writer } = await start()
        for (let rank = 0; rank < 30; rank++) await add(`item ${rank}`, rank, "a", { id: `id-${rank}` })
        const peer = await connect()
        const items = watch(peer, "items", listA)
        const count = watch(peer, "items.count", { list: "a" })
        await Promise.all([items.frameCount(1), count.frameCount(1)])
        await ok(writer.call("items.rename", { id: "id-3", title: "renamed" }))
        await items.frameCount(2)
        await quiet(peer)
        expect(items.tags).toEqual(["Snapshot", "Patch"])
        expect(items.frames[1].ops).toEqual([{ op: "replace", path: "/3/title", value: "renamed" }])
        expect(items.titles?.[3]).toBe("renamed")
        expect((await explain("items.count"))[0]).toMatchObject({ runs: 2, unchangedRuns: 1, frames: 1 })
        expect(count.frames.length).toBe(1)
        // Everything is different: a patch would be larger than the snapshot.
        await ok(writer.call("lists.remove", { id: "a" }))
        await items.shows()
        expect(items.tags.at(-1)).toBe("Snapshot")
      })

      it("L5: everything that one commit changes reaches a prompt client in one message", async () => {
        const { add, connect, writer } = await start("b")
        const { id } = await add("one")
        const peer = await connect()
        const tags = ["items", "items", "items.count", "items.count"]
        const payloads = [listA, { list: "b", limit: 9 }, { list: "a" }, { list: "b" }]
        const watches = tags.map((tag, i) => watch(peer, tag, payloads[i], { prompt: true }))
        await Promise.all(watches.map((watch) => watch.frameCount(1)))
        const before = peer.texts.length
        await ok(writer.call("items.move", { id, list: "b", rank: 1 }))
        await Promise.all(watches.map((watch) => watch.frameCount(2)))
        await quiet(peer)
        const [message, ...more] = peer.texts.slice(before).filter((text) => text.includes('"Chunk"'))
        expect(more).toEqual([])
        expect(
          JSON.parse(message!)
            .map(({ requestId }: any) => requestId)
            .toSorted()
        ).toEqual(watches.map(({ id }) => id).toSorted())
        expect(new Set(watches.map(({ version }) => version)).size).toBe(1)
      })

      it("L6: a slow client has at most one unacknowledged frame, and then gets the latest result", async () => {
        const { add, connect } = await start()
        const peer = await connect()
        const slow = watch(peer, "items", listA, { slow: true })
        const fast = watch(await connect(), "items", listA)
        await slow.frameCount(1)
        for (const rank of [0, 1, 2, 3]) {
          await add(`item ${rank}`, rank)
          await fast.frameCount(rank + 2)
        }
        await quiet(peer)
        expect(slow.frames.length).toBe(1)
        slow.acknowledge()
        // Its patch starts from the value that it has, whatever others were sent meanwhile.
        await slow.shows("item 0", "item 1", "item 2", "item 3")
        await add("last", 9)
        await quiet(peer)
        expect(slow.frames.length).toBe(2)
        slow.acknowledge()
        await slow.shows("item 0", "item 1", "item 2", "item 3", "last")
        slow.acknowledge()
        await quiet(peer)
        expect(slow.frames.length).toBe(3)
      })

      it("L6: a result that changed and changed back while a client was slow is not sent", async () => {
        const { add, connect, writer } = await start()
        await add("one", 0, "a", { id: "one" })
        const peer = await connect()
        const slow = watch(peer, "items", listA, { slow: true })
        const fast = watch(await connect(), "items", listA)
        await Promise.all([slow.frameCount(1), fast.frameCount(1)])
        await ok(writer.call("items.rename", { id: "one", title: "two" }))
        await fast.shows("two")
        await ok(writer.call("items.rename", { id: "one", title: "one" }))
        await fast.shows("one")
        slow.acknowledge()
        await quiet(peer)
        expect(slow.frames.length).toBe(1)
      })

      it("L5 L6: a prompt client gets no part of a commit before it can get all of it", async () => {
        const { add, connect, writer } = await start("b")
        const { id } = await add("one")
        const peer = await connect()
        const a = watch(peer, "items", listA, { prompt: true, slow: true })
        const b = watch(peer, "items", { list: "b", limit: 9 }, { prompt: true })
        await Promise.all([a.frameCount(1), b.frameCount(1)])
        await ok(writer.call("items.move", { id, list: "b", rank: 1 }))
        await quiet(peer)
        // Nor does a new query show a commit that the others do not show.
        const count = watch(peer, "items.count", { list: "b" }, { prompt: true })
        await quiet(peer)
        expect([a.frames.length, b.frames.length, count.frames.length]).toEqual([1, 1, 0])
        const before = peer.texts.length
        a.acknowledge()
        await Promise.all([a.shows(), b.shows("one"), count.frameCount(1)])
        expect(count.value).toBe(1)
        expect(peer.texts.slice(before).filter((text) => text.includes('"Chunk"')).length).toBe(1)
      })

      it("L5: a result larger than one message is sent in parts", async () => {
        const { add, connect, writer } = await start()
        // Three bytes in one UTF-16 unit, four bytes in two units, and a character that takes two when quoted.
        const text = '字😀"'.repeat(40_000)
        for (let rank = 0; rank < 4; rank++) await add(text, rank, "a", { id: `id-${rank}` })
        const peer = await connect()
        const items = watch(peer, "items", listA)
        await items.frameCount(1)
        expect(items.titles).toEqual([text, text, text, text])
        const parts = peer.items(items.id)
        expect(parts.length).toBeGreaterThan(1)
        expect(parts.map(({ _tag, last }) => [_tag, last])).toEqual(
          parts.map((_, i) => ["Part", i === parts.length - 1])
        )
        for (const { text } of parts) expect(text.isWellFormed()).toBe(true)
        for (const message of peer.texts) {
          expect(new TextEncoder().encode(message).length).toBeLessThanOrEqual(socketMessageBytes)
        }
        await ok(writer.call("items.rename", { id: "id-1", title: "short" }))
        await items.shows(text, "short", text, text)
        expect(items.tags).toEqual(["Snapshot", "Patch"])
      })

      it("L5: results that are together too large for one message are sent in several", async () => {
        const { add, connect } = await start("b")
        const text = "字".repeat(200_000)
        await add(text, 0, "a")
        await add(text, 0, "b")
        const peer = await connect()
        const requests = ["a", "b"].map((list) => watchRequest(peer, "items", { list, limit: 9 }))
        sendTogether(peer, ...requests.map(({ message }) => message))
        await Promise.all(requests.map(({ watch }) => watch.shows(text)))
        expect(peer.texts.length).toBe(2)
      })
    })

    describe("hibernation", () => {
      it("L7: subscriptions, acknowledgements and interrupts survive the heap", async () => {
        const { add, connect, tenant } = await start("b")
        await add("one", 1)
        const peer = await connect()
        const a = watch(peer, "items", listA)
        const b = watch(peer, "items", { list: "b", limit: 9 })
        await Promise.all([a.frameCount(1), b.frameCount(1)])
        await quiet(peer)
        await driver.evict(tenant)
        const woken = { subscribers: 1, runs: 0, reads: "not run since the object woke" }
        expect(await driver.explain(tenant)).toMatchObject([woken, woken])
        await add("two", 2)
        await a.shows("one", "two")
        await quiet(peer)
        // A result that is unchanged after the eviction is not sent again.
        expect(b.frames.length).toBe(1)
        await driver.evict(tenant)
        peer.send({ _tag: "Interrupt", requestId: b.id })
        const exit: any = await peer.exit(b.id)
        expect(exit.cause[0]._tag).toBe("Interrupt")
        await add("three", 3)
        await add("not watched", 0, "b")
        await a.shows("one", "two", "three")
        await quiet(peer)
        expect(b.frames.length).toBe(1)
        expect((await driver.explain(tenant)).length).toBe(1)
      })

      it("L1 L7: the result that was sent last is known after an immediate eviction", async () => {
        const { add, connect, tenant, writer } = await start()
        await add("one", 0, "a", { id: "one" })
        const items = watch(await connect(), "items", listA)
        await items.shows("one")
        for (const title of ["two", "one", "two", "one"]) {
          await ok(writer.call("items.rename", { id: "one", title }))
          await items.shows(title)
          // With the previous result as base, the next result would look unchanged.
          await driver.evict(tenant)
        }
        expect(items.frames.length).toBe(5)
      })

      it("L6 L7: a result that waited for a slow client during an eviction is sent on acknowledgement", async () => {
        const { add, connect, tenant } = await start("b")
        const peer = await connect()
        const slow = watch(peer, "items", listA, { slow: true })
        await slow.frameCount(1)
        await add("one")
        await quiet(peer)
        await driver.evict(tenant)
        // An unrelated commit after the eviction does not send a second frame.
        await add("elsewhere", 0, "b")
        await quiet(peer)
        expect(slow.frames.length).toBe(1)
        await driver.evict(tenant)
        slow.acknowledge()
        await slow.shows("one")
      })

      it("L5 L7: frames that were held back from a prompt client during an eviction are sent together", async () => {
        const { add, connect, tenant, writer } = await start("b")
        const { id } = await add("one")
        const peer = await connect()
        const a = watch(peer, "items", listA, { prompt: true, slow: true })
        const b = watch(peer, "items", { list: "b", limit: 9 }, { prompt: true })
        await Promise.all([a.frameCount(1), b.frameCount(1)])
        await ok(writer.call("items.move", { id, list: "b", rank: 1 }))
        await quiet(peer)
        await driver.evict(tenant)
        const before = peer.texts.length
        a.acknowledge()
        await Promise.all([a.shows(), b.shows("one")])
        expect(peer.texts.slice(before).length).toBe(1)
      })

      it("L7: subscriptions that outgrow the attachment are stored in rows, which are deleted with them", async () => {
        const { add, connect, tenant } = await start()
        const peer = await connect()
        const other = watch(await connect(), "items", listA)
        const watches = Array.from({ length: 90 }, (_, i) => watch(peer, "items", { list: "a", limit: i + 1 }))
        await Promise.all([...watches, other].map((items) => items.frameCount(1)))
        await quiet(peer)
        // The state of a socket is saved a moment after its last message.
        const rows = async () => (await driver.rows(tenant, "SELECT request FROM _dormouse_subscriptions")).length
        await expect.poll(rows).toBe(90)
        peer.send({ _tag: "Interrupt", requestId: watches[89]!.id })
        await peer.exit(watches[89]!.id)
        // A reused id is another subscription.
        peer.send(request(watches[88]!.id, "live:items", { list: "none", limit: 1 }))
        await quiet(peer)
        await expect.poll(rows).toBe(89)
        await driver.evict(tenant)
        await add("one", 1)
        await Promise.all(watches.slice(0, 88).map((items) => items.shows("one")))
        await quiet(peer)
        expect(watches[89]!.frames.length).toBe(1)
        expect(watches[88]!.value).toEqual([])
        await driver.evict(tenant)
        await add("two", 0)
        await Promise.all(watches.slice(1, 88).map((items) => items.shows("two", "one")))
        await watches[0]!.shows("two")
        expect((await driver.explain(tenant)).length).toBe(90)
        peer.close()
        await other.shows("two", "one")
        await quiet(other.peer)
        await expect.poll(rows).toBe(0)
        expect((await driver.explain(tenant)).length).toBe(1)
      })

      it("L6 L7: so many subscriptions that their progress outgrows the attachment are sent only what changed", async () => {
        const { add, connect, tenant } = await start("b", "c")
        const peer = await connect()
        const slow = watch(peer, "items", { list: "b", limit: 9 }, { slow: true })
        const changed = watch(peer, "items", { list: "c", limit: 9 })
        const others = Array.from({ length: 320 }, (_, i) => watch(peer, "items", { list: "a", limit: i + 1 }))
        await Promise.all([slow, changed, ...others].map((items) => items.frameCount(1)))
        await add("one", 0, "b")
        await quiet(peer)
        await driver.rows(tenant, "CREATE TABLE written (request TEXT)")
        const insert = "INSERT INTO written VALUES (new.request)"
        await driver.rows(tenant, `CREATE TRIGGER writes AFTER INSERT ON _dormouse_subscriptions BEGIN ${insert}; END`)
        for (const title of ["one", "two"]) {
          await driver.evict(tenant)
          await add(title, title === "one" ? 1 : 2, "c")
          await changed.frameCount(title === "one" ? 2 : 3)
          await quiet(peer)
        }
        await changed.shows("one", "two")
        // A result that is unchanged is not sent again, and a client that has not acknowledged gets no second frame.
        expect([slow, ...others].filter(({ frames }) => frames.length !== 1).length).toBe(0)
        // Only what changed is written.
        const written = await driver.rows(tenant, "SELECT DISTINCT request FROM written")
        expect(written.map(({ request }) => request)).toEqual([`"${changed.id}"`])
        await driver.evict(tenant)
        slow.acknowledge()
        await slow.shows("one")
        await quiet(peer)
        expect(changed.frames.length).toBe(3)
      })

      it("L7: rows of a socket that closed during hibernation are deleted after the next start", async () => {
        const { add, connect, tenant } = await start()
        const peer = await connect()
        const watches = Array.from({ length: 90 }, (_, i) => watch(peer, "items", { list: "a", limit: i + 1 }))
        await Promise.all(watches.map((items) => items.frameCount(1)))
        await quiet(peer)
        await driver.evict(tenant)
        peer.close()
        await peer.until(() => peer.closed)
        await add("one")
        await expect.poll(() => driver.rows(tenant, "SELECT request FROM _dormouse_subscriptions")).toEqual([])
      })

      it("L7: a stored subscription that cannot be resumed ends once, and its id can be used again", async () => {
        const { add, connect, tenant, writer } = await start()
        const peer = await connect()
        const watches = Array.from({ length: 90 }, (_, i) => watch(peer, "items", { list: "a", limit: i + 1 }))
        await Promise.all(watches.map((items) => items.frameCount(1)))
        await quiet(peer)
        const [gone, damaged, kept] = watches as [Watch, Watch, Watch]
        const change = (data: string, { id }: Watch) =>
          driver.rows(tenant, `UPDATE _dormouse_subscriptions SET data = ${data} WHERE request = '"${id}"'`)
        const requests = () => driver.rows(tenant, "SELECT request FROM _dormouse_subscriptions")
        // A query that the app does not have any more, and a row that cannot be read.
        await change(`replace(data, '"items"', '"items.gone"')`, gone)
        await change("'damaged'", damaged)
        await driver.evict(tenant)
        await add("one", 0)
        expect(errorOf(await peer.exit(gone.id)).reason._tag).toBe("UnknownRpc")
        expect(errorOf(await peer.exit(damaged.id)).reason._tag).toBe("CallLost")
        await kept.shows("one")
        expect((await requests()).length).toBe(88)
        for (const { id } of [gone, damaged]) peer.send(request(id, "live:items", listA))
        await Promise.all([gone.shows("one"), damaged.shows("one")])
        await quiet(peer)
        expect((await requests()).length).toBe(90)
        await driver.evict(tenant)
        await ok(writer.call("items.add", { list: "a", title: "two", rank: 1 }))
        await Promise.all([gone, damaged, kept].map((items) => items.shows("one", "two")))
        expect([gone, damaged, kept].map(({ id }) => peer.exits(id).length)).toEqual([1, 1, 0])
      })

      it("L9: a client that reconnects with the hash of the current result gets only a few bytes", async () => {
        const { add, connect, tenant } = await start()
        await add("one")
        const before = watch(await connect(), "items", listA)
        await before.frameCount(1)
        before.peer.close()
        const same = watch(await connect(), "items", listA, { have: before.hash })
        await same.frameCount(1)
        expect(same.tags).toEqual(["Current"])
        expect(JSON.stringify(same.frames[0]).length).toBeLessThan(80)
        same.value = before.value
        await add("two", 1)
        // That result is the base of later patches, in this heap.
        await same.shows("one", "two")
        await driver.evict(tenant)
        const still = watch(await connect(), "items", listA, { have: same.hash })
        const stale = watch(await connect(), "items", listA, { have: before.hash })
        await Promise.all([still.frameCount(1), stale.frameCount(1)])
        expect([still.tags, stale.tags]).toEqual([["Current"], ["Snapshot"]])
        expect(stale.titles).toEqual(["one", "two"])
      })

      it("L5 L9: the versions of all frames of one connection only grow", async () => {
        const { add, connect } = await start("b")
        const before = watch(await connect(), "items", listA)
        // Keeps the result of list b, which is older than what follows.
        const kept = watch(before.peer, "items", { list: "b", limit: 9 })
        await Promise.all([before.frameCount(1), kept.frameCount(1)])
        await add("one")
        await before.shows("one")
        const peer = await connect()
        const same = watch(peer, "items", listA, { have: before.hash })
        same.value = before.value
        await same.frameCount(1)
        const older = watch(peer, "items", { list: "b", limit: 9 })
        await older.frameCount(1)
        await add("two", 1)
        await same.frameCount(2)
        const olderAgain = watch(peer, "items", { list: "b", limit: 9 })
        await olderAgain.frameCount(1)
        const frames = [same.frames[0], older.frames[0], same.frames[1], olderAgain.frames[0]]
        expect(frames.map(({ _tag }) => _tag)).toEqual(["Current", "Snapshot", "Patch", "Snapshot"])
        const versions = frames.map(({ version }) => version)
        expect(versions).toEqual(versions.toSorted((a, b) => a - b))
      })
    })

    describe("mutations with an id", () => {
      const headers = (n: number): Array<readonly [string, string]> => [["dormouse-mutation", `client-${ids++}/${n}`]]
      const messages = (peer: Peer, ...tags: ReadonlyArray<string>): ReadonlyArray<any> =>
        peer.messages.filter(({ _tag }) => tags.includes(_tag as string))

      it("L5: the sender is told its commit, and after the frames with the commit that it was delivered", async () => {
        const { writer } = await start("b")
        const a = watch(writer, "items", listA)
        const b = watch(writer, "items", { list: "b", limit: 9 })
        await Promise.all([a.frameCount(1), b.frameCount(1)])
        const id = writer.ask("items.add", { list: "a", title: "one", rank: 0 }, headers(1))
        const delivered: any = await writer.until(() => messages(writer, "Delivered")[0])
        const [committed] = messages(writer, "Committed")
        expect(committed).toEqual({ _tag: "Committed", requestId: id, version: committed.version })
        expect(delivered.version).toBeGreaterThanOrEqual(committed.version)
        expect(a.titles).toEqual(["one"])
        expect(a.version).toBe(committed.version)
        const order = writer.messages.map((message: any) => [message._tag, message.requestId])
        const at = (tag: string, requestId?: string) =>
          order.findLastIndex(([_tag, of]) => _tag === tag && of === requestId)
        expect(at("Exit", id)).toBeLessThan(at("Committed", id))
        expect(at("Committed", id)).toBeLessThan(at("Chunk", a.id))
        expect(at("Chunk", a.id)).toBeLessThan(at("Delivered"))
        // A commit that changes no live query is reported as delivered as well.
        writer.ask("lists.add", { id: "c" }, headers(2))
        await writer.until(() => messages(writer, "Delivered").length === 2)
        expect(b.frames.length).toBe(1)
      })

      it("L6: a commit is not reported as delivered while a frame with it waits for a slow client", async () => {
        const { writer } = await start()
        const slow = watch(writer, "items", listA, { slow: true })
        await slow.frameCount(1)
        writer.ask("items.add", { list: "a", title: "one", rank: 0 }, headers(1))
        await writer.until(() => messages(writer, "Committed").length === 1)
        await quiet(writer)
        expect(messages(writer, "Delivered")).toEqual([])
        slow.acknowledge()
        await writer.until(() => messages(writer, "Delivered").length === 1)
        expect(slow.titles).toEqual(["one"])
      })

      it("L6 L7: the same across an eviction", async () => {
        const { tenant, writer } = await start()
        const slow = watch(writer, "items", listA, { slow: true })
        await slow.frameCount(1)
        writer.ask("items.add", { list: "a", title: "one", rank: 0 }, headers(1))
        await writer.until(() => messages(writer, "Committed").length === 1)
        await quiet(writer)
        await driver.evict(tenant)
        await quiet(writer)
        expect(messages(writer, "Delivered")).toEqual([])
        slow.acknowledge()
        await writer.until(() => messages(writer, "Delivered").length === 1)
        expect(slow.titles).toEqual(["one"])
      })
    })
  })
}
