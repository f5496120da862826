import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import * as SqlClient from "effect/sql/SqlClient"
import { Api, App, Auth, Handlers, Mutation, Query, Table } from "effect-dormouse"
import { type Storage, type StorageWriter, unrestricted } from "../../src/contract/Storage.ts"
import type { Random } from "../random.ts"
import { members, RandomPolicies, withComparableValues } from "./randomPolicies.ts"

/**
 * Random apps: random tables, and random queries and mutations over them as data. An app has one query and one
 * mutation, which interpret their payload. Its tables can have policies; raw SQL then runs past them.
 */

// Tables

type Kind = "text" | "integer" | "real" | "boolean"
type Value = string | number | boolean | null

/** A column of a random table. */
export interface ColumnSpec {
  readonly name: string
  readonly kind: Kind
  readonly nullable: boolean
  readonly reference?: { readonly table: number; readonly onDelete: "cascade" | "setNull" | "restrict" }
  /** Its values, if they are not those of all columns of its kind. */
  readonly values?: ReadonlyArray<Value>
}

/** A random table. */
export interface TableSpec {
  readonly name: string
  readonly key: "text" | "integer"
  readonly columns: ReadonlyArray<ColumnSpec>
  readonly indexes: ReadonlyArray<{ readonly name: string; readonly columns: ReadonlyArray<string>; unique: boolean }>
  /** Whether rows have the time of their last write. */
  readonly isStamped: boolean
}

/** Few values, so that they are often equal: NULL, the empty text, text that sorts differently in UTF-16 and UTF-8. */
const texts = ["", "a", "A", "b", "ba", "é", "z", "\uE000", "\uFFFD", "😀", "😀a", "𐀀"]
const integers = [-2, 0, 1, 2, 3, 2 ** 53 - 1]
const reals = [-1.5, 0, 0.5, 1, 1e300]
const keys = { text: ["k", "k0", "k1", "k2", "K1", "é", "😀", "\uFFFD"], integer: [-1, 0, 1, 2, 3, 4, 5, 6] }

const keyOf = (random: Random, spec: TableSpec): string | number => random.pick<string | number>(keys[spec.key])

/** Mostly the key of a row that exists. */
const keyOfRow = (random: Random, randomApp: RandomApp, table: number): Value => {
  const existing = random.chance(0.85) ? randomApp.keysIn(table) : []
  return existing.length > 0 ? random.pick(existing) : keyOf(random, randomApp.specs[table]!)
}

const valueOf = (random: Random, randomApp: RandomApp, column: ColumnSpec): Value => {
  if (column.nullable && random.chance(0.3)) return null
  if (column.reference !== undefined) return keyOfRow(random, randomApp, column.reference.table)
  if (column.values !== undefined) return random.pick(column.values)
  switch (column.kind) {
    case "text":
      return random.pick(texts)
    case "integer":
      return random.pick(integers)
    case "real":
      return random.pick(reals)
    case "boolean":
      return random.chance(0.5)
  }
}

const tableSpec = (random: Random, position: number, before: ReadonlyArray<TableSpec>): TableSpec => {
  const columns: Array<ColumnSpec> = random.array(2 + random.int(3), (i) => ({
    name: `c${i}`,
    kind: random.pick<Kind>(["text", "text", "integer", "integer", "real", "boolean"]),
    nullable: random.chance(0.5)
  }))
  const key = random.pick(["text", "integer"] as const)
  const referenceTo = (name: string, table: number, of: TableSpec["key"]): ColumnSpec => {
    const onDelete = random.pick(["cascade", "setNull", "restrict"] as const)
    const nullable = onDelete === "setNull" || random.chance(0.5)
    return { name, kind: of, nullable, reference: { table, onDelete } }
  }
  if (before.length > 0) columns.push(referenceTo("ref", before.length - 1, before.at(-1)!.key))
  if (random.chance(0.4)) {
    columns.push({ ...referenceTo("parent", position, key), nullable: true })
  }
  const names = columns.map(({ name }) => name)
  return {
    name: `t${position}`,
    key,
    columns,
    indexes: random.array(1 + random.int(3), (i) => ({
      name: `i${i}`,
      columns: random.shuffle(names).slice(0, 1 + random.int(Math.min(3, names.length))),
      unique: random.chance(0.1)
    })),
    isStamped: random.chance(0.3)
  }
}

