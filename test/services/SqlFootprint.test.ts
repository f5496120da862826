import { DatabaseSync, type StatementSync } from "node:sqlite"
import { describe, expect, it } from "@effect/vitest"
import * as SqlFootprint from "../../src/services/storage/SqlFootprint.ts"
import { forAll, type Random, Violation } from "../random.ts"
import { type Host, sorted, suite } from "./sqlFootprintCases.ts"

const open = (...setup: ReadonlyArray<string>) => {
  const database = new DatabaseSync(":memory:")
  for (const sql of setup) database.exec(sql)
  const statements = new Map<string, StatementSync>()
  const prepared = (sql: string) => {
    const statement = statements.get(sql) ?? database.prepare(sql)
    statements.set(sql, statement)
    return statement
  }
  const host: Host = {
    query: (sql, params) =>
      prepared(sql)
        .all(...params)
        .map((row) => ({ ...row })),
    transaction: (body) => {
      database.exec("BEGIN")
      try {
        body()
        database.exec("COMMIT")
      } catch (error) {
        database.exec("ROLLBACK")
        throw error
      }
    }
  }
  return { ...host, database, [Symbol.dispose]: () => database.close() }
}

suite("SqlFootprint in Node's SQLite", (body) => {
  using host = open()
  body(host)
})

describe("the cache of SqlFootprint", () => {
  const counted = (host: Host) => {
    const queries: Array<string> = []
    const { footprint, invalidate, invalidateIfSchemaChanged } = SqlFootprint.make({
      query: (sql, params) => {
        queries.push(sql)
        return host.query(sql, params)
      }
    })
    return { footprint, invalidate, invalidateIfSchemaChanged, queries }
  }

  it("keeps footprints", () => {
    using host = open("CREATE TABLE note (id)")
    const { footprint, invalidate, invalidateIfSchemaChanged, queries } = counted(host)
    const first = footprint("SELECT * FROM note", 0)
    const { length } = queries
    invalidateIfSchemaChanged()
    expect(footprint("SELECT * FROM note", 0)).toBe(first)
    expect(queries.length).toBe(length)
    invalidate()
    expect(footprint("SELECT * FROM note", 0)).toEqual(first)
    expect(queries.length).toBe(2 * length)
  })

  it("keeps the schema across statements", () => {
    using host = open("CREATE TABLE note (id)")
    const { footprint, queries } = counted(host)
    footprint("SELECT * FROM note", 0)
    const { length } = queries
    footprint("SELECT id FROM note", 0)
    expect(queries.slice(length).map((sql) => sql.replace(/\d+/, "n"))).toEqual(["EXPLAIN /*n*/ SELECT id FROM note"])
  })

  it("keeps nothing between a change of the schema and the end of its transaction", () => {
    using host = open("CREATE TABLE note (id)")
    const { footprint, invalidateIfSchemaChanged, queries } = counted(host)
    footprint("SELECT * FROM note", 0)
    footprint("DROP TABLE note", 0)
    const texts = () => {
      queries.length = 0
      footprint("SELECT * FROM note", 0)
      return queries.filter((sql) => sql.startsWith("EXPLAIN"))
    }
    expect(texts()).not.toEqual(texts())
    invalidateIfSchemaChanged()
    texts()
    expect(texts()).toEqual([])
  })

  it("does not keep the footprint of a refused statement", () => {
    using host = open()
    const { footprint } = counted(host)
    expect(footprint("SELECT * FROM note", 0).reads).toBe("everything")
    host.query("CREATE TABLE note (id)", [])
    expect(sorted(footprint("SELECT * FROM note", 0).reads)).toEqual(["note"])
  })

  it("keeps the 500 statements and million characters that were used last", () => {
    using host = open("CREATE TABLE note (id)")
    const { footprint, queries } = counted(host)
    const isKept = (sql: string) => {
      const { length } = queries
      footprint(sql, 0)
      return queries.length === length
    }
    for (let i = 0; i < 500; i++) footprint(`SELECT ${i}`, 0)
    expect(isKept("SELECT 0")).toBe(true)
    footprint("SELECT 500", 0)
    expect(isKept("SELECT 0")).toBe(true)
    expect(isKept("SELECT 1")).toBe(false)
    footprint(`SELECT '${"x".repeat(999_980)}'`, 0)
    expect(isKept("SELECT 0")).toBe(false)
    expect(isKept(`SELECT '${"x".repeat(1_000_000)}'`)).toBe(false)
    expect(isKept(`SELECT '${"x".repeat(1_000_000)}'`)).toBe(false)
  })
})

