/**
 * Random schemas of an app, one after the other over one database, with rows in between and a crash at every statement of
 * each start. A model by hand knows which starts are refused, and what every row reads as.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"
import { describe, expect, it } from "vitest"
import type { Database } from "../../src/services/Database.ts"
import * as TableSchema from "../../src/services/storage/TableSchema.ts"
import { StorageHarness, show } from "../contract/StorageHarness.ts"
import { forAllAsync, type Random } from "../random.ts"

type Any = any

// --- what a schema declares

type Type = "text" | "int" | "real" | "flag" | "json"
type OnDelete = "restrict" | "cascade" | "setNull"

interface Field {
  readonly type: Type
  readonly optional: boolean
  readonly nullable: boolean
  /** The constructor default. */
  readonly value?: unknown
  readonly reference?: { readonly table: string; readonly onDelete: OnDelete }
}

interface TableSpec {
  readonly fields: Record<string, Field>
  readonly indexes: Record<string, { readonly columns: ReadonlyArray<string>; readonly unique: boolean }>
  readonly dropped: ReadonlyArray<string>
}

/** The tables of one version of an app, by name. */
type Spec = Record<string, TableSpec>

const schemas: Record<Type, Schema.Top> = {
  text: Schema.String,
  int: Schema.Int,
  real: Schema.Finite,
  flag: Schema.Boolean,
  json: Schema.Struct({ a: Schema.Int })
}

const schemaOf = ({ nullable, optional, type, value }: Field): Any => {
  const inner: Any = nullable ? Schema.NullOr(schemas[type]) : schemas[type]
  const schema = optional ? Schema.optionalKey(inner) : inner
  return value === undefined ? schema : schema.pipe(Schema.withConstructorDefault(Effect.succeed(value)))
}

/** The tables as an app declares them. */
const tablesOf = (spec: Spec): ReadonlyArray<Any> => {
  const tables = new Map<string, Any>()
  const make = (name: string, { dropped, fields, indexes }: TableSpec) => {
    const schemas = Object.entries(fields).map(([field, of]) => [field, schemaOf(of)])
    class Row extends Model.Class<Any>(`pairs/${name}`)({ id: Schema.String, ...Object.fromEntries(schemas) }) {}
    const references = Object.entries(fields).flatMap(([field, { reference }]) => {
      if (reference === undefined) return []
      const table = () => tables.get(reference.table) ?? make(reference.table, { fields: {}, indexes: {}, dropped: [] })
      return [[field, { table, onDelete: reference.onDelete }]]
    })
    const options = { key: "id", indexes, references: Object.fromEntries(references), dropped }
    return Table.make(name, Row, options as Any)
  }
  for (const [name, of] of Object.entries(spec)) tables.set(name, make(name, of))
  return [...tables.values()]
}

// --- the model

/** A stored value: NULL, the JSON text `null`, or any other. */
type Cell = "NULL" | "null" | { readonly value: unknown }

interface Column {
  readonly field: Field
  /** What a row gets that is inserted by a version without the field. */
  readonly fallback: Cell | undefined
  /** Whether it is a reference that is not in force, because the app does not declare it. */
  readonly aside: boolean
}

interface Stored {
  readonly columns: Map<string, Column>
  readonly rows: Map<string, Map<string, Cell>>
}

class Refused extends Error {}

const refuse = (condition: boolean, why: string) => {
  if (condition) throw new Refused(why)
}

const isRequired = ({ nullable, optional }: Field) => !nullable && !optional
const kindOf = ({ nullable, optional, type }: Field): Type => (nullable && optional ? "json" : type)
const nullsOf = ({ nullable, optional }: Field) => (nullable ? (optional ? "json" : "sql") : "none")

const encode = (field: Field, value: unknown): Cell => {
  if (value === undefined) return "NULL"
  if (value === null) return nullsOf(field) === "json" ? "null" : "NULL"
  return { value }
}

const decode = (field: Field, cell: Cell): unknown => {
  if (cell === "null") return null
  // The constructor of the model fills in what is missing.
  if (cell === "NULL") return field.optional ? field.value : null
  return cell.value
}

const fallbackOf = (field: Field): Cell | undefined =>
  field.value !== undefined && field.reference === undefined
    ? encode(field, field.value)
    : isRequired(field)
      ? undefined
      : "NULL"

