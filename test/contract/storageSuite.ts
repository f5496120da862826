import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import * as SqlClient from "effect/sql/SqlClient"
import * as SqlModel from "effect/sql/SqlModel"
import * as SqlResolver from "effect/sql/SqlResolver"
import * as SqlSchema from "effect/sql/SqlSchema"
import type { Fragment } from "effect/sql/Statement"
import { Table } from "effect-dormouse"
import { describe, expect, it } from "vitest"
import type * as Limits from "../../src/protocol/Limits.ts"
import * as Cursor from "../../src/services/storage/Cursor.ts"
import { touches } from "../../src/services/storage/ReadSet.ts"
import { StorageHarness, type WithDatabase } from "./StorageHarness.ts"

const ChannelId = Schema.String.pipe(Schema.brand("ChannelId"))
const channelId = (id: string) => ChannelId.make(id)

class Channel extends Model.Class<Channel>("suite/Channel")({
  id: Table.key(ChannelId),
  name: Schema.NonEmptyString,
  topic: Schema.optionalKey(Schema.String),
  parent: Schema.optionalKey(ChannelId),
  createdAt: Table.insertedAt,
  updatedAt: Table.updatedAt
}) {}

class Message extends Model.Class<Message>("suite/Message")({
  id: Table.key(Schema.String),
  channel: ChannelId,
  author: Schema.String,
  body: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("…"))),
  likes: Schema.Int,
  sentAt: Table.insertedAt
}) {}

class Pin extends Model.Class<Pin>("suite/Pin")({
  id: Schema.String,
  message: Schema.NullOr(Schema.String),
  second: Schema.optionalKey(Schema.String)
}) {}

class Member extends Model.Class<Member>("suite/Member")({
  id: Schema.String,
  channel: ChannelId
}) {}

class Account extends Model.Class<Account>("suite/Account")({
  id: Schema.String,
  email: Schema.String,
  password: Model.Sensitive(Schema.String)
}) {}

const channels = Table.make("channels", Channel, {
  key: "id",
  indexes: { byName: { columns: ["name"], unique: true }, byTopic: ["topic"] },
  references: { parent: { table: (): Table.Any => channels, onDelete: "cascade" } }
})
const messages = Table.make("messages", Message, {
  key: "id",
  indexes: { byChannel: ["channel", "sentAt"], byLikes: ["likes"], byAuthor: ["author"] },
  references: { channel: { table: () => channels, onDelete: "cascade" } }
})
const pins = Table.make("pins", Pin, {
  key: "id",
  references: {
    message: { table: () => messages, onDelete: "setNull" },
    second: { table: () => messages, onDelete: "setNull" }
  }
})
const members = Table.make("members", Member, {
  key: "id",
  references: { channel: { table: () => channels } }
})
const accounts = Table.make("accounts", Account, {
  key: "id",
  indexes: {
    byEmail: { columns: ["email"], unique: true },
    byEmailAndId: { columns: ["email", "id"], unique: true },
    byPassword: ["password"]
  }
})
const tables = [channels, messages, pins, members, accounts]

const channel = (name: string, more: Partial<Table.Insert<typeof Channel>> = {}) => channels.insert({ name, ...more })

