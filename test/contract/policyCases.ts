import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as SqlClient from "effect/sql/SqlClient"
import { Auth, Storage, Table } from "effect-dormouse"
import { Policy } from "effect-dormouse/auth"
import { describe, expect, it } from "vitest"
import type { Policy as AnyPolicy } from "../../src/contract/Policy.ts"
import { members, messages, notes, pins, policies, reactions, tables } from "./policyTables.ts"
import { StorageHarness, type WithDatabase } from "./StorageHarness.ts"

const caller = (subject: string, claims: Auth.Identity["claims"] = {}): Auth.Identity => ({ subject, claims })
const ada = caller("ada")
const bob = caller("bob")
const eve = caller("eve")
const admin = caller("root", { admin: true })

const message = (id: string, channel: string, author: string, more: object = {}) => ({
  id,
  channel,
  author,
  body: `body ${id}`,
  slug: null,
  ip: "10.0.0.1",
  secret: `secret ${id}`,
  ...more
})

/** Ada and Bob are members of `a`, Bob and Eve of `b`. */
const fill = Storage.unrestricted(
  Effect.gen(function* () {
    yield* members.insertMany([
      { id: "1", channel: "a", user: "ada", level: 1 },
      { id: "2", channel: "a", user: "bob", level: 2 },
      { id: "3", channel: "b", user: "bob", level: 3 },
      { id: "4", channel: "b", user: "eve", level: 1 }
    ])
    yield* messages.insertMany([
      message("m1", "a", "ada"),
      message("m2", "b", "bob", { slug: "taken" }),
      message("m3", "a", "bob"),
      message("m4", "b", "eve"),
      message("m5", "a", "ada", { body: "kept", slug: "mine" })
    ])
    yield* reactions.insertMany([
      { id: "r1", message: "m3", author: "ada" },
      { id: "r2", message: "m1", author: "eve" }
    ])
    yield* notes.insert({ id: "n1", body: "open" })
    yield* pins.insertMany([
      { id: "p1", message: "m1", from: null },
      { id: "p2", message: "m3", from: "m1" }
    ])
  })
)