/** What the pages promise of a database, and of the starts of an app over it. */
class Oracle {
  readonly stored: ReadonlyMap<string, Stored>
  readonly spec: Spec

  constructor(stored: ReadonlyMap<string, Stored> = new Map(), spec: Spec = {}) {
    this.stored = stored
    this.spec = spec
  }

  /** The database after the start of a version. Throws `Refused`. */
  started(spec: Spec): Oracle {
    const stored = new Map(
      [...this.stored].map(([name, { columns, rows }]) => [
        name,
        { columns: new Map(columns), rows: new Map([...rows].map(([id, row]) => [id, new Map(row)])) }
      ])
    )
    for (const [name, table] of Object.entries(spec)) {
      for (const field of Object.values(table.fields)) {
        if (field.reference === undefined) continue
        refuse(spec[field.reference.table] === undefined, "its target is not declared")
        refuse(kindOf(field) !== "text", "a reference has the type of the key")
        refuse(field.reference.onDelete === "setNull" && isRequired(field), "it cannot be null")
      }
      for (const { columns } of Object.values(table.indexes)) {
        for (const column of columns) refuse(kindOf(table.fields[column]!) === "json", "nested values have no order")
      }
      if (!stored.has(name)) {
        const columns = Object.entries(table.fields).map(([field, of]) => [field, created(of)] as const)
        stored.set(name, { columns: new Map(columns), rows: new Map() })
      } else change(stored.get(name)!, table)
    }
    for (const [name, { fields, indexes }] of Object.entries(spec)) {
      const { columns, rows } = stored.get(name)!
      for (const [field, of] of Object.entries(fields)) {
        const column = columns.get(field)!
        const target = of.reference && stored.get(of.reference.table)!.rows
        // What it refers to may be gone.
        if (column.aside && target !== undefined) {
          for (const row of rows.values()) {
            const cell = row.get(field)!
            if (typeof cell === "object" && !target.has(String(cell.value))) row.set(field, "NULL")
          }
        }
        columns.set(field, { ...column, aside: false })
      }
      for (const { columns, unique } of Object.values(indexes)) {
        const keys = [...rows.values()].map((row) => columns.map((column) => row.get(column)!))
        const full = keys.filter((key) => !key.includes("NULL")).map(show)
        refuse(unique && new Set(full).size < full.length, "rows have equal values")
      }
    }
    return new Oracle(stored, spec)
  }

  /** Whether a row would break a unique index. */
  conflicts(table: string, row: ReadonlyMap<string, Cell>): boolean {
    return Object.values(this.spec[table]!.indexes).some(({ columns, unique }) => {
      const key = columns.map((column) => row.get(column)!)
      return (
        unique &&
        !key.includes("NULL") &&
        [...this.stored.get(table)!.rows.values()].some(
          (other) => show(columns.map((column) => other.get(column)!)) === show(key)
        )
      )
    })
  }

  /** Deletes a row and what refers to it. Returns whether a reference restricts it somewhere; then it may be refused. */
  delete(table: string, id: string): { readonly restricted: boolean; readonly apply: () => void } {
    const deleted = [[table, id] as const]
    const nulled: Array<() => void> = []
    let restricted = false
    for (const [table, id] of deleted) {
      for (const [name, { columns, rows }] of this.stored) {
        for (const [column, { aside, field }] of columns) {
          if (aside || field.reference?.table !== table) continue
          for (const [key, row] of rows) {
            const cell = row.get(column)!
            if (typeof cell !== "object" || cell.value !== id) continue
            if (field.reference.onDelete === "restrict") restricted ||= name !== table || key !== id
            else if (field.reference.onDelete === "setNull") nulled.push(() => row.set(column, "NULL"))
            else if (!deleted.some(([a, b]) => a === name && b === key)) deleted.push([name, key])
          }
        }
      }
    }
    const apply = () => {
      for (const set of nulled) set()
      for (const [name, key] of deleted) this.stored.get(name)!.rows.delete(key)
    }
    return { restricted, apply }
  }

  /** The rows of a declared table, by key. */
  rows(table: string): ReadonlyArray<Record<string, unknown>> {
    const fields = Object.entries(this.spec[table]!.fields)
    return [...this.stored.get(table)!.rows]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, row]) => {
        const values = fields.map(([name, field]) => [name, decode(field, row.get(name)!)] as const)
        return Object.fromEntries([["id", id], ...values.filter(([, value]) => value !== undefined)])
      })
  }
}