/** The suite that the storage of every platform must pass. `run` provides a new database of one platform. */
export const suite = (name: string, run: WithDatabase): void => {
  const test = (title: string, body: (app: StorageHarness) => void, limits: Partial<Limits.Limits> = {}) =>
    it(title, () => run((database) => body(new StorageHarness(database, tables, limits))))

  describe(`R1: ${name}: rows`, () => {
    test("ST2 a missing key is generated as a UUIDv7, and generated keys ascend", (app) => {
      const inserted = app.mutate(channels.insertMany([{ name: "a" }, { name: "b" }]))
      app.now -= 500
      const later = app.mutate(channel("c"))
      const keys = [...inserted.map((row) => row.id), later.id]
      for (const key of keys)
        expect(key).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      expect(keys.toSorted()).toEqual(keys)
      expect(app.query(channels.query()).map((row) => row.name)).toEqual(["a", "b", "c"])
    })

    test("ST2 a given key is used, and must be unique", (app) => {
      expect(app.mutate(channel("a", { id: channelId("one") })).id).toBe("one")
      expect(app.reason(channel("b", { id: channelId("one") }))).toMatchObject({
        _tag: "UniqueViolation",
        table: "channels",
        index: "id"
      })
      expect(app.query(channels.query()).map((row) => row.name)).toEqual(["a"])
    })

    test("ST2 a generated key is decoded by the key's schema", (app) => {
      class Tagged extends Model.Class<Tagged>("suite/Tagged")({
        id: Table.key(Schema.TemplateLiteralParser([Schema.String])),
        n: Schema.Int
      }) {}
      const tagged = Table.make("tagged", Tagged, { key: "id" })
      const own = new StorageHarness(app.database, [tagged])
      const row = own.mutate(tagged.insert({ n: 1 }))
      expect(row.id).toHaveLength(1)
      expect(own.query(tagged.get(row.id))).toEqual(row)
    })

    test("ST3 insertedAt and updatedAt are the time of the transaction", (app) => {
      const row = app.mutate(channel("a"))
      const at = (millis: number) => DateTime.makeUnsafe(millis)
      expect([row.createdAt, row.updatedAt]).toEqual([at(1_000_000), at(1_000_000)])
      app.now += 5
      const patched = app.mutate(channels.patch(row.id, { topic: "x" }))
      expect([patched.createdAt, patched.updatedAt]).toEqual([at(1_000_000), at(1_000_005)])
      app.now += 5
      const replaced = app.mutate(channels.replace(row.id, { name: "b" }))
      expect([replaced.createdAt, replaced.updatedAt]).toEqual([at(1_000_000), at(1_000_010)])
      app.now += 5
      const upserted = app.mutate(channels.upsert({ id: row.id, name: "c" }))
      expect([upserted.createdAt, upserted.updatedAt]).toEqual([at(1_000_000), at(1_000_015)])
      expect(app.query(channels.get(row.id))).toEqual(upserted)
    })

    test("ST3 a write cannot set generated values", (app) => {
      const row = app.mutate(channel("a"))
      const forged = { createdAt: DateTime.makeUnsafe(0), id: "other", updatedAt: DateTime.makeUnsafe(0) }
      app.mutate(channels.patch(row.id, { ...forged, name: "b" } as object))
      app.mutate(channels.insert({ ...forged, id: channelId("x"), name: "x" }))
      app.mutate(channels.replace(row.id, { ...forged, name: "c" } as never))
      const rows = app.query(channels.query())
      expect(rows.map((row) => row.name)).toEqual(["c", "x"])
      expect(rows[0]!.id).toBe(row.id)
      for (const row of rows) expect(row.createdAt).toEqual(DateTime.makeUnsafe(1_000_000))
    })

    test("ST4 get returns an instance of the model, or fails with RowNotFound", (app) => {
      const row = app.mutate(channel("a"))
      expect(app.query(channels.get(row.id))).toBeInstanceOf(Channel)
      expect(app.query(channels.get(row.id))).toEqual(row)
      const error = app.queryFailure(channels.get(channelId("none")))
      expect(error).toMatchObject({ _tag: "RowNotFound", table: "channels", key: "none" })
      expect(app.failure(channels.patch(channelId("none"), {}))).toMatchObject({ _tag: "RowNotFound" })
      expect(app.failure(channels.replace(channelId("none"), { name: "a" }))).toMatchObject({ _tag: "RowNotFound" })
    })

    test("ST4 getMany keeps the order of the keys, with repeated and missing ones", (app) => {
      const rows = app.mutate(channels.insertMany(Array.from({ length: 250 }, (_, i) => ({ name: `n${i}` }))))
      const keys = [rows[7]!.id, channelId("none"), ...rows.map((row) => row.id).reverse(), rows[7]!.id]
      const found = app.query(channels.getMany(keys))
      expect(found.map((row) => Option.getOrUndefined(row)?.id)).toEqual(
        keys.map((key) => (key === "none" ? undefined : key))
      )
      expect(app.query(channels.getMany([]))).toEqual([])
    })

    test("ST5 insertMany writes all rows or none, even with several statements", (app) => {
      const many = (length: number, last: string) =>
        Array.from({ length }, (_, i) => ({ name: i === length - 1 ? last : `n${i}` }))
      app.mutate(channel("taken"))
      app.mutate(
        Effect.gen(function* () {
          const error = yield* Effect.flip(channels.insertMany(many(200, "taken")))
          expect(error.reason._tag).toBe("UniqueViolation")
          expect(yield* channels.query().count).toBe(1)
        })
      )
      expect(app.mutate(channels.insertMany(many(200, "free")))).toHaveLength(200)
      expect(app.query(channels.query().count)).toBe(201)
      expect(app.mutate(channels.insertMany([]))).toEqual([])
    })

    test("ST6 patch changes only the given fields; undefined removes an optional field", (app) => {
      const row = app.mutate(channel("a", { topic: "x" }))
      expect(app.mutate(channels.patch(row.id, { name: "b" }))).toMatchObject({ name: "b", topic: "x" })
      const bare = app.mutate(channels.patch(row.id, { topic: undefined }))
      expect("topic" in bare).toBe(false)
      expect("topic" in app.query(channels.get(row.id))).toBe(false)
      expect(app.reason(channels.patch(row.id, { name: "" }))).toMatchObject({ _tag: "RowInvalid", table: "channels" })
      expect(app.reason(channels.patch(row.id, { name: undefined } as object))).toMatchObject({ _tag: "RowInvalid" })
      expect(app.query(channels.get(row.id)).name).toBe("b")
    })

    test("ST6 patch follows the model's update variant, insert and replace its insert variant", (app) => {
      class Job extends Model.Class<Job>("suite/Job")({
        id: Schema.String,
        owner: Model.FieldExcept(["update"])(Schema.String),
        state: Model.Field({
          select: Schema.Literals(["new", "running", "done"]),
          insert: Schema.Literals(["new"]),
          update: Schema.Literals(["running", "done"])
        })
      }) {}
      const jobs = Table.make("jobs", Job, { key: "id" })
      const own = new StorageHarness(app.database, [jobs])
      own.mutate(jobs.insert({ id: "a", owner: "ann", state: "new" }))
      expect(own.reason(jobs.insert({ id: "b", owner: "ann", state: "done" as "new" }))).toMatchObject({
        _tag: "RowInvalid"
      })
      expect(own.reason(jobs.patch("a", { state: "new" as "done" }))).toMatchObject({ _tag: "RowInvalid" })
      own.mutate(jobs.patch("a", { state: "done", owner: "bob" } as object))
      expect(own.query(jobs.get("a"))).toEqual(new Job({ id: "a", owner: "ann", state: "done" }))
      expect(own.mutate(jobs.replace("a", { id: "a", owner: "bob", state: "new" })).owner).toBe("bob")
    })

    test("ST6 replace keeps only the key and insertedAt", (app) => {
      const row = app.mutate(channel("a", { topic: "x" }))
      const next = app.mutate(channels.replace(row.id, { name: "b" }))
      expect("topic" in next).toBe(false)
      expect(next.id).toBe(row.id)
      expect(app.query(channels.get(row.id))).toEqual(next)
    })

    test("ST6 upsert inserts or replaces by key", (app) => {
      const id = channelId("one")
      app.mutate(channels.upsert({ id, name: "a", topic: "x" }))
      app.mutate(channels.upsert({ id, name: "b" }))
      app.mutate(channels.upsert({ name: "c" }))
      expect(app.query(channels.query("byName")).map((row) => [row.name, row.topic])).toEqual([
        ["b", undefined],
        ["c", undefined]
      ])
      expect(app.reason(channels.upsert({ id: channelId("two"), name: "c" }))).toMatchObject({ index: "byName" })
    })

    test("ST6 a write that changes nothing writes nothing", (app) => {
      const row = app.mutate(accounts.insert({ id: "a", email: "a@x", password: "p" }))
      const { writes } = app.mutation(
        Effect.all([accounts.patch("a", { email: "a@x" }), accounts.replace("a", row), accounts.upsert(row)])
      )
      expect(writes.keys.size).toBe(0)
    })

    test("ST7 delete returns whether there was a row", (app) => {
      const row = app.mutate(channel("a"))
      expect(app.mutate(Effect.all([channels.delete(row.id), channels.delete(row.id)]))).toEqual([true, false])
    })

    test("ST18 a row that does not fit the model is RowInvalid, and nothing is written", (app) => {
      const reason = app.reason(channels.insertMany([{ name: "a" }, { name: "" }]))
      expect(reason).toMatchObject({ _tag: "RowInvalid", table: "channels" })
      expect(String(reason["issue"])).toContain('at ["name"]')
      expect(app.query(channels.query().count)).toBe(0)
    })

    test("ST18 a stored row that no longer fits is RowUnreadable", (app) => {
      class Odd extends Model.Class<Odd>("suite/Odd")({
        id: Schema.String,
        flag: Schema.optionalKey(Schema.Boolean),
        big: Schema.optionalKey(Schema.BigInt),
        nested: Schema.optionalKey(Schema.Struct({ a: Schema.Int })),
        bytes: Schema.optionalKey(Schema.Uint8Array),
        count: Schema.optionalKey(Schema.Int),
        color: Schema.optionalKey(Schema.Literals(["red", "green"])),
        digit: Schema.optionalKey(Schema.NullOr(Schema.Literals([1, 2]))),
        name: Schema.optionalKey(Schema.NonEmptyString),
        share: Schema.optionalKey(Schema.Finite.check(Schema.isLessThanOrEqualTo(1))),
        date: Schema.optionalKey(Schema.DateTimeUtc)
      }) {}
      const odd = Table.make("odd", Odd, { key: "id" })
      const own = new StorageHarness(app.database, [odd])
      const junk: ReadonlyArray<readonly [string, string | number]> = [
        ["flag", 2],
        ["flag", "yes"],
        ["big", "12"],
        ["big", 12],
        ["nested", "{"],
        ["nested", '{"a":"b"}'],
        ["bytes", "text"],
        ["count", 1.5],
        ["count", "many"],
        ["color", "blue"],
        ["digit", 3],
        ["name", ""],
        ["share", 2],
        ["date", "never"]
      ]
      for (const [column, value] of junk) {
        own.tamper("DELETE FROM odd")
        own.tamper(`INSERT INTO odd (id, ${column}) VALUES ('a', ?)`, [value])
        const reason = own.queryReason(odd.get("a"))
        expect(reason, `${column} ${value}`).toMatchObject({ _tag: "RowUnreadable", table: "odd" })
        expect(reason["issue"], `${column} ${value}`).toContain(column)
        expect(own.queryReason(odd.query())).toMatchObject({ _tag: "RowUnreadable" })
      }
      app.mutate(channel("a"))
      app.tamper("UPDATE channels SET createdAt = 9000000000000000")
      expect(app.queryReason(channels.query())).toMatchObject({ _tag: "RowUnreadable", table: "channels" })
    })
  })

  describe(`R1: ${name}: references and unique indexes`, () => {
    const family = Effect.gen(function* () {
      const root = yield* channel("root")
      const child = yield* channel("child", { parent: root.id })
      const other = yield* channel("other")
      const sent = yield* messages.insertMany(
        [root, child, other].map(({ id }) => ({ channel: id, author: "ann", likes: 0 }))
      )
      return { root, child, other, sent: sent.map((message) => message.id) }
    })

    test("ST7 cascade deletes rows that refer to the row, and rows that refer to those", (app) => {
      const { other, root } = app.mutate(family)
      expect(app.mutate(channels.delete(root.id))).toBe(true)
      expect(app.query(channels.query()).map((row) => row.id)).toEqual([other.id])
      expect(app.query(messages.query()).map((row) => row.channel)).toEqual([other.id])
    })

    test("ST7 setNull sets every reference to the row to null, and no other", (app) => {
      const { root, sent } = app.mutate(family)
      const [first, , third] = sent as [string, string, string]
      app.mutate(
        pins.insertMany([
          { id: "a", message: first, second: first },
          { id: "b", message: third, second: first },
          { id: "c", message: null }
        ])
      )
      app.mutate(channels.delete(root.id))
      expect(app.query(pins.query())).toEqual([
        new Pin({ id: "a", message: null }),
        new Pin({ id: "b", message: third }),
        new Pin({ id: "c", message: null })
      ])
    })

    test("ST7 restrict refuses a deletion, even deep in a cascade, and changes nothing", (app) => {
      const { child, root } = app.mutate(family)
      app.mutate(members.insert({ id: "m", channel: child.id }))
      for (const id of [child.id, root.id]) {
        expect(app.reason(channels.delete(id))).toMatchObject({
          _tag: "ReferenceViolation",
          table: "members",
          column: "channel",
          action: "restrict"
        })
      }
      const { exit, writes } = app.mutation(Effect.ignore(channels.delete(root.id)))
      expect(exit._tag).toBe("Success")
      expect(writes.keys.size).toBe(0)
      expect(app.query(channels.query().count)).toBe(3)
    })

    test("ST7 a row that refers to itself can be deleted", (app) => {
      class Node extends Model.Class<Node>("suite/Node")({ id: Schema.String, next: Schema.String }) {}
      const nodes = Table.make("nodes", Node, {
        key: "id",
        references: { next: { table: (): Table.Any => nodes } }
      })
      const own = new StorageHarness(app.database, [nodes])
      own.mutate(
        nodes.insertMany([
          { id: "a", next: "a" },
          { id: "b", next: "a" }
        ])
      )
      expect(own.reason(nodes.delete("a"))).toMatchObject({ _tag: "ReferenceViolation", action: "restrict" })
      expect(own.mutate(Effect.all([nodes.delete("b"), nodes.delete("a")]))).toEqual([true, true])
    })

    test("ST8 a reference to a row that does not exist is a ReferenceViolation", (app) => {
      const { root, sent } = app.mutate(family)
      const missing = { _tag: "ReferenceViolation", table: "messages", column: "channel", action: "missing" }
      const message = { channel: channelId("none"), author: "ann", likes: 0 }
      expect(app.reason(messages.insert(message))).toMatchObject(missing)
      expect(app.reason(messages.patch(sent[0]!, { channel: channelId("none") }))).toMatchObject(missing)
      expect(app.reason(messages.upsert({ ...message, id: sent[0]! }))).toMatchObject(missing)
      expect(
        app.reason(
          channels.insertMany([
            { id: channelId("x"), name: "x", parent: channelId("y") },
            { id: channelId("y"), name: "y", parent: channelId("none") }
          ])
        )
      ).toMatchObject({ table: "channels", column: "parent", action: "missing" })
      expect(app.query(messages.query("byChannel").eq("channel", root.id).count)).toBe(1)
    })

    test("ST7, ST8 a cascade has any depth, and rows of one insertMany can refer to earlier ones", (app) => {
      const ids = Array.from({ length: 120 }, (_, i) => channelId(`c${String(i).padStart(3, "0")}`))
      app.mutate(
        channels.insertMany(ids.map((id, i) => ({ id, name: id, ...(i === 0 ? {} : { parent: ids[i - 1]! }) })))
      )
      expect(app.mutate(channels.delete(ids[0]!))).toBe(true)
      expect(app.query(channels.query().exists)).toBe(false)
    })

    test("ST9 a unique index refuses equal values, and the error names the index", (app) => {
      app.mutate(
        accounts.insertMany([
          { id: "a", email: "a@x", password: "" },
          { id: "b", email: "b@x", password: "" }
        ])
      )
      const violation = { _tag: "UniqueViolation", table: "accounts", index: "byEmail" }
      expect(app.reason(accounts.insert({ id: "c", email: "a@x", password: "" }))).toMatchObject(violation)
      expect(app.reason(accounts.patch("b", { email: "a@x" }))).toMatchObject(violation)
      expect(app.reason(accounts.replace("b", { id: "b", email: "a@x", password: "" }))).toMatchObject(violation)
    })

    test("ST9 the error names the violated index, not one whose columns are a prefix", (app) => {
      class Seat extends Model.Class<Seat>("suite/Seat")({ id: Schema.String, row: Schema.Int, rows: Schema.Int }) {}
      const seats = Table.make("seats", Seat, {
        key: "id",
        indexes: { byRow: { columns: ["row"], unique: true }, byRows: { columns: ["rows"], unique: true } }
      })
      const own = new StorageHarness(app.database, [seats])
      own.mutate(seats.insert({ id: "a", row: 1, rows: 1 }))
      expect(own.reason(seats.insert({ id: "b", row: 1, rows: 2 }))).toMatchObject({ index: "byRow" })
      expect(own.reason(seats.insert({ id: "b", row: 2, rows: 1 }))).toMatchObject({ index: "byRows" })
    })

    test("ST9 rows without a value do not violate a unique index", (app) => {
      class Slot extends Model.Class<Slot>("suite/Slot")({
        id: Schema.String,
        code: Schema.optionalKey(Schema.String)
      }) {}
      const slots = Table.make("slots", Slot, {
        key: "id",
        indexes: { byCode: { columns: ["code"], unique: true } }
      })
      const own = new StorageHarness(app.database, [slots])
      own.mutate(slots.insertMany([{ id: "a" }, { id: "b" }, { id: "c", code: "x" }]))
      expect(own.reason(slots.insert({ id: "d", code: "x" }))).toMatchObject({ index: "byCode" })
    })
  })

  describe(`R1: ${name}: queries`, () => {
    const sent = (rows: ReadonlyArray<readonly [author: string, likes: number]>) =>
      Effect.gen(function* () {
        const { id } = yield* channel("c", { id: channelId("c") })
        return yield* messages.insertMany(
          rows.map(([author, likes], i) => ({ id: `m${i}`, channel: id, author, likes }))
        )
      })
    const some = sent([
      ["ann", 3],
      ["bob", 1],
      ["ann", 2],
      ["eve", 2]
    ])
    const ids = (rows: ReadonlyArray<Message>) => rows.map((row) => row.id).join(" ")

    test("ST10 rows are in the order of the index, the key last, in both directions", (app) => {
      app.mutate(some)
      expect(ids(app.query(messages.query()))).toBe("m0 m1 m2 m3")
      expect(ids(app.query(messages.query().descending))).toBe("m3 m2 m1 m0")
      expect(ids(app.query(messages.query("byLikes")))).toBe("m1 m2 m3 m0")
      expect(ids(app.query(messages.query("byLikes").descending))).toBe("m0 m3 m2 m1")
      expect(ids(app.query(messages.query("byLikes").descending.ascending))).toBe("m1 m2 m3 m0")
    })

    test("ST10 eq, gt, gte, lt and lte follow the index", (app) => {
      app.mutate(some)
      const byLikes = messages.query("byLikes")
      expect(ids(app.query(byLikes.eq("likes", 2)))).toBe("m2 m3")
      expect(ids(app.query(byLikes.gt("likes", 2)))).toBe("m0")
      expect(ids(app.query(byLikes.gte("likes", 2)))).toBe("m2 m3 m0")
      expect(ids(app.query(byLikes.lt("likes", 2)))).toBe("m1")
      expect(ids(app.query(byLikes.lte("likes", 2)))).toBe("m1 m2 m3")
      expect(ids(app.query(byLikes.gt("likes", 1).lt("likes", 3)))).toBe("m2 m3")
      expect(ids(app.query(byLikes.gt("likes", 3).lt("likes", 1)))).toBe("")
      expect(ids(app.query(byLikes.eq("likes", 2).gt("id", "m2")))).toBe("m3")
      expect(ids(app.query(messages.query().gt("id", "m0").lte("id", "m2").descending))).toBe("m2 m1")
    })

    test("ST10 null and missing values sort first, equal themselves, and are in no range", (app) => {
      app.mutate(channels.insertMany([{ name: "a", topic: "x" }, { name: "b" }, { name: "c", topic: "y" }]))
      const names = (rows: ReadonlyArray<Channel>) => rows.map((row) => row.name).join("")
      const byTopic = channels.query("byTopic")
      expect(names(app.query(byTopic))).toBe("bac")
      expect(names(app.query(byTopic.descending))).toBe("cab")
      expect(names(app.query(byTopic.eq("topic", undefined)))).toBe("b")
      expect(names(app.query(byTopic.lt("topic", "y")))).toBe("a")
      expect(names(app.query(byTopic.gte("topic", "")))).toBe("ac")
      expect(names(app.query(byTopic.gte("topic", undefined)))).toBe("")
      expect(names(app.query(byTopic.gt("topic", undefined).lt("topic", "z")))).toBe("")
      expect(names(app.query(byTopic.lte("topic", undefined)))).toBe("")
    })

    test("ST11 take, filter, first, unique, count and exists", (app) => {
      app.mutate(some)
      const byLikes = messages.query("byLikes")
      const byAnn = byLikes.filter((row) => row.author === "ann")
      expect(ids(app.query(byLikes.take(2)))).toBe("m1 m2")
      expect(ids(app.query(byLikes.take(3).take(1)))).toBe("m1")
      expect(ids(app.query(byAnn.take(1)))).toBe("m2")
      expect(ids(app.query(byAnn.filter((row) => row.likes > 2)))).toBe("m0")
      for (const nothing of [0, -1, Number.NaN]) expect(app.query(byLikes.take(nothing))).toEqual([])
      expect(ids(app.query(byLikes.take(Number.POSITIVE_INFINITY)))).toBe("m1 m2 m3 m0")
      expect(app.query(byLikes.first)).toMatchObject({ _tag: "Some", value: { id: "m1" } })
      expect(app.query(byLikes.eq("likes", 9).first)).toEqual(Option.none())
      expect(app.query(byLikes.eq("likes", 3).unique)).toMatchObject({ _tag: "Some", value: { id: "m0" } })
      expect(app.query(byLikes.eq("likes", 9).unique)).toEqual(Option.none())
      expect(app.queryReason(byLikes.eq("likes", 2).unique)).toMatchObject({ _tag: "NotUnique", table: "messages" })
      expect(app.query(byLikes.count)).toBe(4)
      expect(app.query(byLikes.take(3).count)).toBe(3)
      expect(app.query(byLikes.take(0).count)).toBe(0)
      expect(app.query(byAnn.count)).toBe(2)
      expect(app.query(byAnn.take(1).count)).toBe(1)
      expect(app.query(byLikes.exists)).toBe(true)
      expect(app.query(byLikes.take(0).exists)).toBe(false)
      expect(app.query(byLikes.eq("likes", 9).exists)).toBe(false)
      expect(app.query(byAnn.filter((row) => row.likes > 5).exists)).toBe(false)
    })

    test("ST11 a stream reads no more rows than are consumed", (app) => {
      app.mutate(some)
      app.comparesRuns = false
      const seen: Array<string> = []
      const stream = messages.query("byLikes").filter((row) => seen.push(row.id) > 0).stream
      expect(ids(app.query(stream.pipe(Stream.take(2), Stream.runCollect)))).toBe("m1 m2")
      expect(seen).toEqual(["m1", "m2"])
      expect(ids(app.query(messages.query("byLikes").take(3).stream.pipe(Stream.runCollect)))).toBe("m1 m2 m3")
      expect(app.query(messages.query().take(0).stream.pipe(Stream.runCollect))).toEqual([])
    })

    test("ST12 a stream returns the rows as they were when it began, whatever is written meanwhile", (app) => {
      app.mutate(some)
      const seen = app.mutate(
        Effect.gen(function* () {
          const seen: Array<string> = []
          yield* Stream.runForEach(messages.query("byLikes").stream, (row) => {
            seen.push(`${row.id}:${row.likes}`)
            // Moves each row ahead of the scan, and deletes a row that the scan has not reached.
            return Effect.andThen(messages.patch(row.id, { likes: row.likes + 10 }), messages.delete("m3")).pipe(
              Effect.catchTag("RowNotFound", () => Effect.void)
            )
          })
          return seen
        })
      )
      expect(seen).toEqual(["m1:1", "m2:2", "m3:2", "m0:3"])
      expect(app.query(messages.query("byLikes")).map((row) => row.likes)).toEqual([11, 12, 13])
    })

    test("ST12 a stream continues after a nested transaction was rolled back", (app) => {
      app.mutate(some)
      const seen = app.mutate(
        messages.query().stream.pipe(
          Stream.tap((row) =>
            Effect.ignore(
              Table.atomically(
                row.id === "m0" ? Effect.fail("no") : Effect.andThen(messages.delete("m3"), Effect.fail("no"))
              )
            )
          ),
          Stream.runCollect
        )
      )
      expect(ids(seen)).toBe("m0 m1 m2 m3")
    })

    test("ST12 a stream begun inside a nested transaction outlives its rollback", (app) => {
      app.mutate(some)
      const seen = app.mutate(
        Effect.scoped(
          Effect.gen(function* () {
            const scope = yield* Effect.scope
            const inside = Effect.gen(function* () {
              yield* messages.delete("m1")
              const pull = yield* Scope.provide(Stream.toPull(messages.query().stream), scope)
              const first = yield* pull
              return yield* Effect.fail({ pull, first })
            })
            const begun = yield* Effect.flip(Table.atomically(inside))
            if (!("pull" in begun)) throw new Error("the stream did not begin")
            return [...begun.first, ...(yield* begun.pull), ...(yield* begun.pull)]
          })
        )
      )
      expect(ids(seen)).toBe("m0 m2 m3")
    })

    test("ST13 pages contain every row once, in order", (app) => {
      app.mutate(some)
      for (const query of [messages.query(), messages.query("byLikes"), messages.query("byLikes").descending]) {
        const all = ids(app.query(query))
        for (const size of [1, 2, 3, 4, 5]) {
          const seen: Array<Message> = []
          let after: string | undefined
          do {
            const page = app.query(query.page({ size, after }))
            expect(page.items.length).toBeLessThanOrEqual(size)
            seen.push(...page.items)
            after = page.next ?? undefined
          } while (after !== undefined)
          expect(ids(seen)).toBe(all)
        }
      }
      expect(app.query(messages.query().page({ size: 4 })).next).toBe(null)
      expect(app.query(messages.query().take(2).page({ size: 4 })).items).toHaveLength(2)
      expect(app.query(messages.query().page({ size: Number.NaN })).items).toHaveLength(1)
      expect(app.query(messages.query().take(0).page({ size: 4 }))).toMatchObject({ items: [], next: null })
    })

    test("ST14 a cursor works with every filter, range and fixed value of its order", (app) => {
      app.mutate(some)
      const byLikes = messages.query("byLikes")
      const { next } = app.query(byLikes.page({ size: 2 }))
      const after = next!
      expect(ids(app.query(byLikes.page({ size: 9, after })).items)).toBe("m3 m0")
      expect(ids(app.query(byLikes.filter((row) => row.author === "ann").page({ size: 9, after })).items)).toBe("m0")
      expect(ids(app.query(byLikes.eq("likes", 2).page({ size: 9, after })).items)).toBe("m3")
      expect(ids(app.query(byLikes.eq("likes", 3).page({ size: 9, after })).items)).toBe("m0")
      expect(ids(app.query(byLikes.eq("likes", 1).page({ size: 9, after })).items)).toBe("")
      expect(ids(app.query(byLikes.gt("likes", 2).page({ size: 9, after })).items)).toBe("m0")
      app.mutate(Effect.all([messages.delete("m2"), messages.delete("m3")]))
      expect(ids(app.query(byLikes.page({ size: 9, after })).items)).toBe("m0")
    })

    test("ST14 a cursor of another order, or malformed text, is CursorInvalid", (app) => {
      app.mutate(some)
      const byLikes = messages.query("byLikes")
      const { next } = app.query(byLikes.page({ size: 2 }))
      const columns = [
        { name: "likes", kind: "integer" },
        { name: "id", kind: "text" }
      ] as never
      const forged = (key: ReadonlyArray<string | number | null | Uint8Array>) =>
        Cursor.encode({ table: "messages", columns, descending: false }, key)
      expect(ids(app.query(byLikes.page({ size: 9, after: forged([1, "m1"]) })).items)).toBe("m2 m3 m0")
      const bad = [
        "",
        "?",
        "bm90IEpTT04",
        next!.slice(0, -4),
        `${next}AAAA`,
        forged([1]),
        forged([1, "a", "b"]),
        forged(["1", "a"]),
        forged([1.5, "a"]),
        forged([null, "a"]),
        forged([1, null]),
        forged([1, 2]),
        forged([Number.POSITIVE_INFINITY, "a"]),
        forged([1, Uint8Array.of(1)]),
        forged([1, "\ud800"]),
        "x".repeat(100_000)
      ]
      for (const after of bad) {
        expect(app.queryReason(byLikes.page({ size: 2, after })), after.slice(0, 50)).toMatchObject({
          _tag: "CursorInvalid",
          table: "messages"
        })
      }
      expect(app.queryReason(byLikes.descending.page({ size: 2, after: next! }))).toMatchObject({
        _tag: "CursorInvalid"
      })
      expect(app.queryReason(messages.query().page({ size: 2, after: next! }))).toMatchObject({ _tag: "CursorInvalid" })
      expect(app.queryReason(channels.query().page({ size: 2, after: next! }))).toMatchObject({ _tag: "CursorInvalid" })
    })

    test("ST15 pages refuse an order whose cursors would show a sensitive field", (app) => {
      app.mutate(
        accounts.insertMany([
          { id: "a", email: "a", password: "p1" },
          { id: "b", email: "b", password: "p2" }
        ])
      )
      expect(() => app.query(accounts.query("byPassword").page({ size: 1 }))).toThrow(
        "pages of table accounts cannot follow index byPassword: their cursors would show the sensitive column password"
      )
      expect(app.query(accounts.query("byPassword").descending).map((row) => row.id)).toEqual(["b", "a"])
      expect(app.query(accounts.query("byEmail").page({ size: 1 })).items).toHaveLength(1)
    })

    test("ST22 the recorded range ends where the scan stopped; a read by key records the key", (app) => {
      app.mutate(some)
      let next = 0
      /** Whether inserting a message with so many likes affects what the query read. */
      const isTouched = (query: Effect.Effect<unknown, unknown, any>, likes: number) => {
        const { reads } = app.run(query)
        const row = { id: `x${next++}`, channel: channelId("c"), author: "new", likes }
        const { writes } = app.mutation(messages.insert(row))
        app.mutate(messages.delete(row.id))
        return touches(reads, writes)
      }
      const byLikes = messages.query("byLikes")
      const readers: ReadonlyArray<readonly [Effect.Effect<unknown, unknown, any>, below: boolean, beyond: boolean]> = [
        [byLikes, true, true],
        [byLikes.count, true, true],
        [byLikes.take(3), true, false],
        [byLikes.take(9), true, true],
        [byLikes.take(0), false, false],
        [byLikes.first, true, false],
        [byLikes.exists, true, false],
        [byLikes.page({ size: 2 }), true, false],
        [byLikes.page({ size: 4 }), true, true],
        [byLikes.filter((row) => row.likes === 2).first, true, false],
        [byLikes.filter((row) => row.likes === 2).page({ size: 1 }), true, false],
        [byLikes.stream.pipe(Stream.take(2), Stream.runDrain), true, false],
        [byLikes.eq("likes", 2), false, false],
        [byLikes.gt("likes", 1).take(2), false, false],
        [byLikes.descending.take(1), false, true],
        [Effect.ignore(messages.get("none")), false, false],
        [messages.getMany(["m1", "none"]), false, false],
        [SqlClient.SqlClient.use((sql) => sql`SELECT 1 FROM messages LIMIT 1`), true, true],
        [SqlClient.SqlClient.use((sql) => sql`SELECT count(*) FROM channels`), false, false]
      ]
      readers.forEach(([query, below, beyond], i) => {
        expect([isTouched(query, 0), isTouched(query, 9)], `reader ${i}`).toEqual([below, beyond])
      })
    })

    test("ST22 a failed read is recorded as well, so that a write which repairs it is noticed", (app) => {
      app.mutate(some)
      const own = new StorageHarness(app.database, tables, { rowsRead: 3 })
      const queries = [messages.query("byLikes"), messages.query("byLikes").filter(() => true)]
      for (const [i, query] of queries.entries()) {
        const { exit, reads } = own.run(query)
        expect(exit._tag).toBe("Failure")
        expect(touches(reads, own.mutation(messages.patch("m1", { author: `x${i}` })).writes)).toBe(true)
        expect(touches(reads, own.mutation(messages.patch("m0", { likes: 4 + i })).writes)).toBe(true)
      }
      own.tamper("UPDATE messages SET likes = 'many' WHERE id = 'm1'")
      const { exit, reads } = app.run(messages.query())
      expect(exit._tag).toBe("Failure")
      expect(
        touches(reads, app.mutation(SqlClient.SqlClient.use((sql) => sql`UPDATE messages SET likes = 1`)).writes)
      ).toBe(true)
    })

    test("ST18 a plan that the index does not support is a defect with a clear message", (app) => {
      const query = messages.query("byChannel") as never as { eq: (...args: Array<unknown>) => typeof channels.query }
      expect(() => app.query(query.eq("author", "ann") as never)).toThrow(
        "column author is not the next column of index byChannel of table messages"
      )
      expect(() => app.query(messages.query("byNothing" as never))).toThrow("table messages has no index byNothing")
      const foreign = Table.make("foreign", Member, { key: "id" })
      expect(() => app.query(foreign.get("a"))).toThrow("table foreign is not one of the app's tables")
    })
  })

  describe(`R1: ${name}: transactions`, () => {
    test("ST16 a failure inside atomically rolls back only that part, at any depth", (app) => {
      const names = app.mutate(
        Effect.gen(function* () {
          yield* channel("a")
          const inner = Effect.gen(function* () {
            yield* channel("b")
            yield* Effect.ignore(Table.atomically(Effect.andThen(channel("c"), Effect.fail("no"))))
            yield* Table.atomically(channel("d"))
            expect(yield* channels.query("byName").count).toBe(3)
            return yield* Effect.fail("no")
          })
          expect(yield* Effect.flip(Table.atomically(inner))).toBe("no")
          yield* Table.atomically(channel("e"))
          const died = yield* Effect.exit(Table.atomically(Effect.andThen(channel("f"), Effect.die("oh"))))
          expect(died._tag).toBe("Failure")
          return (yield* channels.query("byName")).map((row) => row.name)
        })
      )
      expect(names).toEqual(["a", "e"])
      expect(app.query(channels.query("byName")).map((row) => row.name)).toEqual(["a", "e"])
    })

    test("ST16 a failed mutation leaves nothing, including the writes of its nested transactions", (app) => {
      expect(app.failure(Effect.andThen(Table.atomically(channel("a")), Effect.fail("no")))).toBe("no")
      expect(app.query(channels.query().count)).toBe(0)
    })

    test("ST16 an asynchronous effect inside atomically is a defect, and rolled back", (app) => {
      const { exit } = app.mutation(Table.atomically(Effect.andThen(channel("a"), Effect.never)))
      expect(String(exit)).toContain("a transaction cannot wait")
      expect(app.query(channels.query().count)).toBe(0)
    })

    test("ST17 raw SQL and tables see each other's writes in one transaction", (app) => {
      const rows = app.mutate(
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* channels.insert({ id: channelId("a"), name: "one" })
          yield* sql`UPDATE channels SET name = ${"two"} WHERE id = ${"a"}`
          expect((yield* channels.get(channelId("a"))).name).toBe("two")
          yield* Effect.ignore(sql.withTransaction(Effect.andThen(sql`DELETE FROM channels`, Effect.fail("no"))))
          yield* Effect.ignore(Table.atomically(Effect.andThen(sql`DELETE FROM channels`, Effect.fail("no"))))
          return yield* sql<{
            id: string
            n: number
          }>`SELECT id, ${5} + 1 AS n FROM channels WHERE name IN ${sql.in(["two"])}`
        })
      )
      expect(rows).toEqual([{ id: "a", n: 6 }])
      const failed = Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`DELETE FROM channels`
        return yield* Effect.fail("no")
      })
      expect(app.failure(failed)).toBe("no")
      expect(app.query(channels.query().count)).toBe(1)
    })

    test("ST23 what a trigger writes with a row is recorded, and nothing more where there is no trigger", (app) => {
      const run = (text: string) => SqlClient.SqlClient.use((sql) => sql.unsafe<{ n: number }>(text))
      const logged = run("SELECT count(*) AS n FROM log")
      const touchedBy = (
        reader: Effect.Effect<unknown, unknown, any>,
        writer: Effect.Effect<unknown, unknown, any>
      ) => {
        const { reads } = app.run(reader)
        return touches(reads, app.mutation(writer).writes)
      }
      app.mutate(run("CREATE TABLE log (id TEXT)"))
      const add = (id: string) => channel(id, { id: channelId(id) })
      expect(touchedBy(logged, add("a"))).toBe(false)
      app.mutate(run("CREATE TRIGGER logging AFTER INSERT ON channels BEGIN INSERT INTO log VALUES (new.id); END"))
      app.mutate(
        run(
          "CREATE TRIGGER filling AFTER INSERT ON channels BEGIN INSERT INTO accounts VALUES (new.id, new.id, ''); END"
        )
      )
      expect(touchedBy(logged, add("b"))).toBe(true)
      expect(app.query(logged)).toEqual([{ n: 1 }])
      expect(touchedBy(accounts.query(), add("c"))).toBe(true)
      expect(touchedBy(accounts.query(), channels.insertMany([{ name: "d" }, { name: "e" }]))).toBe(true)
      expect(app.query(accounts.query())).toHaveLength(4)
      // Other writes set off nothing, and are recorded row by row.
      expect(touchedBy(logged, channels.patch(channelId("b"), { topic: "t" }))).toBe(false)
      expect(touchedBy(channels.query().eq("id", channelId("a")), add("f"))).toBe(false)
      // A trigger of the same transaction; one that writes the table itself; one that was dropped.
      app.mutate(run("DROP TRIGGER logging"))
      expect(touchedBy(logged, add("g"))).toBe(false)
      const trigger =
        "CREATE TRIGGER more AFTER INSERT ON channels BEGIN UPDATE channels SET topic = 'x' WHERE id = 'a'; END"
      expect(touchedBy(channels.query().eq("id", channelId("a")), Effect.andThen(run(trigger), add("h")))).toBe(true)
      expect(touchedBy(channels.query().eq("id", channelId("a")), add("i"))).toBe(true)
    })

    test("ST22 SQL that reads the clock or random numbers is recorded, however it is written", (app) => {
      app.mutate(SqlClient.SqlClient.use((sql) => sql.unsafe("CREATE VIEW today AS SELECT date() AS day")))
      const clock = (text: string, params: ReadonlyArray<unknown> = []) =>
        // A span would read the clock as well.
        app.runOnce(
          Effect.withTracerEnabled(
            SqlClient.SqlClient.use((sql) => sql.unsafe(text, params)),
            false
          )
        ).reads.clock
      const readers: ReadonlyArray<readonly [string, ReadonlyArray<unknown>?]> = [
        ["SELECT datetime()"],
        ["SELECT strftime('%f')"],
        ["SELECT datetime(?)", ["now"]],
        ["SELECT timediff(?, '2020-01-01')", ["now"]],
        ["SELECT time(body) FROM messages"],
        ["SELECT DATE('n' || 'ow')"],
        ["SELECT id FROM messages WHERE likes < julianday()"],
        ["SELECT unixepoch()"],
        ["SELECT current_date"],
        ["SELECT CURRENT_TIME, CURRENT_TIMESTAMP"],
        ["SELECT day FROM today"],
        ["SELECT id FROM messages ORDER BY random()"],
        ["SELECT hex(randomblob(4))"]
      ]
      for (const [text, params] of readers) expect([text, clock(text, params)]).toEqual([text, true])
      // Words in texts and names are none of it.
      for (const text of ["SELECT 'now'", "SELECT id AS random FROM messages", "SELECT 1 /* datetime() */"]) {
        expect([text, clock(text)]).toEqual([text, false])
      }
    })

    test("ST23 what references of undeclared tables write with a row is recorded", (app) => {
      const run = (text: string) => SqlClient.SqlClient.use((sql) => sql.unsafe<{ n: number }>(text))
      app.mutate(
        channels.insertMany([
          { id: channelId("a"), name: "a" },
          { id: channelId("b"), name: "b" }
        ])
      )
      app.mutate(run("CREATE TABLE visits (channel TEXT REFERENCES channels (id) ON DELETE CASCADE)"))
      app.mutate(run("INSERT INTO visits VALUES ('a'), ('b')"))
      const { reads } = app.run(run("SELECT count(*) AS n FROM visits"))
      const deleted = app.mutation(channels.delete(channelId("a")))
      expect(touches(reads, deleted.writes)).toBe(true)
      expect(app.query(run("SELECT count(*) AS n FROM visits"))).toEqual([{ n: 1 }])
      // Declared tables are still recorded row by row.
      expect([...deleted.writes.rawTables]).toEqual(["visits"])
      expect(touches(reads, app.mutation(channel("c")).writes)).toBe(false)
    })

    test("ST17 a query cannot write with SQL", (app) => {
      for (const text of [
        "DELETE FROM channels",
        "INSERT INTO channels (id) VALUES ('a')",
        "CREATE TABLE x (a)",
        "WITH a AS (SELECT 1) UPDATE channels SET name = 'x'"
      ]) {
        const error = app.queryFailure(SqlClient.SqlClient.use((sql) => sql.unsafe(text)))
        expect(String((error.reason.cause as Error).message)).toBe("a query cannot write: make it a mutation")
      }
    })

    test("ST17 SQL cannot end the transaction that it runs in", (app) => {
      const { exit } = app.mutation(
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* channels.insert({ id: channelId("a"), name: "a" })
          for (const text of [
            "COMMIT",
            "/* x */ -- y\n ROLLBACK",
            "BEGIN",
            "SAVEPOINT s",
            "END",
            "INSERT OR ROLLBACK INTO channels (id, name, createdAt, updatedAt) VALUES ('a', 'a', 1, 1)",
            "CREATE TABLE t (a UNIQUE ON CONFLICT ROLLBACK)",
            "SELECT 1; COMMIT",
            "ATTACH ':memory:' AS other"
          ]) {
            expect((yield* Effect.flip(sql.unsafe(text)))._tag, text).toBe("SqlError")
          }
          yield* channels.insert({ id: channelId("b"), name: "b" })
          return yield* Effect.fail("no")
        })
      )
      expect(exit).toEqual(Exit.fail("no"))
      expect(app.query(channels.query().count)).toBe(0)
    })

    test("ST17 of several statements in one text all run, and the last one returns its rows", (app) => {
      const several = (text: string, params: ReadonlyArray<unknown> = []) =>
        SqlClient.SqlClient.use((sql) => sql.unsafe<{ n: number }>(text, params))
      expect(
        app.mutate(
          several("CREATE TABLE log (n); INSERT INTO log VALUES (1), (2); SELECT count(*) + ? AS n FROM log", [40])
        )
      ).toEqual([{ n: 42 }])
    })

    test("ST17 SqlSchema and SqlModel work on tables", (app) => {
      class Plain extends Model.Class<Plain>("suite/Plain")({
        id: Schema.String,
        done: Model.BooleanSqlite,
        at: Schema.DateTimeUtcFromMillis,
        note: Model.FieldOption(Schema.String)
      }) {}
      const plain = Table.make("plain", Plain, { key: "id" })
      const own = new StorageHarness(app.database, [plain])
      const row = { id: "a", done: true, at: DateTime.makeUnsafe(5), note: Option.some("x") }
      own.mutate(
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const repository = yield* SqlModel.makeRepository(Plain, {
            tableName: "plain",
            spanPrefix: "Plain",
            idColumn: "id"
          })
          expect(yield* repository.insert(Plain.insert.make(row))).toEqual(new Plain(row))
          expect(yield* plain.get("a")).toEqual(new Plain(row))
          expect(yield* repository.findById("a")).toEqual(new Plain(row))
          yield* repository.update(Plain.update.make({ ...row, note: Option.none() }))
          expect((yield* plain.get("a")).note).toEqual(Option.none())
          yield* plain.insert({ ...row, id: "b", done: false })
          const done = SqlSchema.findAll({
            Request: Schema.Literals([0, 1]),
            Result: Schema.Struct({ id: Schema.String }),
            execute: (done) => sql`SELECT id FROM plain WHERE done = ${done}`
          })
          expect(yield* done(0)).toEqual([{ id: "b" }])
          yield* repository.delete("a")
        })
      )
      expect(own.query(plain.query()).map((row) => row.id)).toEqual(["b"])
    })

    test("ST17 SqlResolver and the resolvers of SqlModel run in a transaction, and batch", (app) => {
      const resolved = Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const model = yield* SqlModel.makeResolvers(Member, {
          tableName: "members",
          spanPrefix: "Member",
          idColumn: "id"
        })
        const all = { concurrency: "unbounded" } as const
        const channel = channelId((yield* channels.insert({ name: "a" })).id)
        const member = (id: string) => Member.insert.make({ id, channel })
        const batches: Array<number> = []
        const byId = SqlResolver.findById({
          Id: Schema.String,
          Result: Member,
          ResultId: ({ id }) => id,
          execute: (ids) => {
            batches.push(ids.length)
            return sql`SELECT * FROM members WHERE id IN ${sql.in(ids)}`
          }
        })
        const byChannel = SqlResolver.grouped({
          Request: ChannelId,
          RequestGroupKey: (id) => id,
          Result: Member,
          ResultGroupKey: ({ channel }) => channel,
          execute: (ids) => sql`SELECT * FROM members WHERE channel IN ${sql.in(ids)} ORDER BY id`
        })
        yield* Effect.forEach(["a", "b"], (id) => SqlResolver.request(member(id), model.insert), all)
        yield* SqlResolver.request(member("c"), model.insertVoid)
        const found = yield* Effect.forEach(["b", "c", "a"], SqlResolver.request(byId), all)
        expect([found.map(({ id }) => id), batches]).toEqual([["b", "c", "a"], [3]])
        // A part of the transaction ends its own requests.
        const inPart = Table.atomically(
          Effect.gen(function* () {
            yield* SqlResolver.request("a", model.delete)
            return yield* Effect.flip(SqlResolver.request("a", model.findById))
          })
        )
        expect((yield* inPart)._tag).toBe("NoSuchElementError")
        const undone = yield* Effect.exit(
          Table.atomically(Effect.andThen(SqlResolver.request("b", model.delete), Effect.fail("no")))
        )
        expect(Exit.isFailure(undone)).toBe(true)
        return (yield* SqlResolver.request(channel, byChannel)).map(({ id }) => id)
      })
      expect(app.mutate(Effect.scoped(resolved))).toEqual(["b", "c"])
      expect(app.query(members.query()).map(({ id }) => id)).toEqual(["b", "c"])
    })

    test("ST17 a request belongs to its transaction, and to the part of it that makes it", (app) => {
      const batches: Array<ReadonlyArray<string>> = []
      const byId = SqlResolver.findById({
        Id: Schema.String,
        Result: Schema.Struct({ id: Schema.String }),
        ResultId: ({ id }) => id,
        execute: (ids) => {
          batches.push(ids)
          return SqlClient.SqlClient.use((sql) => sql`SELECT id FROM channels WHERE id IN ${sql.in(ids)}`)
        }
      })
      const found = (id: string) => Effect.as(SqlResolver.request(id, byId), id)
      app.mutate(Effect.forEach(["a", "b"], (id) => channels.insert({ id: channelId(id), name: id })))
      const both = Effect.all([found("a"), Table.atomically(found("b"))], { concurrency: "unbounded" })
      expect([app.mutate(both), batches]).toEqual([
        ["a", "b"],
        [["b"], ["a"]]
      ])
      // A fiber that a transaction leaves behind has not run yet.
      app.mutate(Effect.forkDetach(found("a"), { startImmediately: true }))
      expect(app.mutate(found("b"))).toBe("b")
    })

    test("ST17 a part of a transaction does not run the fibers of what is around it", (app) => {
      const seen: Array<string> = []
      const insert = Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(
          Effect.andThen(
            Effect.yieldNow,
            Effect.suspend(() => {
              seen.push("outer")
              return channels.insert({ name: "outer" })
            })
          ),
          { startImmediately: true }
        )
        const part = Effect.andThen(
          Effect.yieldNow,
          Effect.suspend(() => {
            seen.push("part")
            return Effect.fail("no")
          })
        )
        yield* Effect.ignore(Table.atomically(part))
        yield* Fiber.join(fiber)
      })
      app.mutate(insert)
      expect(seen).toEqual(["part", "outer"])
      expect(app.query(channels.query()).map(({ name }) => name)).toEqual(["outer"])
    })

    test("ST17 a violated constraint has the reason that Effect's clients of SQLite give it", (app) => {
      app.mutate(channel("a"))
      const insert = (id: string, name: string | null, parent: string | null = null) =>
        SqlClient.SqlClient.use(
          (sql) => sql`INSERT INTO channels (id, name, parent, createdAt, updatedAt)
            VALUES (${id}, ${name}, ${parent}, 0, 0)`
        )
      const violation = app.mutate(
        insert("x", "a").pipe(
          Effect.catchReason("SqlError", "UniqueViolation", ({ constraint }) => Effect.succeed(constraint))
        )
      )
      expect(violation).toBe("channels.name")
      const { id } = app.query(channels.query())[0]!
      expect(app.failure(insert(id, "b")).reason).toMatchObject({ _tag: "UniqueViolation", constraint: "channels.id" })
      expect(app.failure(insert("x", null)).reason._tag).toBe("ConstraintError")
      expect(app.failure(insert("x", "b", "none")).reason._tag).toBe("ConstraintError")
      expect(
        app.failure(SqlClient.SqlClient.use((sql) => sql`SELECT 'constraint failed' FROM absent`)).reason._tag
      ).toBe("UnknownError")
      // A statement that failed can be run again.
      app.mutate(insert("x", "b"))
      expect(app.query(channels.query().count)).toBe(2)
    })

    test("ST17, ST19 a list of sql.in may have more values than a statement may have parameters", (app) => {
      const sent = (id: string, author: string, likes: number) => ({ id, author, likes, channel: channelId("c") })
      app.mutate(channel("c", { id: channelId("c") }))
      app.mutate(
        messages.insertMany([sent("m0", "ann", 3), sent("m1", "bob", 1), sent("m2", "ann", 2), sent("m3", "eve", 2)])
      )
      const numbers = Array.from({ length: 5_000 }, (_, i) => i)
      const counted = (where: (sql: SqlClient.SqlClient) => Fragment) =>
        SqlClient.SqlClient.use((sql) => sql<{ n: number }>`SELECT count(*) AS n FROM messages WHERE ${where(sql)}`)
      const count = (where: (sql: SqlClient.SqlClient) => Fragment) => app.query(counted(where))[0]!.n
      const keys = numbers.map((i) => `m${i}`)
      const odd = ["\u0001", "'", '"', "\\", "\u{1f600}", "é", "\n"]
      expect(count((sql) => sql.in("id", keys))).toBe(4)
      expect(count((sql) => sql.in("id", keys.slice(2)))).toBe(2)
      expect(count((sql) => sql`id NOT IN ${sql.in(keys.slice(2))}`)).toBe(2)
      expect(count((sql) => sql`likes in ${sql.in(numbers.slice(2))}`)).toBe(3)
      expect(count((sql) => sql`author = ${"ann"} AND ${sql.in("id", keys)} AND ${sql.in("likes", numbers)}`)).toBe(2)
      // Two lists that are too long only together.
      expect(count((sql) => sql.and([sql.in("id", keys.slice(0, 90)), sql.in("likes", numbers.slice(0, 90))]))).toBe(4)
      app.mutate(messages.insertMany(odd.map((id) => sent(id, "odd", -1))))
      expect(count((sql) => sql.in("id", [...keys.slice(4), ...odd]))).toBe(odd.length)
      expect(count((sql) => sql.in("likes", [...numbers.slice(4), -1, null, true, 2n, new Date(0)]))).toBe(
        odd.length + 3
      )
      // It reads no other table.
      const { reads } = app.run(counted((sql) => sql.in("id", keys)))
      expect([reads.everything, [...reads.tables]]).toEqual([false, ["messages"]])
      // What JSON would change is not a list: it is refused by the limit, with its name.
      for (const values of [
        numbers.map((i) => i + 0.5),
        keys.map((key) => `${key}\0`),
        keys.map(() => new Uint8Array(1))
      ]) {
        const { reason } = app.queryFailure(counted((sql) => sql.in("id", values)))
        expect(reason.message).toBe("limit boundParameters is 100, got 5000")
      }
    })

    test("ST17 an error of SQL is an SqlError with SQLite's own message", (app) => {
      const failing = (text: string) => app.failure(SqlClient.SqlClient.use((sql) => sql.unsafe(text)))
      expect(String(failing("SELEC 1").reason.cause)).toContain('near "SELEC": syntax error')
      expect(String(failing("SELECT * FROM absent").reason.cause)).toContain("no such table: absent")
      expect(String(failing("INSERT INTO channels (id) VALUES ('a')").reason.cause)).toContain("NOT NULL constraint")
    })

    test("ST16 storage throws after its transaction has ended", (app) => {
      let late: Effect.Effect<unknown, unknown> = Effect.void
      app.mutate(
        Effect.gen(function* () {
          yield* channel("a")
          const context = yield* Effect.context<never>()
          late = Effect.provideContext(channels.query().count as Effect.Effect<number>, context)
        })
      )
      expect(String(Effect.runSyncExit(late))).toContain("storage was used after its transaction had ended")
    })
  })

  describe(`R1: ${name}: limits`, () => {
    const limitOf = (reason: Record<string, unknown>) => [reason["limit"], reason["max"], reason["actual"]]
    const fill = channels.insertMany(Array.from({ length: 12 }, (_, i) => ({ name: `n${i}` })))
    const raw = (text: string, params: ReadonlyArray<unknown> = []) =>
      SqlClient.SqlClient.use((sql) => sql.unsafe(text, params))

    test(
      "ST19 rows read and written are counted and limited",
      (app) => {
        app.mutate(fill)
        const ids = app.query(channels.query().take(10)).map((row) => row.id)
        const reads: ReadonlyArray<Effect.Effect<unknown, unknown, any>> = [
          channels.query(),
          channels.query().filter(() => true),
          channels.query().count,
          channels.query().stream.pipe(Stream.runDrain),
          channels.query().page({ size: 30 }),
          channels
            .query()
            .filter(() => true)
            .page({ size: 30 }),
          Effect.andThen(channels.getMany(ids), channels.getMany(ids)),
          Effect.andThen(channels.query().take(10), channels.query().take(1).exists)
        ]
        for (const read of reads) {
          expect(limitOf(app.queryReason(read))).toEqual(["rowsRead", 10, expect.any(Number)])
        }
        expect(app.query(channels.query().take(10).count)).toBe(10)
        expect(app.query(channels.query().page({ size: 9 })).items).toHaveLength(9)
        expect(app.queryFailure(raw("SELECT * FROM channels")).message).toContain("limit rowsRead is 10, got 11")
        const endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
        expect(app.queryFailure(raw(endless)).message).toContain("limit rowsRead is 10, got 11")

        // SQL that writes reads as well: without the limit on reads.
        const writer = new StorageHarness(app.database, tables, { rowsWritten: 12 })
        const many = Array.from({ length: 13 }, (_, i) => ({ name: `m${i}` }))
        expect(limitOf(writer.reason(channels.insertMany(many)))).toEqual(["rowsWritten", 12, 13])
        const again = Effect.andThen(raw("UPDATE channels SET topic = 'x'"), channel("more"))
        expect(limitOf(writer.reason(again))).toEqual(["rowsWritten", 12, 13])
        const [root] = writer.query(channels.query().take(1))
        const message = { channel: root!.id, author: "ann", likes: 0 }
        writer.mutate(messages.insertMany(Array.from({ length: 12 }, () => message)))
        expect(limitOf(writer.reason(channels.delete(root!.id)))).toEqual(["rowsWritten", 12, 13])
        expect(writer.failure(raw("DELETE FROM channels")).message).toContain("limit rowsWritten is 12, got 24")
        expect(writer.query(messages.query().count)).toBe(12)
      },
      { rowsRead: 10 }
    )

    test("ST19 rows and keys are split over statements; too many parameters of raw SQL are refused", (app) => {
      const rows = app.mutate(channels.insertMany(Array.from({ length: 333 }, (_, i) => ({ name: `n${i}` }))))
      expect(app.query(channels.getMany(rows.map((row) => row.id))).filter(Option.isSome)).toHaveLength(333)
      const marks = (count: number) => `SELECT ${new Array(count).fill("?").join(" + ")} AS n`
      expect(app.query(raw(marks(100), new Array(100).fill(1)))).toEqual([{ n: 100 }])
      expect(app.queryFailure(raw(marks(101), new Array(101).fill(1))).message).toContain(
        "limit boundParameters is 100, got 101"
      )
    })

    test("ST19 a row has at most two million bytes, in UTF-8 and over all columns", (app) => {
      const account = (email: string, password: string) => accounts.insert({ id: "a", email, password })
      const reason = (email: string, password: string) => limitOf(app.reason(account(email, password)))
      expect(reason("x".repeat(3_000_000), "")).toEqual(["rowBytes", 2_000_000, 3_000_001])
      expect(reason("x".repeat(1_000_000), "y".repeat(1_000_000))).toEqual(["rowBytes", 2_000_000, 2_000_001])
      expect(reason("€".repeat(333_334), "€".repeat(333_334))).toEqual(["rowBytes", 2_000_000, 2_000_005])
      expect(app.query(accounts.query().count)).toBe(0)
      const full = { email: "x".repeat(999_999), password: "€".repeat(333_333) }
      app.mutate(account(full.email, full.password))
      expect(app.query(accounts.get("a"))).toMatchObject(full)
      expect(limitOf(app.reason(accounts.patch("a", { email: "x".repeat(1_000_003) })))).toEqual([
        "rowBytes",
        2_000_000,
        2_000_003
      ])
      app.mutate(accounts.delete("a"))
    })

    test("ST19 keys, bounds and parameters of SQL have the limit of a row", (app) => {
      const long = "x".repeat(3_000_000)
      const tooLong = ["rowBytes", 2_000_000, 3_000_000]
      expect(limitOf(app.queryReason(accounts.get(long)))).toEqual(tooLong)
      expect(limitOf(app.queryReason(accounts.getMany(["a", long])))).toEqual(tooLong)
      expect(limitOf(app.queryReason(accounts.query("byEmail").eq("email", long)))).toEqual(tooLong)
      expect(limitOf(app.queryReason(accounts.query("byEmail").lt("email", long).count))).toEqual(tooLong)
      expect(
        limitOf(
          app.queryReason(
            accounts
              .query("byEmail")
              .lt("email", long)
              .filter(() => true)
          )
        )
      ).toEqual(tooLong)
      expect(limitOf(app.reason(accounts.delete(long)))).toEqual(tooLong)
      expect(app.queryFailure(raw("SELECT length(?)", [long])).message).toContain("limit rowBytes is 2000000")
      expect(app.queryFailure(raw("SELECT length(?)", [new Uint8Array(3_000_000)])).message).toContain("limit rowBytes")
      const twice = "SELECT replace(hex(zeroblob(2000000)), '0', 'xx')"
      expect(app.queryFailure(raw(twice)).message).toContain("limit rowBytes is 2000000")
    })

    test("ST19 a statement has at most 100,000 bytes, a LIKE or GLOB pattern 50", (app) => {
      expect(app.queryFailure(raw(`SELECT '${"x".repeat(100_000)}'`)).message).toContain(
        "limit statementBytes is 100000, got 100009"
      )
      expect(app.queryFailure(raw(`SELECT '${"€".repeat(33_400)}'`)).message).toContain("limit statementBytes")
      expect(app.query(raw("SELECT 'a' LIKE ? AS n", ["%".repeat(50)]))).toEqual([{ n: 1 }])
      for (const operator of ["LIKE", "GLOB"]) {
        expect(app.queryFailure(raw(`SELECT 'a' ${operator} ?`, ["x".repeat(60)])).message).toContain(
          "limit likePatternBytes is 50, got 60"
        )
      }
      expect(app.queryFailure(raw("SELECT 'a' LIKE ?", ["€".repeat(17)])).message).toContain("limit likePatternBytes")
      const columns = Array.from({ length: 101 }, (_, i) => `c${i}`)
      expect(app.failure(raw(`CREATE TABLE wide (${columns.join(", ")})`)).message).toContain("limit columns is 100")
    })

    test("ST19 a table of 100 columns works, even when all of them change", (app) => {
      const fields = Object.fromEntries(Array.from({ length: 99 }, (_, i) => [`c${i}`, Schema.Int]))
      class Wide extends Model.Class<Wide>("suite/Wide")({ id: Schema.String, ...fields }) {}
      const wide = Table.make("wide", Wide, { key: "id" })
      const own = new StorageHarness(app.database, [wide])
      const row = (id: string, value: number) =>
        ({ id, ...Object.fromEntries(Object.keys(fields).map((name) => [name, value])) }) as never
      own.mutate(wide.insertMany([row("a", 1), row("b", 1)]))
      own.mutate(wide.upsert(row("a", 2)))
      expect(own.query(wide.query()).map((row) => Object.values(row)[50])).toEqual([2, 1])
    })
  })

  describe(`R1: ${name}: bad values`, () => {
    const hostile = [
      "'; DROP TABLE channels; --",
      '"; DROP TABLE channels; --',
      "\\'\"`[]",
      "%_*?",
      "a\u0000b",
      "\u{1f600}\uffff\u{10ffff}",
      "$1 ?1 :a @a",
      "\u202e\u0301",
      " ",
      "__proto__"
    ]

    test("ST25 no string is executed as SQL: values, keys, bounds, names of tables, columns and indexes", (app) => {
      for (const text of hostile) {
        app.mutate(channels.insert({ id: channelId(text), name: text, topic: text }))
        expect(app.query(channels.get(channelId(text))), text).toMatchObject({ id: text, name: text, topic: text })
        expect(app.query(channels.query("byName").eq("name", text).first)).toMatchObject({ value: { id: text } })
        expect(app.query(channels.query("byTopic").gte("topic", text).lte("topic", text).count)).toBe(1)
        expect(app.reason(channels.insert({ name: text }))).toMatchObject({ _tag: "UniqueViolation", index: "byName" })
      }
      const found = SqlClient.SqlClient.use((sql) => sql`SELECT id FROM channels WHERE ${sql.in("name", hostile)}`)
      expect(app.query(found)).toHaveLength(hostile.length)

      for (const text of hostile.filter((text) => !text.includes("\0") && text !== "__proto__")) {
        const fields = { id: Schema.String, [text]: Schema.Int } as { id: typeof Schema.String; x: typeof Schema.Int }
        class Odd extends Model.Class<Odd>("suite/Odd")(fields) {}
        const odd = Table.make(`t${text}` as "odd", Odd, {
          key: "id",
          indexes: { [text]: { columns: [text as "x"], unique: true } }
        })
        const own = new StorageHarness(app.database, [odd])
        own.mutate(odd.insert({ id: "a", [text]: 1 } as never))
        own.mutate(odd.patch("a", { [text]: 2 } as never))
        expect(own.query(odd.query(text as never).gt(text as never, 1 as never))).toHaveLength(1)
        expect(own.reason(odd.insert({ id: "b", [text]: 2 } as never))).toMatchObject({
          _tag: "UniqueViolation",
          table: `t${text}`,
          index: text
        })
        expect(own.query(odd.query(text as never).page({ size: 1 })).items).toHaveLength(1)
      }
      expect(app.query(channels.query().count)).toBe(hostile.length)
    })

    test("ST25 half a surrogate pair is refused in rows, keys, bounds and SQL, and stored in nested values", (app) => {
      app.mutate(channel("\ufffd", { id: channelId("\ufffd") }))
      const half = "\ud83d"
      const refused = { _tag: "RowInvalid", table: "channels" }
      expect(app.reason(channel(half))).toMatchObject(refused)
      expect(app.reason(channel("a", { id: channelId(half) }))).toMatchObject(refused)
      expect(app.reason(channels.patch(channelId("\ufffd"), { topic: `a${half}b` }))).toMatchObject(refused)
      expect(app.queryReason(channels.get(channelId(half)))).toMatchObject(refused)
      expect(app.queryReason(channels.getMany([channelId(half)]))).toMatchObject(refused)
      expect(app.queryReason(channels.query("byName").eq("name", half))).toMatchObject(refused)
      expect(app.queryReason(channels.query("byName").gt("name", half).count)).toMatchObject(refused)
      expect(app.reason(channels.delete(channelId(half)))).toMatchObject(refused)
      for (const [text, params] of [
        ["SELECT ?", [half]],
        [`SELECT '${half}'`, []]
      ] as const) {
        const error = app.queryFailure(SqlClient.SqlClient.use((sql) => sql.unsafe(text, params)))
        expect(String(error.reason.cause)).toContain("half a surrogate pair")
      }
      class Nest extends Model.Class<Nest>("suite/Nest")({ id: Schema.String, in: Schema.Array(Schema.String) }) {}
      const nests = Table.make("nests", Nest, { key: "id" })
      const own = new StorageHarness(app.database, [nests])
      own.mutate(nests.insert({ id: "a", in: [half] }))
      expect(own.query(nests.get("a")).in).toEqual([half])
    })

    test("ST25 a __proto__ key is treated like any other key", (app) => {
      class Bag extends Model.Class<Bag>("suite/Bag")({
        id: Schema.String,
        flag: Schema.optionalKey(Schema.Boolean),
        any: Schema.Unknown,
        counts: Schema.Record(Schema.String, Schema.Int)
      }) {}
      const bags = Table.make("bags", Bag, { key: "id" })
      const own = new StorageHarness(app.database, [bags])
      const evil = JSON.parse('{ "__proto__": 1, "constructor": 2 }')
      const values = { any: JSON.parse('{ "__proto__": { "flag": true } }'), counts: evil }
      own.mutate(bags.insert({ id: "a", ...values }))
      const row = own.query(bags.get("a"))
      expect(JSON.stringify(row.any)).toBe('{"__proto__":{"flag":true}}')
      expect(Object.entries(row.counts)).toEqual([
        ["__proto__", 1],
        ["constructor", 2]
      ])
      const patched = own.mutate(bags.patch("a", JSON.parse('{ "__proto__": { "flag": true, "any": 5 } }')))
      expect(patched.flag).toBe(undefined)
      expect(own.query(bags.get("a"))).toEqual(row)
      expect(({} as { flag?: boolean }).flag).toBe(undefined)
    })

    test("ST25 numbers that SQLite would round are refused", (app) => {
      class Big extends Model.Class<Big>("suite/Big")({
        id: Schema.Int,
        float: Schema.Finite,
        huge: Schema.BigInt
      }) {}
      const bigs = Table.make("bigs", Big, { key: "id", indexes: { byHuge: ["huge"] } })
      const own = new StorageHarness(app.database, [bigs])
      const row = (id: number, float: number, huge: bigint) => bigs.insert({ id, float, huge })
      for (const id of [2 ** 53, 1.5, Number.NaN, Number.POSITIVE_INFINITY, -(2 ** 60)]) {
        expect(own.reason(row(id, 1, 1n)), String(id)).toMatchObject({ _tag: "RowInvalid" })
        expect(own.queryReason(bigs.get(id)), String(id)).toMatchObject({ _tag: "RowInvalid" })
      }
      for (const float of [Number.NaN, Number.POSITIVE_INFINITY]) {
        expect(own.reason(row(1, float, 1n))).toMatchObject({ _tag: "RowInvalid" })
      }
      const most = 10n ** 9999n - 1n
      for (const huge of [most + 1n, -most - 1n]) {
        expect(own.reason(row(1, 1, huge))).toMatchObject({ _tag: "RowInvalid" })
        expect(own.queryReason(bigs.query("byHuge").lt("huge", huge))).toMatchObject({ _tag: "RowInvalid" })
      }
      own.mutate(Effect.all([row(2 ** 53 - 1, Number.MAX_VALUE, most), row(-(2 ** 53 - 1), 5e-324, -most)]))
      expect(own.query(bigs.query("byHuge"))).toEqual([
        new Big({ id: -(2 ** 53 - 1), float: 5e-324, huge: -most }),
        new Big({ id: 2 ** 53 - 1, float: Number.MAX_VALUE, huge: most })
      ])
      for (const value of [2n ** 53n, 2n ** 60n, 2n ** 53n + 1n, Symbol.iterator, {}, () => 1]) {
        const error = app.queryFailure(SqlClient.SqlClient.use((sql) => sql.unsafe("SELECT ?", [value])))
        expect(error._tag).toBe("SqlError")
      }
      const bound = SqlClient.SqlClient.use((sql) => sql.unsafe("SELECT ? AS a, ? AS b, ? AS c", [5n, true, undefined]))
      expect(app.query(bound)).toEqual([{ a: 5, b: 1, c: null }])
    })
  })
}
