import { Auth } from "effect-dormouse/auth"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { callersOf, type Deployment, errorOf, newTenant, type Peer, request } from "../../deployment/Deployment.ts"
import { eventsOf } from "../../deployment/events.ts"
import type { Write } from "../../worker/feeds.ts"

/** Change feeds of the app in `feeds.ts`, in memory and in workerd. */

/** A note as an insert takes it. */
export const note = (id: string, more: object = {}) => ({
  id,
  folder: null,
  owner: "ada",
  isPublic: false,
  body: `body of ${id}`,
  rating: 1,
  password: "hidden",
  ...more
})

/** The same as its owner is sent it. */
export const shown = (id: string, more: object = {}) => {
  const { password, ...row } = note(id, more)
  return row
}

export const suite = (name: string, here: () => Promise<Deployment & { readonly close?: () => Promise<void> }>) =>
  describe(name, () => {
    let app: Deployment & { readonly close?: () => Promise<void> }
    beforeAll(async () => {
      app = await here()
    })
    afterAll(() => app?.close?.())

    const open = () => {
      const tenant = newTenant("feeds")
      const callers = callersOf(app, tenant)
      const write = (...writes: ReadonlyArray<Write>) => callers.done("write", { writes })
      return { ...callers, write }
    }
    const follow = async (peer: Peer, id = "f", after = "now", tag = "changes") => {
      peer.send(request(id, tag, { after }))
      await peer.call("all", {})
    }
    const commits = (peer: Peer, id = "f") =>
      peer.items(id).flatMap(({ changes }) => (changes.length > 0 ? [changes] : []))
    const until = (peer: Peer, expected: ReadonlyArray<unknown>, id = "f") =>
      expect.poll(() => commits(peer, id)).toEqual(expected)
    const inserted = (row: { readonly id: string }) => ({ table: "notes", op: "insert", row })
    const updated = (row: { readonly id: string }) => ({ table: "notes", op: "update", row })
    const deleted = (key: string) => ({ table: "notes", op: "delete", key })
    const folder = (op: string, id: string, name: string) => ({ table: "folders", op, row: { id, name } })

    it("CF1: each commit is one item, with each row that it changed once, in the order of commits", async () => {
      const { call, connect, write } = open()
      const peer = await connect()
      await follow(peer)
      await write({ op: "insert", note: note("1") })
      await write({ op: "patch", id: "1", body: "new" }, { op: "insert", note: note("2") })
      // Of several writes of a row only what is committed counts.
      await write(
        { op: "insert", note: note("3") },
        { op: "patch", id: "3", body: "patched" },
        { op: "delete", id: "2" },
        { op: "insert", note: note("4") },
        { op: "delete", id: "4" },
        { op: "undone", note: note("1", { body: "undone" }) }
      )
      expect((await call("write", { writes: [{ op: "delete", id: "1" }], fails: true }))._tag).toBe("Failure")
      await write({ op: "undone", note: note("5") })
      await write({ op: "upsert", note: note("1", { body: "upserted" }) }, { op: "upsert", note: note("6") })
      await write({ op: "delete", id: "1" }, { op: "insert", note: note("1") })
      await until(peer, [
        [inserted(shown("1"))],
        [updated(shown("1", { body: "new" })), inserted(shown("2"))],
        [inserted(shown("3", { body: "patched" })), deleted("2")],
        [updated(shown("1", { body: "upserted" })), inserted(shown("6"))],
        [updated(shown("1"))]
      ])
      peer.close()
    })

    it("CF1: what references delete or set to null is a change, and values that JSON does not have are kept", async () => {
      const { connect, write } = open()
      const peer = await connect()
      await follow(peer)
      await follow(peer, "v", "now", "values.changes")
      const value = { id: 1, real: "Infinity", bytes: "AAH/", big: "-123456789012345678901", at: 5, folder: "a" }
      await write(
        { op: "folder", id: "a", name: "A" },
        { op: "insert", note: note("1", { folder: "a" }) },
        { op: "value", value: value as never }
      )
      await write({ op: "deleteFolder", id: "a" })
      await until(peer, [
        [folder("insert", "a", "A"), inserted(shown("1", { folder: "a" }))],
        [{ table: "folders", op: "delete", key: "a" }, deleted("1")]
      ])
      await until(
        peer,
        [
          [{ table: "values", op: "insert", row: value }],
          [{ table: "values", op: "update", row: { ...value, folder: null } }]
        ],
        "v"
      )
      peer.close()
    })

    it("CF1: a reader goes on after its cursor, and a large commit is several items", async () => {
      const { connect, write } = open()
      const peer = await connect()
      await follow(peer)
      const many = Array.from(
        { length: 30 },
        (_, i): Write => ({
          op: "insert",
          note: note(`${i}`, { body: "x".repeat(10_000) })
        })
      )
      await write(...many)
      await write({ op: "delete", id: "0" })
      await expect.poll(() => commits(peer).at(-1)).toEqual([deleted("0")])
      const items = peer.items("f").slice(1)
      expect(items.slice(0, -1).flatMap(({ changes }) => changes.map(({ row }: any) => row.id))).toEqual(
        many.map((_, i) => `${i}`)
      )
      expect(items.length).toBeGreaterThan(3)
      expect(items.map(({ partial }) => partial)).toEqual(
        items.map((_, i) => (i < items.length - 2 ? true : undefined))
      )
      for (const [i, { cursor }] of items.entries()) {
        await follow(peer, `after ${i}`, cursor)
        await expect.poll(() => peer.items(`after ${i}`).length).toBe(items.length - i)
        // The first says where it begins.
        expect(peer.items(`after ${i}`)[0]).toEqual({ cursor, changes: [] })
        expect(peer.items(`after ${i}`).slice(1)).toEqual(items.slice(i + 1))
      }
      peer.close()
    })

    it("CF2: who comes after what is not kept any more gets ChangesExpired, with the earliest cursor", async () => {
      const { call, connect, write } = open()
      const peer = await connect()
      await follow(peer, "first", "start")
      await write({ op: "insert", note: note("1") })
      await until(peer, [[inserted(shown("1"))]], "first")
      const { cursor } = peer.items("first").at(-1)
      peer.send({ _tag: "Interrupt", requestId: "first" })
      for (let i = 0; i < 70; i++) await write({ op: "patch", id: "1", body: `${i}` })
      for (const after of [cursor, "start", "unknown.3", `${cursor.split(".")[0]}.999`]) {
        const error = errorOf(await peer.call("changes", { after }))
        expect(error).toMatchObject({ _tag: "ChangesExpired" })
        await follow(peer, `after ${after}`, error.earliest)
        await expect.poll(() => commits(peer, `after ${after}`).at(-1)?.[0].row.body).toBe("69")
        expect(commits(peer, `after ${after}`).length).toBeGreaterThanOrEqual(40)
        peer.send({ _tag: "Interrupt", requestId: `after ${after}` })
      }
      for (const after of ["", "then", 1, null]) {
        expect(errorOf(await peer.call("changes", { after }))?.reason).toMatchObject({ _tag: "PayloadInvalid" })
      }
      expect(errorOf(await call("changes", { after: "now" }))?.reason).toMatchObject({ _tag: "UnknownRpc" })
      peer.close()
    })

    it("CF3: policies decide what a reader is sent; hidden and sensitive fields do not leave", async () => {
      const { connect, write } = open()
      const [ada, bob, eve] = [await connect("ada"), await connect("bob"), await connect("eve")]
      for (const peer of [ada, bob, eve]) await follow(peer)
      expect(errorOf(await eve.exit("f"))).toMatchObject({ _tag: "Refused" })
      await write({ op: "insert", note: note("1") })
      await write({ op: "patch", id: "1", isPublic: true })
      await write({ op: "patch", id: "1", body: "public" })
      await write({ op: "patch", id: "1", isPublic: false })
      await write({ op: "patch", id: "1", body: "private" })
      await write({ op: "delete", id: "1" })
      await write({ op: "insert", note: note("2", { owner: "bob" }) })
      const visible = { isPublic: true }
      await until(ada, [
        [inserted(shown("1"))],
        [updated(shown("1", visible))],
        [updated(shown("1", { ...visible, body: "public" }))],
        [updated(shown("1", { body: "public" }))],
        [updated(shown("1", { body: "private" }))],
        [deleted("1")]
      ])
      await until(bob, [
        [inserted(shown("1", { ...visible, rating: null }))],
        [updated(shown("1", { ...visible, rating: null, body: "public" }))],
        // It may not see the row any more.
        [deleted("1")],
        [inserted(shown("2", { owner: "bob" }))]
      ])
      expect([...ada.texts, ...bob.texts].join()).not.toContain("hidden")
      for (const peer of [ada, bob, eve]) peer.close()
    })

    it("CF4: a query that reads the newest cursor with its rows is followed without a gap", async () => {
      const { connect, done, write } = open()
      const peer = await connect()
      expect((await done("snapshot", {})).after).toBe("start")
      for (let i = 0; i < 5; i++) await write({ op: "insert", note: note(`${i}`) })
      const { after, rows } = await done("snapshot", {})
      expect(rows.map(({ id }: any) => id)).toEqual(["0", "1", "2", "3", "4"])
      await write({ op: "delete", id: "3" })
      await follow(peer, "f", after)
      await until(peer, [[deleted("3")]])
      // Live, the cursor is that of the rows.
      peer.send(request("live", "live:snapshot", {}))
      await peer.itemsOf("live", 1)
      expect(peer.items("live")[0].value.after).not.toBe(after)
      peer.send({ _tag: "Ack", requestId: "live" })
      await write({ op: "folder", id: "a", name: "A" })
      await peer.itemsOf("live", 2)
      peer.close()
    })

    it("CF5: raw SQL that writes a table of a feed is refused, also by what references delete", async () => {
      const { done, write } = open()
      await write({ op: "folder", id: "a", name: "A" }, { op: "insert", note: note("1", { folder: "a" }) })
      for (const sql of [
        "UPDATE notes SET body = 'raw'",
        "DELETE FROM notes",
        "INSERT OR REPLACE INTO folders VALUES ('b', 'B')",
        "DELETE FROM folders WHERE id = 'a'",
        'DELETE FROM "values"'
      ]) {
        expect(await done("raw", { sql })).toMatch(/has a change feed/)
      }
      expect(await done("raw", { sql: "SELECT count(*) FROM notes" })).toBe("done")
      expect(await done("all", {})).toHaveLength(1)
    })

    it("CF6: a slow reader misses nothing by hibernation, and is told when it comes too late", async () => {
      const { connect, tenant, write } = open()
      const [slow, late] = [await connect(), await connect()]
      for (const peer of [slow, late]) await follow(peer)
      for (let i = 0; i < 25; i++) {
        await write({ op: "upsert", note: note("1", { body: `${i}` }) })
        await slow.call("all", {})
        if (i === 20) await app.evict(tenant)
      }
      await app.evict(tenant)
      const acknowledged = () => {
        for (let i = 0; i < 4; i++) slow.send({ _tag: "Ack", requestId: "f" })
        return commits(slow).map(([change]) => change.row.body)
      }
      await expect.poll(acknowledged).toEqual(Array.from({ length: 25 }, (_, i) => `${i}`))
      slow.close()
      // 16 chunks hold 512 commits at most: a flush that comes late sends several in one chunk.
      for (let i = 0; i < 600; i++) await write({ op: "upsert", note: note("1", { body: `${i}` }) })
      for (let i = 0; i < 20; i++) late.send({ _tag: "Ack", requestId: "f" })
      expect(errorOf(await late.exit("f"))).toMatchObject({ _tag: "ChangesExpired" })
      late.close()
    })

    it("PS17, CF2: a feed is a stream of events, which goes on after its last one until that has expired", async () => {
      const { tenant, write } = open()
      const as = { authorization: `Bearer ${Auth.testToken({ subject: "ada" })}` }
      const payload = encodeURIComponent(JSON.stringify({ after: "now" }))
      const first = await eventsOf(app, tenant, `changes?payload=${payload}`, as)
      await expect.poll(() => first.events).toMatchObject([{ id: "start", data: { changes: [] } }])
      await write({ op: "insert", note: note("1") })
      await expect.poll(() => first.events.length).toBe(2)
      const { id = "" } = first.events[1]!
      await first.close()
      await write({ op: "delete", id: "1" })
      const again = await eventsOf(app, tenant, `changes?payload=${payload}`, { ...as, "last-event-id": id })
      await expect.poll(() => again.events.map(({ data }) => data.changes)).toEqual([[], [deleted("1")]])
      await again.close()
      for (let i = 0; i < 70; i++) await write({ op: "folder", id: "a", name: `${i}` })
      const late = await eventsOf(app, tenant, `changes?payload=${payload}`, { ...as, "last-event-id": id })
      expect(late.response.status).toBe(410)
      expect(await late.response.json()).toMatchObject({ error: { _tag: "ChangesExpired" } })
    })

    it("CF7: a row that is too large for a feed is refused, and nothing is written", async () => {
      const { call, done } = open()
      const large = { op: "insert", note: note("1", { body: "x".repeat(500_000) }) }
      const exit = await call("write", { writes: [{ op: "insert", note: note("2") }, large] })
      expect(errorOf(exit)?.reason).toMatchObject({ _tag: "LimitExceeded", limit: "changeBytes" })
      expect(await done("all", {})).toEqual([])
    })
  })