const created = (field: Field): Column => ({ field, fallback: fallbackOf(field), aside: false })

/** Changes a stored table to what a version declares. */
const change = ({ columns, rows }: Stored, { dropped, fields }: TableSpec): void => {
  for (const [name, column] of columns) {
    if (name in fields) continue
    const isReference = column.field.reference !== undefined
    if (dropped.includes(name) && !isReference) columns.delete(name)
    else {
      refuse(column.fallback === undefined, "rows cannot be inserted without it")
      columns.set(name, { ...column, aside: isReference })
    }
  }
  for (const [name, field] of Object.entries(fields)) {
    const column = columns.get(name)
    if (column === undefined) {
      const fallback = fallbackOf(field)
      refuse(fallback === undefined, "rows lack it")
      for (const row of rows.values()) row.set(name, fallback!)
      columns.set(name, created(field))
      continue
    }
    const before = column.field
    refuse(show(before.reference) !== show(field.reference), "the reference changed")
    const nulls = [nullsOf(before), nullsOf(field)]
    refuse(
      kindOf(before) === "json" &&
        kindOf(field) === "json" &&
        nulls[0] !== "none" &&
        nulls[0] !== nulls[1] &&
        nulls.includes("json"),
      "null is kept in another way"
    )
    const becameReal = kindOf(before) === "int" && kindOf(field) === "real"
    refuse(kindOf(before) !== kindOf(field) && !becameReal, "the type changed")
    refuse(!isRequired(before) && isRequired(field), "it became required")
    const rebuilt = becameReal || isRequired(before) !== isRequired(field)
    refuse(rebuilt && field.reference !== undefined, "SQLite cannot change a reference")
    columns.set(name, { ...column, field, fallback: rebuilt ? fallbackOf(field) : column.fallback })
  }
}

// --- random versions

const names = ["a", "b", "c"]
const fieldNames = ["f", "g", "h", "i", "j"]

const valueOf = (random: Random, type: Type): unknown => {
  const n = random.int(4)
  return { text: `t${n}`, int: n, real: n / 2, flag: n > 1, json: { a: n } }[type]
}

const randomField = (random: Random): Field => {
  if (random.chance(0.35)) {
    const onDelete = random.pick<OnDelete>(["restrict", "cascade", "setNull"])
    const optional = onDelete === "setNull" || random.chance(0.8)
    return { type: "text", optional, nullable: false, reference: { table: random.pick(names), onDelete } }
  }
  const type = random.pick<Type>(["text", "int", "int", "real", "flag", "json"])
  const field = { type, optional: random.chance(0.35), nullable: random.chance(0.25) }
  return random.chance(0.3) ? { ...field, value: valueOf(random, type) } : field
}

const randomTable = (random: Random): TableSpec => {
  const fields = fieldNames.filter(() => random.chance(0.5)).map((name) => [name, randomField(random)])
  return withIndex(random, { fields: Object.fromEntries(fields), indexes: {}, dropped: [] })
}

const withIndex = (random: Random, table: TableSpec): TableSpec => {
  const columns = random.shuffle(Object.keys(table.fields).filter((name) => kindOf(table.fields[name]!) !== "json"))
  if (columns.length === 0) return table
  const index = { columns: columns.slice(0, 1 + random.int(2)), unique: random.chance(0.3) }
  return { ...table, indexes: { ...table.indexes, [random.pick(["x", "y"])]: index } }
}

/** Leaves out what the fields of the version do not allow: references to other versions' tables, indexes on nested values. */
const repaired = (spec: Spec): Spec =>
  Object.fromEntries(
    Object.entries(spec).map(([name, { dropped, fields, indexes }]) => {
      const kept = Object.entries(fields).map(([field, of]) => {
        const { reference, ...rest } = of
        return [field, reference !== undefined && spec[reference.table] === undefined ? rest : of] as const
      })
      const isIndexed = ({ columns }: { readonly columns: ReadonlyArray<string> }) =>
        columns.every((column) => column in fields && kindOf(fields[column]!) !== "json")
      return [
        name,
        {
          dropped,
          fields: Object.fromEntries(kept),
          indexes: Object.fromEntries(Object.entries(indexes).filter(([, index]) => isIndexed(index)))
        }
      ]
    })
  )

