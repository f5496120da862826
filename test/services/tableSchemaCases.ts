import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"
import { describe, expect, it } from "vitest"
import type { Database } from "../../src/services/Database.ts"
import * as TableSchema from "../../src/services/storage/TableSchema.ts"
import { StorageHarness, type WithDatabase } from "../contract/StorageHarness.ts"

type Any = any
type Fields = Parameters<ReturnType<typeof Model.Class<Any>>>[0]
interface Options {
  readonly key?: string
  readonly indexes?: Record<string, Table.IndexInput<string>>
  readonly references?: Record<string, Table.Reference>
  readonly dropped?: ReadonlyArray<string>
}

/** A table as one version of an app declares it. */
const declare = (name: string, fields: Fields, { key = "id", ...options }: Options = {}): Any => {
  class Row extends Model.Class<Any>(`schema/${name}`)(fields) {}
  return Table.make(name, Row, { key: key as never, ...(options as {}) })
}

const id = Schema.String
const notes = (fields: Fields = {}, options?: Options) =>
  declare("notes", { id, text: Schema.String, ...fields }, options)

const withDefault = (schema: Any, value: unknown) => schema.pipe(Schema.withConstructorDefault(Effect.succeed(value)))

/** What a refused start must not change: definitions, their record, and rows. */
const contents = (database: Database["Service"]) => {
  const objects = database.all("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '_cf%' ORDER BY name", [])
  const tables = objects.rows.filter(([type]) => type === "table").map(([, name]) => String(name))
  return [objects.rows, ...tables.map((name) => [name, database.all(`SELECT * FROM "${name}"`, []).rows])]
}

/** Starts several versions of an app over one database. */
class Deployments {
  readonly database: Database["Service"]
  readonly statements: Array<string> = []

  constructor(database: Database["Service"]) {
    this.database = {
      ...database,
      all: (sql, params, max) => {
        this.statements.push(sql)
        return database.all(sql, params, max)
      }
    }
  }

  start(...tables: ReadonlyArray<Any>): StorageHarness {
    return new StorageHarness(this.database, tables)
  }

  /** The message of a refused start. Checks that the start changed nothing. */
  refusal(...tables: ReadonlyArray<Any>): string {
    const before = contents(this.database)
    let message: string | undefined
    try {
      TableSchema.migrate(this.database, tables)
    } catch (error) {
      if (!(error instanceof TableSchema.SchemaMismatch)) throw error
      message = error.message
    }
    expect(contents(this.database)).toEqual(before)
    if (message === undefined) throw new Error("the start was not refused")
    return message
  }

  columns(table: string): Record<string, string> {
    const { rows } = this.database.all(`PRAGMA table_info("${table}")`, [])
    return Object.fromEntries(
      rows.map(([, name, type, notNull]) => [name, `${type}${notNull === 1 ? " NOT NULL" : ""}`])
    )
  }
}