/** What policies promise, over any database. */
export const suite = (name: string, withDatabase: WithDatabase) =>
  describe(name, () => {
    const test = (title: string, body: (app: StorageHarness) => void, used: ReadonlyArray<AnyPolicy> = policies) =>
      it(title, () =>
        withDatabase((database) => {
          const app = new StorageHarness(database, tables, {}, true, used)
          app.mutate(fill)
          body(app)
        })
      )
    const as = <A>(app: StorageHarness, identity: Auth.Identity, body: () => A): A => {
      const before = app.caller
      app.caller = identity
      try {
        return body()
      } finally {
        app.caller = before
      }
    }
    const ids = (rows: ReadonlyArray<{ readonly id: string }>) => rows.map(({ id }) => id)
    const denied = (table: string, operation: string) =>
      expect.objectContaining({ _tag: "PolicyDenied", table, operation })

    const seenBy = (app: StorageHarness) => {
      const page = app.query(messages.query().page({ size: 1 }))
      return {
        all: ids(app.query(messages.query())),
        a: ids(app.query(messages.query("byChannel").eq("channel", "a"))),
        b: ids(app.query(messages.query("byChannel").eq("channel", "b"))),
        get: ["m1", "m2"].map((id) => app.run(messages.get(id)).exit._tag),
        many: ids(app.query(messages.getMany(["m1", "m2", "m9"])).flatMap(Option.toArray)),
        count: app.query(messages.query().count),
        countOfB: app.query(messages.query("byChannel").eq("channel", "b").count),
        exists: app.query(messages.query("byChannel").eq("channel", "b").exists),
        first: app.query(
          Effect.map(
            messages.query().descending.first,
            Option.map(({ id }) => id)
          )
        ),
        two: ids(app.query(messages.query().take(2))),
        counted: app.query(messages.query().take(2).count),
        filtered: ids(app.query(messages.query().filter(({ id }) => id !== "m1"))),
        stream: ids(app.query(Stream.runCollect(messages.query().stream))),
        page: [ids(page.items), page.next === null]
      }
    }

    test("P1: a row that may not be read is in no result", (app) => {
      expect(as(app, ada, () => seenBy(app))).toEqual({
        all: ["m1", "m3", "m5"],
        a: ["m1", "m3", "m5"],
        b: [],
        get: ["Success", "Failure"],
        many: ["m1"],
        count: 3,
        countOfB: 0,
        exists: false,
        first: Option.some("m5"),
        two: ["m1", "m3"],
        counted: 2,
        filtered: ["m3", "m5"],
        stream: ["m1", "m3", "m5"],
        page: [["m1"], false]
      })
      expect(as(app, bob, () => seenBy(app))).toMatchObject({ count: 5, countOfB: 2, two: ["m1", "m2"] })
      expect(seenBy(app)).toMatchObject({ all: [], count: 0, exists: false, first: Option.none(), page: [[], true] })
    })

    test("P1: a walk of pages has each row that may be read once, whatever is between them", (app) => {
      const walk = (identity: Auth.Identity) =>
        as(app, identity, () => {
          const found: Array<string> = []
          let after: string | null = null
          do {
            const page: { items: ReadonlyArray<{ id: string }>; next: string | null } = app.query(
              messages.query().page({ size: 1, after })
            )
            found.push(...ids(page.items))
            after = page.next
          } while (after !== null)
          return found
        })
      expect(walk(ada)).toEqual(["m1", "m3", "m5"])
      expect(walk(eve)).toEqual(["m2", "m4"])
      expect(walk(admin)).toEqual([])
    })

    test("P1: a row that may not be read cannot be referred to, changed, deleted or replaced", (app) => {
      as(app, ada, () => {
        const missing = { _tag: "ReferenceViolation", table: "reactions", column: "message", action: "missing" }
        for (const target of ["m2", "m9"]) {
          expect(app.reason(reactions.insert({ id: "r9", message: target, author: "ada" }))).toMatchObject(missing)
        }
        app.mutate(reactions.insert({ id: "r9", message: "m3", author: "ada" }))
        for (const id of ["m2", "m9"]) {
          expect(app.failure(messages.patch(id, { body: "x" }))).toMatchObject({ _tag: "RowNotFound", key: id })
          expect(app.failure(messages.replace(id, message(id, "a", "ada")))).toMatchObject({ _tag: "RowNotFound" })
          expect(app.mutate(messages.delete(id))).toBe(false)
        }
        expect(app.reason(messages.upsert(message("m2", "a", "ada")))).toEqual(denied("messages", "insert"))
      })
      expect(as(app, bob, () => app.query(messages.get("m2")).body)).toBe("body m2")
    })

    test("P1: a conflict with a row that may not be read is like a denied insert", (app) => {
      as(app, ada, () => {
        const insert = (id: string, slug: string) => app.reason(messages.insert(message(id, "a", "ada", { slug })))
        expect(insert("m9", "mine")).toMatchObject({ _tag: "UniqueViolation", index: "bySlug" })
        const hidden = insert("m9", "taken")
        expect(hidden).toEqual(app.reason(messages.insert(message("m9", "b", "ada"))))
        expect(insert("m2", "new")).toEqual(hidden)
        expect(app.reason(messages.patch("m1", { slug: "taken" }))).toEqual(denied("messages", "update"))
        // A reaction of Eve restricts the deletion, and only she may read it.
        expect(app.reason(messages.delete("m1"))).toEqual(denied("messages", "delete"))
      })
      as(app, bob, () => expect(app.reason(messages.delete("m3"))).toEqual(denied("messages", "delete")))
      as(app, eve, () => {
        app.mutate(messages.patch("m4", { body: "x" }))
        app.mutate(reactions.insert({ id: "r8", message: "m4", author: "eve" }))
        expect(app.reason(messages.delete("m4"))).toMatchObject({ _tag: "ReferenceViolation", table: "reactions" })
      })
    })

    test("P2: writes are checked on the row before and after", (app) => {
      as(app, ada, () => {
        expect(app.reason(messages.insert(message("m9", "b", "ada")))).toEqual(denied("messages", "insert"))
        expect(app.mutate(messages.insert(message("m9", "a", "ada"))).id).toBe("m9")
        expect(app.reason(messages.patch("m3", { body: "x" }))).toEqual(denied("messages", "update"))
        expect(app.reason(messages.patch("m1", { author: "bob" }))).toEqual(denied("messages", "update"))
        expect(app.mutate(messages.patch("m1", { body: "new" })).body).toBe("new")
        expect(app.reason(messages.delete("m3"))).toEqual(denied("messages", "delete"))
        expect(app.reason(messages.delete("m5"))).toEqual(denied("messages", "delete"))
        expect(app.mutate(messages.delete("m9"))).toBe(true)
        const many = [message("x1", "a", "ada"), message("x2", "b", "ada")]
        expect(app.reason(messages.insertMany(many))).toEqual(denied("messages", "insert"))
        expect(app.query(messages.query().count)).toBe(3)
      })
    })

    test("P2: the server sets the fields of `set`, and no patch changes them", (app) => {
      as(app, ada, () => {
        expect(app.mutate(messages.insert(message("m9", "a", "bob"))).author).toBe("ada")
        // Only an administrator may write every field of the row.
        const replaced = as(app, caller("ada", { admin: true }), () =>
          app.mutate(messages.replace("m9", message("m9", "a", "bob")))
        )
        expect(replaced.author).toBe("ada")
        expect(app.reason(messages.patch("m9", { author: "bob" }))).toEqual(denied("messages", "update"))
        expect(app.mutate(messages.patch("m9", { author: "ada", body: "x" })).body).toBe("x")
      })
      expect(app.reason(messages.insert(message("m8", "a", "bob")))).toEqual(denied("messages", "insert"))
    })

    test("P3: what no policy allows is denied, and a table without policies is open", (app) => {
      as(app, ada, () => {
        expect(app.reason(members.insert({ id: "9", channel: "b", user: "ada", level: 1 }))).toEqual(
          denied("members", "insert")
        )
        expect(app.reason(members.patch("1", { level: 9 }))).toEqual(denied("members", "update"))
        expect(app.reason(members.delete("1"))).toEqual(denied("members", "delete"))
        expect(app.query(members.query().count)).toBe(4)
        app.mutate(notes.patch("n1", { body: "changed" }))
        expect(app.query(notes.get("n1")).body).toBe("changed")
      })
      expect(as(app, admin, () => app.mutate(members.insert({ id: "9", channel: "b", user: "x", level: 1 })).id)).toBe(
        "9"
      )
    })

    test(
      "P3: policies of one table are added up, and nothing that compares with null holds",
      (app) => {
        const idsOf = (identity: Auth.Identity) => as(app, identity, () => ids(app.query(messages.query())))
        expect(idsOf(ada)).toEqual(["m1", "m5"])
        expect(idsOf(caller("bob", { channels: ["b"] }))).toEqual(["m2", "m3", "m4"])
        expect(idsOf(caller("x", { channels: "b" }))).toEqual([])
        expect(idsOf(Auth.anonymous)).toEqual([])
      },
      [
        Policy.make(messages, {
          read: ({ me, row }) => Policy.not(Policy.or(Policy.ne(row.author, me.subject), Policy.isNull(row.channel)))
        }),
        Policy.make(messages, { read: ({ me, row }) => Policy.in(row.channel, me.claims.channels) })
      ]
    )

    const by = (condition: Parameters<typeof Policy.make<typeof messages>>[1]["read"] & {}) => [
      Policy.make(messages, { read: condition })
    ]
    const conditions: ReadonlyArray<readonly [string, Parameters<typeof by>[0], Auth.Identity, ReadonlyArray<string>]> =
      [
        ["less", ({ row }) => Policy.lt(row.body, "body m3"), ada, ["m1", "m2"]],
        ["not greater", ({ row }) => Policy.not(Policy.gt(row.body, "body m2")), ada, ["m1", "m2"]],
        ["null", ({ row }) => Policy.isNull(row.slug), ada, ["m1", "m3", "m4"]],
        ["not null", ({ row }) => Policy.not(Policy.isNull(row.slug)), ada, ["m2", "m5"]],
        ["compared with null", ({ row }) => Policy.ne(row.slug, "taken"), ada, ["m5"]],
        ["a negated list", ({ row }) => Policy.not(Policy.in(row.slug, ["mine"])), ada, ["m2"]],
        ["an empty list", ({ row }) => Policy.not(Policy.in(row.slug, [])), ada, ["m1", "m2", "m3", "m4", "m5"]],
        ["a claim", ({ me }) => Policy.claim(me, "admin"), caller("x", { admin: 1 }), []],
        [
          "a nested claim",
          ({ me }) => Policy.eq(me.claims.of.role, "x"),
          caller("x", { of: { role: "x" } }),
          ["m1", "m2", "m3", "m4", "m5"]
        ],
        [
          "a claim of a prototype",
          ({ me }) => Policy.isNull(me.claims.constructor),
          ada,
          ["m1", "m2", "m3", "m4", "m5"]
        ],
        [
          "an exists with more conditions",
          ({ me, row }) =>
            Policy.exists(members, (member) =>
              Policy.and(
                Policy.eq(member.channel, row.channel),
                Policy.eq(member.user, me.subject),
                Policy.gte(member.level, 3)
              )
            ),
          bob,
          ["m2", "m4"]
        ],
        [
          "nested exists",
          ({ me, row }) =>
            Policy.exists(members, (member) =>
              Policy.and(
                Policy.eq(member.channel, row.channel),
                Policy.exists(members, (other) =>
                  Policy.and(
                    Policy.eq(other.id, member.id),
                    Policy.eq(other.user, row.author),
                    Policy.eq(other.user, me.subject)
                  )
                )
              )
            ),
          eve,
          ["m4"]
        ],
        [
          "no row",
          ({ me, row }) => Policy.not(Policy.exists(members, { channel: row.channel, user: me.subject })),
          ada,
          ["m2", "m4"]
        ],
        [
          "either",
          ({ me, row }) =>
            Policy.or(Policy.eq(row.author, "eve"), Policy.exists(members, { channel: row.channel, user: me.subject })),
          ada,
          ["m1", "m3", "m4", "m5"]
        ]
      ]
    for (const [title, condition, identity, expected] of conditions) {
      test(
        `P3: a condition decides: ${title}`,
        (app) =>
          as(app, identity, () => {
            expect(ids(app.query(messages.query()))).toEqual(expected)
            expect(ids(app.query(messages.query().filter(() => true)))).toEqual(expected)
            expect(app.query(messages.query().count)).toBe(expected.length)
            expect(ids(app.query(messages.getMany(["m1", "m2", "m3", "m4", "m5"])).flatMap(Option.toArray))).toEqual(
              expected
            )
            for (const channel of ["a", "b"]) {
              const rows = app.query(messages.query("byChannel").eq("channel", channel))
              expect(ids(rows).toSorted()).toEqual(
                expected.filter((id) => (["m2", "m4"].includes(id) ? "b" : "a") === channel)
              )
            }
          }),
        by(condition)
      )
    }

    test("P4: what a policy looked at is read: the caller, and parts of indexes", (app) => {
      as(app, ada, () => {
        const of = (query: Parameters<typeof app.run>[0]) => {
          const { reads } = app.run(query)
          return { identity: reads.identity, tables: [...reads.tables], ranges: [...reads.ranges.values()] }
        }
        const list = of(messages.query("byChannel").eq("channel", "a"))
        const membership = { table: "members", index: "byChannel" }
        const prefix = (...key: ReadonlyArray<string>) => ({ from: { key, after: false }, to: { key, after: true } })
        expect(list).toEqual({
          identity: true,
          tables: [],
          ranges: expect.arrayContaining([
            { ...membership, ranges: [prefix("a", "ada")] },
            { table: "messages", index: "byChannel", ranges: [prefix("a")] }
          ])
        })
        expect(list.ranges).toHaveLength(2)
        // Without permission no row of the table is read.
        expect(of(messages.query("byChannel").eq("channel", "b")).ranges).toEqual([
          { ...membership, ranges: [prefix("b", "ada")] }
        ])
        expect(of(notes.query())).toMatchObject({ identity: false })
        expect(of(members.query())).toMatchObject({ identity: false })
      })
    })

    test("P4: a permission that the transaction itself changes counts at once, and not after a rollback", (app) => {
      const list = Effect.map(messages.query("byChannel").eq("channel", "b"), ids)
      const join = Storage.unrestricted(members.insert({ id: "9", channel: "b", user: "ada", level: 1 }))
      as(app, ada, () => {
        const seen = app.mutate(
          Effect.gen(function* () {
            const before = yield* list
            const inside = yield* Effect.flip(
              Table.atomically(Effect.flatMap(Effect.andThen(join, list), (rows) => Effect.fail(rows)))
            )
            const after = yield* list
            yield* join
            return [before, inside, after, yield* list]
          })
        )
        expect(seen).toEqual([[], ["m2", "m4"], [], ["m2", "m4"]])
        expect(app.query(list)).toEqual(["m2", "m4"])
        app.mutate(Storage.unrestricted(members.delete("9")))
        expect(app.query(list)).toEqual([])
      })
    })

    const sql = (text: string) => SqlClient.SqlClient.use((sql) => sql.unsafe<{ n: number }>(text))
    const sqlDenial = (app: StorageHarness, text: string) =>
      (app.failure(sql(text)) as { reason: { message: string } }).reason.message

    test("P5: raw SQL that uses a table with policies is refused, and runs unrestricted", (app) => {
      as(app, ada, () => {
        expect(sqlDenial(app, "SELECT count(*) AS n FROM messages")).toMatch(/table messages, which has policies/)
        expect(sqlDenial(app, "UPDATE messages SET body = 'x'")).toMatch(/table messages/)
        expect(sqlDenial(app, "INSERT INTO notes SELECT id, body FROM messages")).toMatch(/table messages/)
        expect(sqlDenial(app, "SELECT name FROM sqlite_master")).toMatch(/may use tables with policies/)
        expect(sqlDenial(app, "CREATE TABLE copy AS SELECT * FROM messages")).toMatch(/may use tables with policies/)
        expect(app.query(sql("SELECT count(*) AS n FROM notes"))).toEqual([{ n: 1 }])
        expect(app.query(Storage.unrestricted(sql("SELECT count(*) AS n FROM messages")))).toEqual([{ n: 5 }])
        const both = Effect.all([sql("SELECT 1 AS n"), Storage.unrestricted(sql("SELECT count(*) AS n FROM messages"))])
        expect(app.query(both)).toEqual([[{ n: 1 }], [{ n: 5 }]])
      })
    })

    test("P5: an unrestricted effect reads and writes everything, and what follows it does not", (app) => {
      as(app, ada, () => {
        const count = messages.query().count
        expect(app.query(Effect.all([count, Storage.unrestricted(count), count]))).toEqual([3, 5, 3])
        const patch = Storage.unrestricted(messages.patch("m2", { author: "ada" }))
        expect(app.mutate(patch)).toMatchObject({ author: "ada", ip: "10.0.0.1", secret: "secret m2" })
        expect(app.failure(messages.patch("m2", { body: "x" }))).toMatchObject({ _tag: "RowNotFound" })
      })
    })

    test("P5: what a declared reference deletes or changes is not asked for", (app) => {
      as(app, ada, () => {
        expect(app.query(pins.query())).toEqual([])
        expect(app.mutate(pins.delete("p1"))).toBe(false)
        app.mutate(Storage.unrestricted(reactions.delete("r2")))
        expect(app.mutate(messages.delete("m1"))).toBe(true)
      })
      expect(ids(app.query(Storage.unrestricted(pins.query())))).toEqual(["p2"])
      expect(app.query(Storage.unrestricted(pins.get("p2"))).from).toBe(null)
    })

    test("P6: a hidden field is missing, null or masked, everywhere", (app) => {
      as(app, ada, () => {
        const m3 = { id: "m3", secret: "***" }
        const own = { id: "m1", secret: "secret m1" }
        const lists = [
          app.query(messages.query("byChannel").eq("channel", "a").take(2)),
          app.query(messages.query().filter(() => true)),
          app.query(Stream.runCollect(messages.query().stream)),
          app.query(messages.query().page({ size: 2 })).items,
          app.query(messages.getMany(["m1", "m3"])).flatMap(Option.toArray)
        ]
        for (const rows of lists) {
          expect(rows[0]).toMatchObject(own)
          expect(rows[1]).toMatchObject(m3)
          for (const row of rows) expect("ip" in row).toBe(false)
        }
        expect(app.query(messages.query().filter((row) => row.ip !== undefined).count)).toBe(0)
        expect(app.query(messages.query().filter((row) => row.secret === "secret m3").count)).toBe(0)
        expect("ip" in app.mutate(messages.patch("m1", { body: "x" }))).toBe(false)
        expect("ip" in app.mutate(messages.insert(message("m9", "a", "ada")))).toBe(false)
      })
      // What the caller could not see was kept.
      expect(app.query(Storage.unrestricted(messages.get("m1")))).toMatchObject({ body: "x", ip: "10.0.0.1" })
    })

    test("P6: an index with a hidden field is refused whatever the number of rows", (app) => {
      as(app, ada, () => {
        const query = messages.query("byIp").take(0)
        expect(app.queryReason(query)).toEqual(denied("messages", "read"))
        expect(app.queryReason(query.filter(() => true))).toEqual(denied("messages", "read"))
        expect(app.queryReason(query.count)).toEqual(denied("messages", "read"))
        expect(app.queryReason(query.page({ size: 1 }))).toEqual(denied("messages", "read"))
        expect(app.queryReason(Stream.runCollect(query.stream))).toEqual(denied("messages", "read"))
        expect(app.query(messages.query("byChannel").take(0))).toEqual([])
      })
      as(app, caller("ada", { admin: true }), () => expect(app.query(messages.query("byIp").take(0).count)).toBe(0))
    })

    test("P6: an index with a hidden field cannot be followed, and a hidden field cannot be changed", (app) => {
      as(app, ada, () => {
        for (const query of [messages.query("byIp"), messages.query("byIp").eq("ip", "10.0.0.1")]) {
          expect(app.queryReason(query)).toEqual(denied("messages", "read"))
          expect(app.queryReason(query.count)).toEqual(denied("messages", "read"))
          expect(app.queryReason(query.page({ size: 1 }))).toEqual(denied("messages", "read"))
          expect(app.queryReason(Stream.runCollect(query.stream))).toEqual(denied("messages", "read"))
        }
        // The same value as before is denied too: the answer would tell it.
        for (const ip of ["10.0.0.1", "10.0.0.2"]) {
          expect(app.reason(messages.patch("m1", { ip }))).toEqual(denied("messages", "update"))
        }
        expect(app.reason(messages.replace("m1", message("m1", "a", "ada")))).toEqual(denied("messages", "update"))
      })
      const root = caller("ada", { admin: true })
      as(app, root, () => {
        expect(ids(app.query(messages.query("byIp").eq("ip", "10.0.0.1")))).toEqual(["m1", "m3", "m5"])
        expect(app.mutate(messages.patch("m1", { ip: "10.0.0.2" })).ip).toBe("10.0.0.2")
      })
    })
  })