const without = <A>(record: Record<string, A>, name: string): Record<string, A> =>
  Object.fromEntries(Object.entries(record).filter(([key]) => key !== name))

/** A random change of a version. `known` are earlier versions, whose tables and fields come back. */
const changed = (random: Random, spec: Spec, known: ReadonlyArray<Spec>): Spec => {
  const name = random.pick(names)
  const table = spec[name]
  const old = random.pick(known)[name]
  if (table === undefined)
    return { ...spec, [name]: old !== undefined && random.chance(0.7) ? old : randomTable(random) }
  const replace = (next: Partial<TableSpec>) => ({ ...spec, [name]: { ...table, ...next } })
  const field = random.pick(fieldNames)
  const of = table.fields[field]
  if (random.chance(0.12)) return without(spec, name)
  if (random.chance(0.2)) {
    return random.chance(0.6) ? { ...spec, [name]: withIndex(random, table) } : replace({ indexes: {} })
  }
  if (of === undefined) {
    const added = (random.chance(0.6) ? old?.fields[field] : undefined) ?? randomField(random)
    const dropped = table.dropped.filter((name) => name !== field)
    return replace({ fields: { ...table.fields, [field]: added }, dropped })
  }
  if (random.chance(0.35)) {
    const dropped = random.chance(0.4) ? [...new Set([...table.dropped, field])] : table.dropped
    return replace({ fields: without(table.fields, field), dropped })
  }
  const next = random.pick<Field>([
    // Most become wider, which a start allows.
    { ...of, optional: of.optional || !of.nullable },
    { ...of, nullable: of.nullable || !of.optional },
    { ...of, optional: !of.optional, nullable: !of.nullable },
    of.type === "int" ? { ...of, type: "real" } : { ...of, nullable: true },
    of.type === "int" ? { ...of, type: "real" } : { ...of, optional: true },
    of.reference === undefined ? { ...of, value: valueOf(random, of.type) } : of,
    random.chance(0.2) ? randomField(random) : of
  ])
  return replace({ fields: { ...table.fields, [field]: next } })
}

/** Whether a version only adds tables, indexes and fields that rows can lack: then going back is promised. */
const onlyAdds = (before: Spec, after: Spec): boolean =>
  Object.entries(before).every(([name, { fields, indexes }]) => {
    const next = after[name]
    return (
      next !== undefined &&
      Object.entries(fields).every(([field, of]) => show(next.fields[field]) === show(of)) &&
      Object.entries(next.fields).every(([field, of]) => field in fields || fallbackOf(of) !== undefined) &&
      Object.entries(indexes).every(([index, of]) => show(next.indexes[index]) === show(of))
    )
  })

// --- runs

/** What a layer adds to a run. */
export interface Hooks {
  /** Before a start. Returns a check for after a start that was refused. */
  readonly beforeStart?: () => () => void
  /** While a start crashes. Returns a check for when the start of these tables has ended, with its contents. */
  readonly duringCrash?: () => (tables: ReadonlyArray<Any>, started: boolean, contents: string) => void
}

/** Runs a body with an empty database of one platform. */
export type WithFresh = (body: (database: Database["Service"], hooks: Hooks) => void) => void | Promise<void>

/** The definitions and the rows of a database, as text. */
export const contents = (database: Database["Service"]): string => {
  const objects = database.all("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '_cf%' ORDER BY name", [])
  const tables = objects.rows.filter(([type]) => type === "table").map(([, name]) => String(name))
  return show([objects.rows, tables.map((name) => [name, database.all(`SELECT * FROM "${name}" ORDER BY 1`, []).rows])])
}

/** The database, which crashes at a statement, or before the commit. */
const crashing = (database: Database["Service"], at: number, onCrash: () => void): Database["Service"] => {
  let statements = 0
  const step = () => {
    if (statements++ !== at) return
    onCrash()
    throw new Error("crash")
  }
  return {
    ...database,
    all: (sql, params, max) => {
      step()
      return database.all(sql, params, max)
    },
    transaction: (body) =>
      database.transaction(() => {
        const result = body()
        step()
        return result
      })
  }
}