const schemas = { text: Schema.String, integer: Schema.Int, real: Schema.Finite, boolean: Schema.Boolean }

const declare = (specs: ReadonlyArray<TableSpec>): ReadonlyArray<any> => {
  const tables: Array<Table.Any> = []
  for (const { columns, indexes, isStamped, key, name } of specs) {
    const fields: Record<string, any> = { id: key === "text" ? Table.key(Schema.String) : Schema.Int }
    for (const { kind, name, nullable } of columns)
      fields[name] = nullable ? Schema.NullOr(schemas[kind]) : schemas[kind]
    if (isStamped) fields["at"] = Table.updatedAt
    class Row extends (Model.Class as any)(`randomApp/${name}`)(fields) {}
    const references = columns.flatMap(({ name, reference }) =>
      reference === undefined ? [] : [[name, { table: () => tables[reference.table]!, onDelete: reference.onDelete }]]
    )
    tables.push(
      Table.make(
        name,
        Row as any,
        {
          key: "id",
          indexes: Object.fromEntries(indexes.map(({ columns, name, unique }) => [name, { columns, unique }])),
          references: Object.fromEntries(references)
        } as any
      )
    )
  }
  return tables
}

export interface RandomApp {
  readonly specs: ReadonlyArray<TableSpec>
  /** Beside `read` and `write` it has for each table a query `rows.0`, `rows.1`, … that gives the rows as rows. */
  readonly app: App.App<any>
  /** What the handler of a query does. */
  readonly handlerOf: (call: QueryCall) => Effect.Effect<unknown, unknown, Storage | SqlClient.SqlClient | Auth.Auth>
  /** The policies of its tables, if it has some. */
  readonly policies: RandomPolicies | undefined
  /** The keys of a table's rows, so that writes affect rows. The test, which has the database, sets it. */
  keysIn: (table: number) => ReadonlyArray<Value>
}

/** A query of a random app, and its payload. */
export type QueryCall =
  | { readonly tag: "read"; readonly payload: { readonly program: Read } }
  | { readonly tag: `rows.${number}`; readonly payload: { readonly descending: boolean; readonly take: number } }

export const makeRandomApp = (random: Random, hasPolicies = false): RandomApp => {
  const specs: Array<TableSpec> = hasPolicies ? [members] : []
  const count = specs.length + 2 + random.int(2)
  while (specs.length < count) {
    const spec = tableSpec(random, specs.length, specs)
    specs.push(hasPolicies ? withComparableValues(spec) : spec)
  }
  const tables = declare(specs)
  const policies = hasPolicies ? new RandomPolicies(random, specs, tables) : undefined
  const handlers = RandomApi.toLayer({
    read: ({ program }) => read(tables, program as unknown as Read),
    write: ({ program }) => write({ tables, policies }, program as unknown as Write)
  })
  const rowsOf = (table: any, { descending, take }: { readonly descending: boolean; readonly take: number }) => {
    const query = descending ? table.query().descending : table.query()
    return query.take(take)
  }
  const rows = tables.map((table, i) =>
    Query.make(`rows.${i}`, {
      payload: { descending: Schema.Boolean, take: Schema.Int },
      success: Schema.Array(table.model)
    })
  )
  const rowHandlers = Object.fromEntries(
    tables.map((table, i) => [`rows.${i}`, (payload: any) => rowsOf(table, payload)])
  )
  const RowsApi: any = Api.make(...rows)
  const app = App.make({
    api: Api.merge(RandomApi, RowsApi),
    tables,
    policies: policies?.policies ?? [],
    handlers: Handlers.merge(handlers, RowsApi.toLayer(rowHandlers))
  } as any)
  return {
    specs,
    policies,
    app: app as App.App<any>,
    handlerOf: ({ payload, tag }) =>
      tag === "read" ? read(tables, payload.program) : rowsOf(tables[Number(tag.slice("rows.".length))], payload),
    keysIn: () => []
  }
}