describe("SqlFootprint returns everything if", () => {
  const everything = {
    reads: "everything",
    writes: "everything",
    sideWrites: "everything",
    readOnly: false,
    readsClock: true
  }
  const withRows =
    (change: (row: Record<string, unknown>, sql: string) => Record<string, unknown>) => (sql: string) => {
      using host = open("CREATE TABLE note (id)", "CREATE VIRTUAL TABLE search USING fts5 (text)")
      return SqlFootprint.make({
        query: (sql, params) => host.query(sql, params).map((row) => change(row, sql))
      }).footprint(sql, 0)
    }

  it("the source fails", () => {
    const { footprint } = SqlFootprint.make({
      query: () => {
        throw new Error("no")
      }
    })
    expect(footprint("SELECT 1", 0)).toEqual(everything)
  })

  it("the rows are not bytecode", () => {
    expect(withRows((row) => ({ ...row, p2: "2" }))("SELECT * FROM note")).toEqual(everything)
    expect(withRows(({ opcode: _, ...row }) => row)("SELECT * FROM note")).toEqual(everything)
  })

  it("an opcode is unknown", () => {
    const renamed = withRows((row) => (row["opcode"] === "Rewind" ? { ...row, opcode: "RewindAndRemember" } : row))
    expect(renamed("SELECT * FROM note")).toEqual(everything)
  })

  it("a table is not listed", () => {
    const hidden = withRows((row) => (row["name"] === "note" ? { ...row, rootpage: 0 } : row))
    expect(hidden("SELECT * FROM note")).toEqual(everything)
  })

  it("a root page is chosen while the statement runs", () => {
    const inRegister = withRows((row) => (/^Open/.test(String(row["opcode"])) ? { ...row, p5: 0x10 } : row))
    expect(inRegister("INSERT INTO note VALUES (1)")).toEqual(everything)
  })

  it("a function is defined by the host", () => {
    using host = open()
    host.database.function("notes", () => 1)
    expect(SqlFootprint.make(host).footprint("SELECT notes()", 0)).toEqual(everything)
  })

  it("a table is temporary or attached", () => {
    using host = open("CREATE TEMP TABLE note (id)", "ATTACH ':memory:' AS other", "CREATE TABLE other.log (id)")
    const { footprint } = SqlFootprint.make(host)
    for (const table of ["note", "log"]) {
      expect(footprint(`SELECT * FROM ${table}`, 0)).toEqual({
        ...everything,
        writes: new Set(),
        sideWrites: new Set(),
        readOnly: true,
        readsClock: false
      })
      expect(footprint(`INSERT INTO ${table} VALUES (1)`, 0)).toEqual(everything)
      expect(footprint(`DELETE FROM ${table}`, 0)).toEqual(everything)
    }
  })

  it("a text has an unterminated token, at any length", () => {
    using host = open()
    const { footprint } = SqlFootprint.make(host)
    for (const part of ["[", "$a", "/*", "/", "-", "'", '"', "`", "x'", ";", " ", "$("]) {
      expect(footprint(`SELECT 1 ${part.repeat(100_000)}\n[`, 0)).toEqual(everything)
    }
  })

  it("virtual tables cannot be distinguished", () => {
    const sql = "SELECT value FROM json_each('[]')"
    expect(withRows((row) => row)(sql).reads).toEqual(new Set())
    for (const address of ["vtab:0", "vtab:7F00", "", null]) {
      const redacted = withRows((row) => (row["opcode"] === "VOpen" ? { ...row, p4: address } : row))
      expect(redacted(sql).reads).toBe("everything")
      expect(redacted("SELECT * FROM search").reads).toBe("everything")
    }
  })
})