/** Starts a version, with a crash at each statement first. Returns the message of a start that was refused. */
const start = (database: Database["Service"], tables: ReadonlyArray<Any>, hooks: Hooks): string | undefined => {
  const before = contents(database)
  const checkRefused = hooks.beforeStart?.()
  const afterwards: Array<NonNullable<ReturnType<NonNullable<Hooks["duringCrash"]>>>> = []
  const end = (refusal?: string) => {
    const started = refusal === undefined
    const after = contents(database)
    if (!started) {
      expect(after).toBe(before)
      checkRefused?.()
    }
    for (const check of afterwards) check(tables, started, after)
    return refusal
  }
  for (let at = 0; ; at++) {
    let crashed = false
    const onCrash = () => {
      crashed = true
      if (hooks.duringCrash !== undefined) afterwards.push(hooks.duringCrash())
    }
    try {
      TableSchema.migrate(crashing(database, at, onCrash), tables)
      return end()
    } catch (error) {
      if (!crashed && error instanceof TableSchema.SchemaMismatch) return end(error.message)
      if (!crashed) throw error
      expect(contents(database)).toBe(before)
    }
  }
}

/** The statements of a start that are no reads. */
const writesOf = (database: Database["Service"], tables: ReadonlyArray<Any>): ReadonlyArray<string> => {
  const statements: Array<string> = []
  const all: typeof database.all = (sql, params, max) => {
    statements.push(sql)
    return database.all(sql, params, max)
  }
  TableSchema.migrate({ ...database, all }, tables)
  return statements.filter((sql) => !sql.startsWith("SELECT"))
}

/** Compares what every declared row reads as, also along each index. */
const check = (app: StorageHarness, tables: ReadonlyArray<Any>, oracle: Oracle): void => {
  for (const table of tables) {
    const sorted = (row: object) => Object.fromEntries(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))
    const rows = app.query<Any, Any>(table.query()).map((row: Any) => sorted({ ...row }))
    expect(rows, `rows of ${table.name}`).toEqual(oracle.rows(table.name).map(sorted))
    for (const index of table.indexes.keys()) {
      const ids = app.query<Any, Any>(table.query(index)).map((row: Any) => row.id)
      expect(ids.sort(), `${table.name}.${index}`).toEqual(rows.map((row: Any) => row.id))
    }
  }
}

/** Writes random rows as the version of the oracle. */
const write = (random: Random, app: StorageHarness, tables: ReadonlyArray<Any>, oracle: Oracle, ids: () => string) => {
  for (const table of random.shuffle(tables)) {
    const { columns, rows } = oracle.stored.get(table.name)!
    const { fields } = oracle.spec[table.name]!
    for (let i = 1 + random.int(4); i > 0; i--) {
      const row: Record<string, unknown> = { id: ids() }
      const cells = new Map<string, Cell>([...columns].map(([name, { fallback }]) => [name, fallback ?? "NULL"]))
      for (const [name, field] of Object.entries(fields)) {
        const targets = field.reference && [...oracle.stored.get(field.reference.table)!.rows.keys()]
        const isAbsent = targets?.length === 0 || random.chance(0.3)
        if (!isAbsent) row[name] = targets === undefined ? valueOf(random, field.type) : random.pick(targets)
        else if (field.nullable && (field.value === undefined || random.chance(0.5))) row[name] = null
        cells.set(name, encode(field, name in row ? row[name] : field.value))
      }
      const isComplete = Object.entries(fields).every(
        ([name, field]) => name in row || field.optional || field.value !== undefined
      )
      if (!isComplete || oracle.conflicts(table.name, cells)) continue
      app.mutate(table.insert(row))
      rows.set(String(row["id"]), cells)
    }
    const [victim] = random.shuffle([...rows.keys()])
    if (victim === undefined || random.chance(0.4)) continue
    const { apply, restricted } = oracle.delete(table.name, victim)
    const { exit } = app.mutation(table.delete(victim))
    if (exit._tag === "Success") apply()
    else {
      expect(String(exit.cause), "a deletion fails only when a reference restricts it").toContain("refers to this one")
      expect(restricted).toBe(true)
    }
  }
}

/** The version with the nested values that are stored: a start does not look into them. */
const readable = (spec: Spec, { stored }: Oracle): Spec =>
  Object.fromEntries(
    Object.entries(spec).map(([name, table]) => {
      const fields = Object.entries(table.fields).map(([field, of]) => {
        const before = stored.get(name)?.columns.get(field)?.field
        const isNested = before !== undefined && kindOf(before) === "json" && kindOf(of) === "json"
        return [field, isNested && before.type !== of.type ? before : of] as const
      })
      return [name, { ...table, fields: Object.fromEntries(fields) }]
    })
  )