class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {}

const RandomApi = Api.make(
  Query.make("read", { payload: { program: Schema.Json }, success: Schema.Json }),
  Mutation.make("write", { payload: { program: Schema.Json }, success: Schema.Json, error: Refused })
)

// Reads

interface Plan {
  readonly table: number
  readonly index?: string
  readonly equal: ReadonlyArray<readonly [column: string, value: Value]>
  readonly lower?: { readonly column: string; readonly value: Value; readonly inclusive: boolean }
  readonly upper?: { readonly column: string; readonly value: Value; readonly inclusive: boolean }
  readonly descending: boolean
  readonly take?: number
  /** Selects the rows with this value. */
  readonly filter?: { readonly column: string; readonly value: Value }
}

export type Read =
  | { readonly read: "get"; readonly table: number; readonly key: Value }
  | { readonly read: "getMany"; readonly table: number; readonly keys: ReadonlyArray<Value> }
  | { readonly read: "rows" | "count" | "exists" | "first" | "unique"; readonly plan: Plan }
  | { readonly read: "pages"; readonly plan: Plan; readonly size: number; readonly count: number }
  | { readonly read: "stream"; readonly plan: Plan; readonly stop: number }
  /** For each row of a plan, the row to which it refers, or the rows that refer to it. */
  | {
      readonly read: "join"
      readonly plan: Plan
      readonly table: number
      readonly column: string
      readonly to: "one" | "many"
    }
  | { readonly read: "sql"; readonly sql: string; readonly params: ReadonlyArray<Value> }
  /** Past the policies. */
  | { readonly read: "unrestricted"; readonly part: Read }
  /** The caller, if there is such a row. */
  | { readonly read: "caller"; readonly table: number; readonly key: Value }
  | { readonly read: "all"; readonly parts: ReadonlyArray<Read> }

type Json = Schema.Json

const toJson = (row: object): Json =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      DateTime.isDateTime(value) ? DateTime.toEpochMillis(value) : value
    ])
  )

const queryOf = (tables: ReadonlyArray<any>, plan: Plan): any => {
  let query = tables[plan.table].query(plan.index)
  for (const [column, value] of plan.equal) query = query.eq(column, value)
  if (plan.lower !== undefined) query = query[plan.lower.inclusive ? "gte" : "gt"](plan.lower.column, plan.lower.value)
  if (plan.upper !== undefined) query = query[plan.upper.inclusive ? "lte" : "lt"](plan.upper.column, plan.upper.value)
  if (plan.descending) query = query.descending
  const { filter } = plan
  if (filter !== undefined) query = query.filter((row: any) => row[filter.column] === filter.value)
  return plan.take === undefined ? query : query.take(plan.take)
}

/** Every reference has an index. */
const indexOn = (table: Table.Any, column: string): string =>
  [...table.indexes.values()].find(({ columns }) => columns[0] === column)!.name

type Reading = Effect.Effect<Json, never, Storage | SqlClient.SqlClient | Auth.Auth>

const read = (tables: ReadonlyArray<any>, program: Read): Reading =>
  // A failure is a result as well, and must be kept live like any other.
  Effect.catch(tryRead(tables, program), (error) => Effect.succeed({ failed: String(error) }))