describe("SqlFootprint is sound for random schemas", () => {
  const rounds = 60
  const statementsPerRound = 30

  it("writes contain every changed table; tables outside of reads do not change the outcome", () => {
    let changes = 0
    let changesElsewhere = 0
    let comparisons = 0
    forAll(rounds, (random) => {
      const schema = randomSchema(random)
      const content = new Map(schema.tables.map((table) => [table, randomRows(random)]))
      using original = load(schema, content)
      // For each table, the same database with other rows in that table.
      using others = new DisposableStack()
      const databases = schema.tables.map((table) => {
        const database = others.use(load(schema, new Map([...content, [table, randomRows(random)]])))
        return { table, database }
      })
      const { footprint } = SqlFootprint.make(original)

      for (let i = 0; i < statementsPerRound; i++) {
        const { sql, target } = randomStatement(random, schema)
        const found = footprint(sql, 0)
        const context = [...schema.definitions, ...schema.triggers, sql].join("\n")
        if (found.reads === "everything" || found.writes === "everything")
          throw new Violation(`not understood:\n${context}`)

        const before = contents(original, schema)
        const outcome = tryOut(original, schema, sql)
        for (const table of schema.tables) {
          if (outcome.contents.get(table) === before.get(table)) continue
          changes++
          if (table !== target) {
            changesElsewhere++
            expect(found.sideWrites, context).toContain(table)
          }
          expect(found.writes, context).toContain(table)
          expect(found.readOnly, context).toBe(false)
        }
        for (const table of found.writes) expect(found.reads, context).toContain(table)

        for (const { table, database } of databases) {
          if (found.reads.has(table)) continue
          comparisons++
          const elsewhere = tryOut(database, schema, sql)
          expect(elsewhere.answer, context).toBe(outcome.answer)
          for (const other of schema.tables) {
            if (other !== table) expect(elsewhere.contents.get(other), context).toBe(outcome.contents.get(other))
          }
        }
      }
    })
    console.info(`${changes} changes, ${changesElsewhere} by triggers, ${comparisons} comparisons`)
    expect(changes).toBeGreaterThan(300)
    expect(changesElsewhere).toBeGreaterThan(50)
    expect(comparisons).toBeGreaterThan(2000)
  })
})

const ids = ["'k0'", "'k1'", "'k2'", "'k3'", "'k4'", "'k5'"]
const texts = ["'a0'", "'a1'", "'a2'", "NULL"]
const numbers = ["0", "1", "2", "3"]

interface RandomSchema {
  readonly tables: ReadonlyArray<string>
  readonly views: ReadonlyArray<string>
  /** The statements to run before rows are inserted. */
  readonly definitions: ReadonlyArray<string>
  readonly triggers: ReadonlyArray<string>
}

const randomSchema = (random: Random): RandomSchema => {
  const tables = ["t0", "t1", "t2", "t3", "t4"].slice(0, 3 + random.int(3))
  const table = () => random.pick(tables)
  const action = () => random.pick(["NO ACTION", "RESTRICT", "CASCADE", "CASCADE", "SET NULL", "SET NULL"])
  const definitions: Array<string> = []
  for (const name of tables) {
    const reference = random.chance(0.8)
      ? ` REFERENCES ${table()} (id) ON DELETE ${action()} ON UPDATE ${action()}${
          random.chance(0.2) ? " DEFERRABLE INITIALLY DEFERRED" : ""
        }`
      : ""
    definitions.push(
      `CREATE TABLE ${name} (id TEXT PRIMARY KEY NOT NULL, a TEXT${random.chance(0.2) ? " COLLATE NOCASE" : ""}, ` +
        `b INTEGER${random.chance(0.1) ? " CHECK (b < 9)" : ""}, ref TEXT${reference})${
          random.chance(0.7) ? " WITHOUT ROWID" : ""
        }`
    )
    if (random.chance(0.5)) definitions.push(`CREATE INDEX ${name}_ref ON ${name} (ref)`)
    if (random.chance(0.4)) definitions.push(`CREATE INDEX ${name}_a ON ${name} (a, b, id)`)
    if (random.chance(0.2)) definitions.push(`CREATE INDEX ${name}_part ON ${name} (a) WHERE b > 1`)
    if (random.chance(0.2)) definitions.push(`CREATE INDEX ${name}_expr ON ${name} (lower(a), b + 1)`)
    if (random.chance(0.2)) definitions.push(`CREATE UNIQUE INDEX ${name}_unique ON ${name} (a, b, ref)`)
  }
  const views = [
    `CREATE VIEW v0 AS SELECT x.id, y.a, x.b, x.ref FROM ${table()} x JOIN ${table()} y ON y.id = x.ref`,
    `CREATE VIEW v1 AS SELECT id, a, count(*) AS b, ref FROM ${table()} GROUP BY a`,
    `CREATE VIEW v2 AS SELECT * FROM v0 UNION SELECT * FROM ${table()}`
  ]
  const triggers: Array<string> = []
  for (let i = 0; random.chance(0.7) && i < 4; i++) {
    const on = table()
    const event = random.pick(["INSERT", "UPDATE", "UPDATE OF a", "DELETE"])
    const row = event === "DELETE" ? "old" : "new"
    const when = random.pick(["", ` WHEN ${row}.b > 1`, ` WHEN (SELECT count(*) FROM ${table()} WHERE b = 1) > 0`])
    const body = random.pick([
      `INSERT OR IGNORE INTO ${table()} VALUES (${row}.id || 'x', ${row}.a, 1, NULL)`,
      `UPDATE ${table()} SET b = b + 1 WHERE id = ${row}.ref`,
      `UPDATE ${table()} SET a = (SELECT max(a) FROM ${table()}) WHERE id = ${row}.id`,
      `DELETE FROM ${table()} WHERE ref = ${row}.id`,
      `REPLACE INTO ${table()} SELECT id, a, b, ref FROM ${table()} WHERE b = ${row}.b`
    ])
    triggers.push(
      `CREATE TRIGGER g${i} ${random.pick(["BEFORE", "AFTER"])} ${event} ON ${on}${when} BEGIN ${body}; END`
    )
  }
  triggers.push(
    `CREATE TRIGGER g9 INSTEAD OF INSERT ON v0 BEGIN INSERT INTO ${table()} VALUES (new.id, new.a, 1, NULL); END`
  )
  return { tables, views: ["v0", "v1", "v2"], definitions: [...definitions, ...views], triggers }
}

