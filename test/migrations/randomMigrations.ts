/**
 * Random versions of an app, one after the other over one database: renames, added and dropped fields, other types, backfills.
 * Each start is cut at one statement after the other, and begun again, until one comes through. A model by hand knows every
 * row, and how often each was visited.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Migration } from "effect-dormouse/storage"
import { describe, expect, it } from "vitest"
import type { Database } from "../../src/services/Database.ts"
import { forAllAsync, type Random, Violation } from "../random.ts"
import { begin, declare, dump, planOf, type Started, type Version, type WithDatabase } from "./versions.ts"

type Any = any
type Value = string | number
type Row = Map<string, Value>

interface Field {
  readonly type: "text" | "int"
  readonly optional: boolean
  /** The constructor default. */
  readonly value?: Value
  /** The names that it had before. */
  readonly names: ReadonlyArray<string>
}

interface TableSpec {
  readonly names: ReadonlyArray<string>
  readonly fields: ReadonlyMap<string, Field>
  readonly dropped: ReadonlyArray<string>
  readonly rows: ReadonlyMap<string, Row>
}

/** What a migration of rows computes: fields of a table from others. */
interface Filling {
  readonly id: string
  readonly table: string
  readonly from: ReadonlyMap<string, Field>
  readonly fills: string
  readonly concurrent: boolean
  readonly rowsPerStep: number
  readonly compute: (before: Readonly<Record<string, Any>>, key: string) => Value
}

interface Spec {
  readonly tables: ReadonlyMap<string, TableSpec>
  readonly fillings: ReadonlyArray<Filling>
  readonly droppedTables: ReadonlyArray<string>
}

// --- an app of a version

const schemaOf = ({ optional, type, value }: Field): Any => {
  const plain: Any = type === "text" ? Schema.String : Schema.Int
  const schema = optional ? Schema.optionalKey(plain) : plain
  return value === undefined ? schema : schema.pipe(Schema.withConstructorDefault(Effect.succeed(value)))
}

const visits = declare("visits", { id: Schema.String, count: Schema.Int })

const versionOf = (spec: Spec): Version & { readonly byName: ReadonlyMap<string, Any> } => {
  const byName = new Map<string, Any>()
  for (const [name, { dropped, fields, names }] of spec.tables) {
    const columns = Object.fromEntries([...fields].map(([field, { names }]) => [field, names]))
    const schemas = Object.fromEntries([...fields].map(([field, of]) => [field, schemaOf(of)]))
    const [first] = fields.keys()
    const indexes = first === undefined ? {} : { first: [first] }
    const options = { dropped, indexes, renamedFrom: { table: names, columns } }
    byName.set(name, declare(name, { id: Schema.String, ...schemas }, options))
  }
  const migrations = spec.fillings.map(({ compute, concurrent, fills, from, id, rowsPerStep, table }) =>
    Migration.make(id, {
      table: byName.get(table),
      from: Object.fromEntries(
        [...from].map(([name, field]) => [name, schemaOf({ ...field, value: undefined } as Any)])
      ),
      fills: [fills],
      concurrent,
      rowsPerStep,
      // It is visible how often a row was visited.
      row: (before: Any, key: string): Any =>
        Effect.gen(function* () {
          const visit = `${id} ${key}`
          const known: Any = yield* Effect.option(visits.get(visit) as Effect.Effect<unknown, unknown, any>)
          yield* visits.upsert({ id: visit, count: Option.isSome(known) ? (known.value as Any).count + 1 : 1 })
          return { [fills]: compute(before, key) }
        })
    } as Any)
  )
  return { tables: [visits, ...byName.values()], migrations, droppedTables: spec.droppedTables, byName }
}

// --- random versions

const valueOf = (random: Random, { type }: Field): Value => (type === "text" ? `t${random.int(9)}` : random.int(9))

/** What a version knows of values that it computes: of both types, and the same each time. */
const computed = (type: Field["type"], from: unknown, key: string): Value =>
  type === "int" ? `${from}${key}`.length : `${from} of ${key}`