// The tables are known only at run time, and so untyped.
const tryRead = (tables: ReadonlyArray<any>, program: Read): Effect.Effect<any, any, any> => {
  const one = (row: Option.Option<object>): Json => Option.match(row, { onNone: () => null, onSome: toJson })
  switch (program.read) {
    case "get":
      return Effect.map(tables[program.table].get(program.key), toJson)
    case "getMany":
      return Effect.map(tables[program.table].getMany(program.keys), (rows: any) => rows.map(one))
    case "rows":
      return Effect.map(queryOf(tables, program.plan), (rows: any) => rows.map(toJson))
    case "count":
      return queryOf(tables, program.plan).count
    case "exists":
      return queryOf(tables, program.plan).exists
    case "first":
      return Effect.map(queryOf(tables, program.plan).first, one)
    case "unique":
      return Effect.map(queryOf(tables, program.plan).unique, one)
    case "pages":
      return Effect.gen(function* () {
        const pages: Array<Json> = []
        let after: string | null | undefined
        while (pages.length < program.count && after !== null) {
          const page: any = yield* queryOf(tables, program.plan).page({ size: program.size, after })
          pages.push({ items: page.items.map(toJson), next: page.next })
          after = page.next
        }
        return pages
      })
    case "stream":
      return queryOf(tables, program.plan).stream.pipe(
        Stream.take(program.stop),
        Stream.runCollect,
        Effect.map((rows: ReadonlyArray<any>) => rows.map(toJson))
      )
    case "join":
      return Effect.gen(function* () {
        const rows: ReadonlyArray<any> = yield* queryOf(tables, program.plan)
        const joined: Array<Json> = []
        for (const row of rows) {
          const other =
            program.to === "many"
              ? tables[program.table].query(indexOn(tables[program.table], program.column)).eq(program.column, row.id)
              : row[program.column] === null
                ? Effect.succeed([])
                : tables[program.table].getMany([row[program.column]])
          const found: ReadonlyArray<any> = yield* other
          joined.push({
            row: toJson(row),
            other: found.map((row) => (Option.isOption(row) ? one(row as any) : toJson(row)))
          })
        }
        return joined
      })
    case "sql":
      return Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(program.sql, program.params))
    case "unrestricted":
      return unrestricted(read(tables, program.part))
    case "caller":
      return Effect.flatMap(tables[program.table].getMany([program.key]), ([row]: any) =>
        Option.isSome(row) ? Effect.map(Auth.identity, ({ subject }) => subject as Json) : Effect.succeed(null)
      )
    case "all":
      return Effect.forEach(program.parts, (part) => read(tables, part))
  }
}

const columnsOf = (spec: TableSpec, index: string | undefined): ReadonlyArray<string> => {
  if (index === undefined) return ["id"]
  return [...(spec.indexes.find(({ name }) => name === index)?.columns ?? []), "id"]
}

const randomValue = (random: Random, randomApp: RandomApp, table: number, column: string): Value => {
  const spec = randomApp.specs[table]!
  if (column === "id") return keyOf(random, spec)
  return valueOf(random, randomApp, spec.columns.find(({ name }) => name === column)!)
}

const randomPlan = (random: Random, randomApp: RandomApp, options: { readonly filtered: boolean }): Plan => {
  const table = random.int(randomApp.specs.length)
  const spec = randomApp.specs[table]!
  const index = random.chance(0.25) ? undefined : random.pick(spec.indexes).name
  const columns = columnsOf(spec, index)
  const fixed = random.chance(0.5) ? 0 : random.int(Math.min(columns.length, 3))
  const next = columns[fixed]!
  const bound = () => ({
    column: next,
    value: randomValue(random, randomApp, table, next),
    inclusive: random.chance(0.5)
  })
  const filtered = options.filtered ? random.pick(spec.columns) : undefined
  return {
    table,
    ...(index === undefined ? {} : { index }),
    equal: columns.slice(0, fixed).map((column) => [column, randomValue(random, randomApp, table, column)] as const),
    ...(random.chance(0.25) ? { lower: bound() } : {}),
    ...(random.chance(0.25) ? { upper: bound() } : {}),
    descending: random.chance(0.5),
    ...(random.chance(0.5) ? { take: random.int(4) } : {}),
    ...(filtered === undefined
      ? {}
      : { filter: { column: filtered.name, value: valueOf(random, randomApp, filtered) } })
  }
}

/** The kind of a read, by which the test counts unchanged runs. */
export const kindOfRead = (program: Read): string => {
  if ("plan" in program && program.plan.filter !== undefined) return `${program.read}, filtered`
  return program.read
}