const randomRows = (random: Random): ReadonlyArray<string> =>
  ids
    .filter(() => random.chance(0.6))
    .map((id, i) => `(${id}, ${random.pick(texts)}, ${i}, ${random.pick([...ids, "NULL"])})`)

const load = (schema: RandomSchema, content: ReadonlyMap<string, ReadonlyArray<string>>) =>
  open(
    "PRAGMA foreign_keys = OFF",
    ...schema.definitions,
    ...[...content].flatMap(([table, rows]) =>
      rows.length > 0 ? [`INSERT INTO ${table} VALUES ${rows.join(", ")}`] : []
    ),
    ...schema.triggers,
    "PRAGMA foreign_keys = ON"
  )

/** A random statement. `target` is the table that it names as the one to write. */
const randomStatement = (random: Random, schema: RandomSchema): { readonly sql: string; readonly target?: string } => {
  const source = () => random.pick([...schema.tables, ...schema.tables, ...schema.views])
  const target = random.pick(schema.tables)
  const id = () => random.pick(ids)
  const text = () => random.pick(texts)
  const number = () => random.pick(numbers)
  const or = () => random.pick(["", "", "OR REPLACE ", "OR IGNORE ", "OR FAIL "])
  const returning = () => random.pick(["", " RETURNING *", ` RETURNING id, (SELECT count(*) FROM ${source()})`])
  const values = () => `VALUES (${id()}, ${text()}, ${number()}, ${random.pick([...ids, "NULL"])})`
  if (random.chance(0.45)) {
    return {
      sql: random.pick([
        () => `SELECT * FROM ${source()}`,
        () => `SELECT * FROM ${source()} WHERE id = ${id()}`,
        () => `SELECT id, a FROM ${source()} WHERE a > ${text()} ORDER BY a, b LIMIT 3`,
        () => `SELECT count(*), min(a), max(b) FROM ${source()}`,
        () => `SELECT count(*) FROM ${source()}`,
        () => `SELECT max(a) FROM ${source()}`,
        () => `SELECT x.id, y.* FROM ${source()} x JOIN ${source()} y ON x.ref = y.id`,
        () => `SELECT x.id FROM ${source()} x LEFT JOIN ${source()} y ON x.ref = y.id`,
        () => `SELECT x.id, y.id FROM ${source()} x FULL JOIN ${source()} y ON x.a = y.a WHERE x.b > 0`,
        () => `SELECT * FROM ${source()} x WHERE EXISTS (SELECT 1 FROM ${source()} y WHERE y.ref = x.id)`,
        () => `SELECT * FROM ${source()} WHERE a IN (SELECT a FROM ${source()} WHERE b > 0)`,
        () => `SELECT * FROM ${source()} WHERE ref NOT IN (SELECT id FROM ${source()})`,
        () => `SELECT id, (SELECT sum(b) FROM ${source()} y WHERE y.a = x.a) FROM ${source()} x`,
        () => `SELECT id FROM ${source()} UNION SELECT ref FROM ${source()}`,
        () => `SELECT id FROM ${source()} EXCEPT SELECT ref FROM ${source()} ORDER BY 1 DESC`,
        () => `SELECT a, b, rank() OVER (PARTITION BY a ORDER BY b) FROM ${source()}`,
        () => `WITH ${target} AS (SELECT * FROM main.${source()}) SELECT * FROM ${target}`,
        () =>
          `WITH RECURSIVE up(id) AS (VALUES (${id()}) UNION SELECT x.ref FROM ${source()} x JOIN up ON x.id = up.id) SELECT * FROM up`,
        () => `SELECT * FROM ${source()} WHERE a = ${text()} OR b = ${number()} OR id = ${id()}`,
        () => `SELECT lower(a) FROM ${source()} WHERE lower(a) = 'a1' AND b + 1 > 1`,
        () => `SELECT a FROM ${source()} WHERE b > 1 AND a = ${text()} GROUP BY a HAVING count(*) > 0`,
        () => `SELECT value, x.id FROM ${source()} x, json_each('["k1", "k2"]') WHERE value = x.ref`,
        () => `SELECT * FROM ${source()} WHERE 0`
      ])()
    }
  }
  return {
    target,
    sql: random.pick([
      () => `INSERT ${or()}INTO ${target} ${values()}${returning()}`,
      () => `INSERT ${or()}INTO ${target} SELECT id || 'y', a, b, ref FROM ${source()}${returning()}`,
      () =>
        `INSERT INTO ${target} ${values()} ON CONFLICT (id) DO UPDATE SET a = excluded.a, ref = ${id()}${returning()}`,
      () => `INSERT INTO ${target} ${values()} ON CONFLICT DO NOTHING${returning()}`,
      () => `INSERT INTO v0 VALUES (${id()}, ${text()}, 1, NULL)`,
      () => `REPLACE INTO ${target} SELECT * FROM ${target}`,
      () => `INSERT INTO ${target} SELECT * FROM ${random.pick(schema.tables)}`,
      () => `UPDATE ${or()}${target} SET a = ${text()}, b = b + 1 WHERE b >= ${number()}${returning()}`,
      () => `UPDATE ${or()}${target} SET id = id || 'z' WHERE id = ${id()}${returning()}`,
      () => `UPDATE ${or()}${target} SET ref = ${random.pick([...ids, "NULL"])}${returning()}`,
      () => `UPDATE ${or()}${target} SET a = y.a FROM ${source()} y WHERE y.ref = ${target}.id`,
      () => `UPDATE ${target} SET b = (SELECT count(*) FROM ${source()} y WHERE y.ref = ${target}.id)`,
      () => `DELETE FROM ${target}`,
      () => `DELETE FROM ${target} WHERE id = ${id()}${returning()}`,
      () => `DELETE FROM ${target} WHERE ref IN (SELECT id FROM ${source()} WHERE b > 0)${returning()}`,
      () => `WITH gone AS (SELECT id FROM ${source()}) DELETE FROM ${target} WHERE id IN gone`
    ])()
  }
}

type Database = ReturnType<typeof open>

const contents = ({ database }: Database, schema: RandomSchema): ReadonlyMap<string, string> =>
  new Map(
    schema.tables.map((table) => [
      table,
      JSON.stringify(database.prepare(`SELECT * FROM ${table} ORDER BY id, a, b, ref`).all())
    ])
  )

/** The result of a statement and the contents after it. Rolls the statement back. */
const tryOut = (from: Database, schema: RandomSchema, sql: string) => {
  const { database } = from
  database.exec("BEGIN")
  let answer: string
  try {
    answer = JSON.stringify(database.prepare(sql).all())
  } catch (error) {
    answer = String(error)
  }
  const outcome = { answer, contents: contents(from, schema) }
  database.exec("ROLLBACK")
  return outcome
}
