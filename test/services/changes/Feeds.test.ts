import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Api, App, Query } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { ChangeLog } from "effect-dormouse/changes"
import { Pubsub } from "effect-dormouse/pubsub"
import { describe, expect, it, vi } from "vitest"
import { coalesce } from "../../../src/services/changes/ChangeRows.ts"
import { TransactionStorage } from "../../../src/services/storage/TransactionStorage.ts"
import { errorOf, type Peer, post, request } from "../../deployment/Deployment.ts"
import { copy, memory, turns } from "../../deployment/memory.ts"
import { forAll, forAllAsync, type Random, Violation } from "../../random.ts"
import { app, folders, options, type Write } from "../../worker/feeds.ts"
import { note, suite } from "./feedCases.ts"

suite("in memory", () => memory(app, options))

/** The same tables without a feed. */
class PlainApi extends Api.make(Query.make("count", { success: Schema.Int })) {}
const plain = App.make({
  api: PlainApi,
  tables: app.tables,
  handlers: PlainApi.toLayer({ count: () => folders.query().count })
})

const tenant = "feeds-own"

const opened = async (clock = TestClock.layer(), of: App.App<any> = app) => {
  const deployment = await memory(of, options, clock)
  const connect = (subject: string) => deployment.connect(tenant, "header", Auth.testToken({ subject }))
  const call = async (tag: string, payload: unknown, subject = "ada"): Promise<any> => {
    const headers = { authorization: `Bearer ${Auth.testToken({ subject })}` }
    const response = await post(deployment, tenant, JSON.stringify(request("1", tag, payload)), headers)
    const answer: any = await response.json().catch(() => undefined)
    return answer?.[0]?.exit
  }
  const write = (...writes: ReadonlyArray<Write>) => call("write", { writes })
  return { ...deployment, object: deployment.object(tenant), connect, call, write }
}