/** Reads that return everything that they read: nearly every write to that changes them. */
export const exactReads: ReadonlySet<string> = new Set(["get", "getMany", "rows", "first", "stream"])

export const randomRead = (random: Random, randomApp: RandomApp, depth = 0): Read => {
  const table = random.int(randomApp.specs.length)
  const spec = randomApp.specs[table]!
  const plan = (filtered = random.chance(0.15)) => randomPlan(random, randomApp, { filtered })
  const kind = random.int(depth === 0 ? 22 : 20)
  if (kind < 2) return { read: "get", table, key: keyOf(random, spec) }
  if (kind < 3) return { read: "getMany", table, keys: random.array(random.int(4), () => keyOf(random, spec)) }
  if (kind < 9) return { read: "rows", plan: plan() }
  if (kind < 10) return { read: "first", plan: plan() }
  if (kind < 11) return { read: random.pick(["count", "exists", "unique"] as const), plan: plan() }
  if (kind < 13) return { read: "pages", plan: plan(), size: 1 + random.int(3), count: 1 + random.int(3) }
  if (kind < 14) return { read: "stream", plan: plan(), stop: random.int(4) }
  if (kind < 15) return { read: "caller", table, key: keyOf(random, spec) }
  if (kind < 17) {
    const referring = randomApp.specs.flatMap((spec, from) =>
      spec.columns.flatMap(({ name, reference }) =>
        reference === undefined ? [] : [{ from, name, to: reference.table }]
      )
    )
    if (referring.length > 0) {
      const { from, name, to } = random.pick(referring)
      const base = plan(false)
      const start = random.chance(0.5) ? "one" : "many"
      // The plan must be on the table from which the join starts.
      const over: Plan = { table: start === "one" ? from : to, equal: [], descending: base.descending, take: 3 }
      return { read: "join", plan: over, table: start === "one" ? to : from, column: name, to: start }
    }
  }
  if (kind < 20) {
    const select: Read = { read: "sql", ...randomSelect(random, randomApp) }
    return randomApp.policies === undefined ? select : { read: "unrestricted", part: select }
  }
  return { read: "all", parts: random.array(1 + random.int(3), () => randomRead(random, randomApp, depth + 1)) }
}

const identifier = (random: Random, name: string): string =>
  random.pick([name, name.toUpperCase(), `"${name}"`, `"${name.toUpperCase()}"`, `main.${name}`])

const randomSelect = (
  random: Random,
  randomApp: RandomApp
): { readonly sql: string; readonly params: ReadonlyArray<Value> } => {
  const table = random.int(randomApp.specs.length)
  const spec = randomApp.specs[table]!
  const other = random.pick(randomApp.specs)
  const column = random.pick(spec.columns)
  const value = sqlValue(valueOf(random, randomApp, column))
  const t = identifier(random, spec.name)
  const o = identifier(random, other.name)
  switch (random.int(10)) {
    case 0:
      return { sql: `SELECT * FROM ${t} WHERE ${column.name} IS ? ORDER BY id`, params: [value] }
    case 1:
      return { sql: `SELECT count(*) AS n FROM ${t}`, params: [] }
    case 2:
      return {
        sql: `SELECT a.id, b.id AS other FROM ${t} a LEFT JOIN ${o} b ON b.id = a.${column.name} ORDER BY 1, 2`,
        params: []
      }
    case 3:
      // The common table expression hides a table of the same name, which is not read.
      return {
        sql: `WITH ${other.name} AS (SELECT id FROM main.${spec.name}) SELECT count(*) AS n FROM ${other.name}`,
        params: []
      }
    case 4:
      return { sql: `SELECT id FROM ${t} WHERE id IN view_${other.name} ORDER BY id`, params: [] }
    case 5:
      return { sql: `SELECT EXISTS (SELECT 1 FROM ${t} WHERE ${column.name} = ?) AS yes`, params: [value] }
    case 6:
      return { sql: `SELECT max(${column.name}) AS top FROM ${t}`, params: [] }
    case 7:
      return { sql: `SELECT id FROM ${t} UNION ALL SELECT id FROM ${o} ORDER BY 1 LIMIT 3`, params: [] }
    case 8:
      return { sql: `SELECT (SELECT count(*) FROM ${o}) + ? AS n, value FROM json_each('[1]')`, params: [1] }
    default:
      return { sql: "SELECT ? AS one", params: [1] }
  }
}