export const suite = (name: string, run: WithDatabase): void => {
  const test = (title: string, body: (deployments: Deployments) => void) =>
    it(title, () => run((database) => body(new Deployments(database))))

  describe(`R1: ${name}: changes that a start makes`, () => {
    test("ST20 tables have a column of the matching type for each field", (deployments) => {
      deployments.start(
        notes({
          count: Schema.Int,
          share: Schema.Finite,
          done: Schema.Boolean,
          total: Schema.BigInt,
          hash: Schema.Uint8Array,
          at: Schema.DateTimeUtcFromMillis,
          when: Schema.DateTimeUtc,
          maybe: Schema.optionalKey(Schema.Int),
          none: Schema.NullOr(Schema.Finite),
          option: Schema.OptionFromNullOr(Schema.Uint8Array),
          tags: Schema.Array(Schema.String)
        })
      )
      expect(deployments.columns("notes")).toEqual({
        id: "TEXT NOT NULL",
        text: "TEXT NOT NULL",
        count: "INTEGER NOT NULL",
        share: "REAL NOT NULL",
        done: "INTEGER NOT NULL",
        total: "TEXT NOT NULL",
        hash: "BLOB NOT NULL",
        at: "INTEGER NOT NULL",
        when: "TEXT NOT NULL",
        maybe: "INTEGER",
        none: "REAL",
        option: "BLOB",
        tags: "TEXT NOT NULL"
      })
    })

    test("ST20 a start without changes writes nothing", (deployments) => {
      const versions = () => [
        notes(
          { parent: Schema.optionalKey(id), n: Schema.Int },
          {
            indexes: { byN: ["n"], byText: { columns: ["text", "n"], unique: true } },
            references: { parent: { table: () => declare("notes", { id }), onDelete: "setNull" } }
          }
        ),
        declare("tags", { id })
      ]
      const [first, second] = [versions(), versions()]
      first[0].references.get("parent").table = () => first[0]
      second[0].references.get("parent").table = () => second[0]
      deployments.start(...first)
      deployments.statements.length = 0
      deployments.start(...second)
      expect(deployments.statements.map((sql) => sql.split(" ").slice(0, 3).join(" "))).toEqual([
        "SELECT name, NULL,",
        "SELECT tables FROM"
      ])
    })

    test("ST20 optional and nullable fields become columns, which older rows lack", (deployments) => {
      const before = deployments.start(notes())
      before.mutate(notes().insert({ id: "a", text: "x" }))
      const next = notes({
        key: Schema.optionalKey(Schema.Int),
        nullable: Schema.NullOr(Schema.String),
        option: Schema.OptionFromNullOr(Schema.Int),
        both: Schema.optionalKey(Schema.NullOr(Schema.Int))
      })
      const app = deployments.start(next)
      expect({ ...app.query<Any, Any>(next.get("a")) }).toEqual({
        id: "a",
        text: "x",
        nullable: null,
        option: Option.none()
      })
      app.mutate(next.insert({ id: "b", text: "y", key: 1, nullable: "n", option: Option.some(2), both: null }))
      expect(app.query<Any, Any>(next.get("b"))).toMatchObject({ key: 1, nullable: "n", both: null })
    })

    test("ST20 a field with a constructor default becomes a column, and older rows get the default", (deployments) => {
      const before = deployments.start(notes())
      before.mutate(notes().insert({ id: "a", text: "x" }))
      const defaults = {
        text2: 'it\'s "quoted" \u{1f600}',
        int: -5,
        float: 0.1,
        infinite: Number.NEGATIVE_INFINITY,
        flag: true,
        big: -(2n ** 70n),
        bytes: Uint8Array.of(0, 255),
        nested: { a: [1, "'"] },
        empty: null
      }
      const next = notes({
        text2: withDefault(Schema.String, defaults.text2),
        int: withDefault(Schema.Int, defaults.int),
        float: withDefault(Schema.Number, defaults.float),
        infinite: withDefault(Schema.Number, defaults.infinite),
        flag: withDefault(Schema.Boolean, defaults.flag),
        big: withDefault(Schema.BigInt, defaults.big),
        bytes: withDefault(Schema.Uint8Array, defaults.bytes),
        nested: withDefault(Schema.Struct({ a: Schema.Array(Schema.Unknown) }), defaults.nested),
        empty: withDefault(Schema.NullOr(Schema.Int), defaults.empty)
      })
      const app = deployments.start(next)
      expect({ ...app.query<Any, Any>(next.get("a")) }).toEqual({ id: "a", text: "x", ...defaults })
      expect({ ...app.mutate<Any, Any>(next.insert({ id: "b", text: "y" })) }).toEqual({
        id: "b",
        text: "y",
        ...defaults
      })
    })

    test("ST20 indexes are added, changed and removed", (deployments) => {
      const indexed = (indexes: Options["indexes"]) => notes({ n: Schema.Int }, { indexes: indexes! })
      const names = () =>
        deployments.database
          .all(
            "SELECT name, sql LIKE '%UNIQUE%' FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1",
            []
          )
          .rows.map(([name, unique]) => `${name}${unique === 1 ? "!" : ""}`)
      const first = indexed({ byN: ["n"], byText: ["text"] })
      deployments.start(first).mutate(
        first.insertMany([
          { id: "a", text: "x", n: 1 },
          { id: "b", text: "y", n: 1 }
        ])
      )
      expect(names()).toEqual(["notes.byN", "notes.byText"])
      const next = indexed({ byN: ["n", "text"], byText: { columns: ["text"], unique: true } })
      const app = deployments.start(next)
      expect(names()).toEqual(["notes.byN", "notes.byText!"])
      expect(app.query<Any, Any>(next.query("byN").eq("n", 1).descending).map((row: Any) => row.id)).toEqual(["b", "a"])
      deployments.start(notes({ n: Schema.Int }))
      expect(names()).toEqual([])
    })

    test("ST20 a reference is added, and older rows refer to nothing", (deployments) => {
      const tags = declare("tags", { id })
      const before = deployments.start(notes(), tags)
      before.mutate(notes().insert({ id: "a", text: "x" }))
      const next = notes(
        { tag: Schema.optionalKey(id).pipe(Schema.withConstructorDefault(Effect.succeed("t"))) },
        { references: { tag: { table: () => tags, onDelete: "setNull" } } }
      )
      const app = deployments.start(next, tags)
      app.mutate(tags.insert({ id: "t" }))
      expect(app.mutate<Any, Any>(next.patch("a", { tag: "t" })).tag).toBe("t")
      expect(app.reason(next.patch("a", { tag: "none" }))).toMatchObject({
        _tag: "ReferenceViolation",
        action: "missing"
      })
      app.mutate(tags.delete("t"))
      expect(deployments.database.all("SELECT tag FROM notes", []).rows).toEqual([[null]])
    })

    test("ST20 a field that becomes optional, or changes from integer to any number, keeps its values", (deployments) => {
      const first = notes(
        { n: Schema.Int, m: Schema.optionalKey(Schema.Int), flag: Schema.Boolean },
        { indexes: { byText: { columns: ["text"], unique: true }, byN: ["n", "text"], byFlag: ["flag"] } }
      )
      const rows = [
        { id: "a", text: "x", n: 1, flag: true },
        { id: "b", text: "y", n: 2, m: 3, flag: false }
      ]
      deployments.start(first).mutate(first.insertMany(rows))
      const next = declare(
        "notes",
        {
          id,
          text: Schema.optionalKey(Schema.String),
          n: Schema.Finite,
          m: Schema.NullOr(Schema.Finite),
          flag: Schema.NullOr(Schema.Boolean)
        },
        { indexes: { byText: { columns: ["text"], unique: true }, byN: ["n", "text"], byFlag: ["flag"] } }
      )
      const app = deployments.start(next)
      expect(deployments.columns("notes")).toEqual({
        id: "TEXT NOT NULL",
        text: "TEXT",
        n: "REAL NOT NULL",
        m: "REAL",
        flag: "INTEGER"
      })
      expect(app.query<Any, Any>(next.query("byN")).map((row: Any) => ({ ...row }))).toEqual([
        { id: "a", text: "x", n: 1, m: null, flag: true },
        { id: "b", text: "y", n: 2, m: 3, flag: false }
      ])
      app.mutate(next.insert({ id: "c", n: 1.5, m: 0.5, flag: null }))
      expect(app.reason(next.insert({ id: "d", text: "x", n: 1, m: null, flag: null }))).toMatchObject({
        index: "byText"
      })
      deployments.statements.length = 0
      deployments.start(next)
      expect(deployments.statements).toHaveLength(2)
    })

    test("ST20 a field becomes optional in a table of 100 columns, and beside any other column", (deployments) => {
      const more = Object.fromEntries(Array.from({ length: 97 }, (_, i) => [`c${i}`, Schema.Int]))
      const others = { ...more, "n~": Schema.String }
      const values = Object.fromEntries(Object.keys(more).map((name, i) => [name, i]))
      const first = declare("notes", { id, n: Schema.Int, ...others }, { indexes: { byN: ["n", "c0"] } })
      const rows = Array.from({ length: 120 }, (_, i) => ({ id: `${i}`, n: i, ...values, "n~": `n${i}` }))
      deployments.start(first).mutate(first.insertMany(rows))
      for (const n of [Schema.Finite, Schema.NullOr(Schema.Finite)]) {
        const next = declare("notes", { id, n, ...others }, { indexes: { byN: ["n", "c0"] } })
        const app = deployments.start(next)
        expect(app.query<Any, Any>(next.query("byN")).map((row: Any) => ({ ...row }))).toEqual(rows)
      }
      expect(deployments.columns("notes")).toMatchObject({ n: "REAL", "n~": "TEXT NOT NULL" })
      expect(deployments.database.all("SELECT name FROM sqlite_master WHERE name LIKE '%copy%'", []).rows).toEqual([])
    })

    test("ST20 a table that is no longer declared keeps its rows until it is declared again", (deployments) => {
      const tags = declare("tags", { id, n: Schema.Int })
      deployments.start(notes(), tags).mutate(tags.insert({ id: "t", n: 1 }))
      deployments.start(notes())
      expect(deployments.refusal(notes(), declare("tags", { id }))).toContain(
        "table tags, column n: is in the database"
      )
      expect(deployments.start(notes(), tags).query<Any, Any>(tags.get("t")).n).toBe(1)
    })

    for (const [how, startsEarlier] of [
      ["added", true],
      ["created with the table", false]
    ] as const) {
      test(`ST20 an earlier version starts, and keeps aside fields that a later one ${how}`, (deployments) => {
        const earlier = notes()
        const later = notes(
          {
            optional: Schema.optionalKey(Schema.Int),
            nullable: Schema.NullOr(Schema.String),
            nested: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.Int))),
            filled: withDefault(Schema.Int, 5),
            maybe: withDefault(Schema.NullOr(Schema.String), "it's")
          },
          { indexes: { byFilled: ["filled", "optional"], byOptional: { columns: ["optional"], unique: true } } }
        )
        if (startsEarlier) deployments.start(earlier)
        const first = deployments.start(later)
        const values = { optional: 1, nullable: "n", nested: null, filled: 6, maybe: "m" }
        first.mutate(later.insert({ id: "a", text: "x", ...values }))
        for (const id of ["b", "c"]) first.mutate(later.insert({ id, text: "x", nullable: null }))

        const back = deployments.start(earlier)
        back.mutate(earlier.patch("a", { text: "y" }))
        back.mutate(earlier.replace("b", { id: "b", text: "y" }))
        back.mutate(earlier.delete("c"))
        back.mutate(earlier.insertMany(["d", "e"].map((id) => ({ id, text: "z" }))))
        expect(back.query<Any, Any>(earlier.query()).map((row: Any) => Object.keys(row))).toEqual(
          new Array(4).fill(["id", "text"])
        )
        const kept = contents(deployments.database)
        deployments.start(earlier)
        expect(contents(deployments.database)).toEqual(kept)

        const again = deployments.start(later)
        const without = { nullable: null, filled: 5, maybe: "it's" }
        expect(again.query<Any, Any>(later.query()).map((row: Any) => ({ ...row }))).toEqual([
          { id: "a", text: "y", ...values },
          { id: "b", text: "y", ...without },
          { id: "d", text: "z", ...without },
          { id: "e", text: "z", ...without }
        ])
        expect(again.query<Any, Any>(later.query("byFilled").eq("filled", 5).count)).toBe(3)
        expect(again.reason(later.patch("d", { optional: 1 }))).toMatchObject({ index: "byOptional" })
        deployments.statements.length = 0
        deployments.start(later)
        expect(deployments.statements).toHaveLength(2)

        deployments.start(notes({}, { dropped: ["filled", "optional"] }))
        expect(Object.keys(deployments.columns("notes")).sort()).toEqual(["id", "maybe", "nested", "nullable", "text"])
      })
    }

    test("ST20, ST7 a reference that is kept aside is not in force, and refers to nothing once its row is gone", (deployments) => {
      const tags = declare("tags", { id })
      const others = declare("others", { id })
      // Even where the loss is allowed, SQLite cannot drop a reference.
      const withoutDropped = notes()
      const earlier = notes({}, { dropped: ["other"] })
      const later = notes(
        { tag: Schema.optionalKey(id), other: Schema.NullOr(id) },
        {
          references: {
            tag: { table: () => tags, onDelete: "cascade" },
            other: { table: () => others, onDelete: "restrict" }
          }
        }
      )
      deployments.start(withoutDropped, tags)
      const first = deployments.start(later, tags, others)
      first.mutate(Effect.andThen(tags.insertMany([{ id: "s" }, { id: "t" }]), others.insert({ id: "o" })))
      first.mutate(
        later.insertMany([
          { id: "a", text: "x", tag: "s", other: "o" },
          { id: "b", text: "x", tag: "t", other: null },
          { id: "c", text: "x", other: null }
        ])
      )
      for (let times = 0; times < 2; times++) {
        const back = deployments.start(times === 0 ? earlier : withoutDropped, tags)
        expect(back.query<Any, Any>(withoutDropped.query().count)).toBe(3 + times)
        if (times === 0) back.mutate(withoutDropped.insert({ id: "d", text: "x" }))
        else back.mutate(tags.delete("s"))
        deployments.start(withoutDropped, tags)
        const again = deployments.start(later, tags, others)
        expect(again.query<Any, Any>(later.query()).map((row: Any) => [row.id, row.tag, row.other])).toEqual([
          ["a", times === 0 ? "s" : undefined, "o"],
          ["b", "t", null],
          ["c", undefined, null],
          ["d", undefined, null]
        ])
        expect(Object.keys(deployments.columns("notes")).sort()).toEqual(["id", "other", "tag", "text"])
      }
      const last = deployments.start(later, tags, others)
      expect(last.reason(others.delete("o"))).toMatchObject({ table: "notes", column: "other", action: "restrict" })
      last.mutate(tags.delete("t"))
      expect(last.query<Any, Any>(later.query().count)).toBe(3)
    })

    test("ST20 the default of a field that is rebuilt is its constructor's, and never made up", (deployments) => {
      const first = notes({ n: withDefault(Schema.Int, 5), m: Schema.Int })
      deployments.start(first).mutate(first.insert({ id: "a", text: "x", n: 1, m: 1 }))
      const next = notes({ n: withDefault(Schema.Finite, 5), m: Schema.Finite })
      deployments.start(next)
      expect(deployments.refusal(notes({ n: withDefault(Schema.Finite, 5) }))).toContain(
        "table notes, column m: is in the database (REAL) and not in the model"
      )
      const earlier = notes({ m: Schema.Finite })
      deployments.start(earlier).mutate(earlier.insert({ id: "b", text: "x", m: 2 }))
      expect(
        deployments
          .start(next)
          .query<Any, Any>(next.query())
          .map((row: Any) => row.n)
      ).toEqual([1, 5])
    })

    test("ST7 references of a table that is no longer declared stay in force", (deployments) => {
      const tags = declare("tags", { id })
      const refer = (name: string, target: () => Any, onDelete: Table.Reference["onDelete"]) =>
        declare(
          name,
          { id, to: onDelete === "setNull" ? Schema.NullOr(id) : id },
          { references: { to: { table: target, ...(onDelete === undefined ? {} : { onDelete }) } } }
        )
      const cascading = refer("cascading", () => tags, "cascade")
      const nulled = refer("nulled", () => tags, "setNull")
      const restricting = refer("restricting", () => tags, "restrict")
      const deep = refer("deep", () => cascading, "restrict")
      const all = [tags, cascading, nulled, restricting, deep]
      const before = deployments.start(...all)
      before.mutate(tags.insertMany(["a", "b", "c", "d"].map((id) => ({ id }))))
      for (const table of [cascading, nulled]) {
        before.mutate(table.insertMany(["a", "b", "c", "d"].map((to) => ({ id: `to ${to}`, to }))))
      }
      before.mutate(restricting.insert({ id: "x", to: "b" }))
      before.mutate(deep.insert({ id: "x", to: "to c" }))

      const app = deployments.start(tags)
      const rows = () => all.map(({ name }) => deployments.database.all(`SELECT * FROM ${name} ORDER BY id`, []).rows)
      const untouched = rows()
      const restricts = (table: string) => ({ _tag: "ReferenceViolation", table, column: "to", action: "restrict" })
      expect(app.reason(tags.delete("b"))).toMatchObject(restricts("restricting"))
      expect(app.reason(tags.delete("c"))).toMatchObject(restricts("deep"))
      expect(rows()).toEqual(untouched)
      expect(app.mutate(tags.delete("a"))).toBe(true)

      const again = deployments.start(...all)
      const list = (table: Any) => again.query<Any, Any>(table.query()).map((row: Any) => [row.id, row.to])
      expect(list(cascading)).toEqual(["b", "c", "d"].map((to) => [`to ${to}`, to]))
      expect(list(nulled)).toEqual([["to a", null], ...["b", "c", "d"].map((to) => [`to ${to}`, to])])
      expect(again.reason(tags.delete("b"))).toMatchObject(restricts("restricting"))
    })
  })

  describe(`R1: ${name}: changes that a start refuses`, () => {
    const filled = (deployments: Deployments, fields: Fields = {}, options?: Options) => {
      const table = notes(fields, options)
      const app = deployments.start(table)
      const more = Object.fromEntries(Object.keys(fields).map((name) => [name, 1]))
      app.mutate(
        table.insertMany([
          { id: "a", text: "x", ...more },
          { id: "b", text: "x", ...more }
        ])
      )
    }

    test("ST21 a column that the model no longer has, unless its loss is allowed", (deployments) => {
      filled(deployments, { n: Schema.Int, m: Schema.Int }, { indexes: { byN: ["n"] } })
      expect(deployments.refusal(notes({ m: Schema.Int }))).toBe(
        "table notes, column n: is in the database (INTEGER) and not in the model, and dropping it would lose its values; " +
          'declare it again, or allow the loss with Table.make(…, { dropped: ["n"] })'
      )
      const next = notes({ m: Schema.Int }, { dropped: ["n"] })
      const app = deployments.start(next)
      expect(deployments.columns("notes")).toEqual({
        id: "TEXT NOT NULL",
        text: "TEXT NOT NULL",
        m: "INTEGER NOT NULL"
      })
      expect(app.query<Any, Any>(next.query().count)).toBe(2)
      deployments.start(next)
      const again = notes({ m: Schema.Int, n: Schema.optionalKey(Schema.String) }, { dropped: ["n"] })
      expect("n" in deployments.start(again).query<Any, Any>(again.get("a"))).toBe(false)
    })

    test("ST21 a field that cannot stand beside a field that is kept aside", (deployments) => {
      const n = Schema.optionalKey(Schema.Int)
      deployments.start(notes({ n }))
      deployments.start(notes())
      expect(deployments.refusal(notes({ N: n }))).toBe(
        "table notes, column N: has the name of column n, whose values are kept for another version of the app; " +
          'rename it, or allow the loss with Table.make(…, { dropped: ["n"] })'
      )
      deployments.start(notes({ N: n }, { dropped: ["n"] }))
      deployments.start(notes())
      const many = Object.fromEntries(Array.from({ length: 98 }, (_, i) => [`c${i}`, n]))
      expect(deployments.refusal(notes(many))).toBe(
        "table notes: has 101 columns with those that are kept for other versions of the app, and the limit columns is 100; " +
          'allow the loss of some with Table.make(…, { dropped: ["N"] })'
      )
    })

    test("ST21 a new column without a value for older rows", (deployments) => {
      filled(deployments)
      expect(deployments.refusal(notes({ n: Schema.Int }))).toBe(
        "table notes, column n: is new and required, and the rows that exist have no value for it; " +
          "make it optional, give it a constructor default, or fill it by a migration"
      )
      const failing = Schema.Int.pipe(Schema.withConstructorDefault(Effect.die("no")))
      expect(deployments.refusal(notes({ n: failing }))).toContain("is new and required")
      const endsText = Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("a\0b")))
      expect(deployments.refusal(notes({ n: endsText }))).toContain("is new and required")
      const tags = declare("tags", { id })
      const references = { tag: { table: () => tags } }
      const required = id.pipe(Schema.withConstructorDefault(Effect.succeed("t")))
      expect(deployments.refusal(notes({ tag: required }, { references }), tags)).toBe(
        "table notes, column tag: is new and required, and the rows that exist have no value for it; make it optional"
      )
    })

    test("ST21 another key, another type, a field that becomes required", (deployments) => {
      filled(deployments, { n: Schema.Int, o: Schema.optionalKey(Schema.Int) })
      const o = Schema.optionalKey(Schema.Int)
      expect(deployments.refusal(notes({ n: Schema.Int, o }, { key: "text" }))).toBe(
        "table notes: its key changed from id to text; use a new table"
      )
      expect(deployments.refusal(notes({ n: Schema.String, o }))).toBe(
        "table notes, column n: changed from integer to text; add a column of another name and copy the values"
      )
      expect(deployments.refusal(notes({ n: Schema.Struct({ a: Schema.Int }), o }))).toContain("from integer to json")
      expect(deployments.refusal(notes({ n: Schema.Int, o: Schema.Int }))).toBe(
        "table notes, column o: became required, and rows may have no value for it; " +
          "add a column of another name and copy the values"
      )
      expect(deployments.refusal(notes({ n: Schema.Int, o: Schema.Finite }))).toContain("changed from integer to real")
      const renamed = declare("notes", { id: Schema.Int, text: Schema.String, n: Schema.Int, o })
      expect(deployments.refusal(renamed)).toContain("column id: changed from text to integer")
    })

    test("ST21 a nested field that keeps null in another way", (deployments) => {
      const nested = Schema.Struct({ a: Schema.Int })
      const withField = (n: Any) => notes({ n })
      const write = (n: Any, ...values: ReadonlyArray<unknown>) => {
        const table = withField(n)
        const app = deployments.start(table)
        const rows = values.map((n, i) => (n === undefined ? { id: `${i}`, text: "x" } : { id: `${i}`, text: "x", n }))
        for (const row of rows) app.mutate(table.upsert(row))
        return table
      }
      const read = (n: Any) => {
        const table = withField(n)
        return deployments
          .start(table)
          .query<Any, Any>(table.query())
          .map((row: Any) => ("n" in row ? row.n : "missing"))
      }
      const kept =
        "table notes, column n: keeps null in another way than before, and rows with null would change; " +
        "add a column of another name and copy the values"
      const both = Schema.optionalKey(Schema.NullOr(nested))
      write(Schema.NullOr(nested), { a: 1 }, null)
      expect(deployments.refusal(withField(both))).toBe(kept)
      expect(read(Schema.NullOr(nested))).toEqual([{ a: 1 }, null])
      // NULL is both: what was null is missing, and the reverse.
      expect(read(Schema.optionalKey(nested))).toEqual([{ a: 1 }, "missing"])
      expect(read(Schema.optional(nested))).toEqual([{ a: 1 }, "missing"])
      expect(read(Schema.optionalKey(nested))).toEqual([{ a: 1 }, "missing"])
      write(both, { a: 1 }, null, undefined)
      expect(read(both)).toEqual([{ a: 1 }, null, "missing"])
      expect(deployments.refusal(withField(Schema.NullOr(nested)))).toBe(kept)
      expect(deployments.refusal(withField(Schema.optionalKey(nested)))).toBe(
        "table notes, column n: can no longer be null, and rows may be null; " +
          "add a column of another name and copy the values"
      )
      // A value of any kind can be null, too.
      expect(read(Schema.optionalKey(Schema.Unknown))).toEqual([{ a: 1 }, null, "missing"])
      expect(deployments.refusal(withField(Schema.optionalKey(nested)))).toContain("can no longer be null")
    })

    test("ST21 a database whose record does not say how null is kept", (deployments) => {
      const table = notes({ n: Schema.NullOr(Schema.Struct({})) })
      deployments.start(table).mutate(table.insert({ id: "a", text: "x", n: null }))
      deployments.database.all(`UPDATE _dormouse_schema SET tables = replace(tables, ',"nulls":"sql"', '')`, [])
      expect(deployments.start(table).query<Any, Any>(table.get("a")).n).toBe(null)
      const both = notes({ n: Schema.optionalKey(Schema.NullOr(Schema.Struct({}))) })
      expect(deployments.refusal(both)).toContain("keeps null in another way")
    })

    test("ST20, ST18 a field that accepts fewer values: rows that no longer fit are RowUnreadable", (deployments) => {
      const before = deployments.start(notes())
      before.mutate(
        notes().insertMany([
          { id: "a", text: "x" },
          { id: "b", text: "z" }
        ])
      )
      const next = notes({ text: Schema.Literals(["x", "y"]) })
      const app = deployments.start(next)
      expect(app.query<Any, Any>(next.get("a")).text).toBe("x")
      expect(app.queryReason(next.get("b"))).toMatchObject({ _tag: "RowUnreadable", table: "notes" })
    })

    test("ST21 a reference that changes, is removed or becomes optional", (deployments) => {
      const tags = declare("tags", { id })
      const marks = declare("marks", { id })
      const fields = { tag: id, mark: id }
      const refer = (tag: Table.Reference | undefined, more: Options = {}) => ({
        references: { ...(tag === undefined ? {} : { tag }), mark: { table: () => marks } },
        ...more
      })
      const first = notes(fields, refer({ table: () => tags }))
      const app = deployments.start(first, tags, marks)
      app.mutate<Any, Any>(Effect.andThen(tags.insert({ id: "t" }), marks.insert({ id: "m" })))
      app.mutate(first.insert({ id: "a", text: "x", tag: "t", mark: "m" }))
      const changed =
        "table notes, column tag: changed what it refers to; add a column of another name and copy the values"
      expect(deployments.refusal(notes(fields, refer({ table: () => marks })), tags, marks)).toBe(changed)
      expect(deployments.refusal(notes(fields, refer({ table: () => tags, onDelete: "cascade" })), tags, marks)).toBe(
        changed
      )
      expect(deployments.refusal(notes(fields, refer(undefined)), tags, marks)).toBe(changed)
      const optional = { ...fields, tag: Schema.optionalKey(id) }
      expect(deployments.refusal(notes(optional, refer({ table: () => tags })), tags, marks)).toBe(
        "table notes, column tag: became optional, and SQLite cannot change a reference; " +
          "add a column of another name and copy the values"
      )
      const gone = notes({ mark: id }, refer(undefined, { dropped: ["tag"] }))
      expect(deployments.refusal(gone, tags, marks)).toBe(
        "table notes, column tag: is a reference, and SQLite cannot drop those; keep it as an optional field"
      )
    })

    test("ST21 a unique index over rows with equal values", (deployments) => {
      filled(deployments, { n: Schema.Int })
      const unique = { indexes: { byText: { columns: ["text"], unique: true }, byN: ["n"] } }
      const next = notes({ n: Schema.Int, more: Schema.optionalKey(Schema.Int) }, unique)
      expect(deployments.refusal(next)).toBe(
        "table notes: index byText must be unique, and rows have equal values; make the rows differ first"
      )
      deployments.database.all("UPDATE notes SET text = id", [])
      deployments.start(next)
    })

    test("ST21 a table that a migration did not create", (deployments) => {
      deployments.database.all("CREATE TABLE notes (id)", [])
      expect(deployments.refusal(notes())).toMatch(/^table notes: SQLite refused CREATE TABLE "notes" .*already exists/)
    })

    for (const [kind, sql] of [
      ["view", "CREATE VIEW sums AS SELECT sum(n) AS n FROM notes"],
      ["trigger", "CREATE TRIGGER sums AFTER DELETE ON notes BEGIN DELETE FROM notes WHERE n = old.n; END"],
      ["generated column", "ALTER TABLE notes ADD COLUMN twice INTEGER AS (2 * n)"]
    ] as const) {
      test(`ST21 a ${kind} made by SQL that a change would break`, (deployments) => {
        filled(deployments, { n: Schema.Int })
        deployments.database.all(sql, [])
        const remedy =
          "; drop the view, trigger or generated column that uses it, by SQL in the version before, " +
          "and create it again after the change"
        for (const next of [notes({}, { dropped: ["n"] }), notes({ n: Schema.Finite })]) {
          const message = deployments.refusal(next)
          expect(message).toContain("table notes, column n: SQLite refused ALTER TABLE")
          expect(message.endsWith(remedy)).toBe(true)
        }
      })
    }

    test("ST21 a table or a column that SQL dropped", (deployments) => {
      const tags = declare("tags", { id })
      const first = notes({ n: Schema.optionalKey(Schema.Int) })
      const app = deployments.start(first, tags)
      app.mutate(first.insert({ id: "a", text: "x", n: 1 }))
      // The control: nothing is missing.
      deployments.start(first, tags)
      deployments.database.all("DROP TABLE tags", [])
      deployments.database.all("ALTER TABLE notes DROP COLUMN n", [])
      const missing = (where: string) =>
        `${where}: SQL dropped it with its values; ` +
        "declare the tables without it for one start, and it is then created empty when it is declared again"
      const message = [missing("table notes, column n"), missing("table tags")].join("\n")
      expect(deployments.refusal(first, tags)).toBe(message)
      expect(deployments.refusal(notes({ n: Schema.Finite }), tags)).toBe(message)
      deployments.start(notes())
      const again = deployments.start(first, tags)
      expect({ ...again.query<Any, Any>(first.get("a")) }).toEqual({ id: "a", text: "x" })
      expect(again.query<Any, Any>(tags.query().count)).toBe(0)
      deployments.statements.length = 0
      deployments.start(first, tags)
      expect(deployments.statements).toHaveLength(2)
    })

    test("ST20 views, even broken ones, and virtual tables made by SQL do not prevent a start", (deployments) => {
      const tags = declare("tags", { id })
      deployments.start(tags)
      deployments.database.all("CREATE VIEW broken AS SELECT missing FROM tags", [])
      deployments.database.all("CREATE VIRTUAL TABLE words USING fts5(text)", [])
      deployments.start(tags, notes())
    })

    test("ST20, ST21 an index that SQL dropped or changed is created again", (deployments) => {
      const table = notes({}, { indexes: { byText: { columns: ["text"], unique: true } } })
      deployments.start(table).mutate(table.insert({ id: "a", text: "x" }))
      for (const other of ["", 'CREATE INDEX "notes.byText" ON notes (text)']) {
        deployments.database.all(`DROP INDEX "notes.byText"; ${other}`, [])
        expect(deployments.start(table).reason(table.insert({ id: "b", text: "x" }))).toMatchObject({ index: "byText" })
      }
      deployments.database.all('DROP INDEX "notes.byText"', [])
      deployments.database.all("INSERT INTO notes VALUES ('b', 'x')", [])
      expect(deployments.refusal(table)).toBe(
        "table notes: index byText must be unique, and rows have equal values; make the rows differ first"
      )
      deployments.start(notes())
    })

    test("ST21 all problems are reported at once", (deployments) => {
      filled(deployments, { n: Schema.Int })
      const next = declare("notes", { id, text: Schema.Int, m: Schema.Int })
      expect(
        deployments
          .refusal(next)
          .split("\n")
          .map((line) => line.slice(0, 28))
      ).toEqual(["table notes, column n: is in", "table notes, column text: ch", "table notes, column m: is ne"])
    })

    test("ST21 a damaged record of the tables", (deployments) => {
      filled(deployments)
      deployments.database.all("UPDATE _dormouse_schema SET tables = '{'", [])
      expect(() => deployments.refusal(notes())).toThrow("the record of the database's tables is damaged")
    })
  })

  describe(`R1: ${name}: declarations that SQLite cannot implement`, () => {
    const tags = declare("tags", { id: Schema.Int })
    const cases: ReadonlyArray<readonly [title: string, tables: () => ReadonlyArray<Any>, message: string]> = [
      [
        "more columns than SQLite allows",
        () => [notes(Object.fromEntries(Array.from({ length: 99 }, (_, i) => [`c${i}`, Schema.Int])))],
        "table notes: has 101 columns, and the limit columns is 100; nest some fields"
      ],
      [
        "a key that may be missing",
        () => [declare("notes", { id: Schema.optionalKey(id) })],
        "table notes, column id: is the key and may be missing; make it a required field"
      ],
      [
        "a key without an order",
        () => [declare("notes", { id: Schema.Struct({ a: id }) })],
        "table notes, column id: is the key and needs an order, and nested values have none; use a plain field as key"
      ],
      [
        "a key that is not a field",
        () => [declare("notes", { id }, { key: "key" })],
        "table notes, column key: is the key and may be missing; make it a required field"
      ],
      [
        "a field without a value on insert",
        () => [notes({ n: Model.FieldOnly(["select", "json"])(Schema.Int) })],
        "table notes, column n: is not in the model's insert variant, and nothing else fills it in; " +
          "use Table.key, Table.insertedAt or Table.updatedAt, or let inserts give it"
      ],
      [
        "an index on a field that does not exist",
        () => [notes({}, { indexes: { byN: ["n"] } })],
        "table notes, column n: index byN names a column that does not exist; correct the index"
      ],
      [
        "an index on nested values",
        () => [notes({ n: Schema.Array(id) }, { indexes: { byN: ["text", "n"] } })],
        "table notes, column n: index byN needs an order, and nested values have none; index a plain field"
      ],
      [
        "an index on a field that may be both missing and null",
        () => [notes({ n: Schema.optionalKey(Schema.NullOr(Schema.Int)) }, { indexes: { byN: ["n"] } })],
        "table notes, column n: index byN needs an order, and nested values have none; index a plain field"
      ],
      [
        "a reference on a field that does not exist",
        () => [notes({}, { references: { tag: { table: () => tags } } }), tags],
        "table notes, column tag: index reference_tag names a column that does not exist; correct the index\n" +
          "table notes, column tag: is a reference and not a column; correct the reference"
      ],
      [
        "a reference to a table of another app",
        () => [notes({ tag: Schema.Int }, { references: { tag: { table: () => tags } } })],
        "table notes, column tag: refers to table tags, which is not one of the app's; add it to App.make({ tables })"
      ],
      [
        "a reference to a key of another type",
        () => [notes({ tag: id }, { references: { tag: { table: () => tags } } }), tags],
        "table notes, column tag: is text and refers to table tags, whose key is integer; give both the same type"
      ],
      [
        "a setNull reference that cannot be null",
        () => [notes({ tag: Schema.Int }, { references: { tag: { table: () => tags, onDelete: "setNull" } } }), tags],
        "table notes, column tag: is set to null on delete, and cannot be null; make the field optional or nullable"
      ],
      [
        "indexes of two tables with one name in SQLite",
        () => [
          declare("a.b", { id }, { indexes: { c: ["id"] } }),
          declare("a", { id, text: id }, { indexes: { "b.c": ["text"] } })
        ],
        "table a: index b.c has the name of another index in SQLite, a.b.c; rename one of them"
      ],
      [
        "two indexes whose names differ only in case",
        () => [notes({}, { indexes: { byX: ["text"], byx: ["id"] } })],
        "table notes: index byx has the name of another index in SQLite, notes.byX; rename one of them"
      ],
      [
        "an index with the name of a table",
        () => [notes({}, { indexes: { x: ["text"] } }), declare("Notes.x", { id })],
        "table notes: index x has the name of table Notes.x in SQLite; rename one of them"
      ],
      [
        "two tables whose names differ only in case",
        () => [notes(), declare("Notes", { id })],
        "table Notes: has the name of another table; rename one of them"
      ]
    ]
    for (const [title, tables, message] of cases) {
      test(`ST21 ${title}`, (deployments) => expect(deployments.refusal(...tables())).toBe(message))
    }

    it("ST21, ST25 names without a form in SQLite, and fields that every object has", () => {
      const half = "\ud800"
      expect(() => declare("", { id })).toThrow('the table name "" is empty')
      expect(() => declare(half, { id })).toThrow("is not well-formed")
      expect(() => declare("a\0b", { id })).toThrow("is not well-formed")
      expect(() => notes({ [half]: id })).toThrow("is not well-formed")
      expect(() => notes({ "": id })).toThrow('the field name "" is empty')
      expect(() => notes({}, { indexes: { [half]: ["text"] } })).toThrow("is not well-formed")
      for (const name of ["constructor", "toString", "hasOwnProperty"]) {
        expect(() => notes({ [name]: Schema.optionalKey(id) })).toThrow(
          `table notes: the field name ${name} is reserved: every object has such a property`
        )
      }
    })

    it("ST21 two fields of one name, an index without a name, an index with a name reserved for a reference", () => {
      expect(() => declare("notes", { id, ID: id })).toThrow(
        "table notes: column ID has the name of another column; SQLite ignores case"
      )
      expect(() => notes({}, { indexes: { "": ["text"] } })).toThrow("table notes: an index needs a name")
      const options = { indexes: { reference_tag: ["text"] }, references: { tag: { table: () => tags } } }
      expect(() => notes({ tag: Schema.Int }, options)).toThrow(
        "the index name reference_tag is reserved for a reference"
      )
    })
  })
}