/** A random next version, with its rows as they are after its migrations. */
const changed = (random: Random, spec: Spec, number: number): Spec => {
  const tables = new Map(spec.tables)
  const fillings: Array<Filling> = []
  const droppedTables: Array<string> = []
  let count = 0
  const fresh = (prefix: string) => `${prefix}${number}_${count++}`
  /** Fields that this version adds: no row has had a value. */
  const added = new Set<string>()
  for (let changes = 1 + random.int(4); changes > 0; changes--) {
    const name = random.pick([...tables.keys()])
    const table = tables.get(name)!
    const isFilled = fillings.some((filling) => filling.table === name)
    const set = (next: Partial<TableSpec>) => tables.set(name, { ...table, ...next })
    const fields = new Map(table.fields)
    const rows = new Map([...table.rows].map(([key, row]) => [key, new Map(row)]))
    const [field] = random.shuffle([...fields.keys()].filter((field) => !added.has(field)))
    const isRead = fillings.some(({ from, table }) => table === name && field !== undefined && from.has(field))
    const add = (field: string, of: Field, value: (key: string, row: Row) => Value | undefined) => {
      if (!fields.has(field)) added.add(field)
      fields.set(field, of)
      for (const [key, row] of rows) {
        const computed = value(key, row)
        if (computed === undefined) row.delete(field)
        else row.set(field, computed)
      }
      set({ fields, rows })
    }
    const fill = (filling: Omit<Filling, "id" | "table" | "rowsPerStep">) =>
      fillings.push({ ...filling, id: fresh("m"), table: name, rowsPerStep: 1 + random.int(3) })
    const type = random.pick(["text", "int"] as const)
    switch (random.int(8)) {
      case 0: {
        if (field === undefined || isFilled) break
        const next = fresh("c")
        const of = fields.get(field)!
        fields.delete(field)
        for (const row of rows.values()) {
          const value = row.get(field)
          row.delete(field)
          if (value !== undefined) row.set(next, value)
        }
        fields.set(next, { ...of, names: [...of.names, field] })
        set({ fields, rows })
        break
      }
      case 1: {
        if (isFilled) break
        const next = fresh("t")
        tables.delete(name)
        tables.set(next, { ...table, names: [...table.names, name] })
        break
      }
      case 2:
        add(fresh("c"), { type, optional: true, names: [] }, () => undefined)
        break
      case 3: {
        const of: Field = {
          type,
          optional: false,
          value: valueOf(random, { type, optional: false, names: [] }),
          names: []
        }
        add(fresh("c"), of, () => of.value)
        break
      }
      case 4: {
        if (field === undefined) break
        const old = fields.get(field)!
        // What is filled in this version is read by nothing else.
        if (fillings.some(({ fills, table }) => table === name && fills === field)) break
        const next = fresh("c")
        const compute: Filling["compute"] = (before, key) => computed(type, before[field], key)
        fill({ from: new Map([[field, old]]), fills: next, concurrent: false, compute })
        add(next, { type, optional: random.chance(0.5), names: [] }, (key, row) => computed(type, row.get(field), key))
        break
      }
      case 5: {
        if (field === undefined || isFilled) break
        const old = fields.get(field)!
        const compute: Filling["compute"] = (before, key) => computed(type, before[field], key)
        fill({ from: new Map([[field, old]]), fills: field, concurrent: false, compute })
        add(field, { type, optional: random.chance(0.3), names: old.names }, (key, row) =>
          computed(type, row.get(field), key)
        )
        break
      }
      case 6: {
        if (field === undefined || (isFilled && !isRead)) break
        if (fillings.some(({ concurrent, fills, table }) => table === name && (fills === field || concurrent))) break
        // Its earlier names as well: it may get another one and be dropped in the same version.
        const { names } = fields.get(field)!
        fields.delete(field)
        for (const row of rows.values()) row.delete(field)
        set({ fields, rows, dropped: [...table.dropped, field, ...names] })
        break
      }
      case 7: {
        if (random.chance(0.3)) {
          if (tables.size < 2 || isFilled) break
          tables.delete(name)
          droppedTables.push(name, ...table.names)
          break
        }
        const next = fresh("c")
        const compute: Filling["compute"] = (_, key) => computed(type, "new", key)
        fill({ from: new Map(), fills: next, concurrent: random.chance(0.5), compute })
        add(next, { type, optional: true, names: [] }, (key) => computed(type, "new", key))
      }
    }
  }
  return { tables, fillings, droppedTables }
}

// --- runs

const killed = new Error("killed")

/** A database that dies at a statement, or at a commit: nothing that comes after reaches it. */
const dying = (database: Database["Service"], at: number, torn: boolean) => {
  let moments = 0
  let isDead = false
  const step = () => {
    if (isDead || moments++ === at) {
      isDead = true
      throw killed
    }
  }
  const guarded: Database["Service"] = {
    ...database,
    all: (sql, params, max) => {
      step()
      return database.all(sql, params, max)
    },
    run: (sql, params) => {
      step()
      database.run(sql, params)
    },
    transaction: (body) => {
      const guardedBody = () => {
        const result = body()
        step()
        return result
      }
      return torn ? guardedBody() : database.transaction(guardedBody)
    }
  }
  return { guarded, isDead: () => isDead }
}

/** Starts a version with a kill at each of its statements and commits, every `stride`th. */
const startKilled = (database: Database["Service"], version: Version, stride: number, torn: boolean): number => {
  for (let at = 0; ; at += stride) {
    const { guarded, isDead } = dying(database, at, torn)
    try {
      const { migrations } = begin(guarded, version).opened
      while (migrations.isRunning) migrations.step()
      if (!isDead()) {
        if (migrations.mismatch !== undefined) throw new Violation(migrations.mismatch.message)
        return at / stride
      }
    } catch (cause) {
      if (!isDead()) throw cause instanceof Violation ? cause : new Violation(String(cause))
    }
  }
}

const toObject = (key: string, row: Row) => Object.fromEntries([["id", key], ...row])
const sorted = (row: object) => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))