const sqlValue = (value: Value): Value => (typeof value === "boolean" ? Number(value) : value)

// Writes

type Row = Record<string, Value>

export type Write =
  | { readonly write: "insert"; readonly table: number; readonly rows: ReadonlyArray<Row> }
  | { readonly write: "patch" | "replace"; readonly table: number; readonly key: Value; readonly values: Row }
  | { readonly write: "upsert"; readonly table: number; readonly values: Row }
  | { readonly write: "delete"; readonly table: number; readonly key: Value }
  | { readonly write: "sql"; readonly sql: string; readonly params: ReadonlyArray<Value> }
  | { readonly write: "fail" | "die" }
  /** Past the policies. */
  | { readonly write: "unrestricted"; readonly part: Write }
  /** Parts in order: `nested` in a nested transaction, `caught` with failures ignored. */
  | { readonly write: "all"; readonly parts: ReadonlyArray<Write>; readonly nested: boolean; readonly caught: boolean }

type Writing = Effect.Effect<Json, Refused, Storage | StorageWriter | SqlClient.SqlClient | Auth.Auth>

interface Writer {
  readonly tables: ReadonlyArray<any>
  /** The policies that its writes are subject to. */
  readonly policies: RandomPolicies | undefined
}

const write = (writer: Writer, program: Write): Writing => {
  const { policies } = writer
  const effect = tryWrite(writer, program)
  const watched = policies === undefined || !("table" in program) ? effect : policies.watch(program, effect)
  return Effect.catch(watched, (error) =>
    Effect.fail(error instanceof Refused ? error : new Refused({ why: String(error) }))
  )
}

const tryWrite = (writer: Writer, program: Write): Effect.Effect<any, any, any> => {
  const { tables } = writer
  switch (program.write) {
    case "insert":
      return Effect.as(tables[program.table].insertMany(program.rows), null)
    case "patch":
    case "replace":
      return Effect.as(tables[program.table][program.write](program.key, program.values), null)
    case "upsert":
      return Effect.as(tables[program.table].upsert(program.values), null)
    case "delete":
      return tables[program.table].delete(program.key)
    case "sql":
      return Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.as(sql.unsafe(program.sql, program.params), null))
    case "unrestricted":
      return unrestricted(write({ tables, policies: undefined }, program.part))
    case "fail":
      return Effect.fail(new Refused({ why: "requested" }))
    case "die":
      return Effect.die(new Error("requested"))
    case "all": {
      const parts = Effect.forEach(program.parts, (part) => write(writer, part), { discard: true })
      const body = program.nested ? Table.atomically(parts) : parts
      return Effect.as(program.caught ? Effect.ignore(body) : body, null)
    }
  }
}

const randomRow = (random: Random, randomApp: RandomApp, table: number): Row => {
  const spec = randomApp.specs[table]!
  return {
    id: keyOf(random, spec),
    ...Object.fromEntries(spec.columns.map((column) => [column.name, valueOf(random, randomApp, column)]))
  }
}

export const randomWrite = (random: Random, randomApp: RandomApp, depth = 0): Write => {
  // Half of the writes are those of the system.
  const isOfSystem = depth === 0 && randomApp.policies !== undefined && random.chance(0.5)
  return isOfSystem
    ? { write: "unrestricted", part: anyWrite(random, randomApp, 1) }
    : anyWrite(random, randomApp, depth)
}