describe("feeds at random", () => {
  interface Follower {
    readonly subject: string
    peer: Peer
    /** What it has, by the key of its rows. */
    rows: Map<string, any>
    after: string
    handled: number
    chunks: number
  }

  /** Writes, reads, reconnects, evicts and crashes at random. Each reader then has the rows that it may read, in time. */
  const history = async (random: Random, timeout: number) => {
    const { call, close, connect, evict, object } = await opened()
    const followers: Array<Follower> = []
    const ids = Array.from({ length: 8 }, (_, i) => `${i}`)
    const one = (): Write => {
      const id = random.pick(ids)
      const folder = random.chance(0.5) ? null : random.pick(["a", "b"])
      const more = {
        folder,
        owner: random.pick(["ada", "bob"]),
        isPublic: random.chance(0.5),
        body: `${random.int(99)}`
      }
      const op = random.pick(["insert", "upsert", "upsert", "patch", "patch", "delete", "undone", "folder", "out"])
      if (op === "patch") return { op, id, body: more.body, isPublic: more.isPublic }
      if (op === "delete") return { op, id }
      if (op === "folder") return { op, id: random.pick(["a", "b"]), name: more.body }
      if (op === "out") return { op: "deleteFolder", id: random.pick(["a", "b"]) }
      return { op: op as "insert", note: note(id, more) }
    }
    const write = () =>
      call("write", { writes: random.array(1 + random.int(4), one), fails: random.chance(0.1) }).catch(() => undefined)
    const begin = async (follower: Follower, isNew: boolean) => {
      follower.peer.close()
      if (isNew) {
        const exit = await call("snapshot", {}, follower.subject).catch(() => undefined)
        if (exit?._tag !== "Success") return
        follower.rows = new Map(exit.value.rows.map((row: any) => [row.id, row]))
        follower.after = exit.value.after
      }
      follower.peer = await connect(follower.subject)
      follower.handled = 0
      follower.chunks = 0
      follower.peer.send(request("f", "changes", { after: follower.after }))
    }
    /** Applies what has arrived, and acknowledges it. */
    const apply = (follower: Follower) => {
      const { peer, rows } = follower
      const items = peer.items("f")
      for (; follower.handled < items.length; follower.handled++) {
        const { changes, cursor } = items[follower.handled]
        follower.after = cursor
        for (const { key, op, row, table } of changes) {
          if (table !== "notes") continue
          const id = key ?? row.id
          const isKnown = rows.has(id)
          if ((op === "insert") === isKnown)
            throw new Violation(`${op} of ${id}, which it ${isKnown ? "has" : "has not"}`)
          if (op === "delete") rows.delete(id)
          else rows.set(id, row)
        }
      }
      const chunks = peer.messages.filter(({ _tag }) => _tag === "Chunk").length
      for (; follower.chunks < chunks; follower.chunks++) peer.send({ _tag: "Ack", requestId: "f" })
    }
    const beginAgain = async () => {
      for (const follower of followers) {
        const exit: any = follower.peer.exits("f")[0]
        if (exit !== undefined) {
          const { _tag, reason } = errorOf(exit)
          if (_tag !== "ChangesExpired" && reason?._tag !== "CallLost") throw new Error(JSON.stringify(exit))
          apply(follower)
          await begin(follower, _tag === "ChangesExpired")
        } else if (follower.peer.closed !== undefined) {
          apply(follower)
          await begin(follower, false)
        }
      }
    }
    for (const subject of ["ada", "bob", "bob"]) {
      const follower = { subject, peer: await connect(subject), rows: new Map(), after: "start", handled: 0, chunks: 0 }
      followers.push(follower)
      await begin(follower, true)
    }
    const isLong = random.chance(0.3)
    for (let step = 0; step < (isLong ? 260 : 100); step++) {
      const chance = random.next()
      if (chance < (isLong ? 0.9 : 0.6)) await write()
      else if (chance < 0.92) apply(random.pick(followers))
      else if (chance < 0.94) await evict(tenant)
      else if (chance < 0.95) await object.crash()
      else if (chance < 0.96) object.failNextCommit()
      else if (chance < 0.98) {
        const follower = random.pick(followers)
        apply(follower)
        await begin(follower, random.chance(0.3))
      } else await turns()
      await beginAgain()
    }
    for (let i = 0; i < 3; i++) await write()
    const all = (await call("all", {})).value
    const rowsOf = (rows: Iterable<any>) => [...rows].sort((a, b) => (a.id < b.id ? -1 : 1))
    const visible = (subject: string) =>
      rowsOf(
        all
          .filter(({ isPublic, owner }: any) => isPublic || owner === subject)
          .map((row: any) => (row.owner === subject ? row : { ...row, rating: null }))
      )
    try {
      await expect
        .poll(
          async () => {
            await beginAgain()
            for (const follower of followers) apply(follower)
            return followers.map(({ rows }) => rowsOf(rows.values()))
          },
          { timeout }
        )
        .toEqual(followers.map(({ subject }) => visible(subject)))
    } finally {
      await close()
    }
  }

  it("CF1, CF2, CF3, CF6: what a reader has is what it may read, whatever is written, cut, evicted and lost", () =>
    forAllAsync(8, (random) => history(random, 60_000)))

  it("finds a change that is not recorded", async () => {
    const { recordChange } = TransactionStorage.prototype
    let count = 0
    const spy = vi.spyOn(TransactionStorage.prototype, "recordChange").mockImplementation(function (this: any, ...row) {
      recordChange.apply(this, row)
      if (++count % 40 === 0) this.rowChanges.pop()
    })
    await expect(forAllAsync(1000, (random) => history(random, 3000))).rejects.toThrow(Violation)
    spy.mockRestore()
  })
})