interface Counts {
  started: number
  refused: number
  wentBack: number
}

/** One run: some versions of an app, one after the other. */
export const run = (
  random: Random,
  database: Database["Service"],
  hooks: Hooks = {},
  counts: Counts = { started: 0, refused: 0, wentBack: 0 },
  sabotage: (database: Database["Service"], tables: ReadonlyArray<Any>) => void = () => {}
): void => {
  let keys = 0
  const ids = () => `${random.int(10)}-${keys++}`
  const known: Array<Spec> = [repaired(Object.fromEntries(names.slice(1).map((name) => [name, randomTable(random)])))]
  let oracle = new Oracle()
  const deploy = (spec: Spec): boolean => {
    const tables = tablesOf(spec)
    let next: Oracle | undefined
    let why = "accepted"
    try {
      next = oracle.started(spec)
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      why = error.message
    }
    const refusal = start(database, tables, hooks)
    expect(refusal !== undefined, `the model says: ${why}; the start: ${refusal}`).toBe(next === undefined)
    if (next === undefined) {
      counts.refused++
      return false
    }
    counts.started++
    oracle = next
    expect(writesOf(database, tables), "a start without changes writes nothing").toEqual([])
    sabotage(database, tables)
    const app = new StorageHarness(database, tables, {}, false)
    check(app, tables, oracle)
    write(random, app, tables, oracle, ids)
    check(app, tables, oracle)
    if (!known.includes(spec)) known.push(spec)
    return true
  }
  deploy(known[0]!)
  for (let step = 0; step < 8; step++) {
    const before = oracle.spec
    // Back to any version, or on to a new one.
    if (step > 0 && random.chance(0.35)) {
      deploy(random.pick(known))
      continue
    }
    let next = before
    for (let changes = 1 + random.int(3); changes > 0; changes--) next = changed(random, next, known)
    if (random.chance(0.85) || hasStrayIndex(next)) next = repaired(next)
    next = readable(next, oracle)
    if (!deploy(next) || !onlyAdds(before, next) || random.chance(0.3)) continue
    counts.wentBack++
    expect(deploy(before), `going back over what was only added: ${show([before, next])}`).toBe(true)
  }
}

/** Whether an index is on a field that does not exist: the model knows only versions that name their own fields. */
const hasStrayIndex = (spec: Spec): boolean =>
  Object.values(spec).some(({ fields, indexes }) =>
    Object.values(indexes).some(({ columns }) => columns.some((column) => !(column in fields)))
  )

export const suite = (name: string, withFresh: WithFresh, runs: number): void => {
  describe(`R1: ${name}: one version after the other`, () => {
    const all = async (runs: number, { sabotage, torn = false }: Sabotage = {}) => {
      const counts = { started: 0, refused: 0, wentBack: 0 }
      await forAllAsync(runs, async (random) =>
        withFresh((database, hooks) => {
          const used = torn ? { ...database, transaction: <A>(body: () => A) => body() } : database
          run(random, used, torn ? {} : hooks, counts, sabotage)
        })
      )
      return counts
    }

    it("ST20, ST21 random versions start with every row, or are refused and change nothing, whenever a start crashes", async () => {
      const counts = await all(runs)
      if (runs < 20) return
      for (const count of Object.values(counts)) expect(count, show(counts)).toBeGreaterThan(0)
    }, 3_600_000)

    it("ST20 the control: a row that a start loses is found", async () => {
      const sabotage = (database: Database["Service"], tables: ReadonlyArray<Any>) => {
        for (const { name } of tables) {
          try {
            database.all(`DELETE FROM "${name}"`, [])
          } catch {
            // A reference restricts it.
          }
        }
      }
      await expect(all(300, { sabotage })).rejects.toThrow(/rows of/)
    })

    it("ST21 the control: a start that is not one transaction is found", async () => {
      await expect(all(300, { torn: true })).rejects.toThrow(/^DORMOUSE_SEED=\d+ fails/)
    })
  })
}

interface Sabotage {
  /** Runs after each start. */
  readonly sabotage?: (database: Database["Service"], tables: ReadonlyArray<Any>) => void
  /** Whether a transaction does not roll back. */
  readonly torn?: boolean
}