const anyWrite = (random: Random, randomApp: RandomApp, depth: number): Write => {
  // Members come and go more often than other rows.
  const isOfMembers = randomApp.policies !== undefined && random.chance(0.3)
  const table = isOfMembers ? 0 : random.int(randomApp.specs.length)
  const spec = randomApp.specs[table]!
  const key = keyOfRow(random, randomApp, table)
  const kind = random.int(depth < 2 ? 24 : 20)
  if (kind < 5)
    return { write: "insert", table, rows: random.array(1 + random.int(3), () => randomRow(random, randomApp, table)) }
  if (kind < 8) {
    const changed = random.shuffle(spec.columns).slice(0, 1 + random.int(2))
    const values = Object.fromEntries(changed.map((column) => [column.name, valueOf(random, randomApp, column)]))
    return { write: "patch", table, key, values }
  }
  if (kind < 9) return { write: "replace", table, key, values: randomRow(random, randomApp, table) }
  if (kind < 12) return { write: "upsert", table, values: randomRow(random, randomApp, table) }
  if (kind < 16) return { write: "delete", table, key }
  if (kind < 19) {
    const statement: Write = { write: "sql", ...randomStatement(random, randomApp) }
    return randomApp.policies === undefined ? statement : { write: "unrestricted", part: statement }
  }
  if (kind < 20)
    return depth === 0
      ? { write: "all", parts: [], nested: true, caught: false }
      : { write: random.pick(["fail", "die"] as const) }
  return {
    write: "all",
    parts: random.array(1 + random.int(3), () => randomWrite(random, randomApp, depth + 1)),
    nested: random.chance(0.6),
    caught: random.chance(0.6)
  }
}

const randomStatement = (
  random: Random,
  randomApp: RandomApp
): { readonly sql: string; readonly params: ReadonlyArray<Value> } => {
  const table = random.int(randomApp.specs.length)
  const spec = randomApp.specs[table]!
  const column = random.pick(spec.columns)
  const value = sqlValue(valueOf(random, randomApp, column))
  const key = keyOfRow(random, randomApp, table)
  const t = identifier(random, spec.name)
  const insert = () => {
    const row: Row = randomRow(random, randomApp, table)
    if (spec.isStamped) row["at"] = 7
    const names = Object.keys(row)
    return {
      text: `${t} (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`,
      params: Object.values(row).map(sqlValue)
    }
  }
  switch (random.int(8)) {
    case 0:
      return { sql: `UPDATE ${t} SET ${column.name} = ? WHERE id = ?`, params: [value, key] }
    case 1:
      return { sql: `DELETE FROM ${t} WHERE id = ?`, params: [key] }
    case 2: {
      const { params, text } = insert()
      return { sql: `INSERT OR REPLACE INTO ${text}`, params }
    }
    case 3: {
      const { params, text } = insert()
      return {
        sql: `INSERT INTO ${text} ON CONFLICT (id) DO UPDATE SET ${column.name} = excluded.${column.name}`,
        params
      }
    }
    case 4: {
      const other = random.pick(randomApp.specs)
      return {
        sql: `UPDATE ${t} SET ${column.name} = ? FROM ${other.name} o WHERE o.id = ${spec.name}.id`,
        params: [value]
      }
    }
    case 5:
      return {
        sql: `WITH gone AS (SELECT id FROM ${spec.name} WHERE ${column.name} IS ? LIMIT 1) DELETE FROM ${t} WHERE id IN gone RETURNING id`,
        params: [value]
      }
    case 6: {
      // Two statements, of which the second can fail.
      const { params, text } = insert()
      return {
        sql: `DELETE FROM ${spec.name} WHERE id = (SELECT min(id) FROM ${spec.name}); INSERT INTO ${text}`,
        params
      }
    }
    default:
      return { sql: `UPDATE OR IGNORE ${t} SET ${column.name} = ?`, params: [value] }
  }
}

/** Views over the tables of an app, for SQL that names no table. */
export const views = (randomApp: RandomApp): ReadonlyArray<string> =>
  randomApp.specs.map(({ name }) => `CREATE VIEW IF NOT EXISTS view_${name} AS SELECT id FROM ${name}`)