describe("a feed", () => {
  it("CF1: the changes of a transaction are those between the rows before and after it", () => {
    forAll(300, (random) => {
      const before = new Map(random.array(3, (i) => [i, [i, "before"]] as const))
      const rows = new Map<number, ReadonlyArray<any>>(before)
      const changes = random.array(1 + random.int(12), (i) => {
        const key = random.int(5)
        const old = rows.get(key)
        const isDeleted = old !== undefined && random.chance(0.4)
        if (isDeleted) rows.delete(key)
        else rows.set(key, [key, i])
        return { table: "t", keyAt: 0, before: old, after: rows.get(key) }
      })
      const replayed = new Map<number, ReadonlyArray<any>>(before)
      const seen = new Set<number>()
      for (const { after, before } of coalesce(changes)) {
        const key = (before ?? after)![0] as number
        expect(seen.has(key)).toBe(false)
        seen.add(key)
        expect(replayed.get(key)).toEqual(before)
        if (after === undefined) replayed.delete(key)
        else replayed.set(key, after)
      }
      expect(new Map([...replayed].sort())).toEqual(new Map([...rows].sort()))
    })
  })

  it("CF2: what is older than the retention is deleted by later commits", async () => {
    const pubsub = Pubsub.make({ changes: ChangeLog.make({ retention: "1 hour" }) })
    const { call, close, connect, object, run, write } = await opened(TestClock.layer(), { ...app, pubsub })
    const peer = await connect("ada")
    const count = () => object.database.prepare("SELECT count(*) AS count FROM _dormouse_changes").get()!["count"]
    for (let i = 0; i < 60; i++) await write({ op: "folder", id: "a", name: `${i}` })
    const { after } = (await call("snapshot", {})).value
    await run(TestClock.adjust("30 minutes"))
    for (let i = 0; i < 60; i++) await write({ op: "folder", id: "a", name: `${i}` })
    await run(TestClock.adjust("31 minutes"))
    expect(count()).toBe(121)
    // The 64th, 128th, … look for what is too old.
    for (let i = 0; i < 10; i++) await write({ op: "folder", id: "a", name: `last ${i}` })
    expect(count()).toBe(71)
    peer.send(request("f", "changes", { after }))
    await peer.itemsOf("f", 71)
    await run(TestClock.adjust("2 hours"))
    for (let i = 0; i < 64; i++) await write({ op: "folder", id: "a", name: `later ${i}` })
    expect(errorOf(await peer.call("changes", { after }))).toMatchObject({ _tag: "ChangesExpired" })
    await close()
  })

  it("CF8: a log that has a gap, or rows of other columns, is not continued", async () => {
    const first = await opened()
    await first.write({ op: "folder", id: "a", name: "A" })
    const { after } = (await first.call("snapshot", {})).value
    const rows = first.object.database
    // A version of the app without policies, whose log has other rows.
    const { policies, ...rest } = app
    const open = async (of: App.App<any>, from: typeof rows) => {
      const next = await opened(TestClock.layer(), of)
      copy(from, next.object.database)
      return next
    }
    const changed = await open({ ...rest, policies: [] }, rows)
    const peer = await changed.connect("ada")
    await changed.write({ op: "folder", id: "b", name: "B" })
    expect(errorOf(await peer.call("changes", { after }))).toMatchObject({ _tag: "ChangesExpired" })
    peer.send(request("start", "changes", { after: "start" }))
    expect(errorOf(await peer.exit("start"))).toMatchObject({ _tag: "ChangesExpired" })
    // The same log goes on with the same tables.
    const same = await open(app, rows)
    const again = await same.connect("ada")
    again.send(request("f", "changes", { after }))
    await same.write({ op: "folder", id: "b", name: "B" })
    expect((await again.itemsOf("f", 2))[1].changes).toMatchObject([{ op: "insert", row: { id: "b" } }])
    for (const { close } of [first, changed, same]) await close()
  })

  it("CF8: a version of the app without the feed drops the log, because it would have a gap", async () => {
    const first = await opened()
    await first.write({ op: "folder", id: "a", name: "A" })
    const tables = "SELECT count(*) AS count FROM sqlite_master WHERE name = '_dormouse_changes'"
    expect(first.object.database.prepare(tables).get()).toEqual({ count: 1 })
    const without = await memory(plain, options)
    copy(first.object.database, without.object(tenant).database)
    await post(without, tenant, JSON.stringify(request("1", "count", {})))
    expect(without.object(tenant).database.prepare(tables).get()).toEqual({ count: 0 })
    await first.close()
    await without.close()
  })

  it("CF8: a contract with a feed needs the log of changes", async () => {
    const { pubsub: _, ...rest } = app
    const without = await memory({ ...rest, pubsub: Pubsub.make() }, options)
    const response = await post(without, tenant, JSON.stringify(request("1", "all", {})))
    expect(response.status).toBe(503)
    expect(without.logged()).toMatch(/ChangeLog\.make/)
    await without.close()
  })
})
