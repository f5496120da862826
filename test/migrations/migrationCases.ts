import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import { Migration } from "effect-dormouse/storage"
import { describe, expect, it } from "vitest"
import type { Database } from "../../src/services/Database.ts"
import {
  begin,
  columnsOf,
  declare,
  dump,
  indexesOf,
  planOf,
  refusal,
  start,
  type TableOptions,
  type WithDatabase
} from "./versions.ts"

/** Renames, migrations of rows, drops and plans, over each layer of the database. */

type Any = any
const id = Schema.String
const text = Schema.String
const int = Schema.Int

const people = (fields: Record<string, Any> = {}, options: TableOptions = {}) =>
  declare("people", { id, ...fields }, options)

const statementsOf = (database: Database["Service"], version: Parameters<typeof planOf>[1]) =>
  planOf(database, version).statements.map(({ sql }) => sql)

export const suite = (name: string, run: WithDatabase): void => {
  const test = (title: string, body: (database: Database["Service"]) => Promise<void>) => it(title, () => run(body))

  describe(`R1: ${name}: renames`, () => {
    const earlier = () => people({ name: text, n: int }, { indexes: { byName: ["name", "n"] } })
    const later = (options: TableOptions = {}) =>
      people(
        { title: text, n: int },
        { indexes: { byName: ["title", "n"] }, renamedFrom: { columns: { title: "name" } }, ...options }
      )

    test("MG1 a column keeps its values and indexes, by one statement", async (database) => {
      const old = await start(database, { tables: [earlier()] })
      old.write(
        earlier().insertMany([
          { id: "a", name: "Ada", n: 1 },
          { id: "b", name: "Bob", n: 2 }
        ])
      )
      const next = { tables: [later()] }
      expect(statementsOf(database, next)).toEqual(['ALTER TABLE "people" RENAME COLUMN "name" TO "title"'])
      expect(planOf(database, next).renames).toEqual([{ table: "people", kind: "column", from: "name", to: "title" }])
      const started = await start(database, next)
      expect(started.rows(later())).toEqual([
        { id: "a", title: "Ada", n: 1 },
        { id: "b", title: "Bob", n: 2 }
      ])
      expect(indexesOf(database)).toEqual(["people.byName"])
      expect(planOf(database, next).isCurrent).toBe(true)
      const done = dump(database)
      await start(database, next)
      expect(dump(database)).toBe(done)
    })

    test("MG1 versions before and after a rename start in turns, and none loses a value", async (database) => {
      const old = { tables: [earlier()] }
      const next = { tables: [later()] }
      for (let i = 0; i < 3; i++) {
        const first = await start(database, old)
        first.write(earlier().insert({ id: `old ${i}`, name: "o", n: i }))
        const second = await start(database, next)
        second.write(later().insert({ id: `new ${i}`, title: "n", n: i }))
        expect(second.rows(later())).toHaveLength(2 * (i + 1))
      }
      expect((await start(database, old)).rows(earlier()).map(({ name }) => name)).toEqual([
        "n",
        "n",
        "n",
        "o",
        "o",
        "o"
      ])
      expect(columnsOf(database, "people")).toEqual(["id", "name", "n"])
    })

    test("MG1 a tenant that has slept over several names", async (database) => {
      const old = await start(database, { tables: [earlier()] })
      old.write(earlier().insert({ id: "a", name: "Ada", n: 1 }))
      const latest = people({ label: text, n: int }, { renamedFrom: { columns: { label: ["title", "name"] } } })
      expect((await start(database, { tables: [latest] })).rows(latest)).toEqual([{ id: "a", label: "Ada", n: 1 }])
    })

    test("MG1 the key and a reference, and what refers to a table", async (database) => {
      const owners = declare("owners", { id })
      const pets = declare(
        "pets",
        { id, owner: Schema.optionalKey(id) },
        { references: { owner: { table: () => owners, onDelete: "cascade" } } }
      )
      const old = await start(database, { tables: [owners, pets] })
      old.write(Effect.andThen(owners.insert({ id: "o" }), pets.insert({ id: "p", owner: "o" })) as Any)
      const keepers = declare(
        "keepers",
        { key: id },
        { key: "key", renamedFrom: { table: "owners", columns: { key: "id" } } }
      )
      const animals = declare(
        "animals",
        { id, keeper: Schema.optionalKey(id) },
        {
          references: { keeper: { table: () => keepers, onDelete: "cascade" } },
          renamedFrom: { table: "pets", columns: { keeper: "owner" } }
        }
      )
      const next = await start(database, { tables: [keepers, animals] })
      expect(next.rows(animals)).toEqual([{ id: "p", keeper: "o" }])
      expect(() => next.write(animals.insert({ id: "q", keeper: "nobody" }))).toThrow()
      next.write(keepers.delete("o"))
      expect(next.rows(animals)).toEqual([])
      expect(indexesOf(database)).toEqual(["animals.reference_keeper"])
      const back = await start(database, { tables: [owners, pets] })
      back.write(Effect.andThen(owners.insert({ id: "o" }), pets.insert({ id: "p", owner: "o" })) as Any)
      expect(indexesOf(database)).toEqual(["pets.reference_owner"])
    })

    test("MG1 a column becomes wider in the same start as it gets another name", async (database) => {
      const old = await start(database, { tables: [earlier()] })
      old.write(earlier().insert({ id: "a", name: "Ada", n: 1 }))
      const next = people(
        { title: Schema.optionalKey(text), m: Schema.Finite },
        { renamedFrom: { columns: { title: "name", m: "n" } } }
      )
      expect((await start(database, { tables: [next] })).rows(next)).toEqual([{ id: "a", title: "Ada", m: 1 }])
    })

    test("MG1 where both names exist, the one without values gives way, and two with values are refused", async (database) => {
      const both = people({ name: Schema.optionalKey(text), title: Schema.optionalKey(text) })
      const next = people({ title: Schema.optionalKey(text) }, { renamedFrom: { columns: { title: "name" } } })
      const old = await start(database, { tables: [both] })
      old.write(both.insert({ id: "a", name: "Ada" }))
      old.write(both.insert({ id: "b", title: "Bob" }))
      expect(refusal(database, { tables: [next] })).toBe(
        "table people, column title: is in the database, and so is name, which it is renamed from; " +
          'copy the values, and allow the loss of name with Table.make(…, { dropped: ["name"] })'
      )
      old.write(both.patch("b", { title: undefined }))
      const started = await start(database, { tables: [next] })
      expect(started.rows(next)).toEqual([{ id: "a", title: "Ada" }, { id: "b" }])
      expect(columnsOf(database, "people")).toEqual(["id", "title"].sort())
    })

    test("MG1 the same for tables", async (database) => {
      const [cats, dogs] = [declare("cats", { id }), declare("dogs", { id })]
      const pets = declare("pets", { id }, { renamedFrom: { table: ["cats", "dogs"] } })
      const old = await start(database, { tables: [cats, dogs] })
      old.write(cats.insert({ id: "c" }))
      old.write(dogs.insert({ id: "d" }))
      expect(refusal(database, { tables: [pets] })).toBe(
        "table pets: may be each of the tables cats, dogs, which have rows; " +
          'copy the rows of all but one, and drop those with App.make({ droppedTables: ["…"] })'
      )
      old.write(cats.delete("c"))
      expect((await start(database, { tables: [pets] })).rows(pets)).toEqual([{ id: "d" }])
    })

    test("MG1 a table that was created empty gives way to the one with the earlier name", async (database) => {
      const cats = declare("cats", { id })
      const old = await start(database, { tables: [cats] })
      old.write(cats.insert({ id: "c" }))
      await start(database, { tables: [declare("pets", { id })] })
      const pets = declare("pets", { id }, { renamedFrom: { table: "cats" } })
      expect((await start(database, { tables: [pets] })).rows(pets)).toEqual([{ id: "c" }])
    })

    test("MG1 a name in use by raw SQL is refused", async (database) => {
      const old = await start(database, { tables: [earlier()] })
      old.write(earlier().insert({ id: "a", name: "Ada", n: 1 }))
      database.all("ALTER TABLE people ADD COLUMN title TEXT", [])
      expect(refusal(database, { tables: [later()] })).toContain("SQLite refused ALTER TABLE")
    })

    it("MG1 declarations that contradict themselves throw", () => {
      const renamed = (columns: Record<string, string | ReadonlyArray<string>>) =>
        people({ a: text, b: text }, { renamedFrom: { columns } })
      expect(() => renamed({ a: "b" })).toThrow("a is renamed from b, which is also the name of b")
      expect(() => renamed({ a: "A" })).toThrow("a is renamed from A, which is also the name of a")
      expect(() => renamed({ a: "x", b: "X" })).toThrow("b is renamed from X, which is also the name of x")
      expect(() => renamed({ c: "x" })).toThrow("renamedFrom names c, which is no field")
      expect(() => people({}, { renamedFrom: { table: "People" } })).toThrow("it is renamed from its own name")
    })
  })

  describe(`R1: ${name}: migrations of rows`, () => {
    const old = () => people({ name: text, born: text }, { indexes: { byBorn: ["born"] } })
    const next = () =>
      people(
        { first: text, last: text, born: int },
        { dropped: ["name"], indexes: { byBorn: ["born"], byLast: { columns: ["last", "first"], unique: true } } }
      )
    const split = (table: Any, rowsPerStep = 2) =>
      Migration.make("split", {
        table,
        from: { name: text, born: text },
        fills: ["first", "last", "born"] as never,
        rowsPerStep,
        row: ({ born, name }: Any): Any =>
          Effect.sync(() => {
            const [first, last] = name.split(" ")
            return { first, last, born: Number(born) }
          })
      } as Any)
    const rows = [
      { id: "a", name: "Ada Lovelace", born: "1815" },
      { id: "b", name: "Alan Turing", born: "1912" },
      { id: "c", name: "Grace Hopper", born: "1906" }
    ]
    const filled = [
      { id: "a", first: "Ada", last: "Lovelace", born: 1815 },
      { id: "b", first: "Alan", last: "Turing", born: 1912 },
      { id: "c", first: "Grace", last: "Hopper", born: 1906 }
    ]

    test("MG2 values of another type and of several columns are computed, once for each row", async (database) => {
      const earlier = await start(database, { tables: [old()] })
      earlier.write(old().insertMany(rows))
      const table = next()
      const version = { tables: [table], migrations: [split(table)] }
      const plan = planOf(database, version)
      expect(plan.migrations).toEqual([{ id: "split", table: "people", isConcurrent: false, rows: 3, failure: null }])
      const started = begin(database, version)
      expect(started.opened.migrations.progress).toEqual({
        state: "running",
        isBlocking: true,
        detail: "split (1 of 1), 0 of 3 rows"
      })
      expect(started.opened.migrations.step()).toBe(2)
      expect(started.opened.migrations.progress.detail).toBe("split (1 of 1), 2 of 3 rows")
      expect(planOf(database, version).migrations).toMatchObject([{ rows: 1 }])
      expect(started.opened.migrations.step()).toBe(1)
      expect(started.opened.migrations.progress).toEqual({ state: "done", isBlocking: false, detail: "" })
      expect(started.rows(table)).toEqual(filled)
      expect(columnsOf(database, "people").toSorted()).toEqual(["born", "first", "id", "last"])
      expect(indexesOf(database)).toEqual(["people.byBorn", "people.byLast"])
      expect(planOf(database, version).isCurrent).toBe(true)
      started.write(table.insert({ id: "d", first: "Edsger", last: "Dijkstra", born: 1930 }))
      const done = dump(database)
      await start(database, version)
      expect(dump(database)).toBe(done)
      // When all tenants have run it, it can be left out.
      await start(database, { tables: [table] })
    })

    test("MG2 a new tenant, and a new table, have nothing to migrate", async (database) => {
      const table = next()
      const started = await start(database, { tables: [table], migrations: [split(table)] })
      expect(started.opened.migrations.progress.state).toBe("done")
      started.write(table.insert(filled[0]!))
      const again = await start(database, { tables: [table], migrations: [split(table)] })
      expect(again.rows(table)).toEqual([filled[0]])
    })

    test("MG2 a migration reads and writes other tables, in the order of the list", async (database) => {
      const earlier = await start(database, { tables: [old()] })
      earlier.write(old().insertMany(rows))
      const names = declare("names", { id, count: int })
      const count = (step: string, by: number) =>
        Migration.make(step, {
          table: old(),
          from: { name: text },
          rowsPerStep: 1,
          row: ({ name }: Any): Any =>
            Effect.gen(function* () {
              const sql = yield* SqlClient.SqlClient
              yield* sql`UPDATE names SET count = count * 10`
              const known: Any = yield* Effect.option(names.get(name))
              const before = Option.isSome(known) ? (known.value as Any).count : 0
              yield* names.upsert({ id: name, count: before + by })
            })
        } as Any)
      const people = old()
      const migrations = [count("one", 1), count("two", 2)].map((migration) => ({ ...migration, table: people }))
      const started = await start(database, { tables: [people, names], migrations })
      expect(started.rows(names).map(({ count }) => count)).toEqual([100_200, 10_020, 1002].toSorted((a, b) => b - a))
    })

    test("MG2 a second migration of the same column begins with what the first has computed", async (database) => {
      const earlier = await start(database, { tables: [old()] })
      earlier.write(old().insertMany(rows))
      const table = people({ name: text, born: int })
      const step = (id: string, from: Any, row: Any) =>
        Migration.make(id, { table, from, fills: ["born"], rowsPerStep: 2, row } as Any)
      const migrations = [
        step("number", { born: text }, ({ born }: Any) => Effect.succeed({ born: Number(born) })),
        step("century", { born: int }, ({ born }: Any) => Effect.succeed({ born: Math.floor(born / 100) }))
      ]
      const started = await start(database, { tables: [table], migrations })
      expect(started.rows(table).map(({ born }) => born)).toEqual([18, 19, 19])
    })

    test("MG5 a row that fails stops the migration, with its old values; a corrected one goes on", async (database) => {
      const earlier = await start(database, { tables: [old()] })
      earlier.write(old().insertMany([...rows, { id: "d", name: "Plato", born: "-427" }]))
      const table = next()
      const failing = { tables: [table], migrations: [split(table)] }
      await expect(start(database, failing)).rejects.toThrow(/^table people: migration split failed: row "d": /)
      expect(planOf(database, failing).migrations).toMatchObject([
        { rows: 2, failure: expect.stringContaining('row "d"') }
      ])
      const names = database.all('SELECT name, "born (before)" FROM people ORDER BY id', []).rows
      expect(names).toEqual([...rows, { name: "Plato", born: "-427" }].map(({ born, name }) => [name, born]))
      const careful = {
        ...split(table),
        row: ({ born, name }: Any): Any => {
          const [first, last = ""] = name.split(" ")
          return Effect.succeed({ first, last, born: Number(born) })
        }
      }
      const started = await start(database, { tables: [table], migrations: [careful] })
      expect(started.rows(table)).toEqual([...filled, { id: "d", first: "Plato", last: "", born: -427 }])
    })

    test("MG5 a unique index that the new values break stops it before the old ones are dropped", async (database) => {
      const earlier = await start(database, { tables: [old()] })
      earlier.write(old().insertMany([...rows, { ...rows[0]!, id: "z" }]))
      const table = next()
      await expect(start(database, { tables: [table], migrations: [split(table)] })).rejects.toThrow(
        "index byLast must be unique, and rows have equal values"
      )
      expect(columnsOf(database, "people")).toContain("born (before)")
    })

    test("MG5 a version without the migration finds its columns as they were, also in the middle", async (database) => {
      const earlier = await start(database, { tables: [old()] })
      earlier.write(old().insertMany(rows))
      const before = dump(database)
      const table = next()
      const version = { tables: [table], migrations: [split(table)] }
      begin(database, version).opened.migrations.step()
      const back = await start(database, { tables: [old()] })
      expect(back.rows(old())).toEqual(rows)
      expect(indexesOf(database)).toEqual(["people.byBorn"])
      back.write(old().insert({ id: "0", name: "Emmy Noether", born: "1882" }))
      back.write(old().delete("0"))
      const started = await start(database, version)
      expect(started.rows(table)).toEqual(filled)
      expect(dump(database)).not.toBe(before)
      // After its end, the earlier version cannot read what is there.
      expect(refusal(database, { tables: [old()] })).toContain("changed from integer to text")
    })

    test("MG5 a version without the migration finds values as they were, also of a field that keeps its type", async (database) => {
      const first = await start(database, { tables: [old()] })
      first.write(old().insertMany(rows))
      const table = old()
      const shout = Migration.make("shout", {
        table,
        from: { name: text },
        fills: ["name"],
        rowsPerStep: 2,
        row: ({ name }: Any): Any => Effect.succeed({ name: `${name}!` })
      } as Any)
      const version = { tables: [table], migrations: [shout] }
      begin(database, version).opened.migrations.step()
      expect((await start(database, { tables: [old()] })).rows(old())).toEqual(rows)
      const names = (await start(database, version)).rows(table).map(({ name }) => name)
      expect(names).toEqual(rows.map(({ name }) => `${name}!`))
    })

    test("MG5 a migration whose target changes in the middle begins again", async (database) => {
      const earlier = await start(database, { tables: [old()] })
      earlier.write(old().insertMany(rows))
      const first = next()
      begin(database, { tables: [first], migrations: [split(first)] }).opened.migrations.step()
      const table = people({ first: text, last: text, born: Schema.BigInt }, { dropped: ["name"] })
      const other = {
        ...split(table),
        row: ({ born, name }: Any): Any => {
          const [first, last] = name.split(" ")
          return Effect.succeed({ first, last, born: BigInt(born) })
        }
      }
      const started = await start(database, { tables: [table], migrations: [other] })
      expect(started.rows(table).map(({ born }) => born)).toEqual([1815n, 1912n, 1906n])
    })

    test("MG4 a concurrent migration fills what rows can lack, beside writes of the app", async (database) => {
      const table = people({ name: text, length: Schema.optionalKey(int) })
      const earlier = await start(database, { tables: [people({ name: text })] })
      earlier.write(people({ name: text }).insertMany(rows.map(({ id, name }) => ({ id, name }))))
      const measure = Migration.make("measure", {
        table,
        from: { name: text, length: Schema.optionalKey(int) },
        fills: ["length"],
        concurrent: true,
        rowsPerStep: 1,
        row: ({ length, name }: Any): Any => Effect.succeed({ length: length ?? name.length })
      } as Any)
      const started = begin(database, { tables: [table], migrations: [measure] })
      expect(started.opened.migrations.progress).toMatchObject({ state: "running", isBlocking: false })
      started.opened.migrations.step()
      started.write(table.patch("c", { length: 99 }))
      started.write(table.insert({ id: "d", name: "Plato" }))
      while (started.opened.migrations.isRunning) started.opened.migrations.step()
      expect(started.rows(table).map(({ length }) => length)).toEqual([12, 11, 99, 5])
    })

    test("MG6 what a migration reads is not dropped before it has ended", async (database) => {
      const extra = declare("extra", { id, n: int })
      const earlier = await start(database, { tables: [old(), extra] })
      earlier.write(old().insertMany(rows))
      earlier.write(extra.insert({ id: "a", n: 7 }))
      const table = people({ name: text, born: text, n: int })
      const copy = Migration.make("copy", {
        table,
        from: {},
        fills: ["n"],
        rowsPerStep: 1,
        row: (_: unknown, key: string): Any =>
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            const [row] = yield* sql<{ n: number }>`SELECT n FROM extra WHERE id = ${key}`
            return { n: row?.n ?? 0 }
          })
      } as Any)
      const version = { tables: [table], migrations: [copy], droppedTables: ["extra"] }
      const started = await start(database, version)
      expect(started.rows(table).map(({ n }) => n)).toEqual([7, 0, 0])
      expect(database.all("SELECT name FROM sqlite_master WHERE name = 'extra'", []).rows).toEqual([])
    })

    const refusals: ReadonlyArray<readonly [string, () => Parameters<typeof refusal>[1], string]> = [
      [
        "a new required field that no migration fills",
        () => ({ tables: [people({ name: text, born: text, age: int })] }),
        "is new and required, and the rows that exist have no value for it; " +
          "make it optional, give it a constructor default, or fill it by a migration"
      ],
      [
        "a column that a migration reads as another type",
        () => {
          const table = people({ name: text, born: int })
          const migration = Migration.make("m", {
            table,
            from: { born: int },
            fills: ["born"],
            row: (old: Any): Any => Effect.succeed(old)
          } as Any)
          return { tables: [table], migrations: [migration] }
        },
        "table people, column born: migration m reads it as integer, and it is text; correct the migration's from"
      ],
      [
        "a column that a migration reads and that is not there",
        () => {
          const table = people({ name: text, born: text })
          const migration = Migration.make("m", { table, from: { age: int }, row: (): Any => Effect.void } as Any)
          return { tables: [table], migrations: [migration] }
        },
        "table people, column age: migration m reads it, and the database does not have it"
      ],
      [
        "a required column that is only read, and whose loss is not allowed",
        () => {
          const table = people({ first: text, born: text })
          const migration = Migration.make("m", {
            table,
            from: { name: text },
            fills: ["first"],
            row: ({ name }: Any): Any => Effect.succeed({ first: name })
          } as Any)
          return { tables: [table], migrations: [migration] }
        },
        'allow the loss with Table.make(…, { dropped: ["name"] })'
      ],
      [
        "a required column that a concurrent migration reads while rows are inserted without it",
        () => {
          const table = people({ first: Schema.optionalKey(text), born: text }, { dropped: ["name"] })
          const migration = Migration.make("m", {
            table,
            from: { name: text },
            fills: ["first"],
            concurrent: true,
            row: ({ name }: Any): Any => Effect.succeed({ first: name })
          } as Any)
          return { tables: [table], migrations: [migration] }
        },
        "is required, and rows cannot be inserted without it while a migration reads it"
      ],
      [
        "a required column that a concurrent migration fills",
        () => {
          const table = people({ name: text, born: text, first: text })
          const migration = Migration.make("m", {
            table,
            from: { name: text },
            fills: ["first"],
            concurrent: true,
            row: (): Any => Effect.void
          } as Any)
          return { tables: [table], migrations: [migration] }
        },
        "is new and required"
      ]
    ]
    for (const [title, version, message] of refusals) {
      test(`MG5 ${title} is refused`, async (database) => {
        const earlier = await start(database, { tables: [old()] })
        earlier.write(old().insertMany(rows))
        expect(refusal(database, version())).toContain(message)
      })
    }

    it("MG2 declarations that contradict themselves throw", () => {
      const table = people({ name: text })
      const make = (options: Any) => Migration.make("m", { table, from: {}, row: () => Effect.void, ...options })
      expect(() => make({ fills: ["age"] })).toThrow("migration m: it fills age, which is no field of table people")
      expect(() => make({ fills: ["id"] })).toThrow("migration m: it fills id, which is the key of table people")
      expect(() => make({ from: { id: text } })).toThrow("leave it out of from")
      expect(() => make({ rowsPerStep: 0 })).toThrow("rowsPerStep must be a whole number from 1")
      expect(() => Migration.make("", { table, from: {}, row: () => Effect.void } as Any)).toThrow(
        "its name must be text"
      )
    })
  })

  describe(`R1: ${name}: tables that are dropped`, () => {
    const parents = declare("parents", { id })
    const children = declare("children", { id, parent: id }, { references: { parent: { table: () => parents } } })

    test("MG6 a table is dropped only when the app says so, with what refers to it", async (database) => {
      const earlier = await start(database, { tables: [parents, children, people()] })
      earlier.write(Effect.andThen(parents.insert({ id: "p" }), children.insert({ id: "c", parent: "p" })) as Any)
      await start(database, { tables: [people()] })
      expect(indexesOf(database)).toEqual(["children.reference_parent"])
      expect(refusal(database, { tables: [people()], droppedTables: ["parents"] })).toBe(
        "table parents: is to be dropped, and column parent of table children refers to it; " +
          "keep it, or drop table children too"
      )
      const version = { tables: [people()], droppedTables: ["parents", "children", "unknown"] }
      expect(statementsOf(database, version)).toEqual(['DROP TABLE "children"', 'DROP TABLE "parents"'])
      await start(database, version)
      expect(
        database.all(
          "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 1) <> '_' AND name NOT LIKE 'sqlite%'",
          []
        ).rows
      ).toEqual([["people"]])
      expect(planOf(database, version).isCurrent).toBe(true)
      const again = await start(database, { tables: [people(), parents, children] })
      expect(again.rows(children)).toEqual([])
    })

    test("MG6 a table that refers to itself, by restrict", async (database) => {
      const nodes: Any = declare(
        "nodes",
        { id, up: Schema.optionalKey(id) },
        { references: { up: { table: () => nodes } } }
      )
      const earlier = await start(database, { tables: [nodes, people()] })
      earlier.write(Effect.andThen(nodes.insert({ id: "a" }), nodes.insert({ id: "b", up: "a" })) as Any)
      await start(database, { tables: [people()], droppedTables: ["nodes"] })
      expect(database.all("SELECT name FROM sqlite_master WHERE name = 'nodes'", []).rows).toEqual([])
    })
  })

  describe(`R1: ${name}: plans`, () => {
    test("MG7 a plan of an empty database, of one that is current, and of one with problems changes nothing", async (database) => {
      const table = people({ name: text }, { indexes: { byName: { columns: ["name"], unique: true } } })
      const empty = dump(database)
      const first = planOf(database, { tables: [table] })
      expect(first).toMatchObject({ isCurrent: false, problems: [], renames: [], migrations: [] })
      expect(first.statements.map(({ sql }) => sql.slice(0, 14))).toEqual(['CREATE TABLE "', "CREATE UNIQUE "])
      expect(dump(database)).toBe(empty)
      const plain = people({ name: text })
      const started = await start(database, { tables: [plain] })
      started.write(
        plain.insertMany([
          { id: "a", name: "x" },
          { id: "b", name: "x" }
        ])
      )
      expect(refusal(database, { tables: [table] })).toContain(
        "index byName must be unique, and rows have equal values"
      )
      const invalid = people({ tags: Schema.Array(text) }, { indexes: { byTags: ["tags"] } })
      expect(planOf(database, { tables: [invalid] }).problems).toMatchObject([{ table: "people", column: "tags" }])
    })

    test("MG6, MG7 tables are planned and changed while statements are open whose rows were not all read", async (database) => {
      const plain = people({ name: text }, { indexes: { byName: ["name"] } })
      const started = await start(database, { tables: [plain] })
      started.write(plain.insertMany(["a", "b", "c"].map((id) => ({ id, name: id }))))
      const next = { tables: [people({}, { dropped: ["name"] })] }
      for (let i = 0; i < 3; i++) {
        const rows = database.iterate('SELECT * FROM "people" ORDER BY "name"', [])
        expect(rows.next().value).toEqual(["a", "a"])
        rows.return?.()
        expect(database.all('SELECT "id" FROM "people"', [], 2).rows).toEqual([["a"], ["b"]])
        expect(planOf(database, next).statements.map(({ sql }) => sql)).toEqual([
          'DROP INDEX "people.byName"',
          'ALTER TABLE "people" DROP COLUMN "name"'
        ])
      }
      database.all('SELECT "id" FROM "people"', [], 1)
      expect((await start(database, next)).rows(people({}))).toEqual([{ id: "a" }, { id: "b" }, { id: "c" }])
    })

    test("MG7 a plan does not depend on which of the open statements the garbage collector took", async (database) => {
      const plain = people({ name: text }, { indexes: { byName: ["name"] } })
      const started = await start(database, { tables: [plain] })
      started.write(plain.insertMany(["a", "b", "c"].map((id) => ({ id, name: id }))))
      const { gc } = globalThis as { readonly gc?: () => void }
      // Without it this test shows nothing.
      if ("WebSocketPair" in globalThis) expect(gc).toBeTypeOf("function")
      for (let collections = 0; collections < 4; collections++) {
        for (let i = 0; i < 3; i++) {
          const rows = database.iterate('SELECT * FROM "people" ORDER BY "name"', [])
          rows.next()
          rows.return?.()
          database.all('SELECT "id" FROM "people" ORDER BY "name"', [], 2)
        }
        for (let i = 0; i < collections; i++) {
          // What this turn has seen is kept until its end.
          await new Promise((resolve) => setTimeout(resolve))
          gc?.()
        }
        expect(planOf(database, { tables: [people({}, { dropped: ["name"] })] }).problems).toEqual([])
      }
    })
  })
}