const check = (started: Started, spec: Spec, byName: ReadonlyMap<string, Any>): void => {
  for (const [name, { rows }] of spec.tables) {
    const found = started.rows(byName.get(name)).map(sorted).toSorted()
    const wanted = [...rows].map(([key, row]) => sorted(toObject(key, row))).toSorted()
    if (JSON.stringify(found) !== JSON.stringify(wanted))
      throw new Violation(`rows of ${name}: ${found} instead of ${wanted}`)
  }
}

/** Writes random rows, in the database and in the model. */
const write = (
  random: Random,
  started: Started,
  spec: Spec,
  byName: ReadonlyMap<string, Any>,
  ids: () => string
): Spec => {
  const tables = new Map(spec.tables)
  for (const [name, table] of tables) {
    const rows = new Map(table.rows)
    const inserted: Array<object> = []
    for (let i = random.int(6); i > 0; i--) {
      const key = ids()
      const given = [...table.fields].filter(
        ([, { optional, value }]) => !(optional || value !== undefined) || random.chance(0.6)
      )
      const row: Row = new Map(given.map(([field, of]) => [field, valueOf(random, of)]))
      inserted.push(toObject(key, row))
      for (const [field, { value }] of table.fields) if (value !== undefined && !row.has(field)) row.set(field, value)
      rows.set(key, row)
    }
    started.write(byName.get(name).insertMany(inserted))
    tables.set(name, { ...table, rows })
  }
  return { ...spec, tables }
}

interface Counts {
  migrations: number
  kills: number
  wentBack: number
}

const run = (random: Random, database: Database["Service"], stride: number, torn: boolean, counts: Counts): void => {
  let keys = 0
  const ids = () => `${random.int(10)}-${keys++}`
  const field = (type: Field["type"]): Field => ({ type, optional: random.chance(0.3), names: [] })
  const table = (): TableSpec => ({
    names: [],
    fields: new Map([
      ["a", field("text")],
      ["b", field("int")]
    ]),
    dropped: [],
    rows: new Map()
  })
  let spec: Spec = {
    tables: new Map([
      ["one", table()],
      ["two", table()]
    ]),
    fillings: [],
    droppedTables: []
  }
  let version = versionOf(spec)
  let started = begin(database, version)
  spec = write(random, started, spec, version.byName, ids)
  for (let number = 0; number < 5; number++) {
    const next = changed(random, spec, number)
    const nextVersion = versionOf(next)
    const before = dump(database)
    const plan = planOf(database, nextVersion)
    if (dump(database) !== before) throw new Violation("a plan has changed the database")
    if (plan.problems.length > 0) throw new Violation(JSON.stringify(plan.problems))
    // Back to the version before, in the middle of the migrations.
    const losesNothing =
      next.droppedTables.length === 0 && [...next.tables.values()].every(({ dropped }) => dropped.length === 0)
    const canGoBack = losesNothing && next.fillings.every(({ concurrent }) => !concurrent)
    if (canGoBack && random.chance(0.6)) {
      const { migrations } = begin(database, nextVersion).opened
      const [first] = next.fillings
      const isShort = first === undefined || next.tables.get(first.table)!.rows.size < first.rowsPerStep
      if (!isShort && random.chance(0.7)) migrations.step()
      check(begin(database, version), spec, version.byName)
      database.all("DELETE FROM visits", [])
      counts.wentBack++
    }
    const kills = startKilled(database, nextVersion, stride, torn)
    counts.kills += kills
    counts.migrations += next.fillings.length
    started = begin(database, nextVersion)
    check(started, next, nextVersion.byName)
    const counted = started.rows(visits)
    const due = next.fillings.flatMap(({ id, table }) =>
      [...next.tables.get(table)!.rows.keys()].map((key) => `${id} ${key}`)
    )
    if (JSON.stringify(counted.map(({ id }) => id).toSorted()) !== JSON.stringify(due.toSorted())) {
      throw new Violation(`visited ${JSON.stringify(counted)} instead of ${due}`)
    }
    if (counted.some(({ count }) => count !== 1)) throw new Violation(`visited again: ${JSON.stringify(counted)}`)
    database.all("DELETE FROM visits", [])
    if (!planOf(database, nextVersion).isCurrent) throw new Violation("a start left something to do")
    version = nextVersion
    spec = write(random, begin(database, version), { ...next, fillings: [] }, version.byName, ids)
    version = { ...version, migrations: [] }
  }
}

export const suite = (name: string, withDatabase: WithDatabase, runs: number, stride: number): void => {
  describe(`R1: ${name}: random versions`, () => {
    const all = async (runs: number, torn = false): Promise<Counts> => {
      const counts: Counts = { migrations: 0, kills: 0, wentBack: 0 }
      await forAllAsync(runs, (random) => withDatabase(async (database) => run(random, database, stride, torn, counts)))
      return counts
    }

    it("MG1, MG2, MG5, MG6, MG7 rows and visits are those of the model, at whatever statement a start is killed", async () => {
      const counts = await all(runs)
      if (runs < 10) return
      for (const count of Object.values(counts)) expect(count, JSON.stringify(counts)).toBeGreaterThan(0)
    })

    it("MG2 the control: a step that is not one transaction is found", async () => {
      await expect(all(20, true)).rejects.toThrow(/^DORMOUSE_SEED=\d+ fails/)
    })
  })
}
