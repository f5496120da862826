import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { type Auth, Table } from "effect-dormouse"
import { Policy } from "effect-dormouse/auth"
import type { Random } from "../random.ts"

/**
 * Random tables, rows and policies, and what the policies mean: conditions are evaluated on plain objects, as SQL would,
 * with null for "unknown". Nothing here is shared with the implementation.
 */

export type Row = Readonly<Record<string, any>>
export type Rows = Record<TableName, Map<string, Row>>
export type TableName = "items" | "grants" | "links"

class Item extends Model.Class<Item>("oracle/Item")({
  id: Schema.String,
  a: Schema.String,
  n: Schema.NullOr(Schema.Int),
  o: Schema.optionalKey(Schema.String),
  f: Schema.Boolean,
  s: Schema.String
}) {}
class Grant extends Model.Class<Grant>("oracle/Grant")({
  id: Schema.String,
  user: Schema.String,
  scope: Schema.NullOr(Schema.String),
  level: Schema.Int
}) {}
class Link extends Model.Class<Link>("oracle/Link")({
  id: Schema.String,
  item: Schema.String,
  owner: Schema.NullOr(Schema.String)
}) {}
const models = { items: Item, grants: Grant, links: Link }

type Kind = "text" | "int" | "bool"
export const columns: Record<TableName, Readonly<Record<string, Kind>>> = {
  items: { id: "text", a: "text", n: "int", o: "text", f: "bool", s: "text" },
  grants: { id: "text", user: "text", scope: "text", level: "int" },
  links: { id: "text", item: "text", owner: "text" }
}

const texts = ["x", "y", "u0", "u1", "i1"]
const ints = [0, 1, 2, 3]
export const users = ["u0", "u1", "u2"]

export const valueOf = (random: Random, kind: Kind): any =>
  kind === "text" ? random.pick(texts) : kind === "int" ? random.pick(ints) : random.chance(0.5)

// Conditions

type Operand =
  | { readonly at: number; readonly table: TableName; readonly column: string }
  | { readonly literal: any }
  | { readonly subject: true }
  | { readonly claim: string }

type Op = "eq" | "ne" | "lt" | "lte" | "gt" | "gte"

export type Spec =
  | { readonly is: "constant"; readonly value: boolean }
  | { readonly is: "compare"; readonly op: Op; readonly left: Operand; readonly right: Operand }
  | { readonly is: "in"; readonly value: Operand; readonly list: ReadonlyArray<any> | "claim" }
  | { readonly is: "null"; readonly value: Operand }
  | { readonly is: "and" | "or"; readonly all: ReadonlyArray<Spec> }
  | { readonly is: "not"; readonly of: Spec }
  | {
      readonly is: "exists"
      readonly table: TableName
      readonly bound: ReadonlyArray<readonly [string, Operand]>
      readonly more: Spec | undefined
    }

const columnAt = (random: Random, scopes: ReadonlyArray<TableName>, kind?: Kind): Operand => {
  const found = scopes.flatMap((table, at) =>
    Object.entries(columns[table]).flatMap(([column, of]) =>
      kind === undefined || of === kind ? [{ at, table, column }] : []
    )
  )
  return found.length === 0 ? columnAt(random, scopes, "text") : random.pick(found)
}

const kindAt = (operand: Operand): Kind => ("at" in operand ? columns[operand.table][operand.column]! : "text")

/** A condition about the rows of these tables, the outermost first; about the caller alone if there are none. */
export const condition = (random: Random, scopes: ReadonlyArray<TableName>, depth = 3): Spec => {
  const again = () => condition(random, scopes, depth - 1)
  const kind = random.int(depth > 0 ? 12 : 6)
  if (scopes.length === 0 && kind < 6) {
    return random.pick<() => Spec>([
      () => ({ is: "compare", op: "eq", left: { claim: "admin" }, right: { literal: true } }),
      () => ({
        is: "compare",
        op: random.pick(["eq", "ne"]),
        left: { subject: true },
        right: { literal: random.pick(users) }
      }),
      () => ({ is: "compare", op: random.pick(["lt", "gte"]), left: { claim: "level" }, right: { literal: 1 } }),
      () => ({ is: "null", value: random.pick([{ subject: true }, { claim: "level" }]) }),
      () => ({ is: "constant", value: random.chance(0.7) })
    ])()
  }
  switch (kind) {
    case 0: {
      const left = columnAt(random, scopes)
      const op = random.pick<Op>(["eq", "eq", "ne", "lt", "lte", "gt", "gte"])
      return { is: "compare", op, left, right: { literal: valueOf(random, kindAt(left)) } }
    }
    case 1: {
      const left = columnAt(random, scopes)
      return {
        is: "compare",
        op: random.pick<Op>(["eq", "ne", "lt"]),
        left,
        right: columnAt(random, scopes, kindAt(left))
      }
    }
    case 2:
      return {
        is: "compare",
        op: random.pick<Op>(["eq", "eq", "ne"]),
        left: columnAt(random, scopes, "text"),
        right: { subject: true }
      }
    case 3: {
      const left = columnAt(random, scopes, "int")
      const right: Operand = kindAt(left) === "int" ? { claim: "level" } : { subject: true }
      return { is: "compare", op: random.pick<Op>(["eq", "lte", "gt"]), left, right }
    }
    case 4: {
      const value = columnAt(random, scopes, "text")
      const list = random.chance(0.5) ? ("claim" as const) : random.array(random.int(3), () => valueOf(random, "text"))
      return { is: "in", value, list }
    }
    case 5:
      return { is: "null", value: columnAt(random, scopes) }
    case 6:
    case 7:
      return { is: random.pick(["and", "or"] as const), all: random.array(1 + random.int(3), again) }
    case 8:
      return { is: "not", of: again() }
    default:
      return exists(random, scopes, depth)
  }
}

const exists = (random: Random, scopes: ReadonlyArray<TableName>, depth: number): Spec => {
  const table = random.pick<TableName>(["grants", "grants", "items"])
  const outer = (kind: Kind): Operand =>
    scopes.length > 0 && random.chance(0.5)
      ? columnAt(random, scopes, kind)
      : random.chance(0.7)
        ? { subject: true }
        : { literal: valueOf(random, kind) }
  const bound: Array<readonly [string, Operand]> =
    table === "items"
      ? [["id", outer("text")]]
      : [random.chance(0.5) ? ["user", outer("text")] : ["scope", outer("text")]]
  if (table === "grants" && random.chance(0.5)) bound.push(["user", outer("text")])
  const more = random.chance(0.5) ? condition(random, [...scopes, table], depth - 2) : undefined
  return { is: "exists", table, bound, more }
}

/** Whether a condition mentions the row of the policy. */
const mentionsRow = (spec: Spec): boolean => JSON.stringify(spec).includes('"at":0')

/** The condition as an author writes it. */
export const declared = (spec: Spec, scopes: ReadonlyArray<any>, me: Policy.Me, tables: Tables): Policy.Condition => {
  const term = (operand: Operand): any => {
    if ("at" in operand) return scopes[operand.at][operand.column]
    if ("literal" in operand) return operand.literal
    return "claim" in operand ? me.claims.of[operand.claim] : me.subject
  }
  switch (spec.is) {
    case "constant":
      return spec.value ? Policy.allow : Policy.deny
    case "compare":
      return Policy[spec.op](term(spec.left), term(spec.right))
    case "in":
      return Policy.in(term(spec.value), spec.list === "claim" ? me.claims.of.scopes : spec.list)
    case "null":
      return Policy.isNull(term(spec.value))
    case "and":
    case "or":
      return Policy[spec.is](...spec.all.map((part) => declared(part, scopes, me, tables)))
    case "not":
      return Policy.not(declared(spec.of, scopes, me, tables))
    case "exists": {
      const { bound, more } = spec
      // The names of columns are data here: several conditions on one column cannot be properties of one object.
      return Policy.exists(tables[spec.table], (row: any) =>
        Policy.and(
          ...bound.map(([column, value]) => Policy.eq(row[column], term(value))),
          ...(more === undefined ? [] : [declared(more, [...scopes, row], me, tables)])
        )
      )
    }
  }
}

/** Whether a condition holds: `null` when that is unknown. */
export const holds = (spec: Spec, scopes: ReadonlyArray<Row>, me: Auth.Identity, rows: Rows): boolean | null => {
  const claims: any = me.claims["of"] ?? {}
  const term = (operand: Operand, like: Kind | undefined): any => {
    const value =
      "at" in operand
        ? scopes[operand.at]![operand.column]
        : "literal" in operand
          ? operand.literal
          : "claim" in operand
            ? claims[operand.claim]
            : me.subject
    if (value === undefined || value === null) return null
    const type = { text: "string", int: "number", bool: "boolean" }[like ?? "text"]
    return like !== undefined && typeof value !== type ? null : value
  }
  switch (spec.is) {
    case "constant":
      return spec.value
    case "compare": {
      const sample = "literal" in spec.right ? spec.right.literal : undefined
      const kind: Kind =
        "at" in spec.left
          ? kindAt(spec.left)
          : typeof sample === "boolean"
            ? "bool"
            : typeof sample === "number"
              ? "int"
              : "text"
      const [left, right] = [term(spec.left, kind), term(spec.right, kind)]
      if (left === null || right === null) return null
      return {
        eq: left === right,
        ne: left !== right,
        lt: left < right,
        lte: left <= right,
        gt: left > right,
        gte: left >= right
      }[spec.op]
    }
    case "in": {
      const list: unknown = spec.list === "claim" ? claims.scopes : spec.list
      if (!Array.isArray(list)) return null
      if (list.length === 0) return false
      const value = term(spec.value, "text")
      if (value === null) return null
      if (list.includes(value)) return true
      return list.every((item) => typeof item === "string") ? false : null
    }
    case "null":
      return term(spec.value, undefined) === null
    case "and":
    case "or": {
      const found = spec.all.map((part) => holds(part, scopes, me, rows))
      const decisive = spec.is === "or"
      return found.includes(decisive) ? decisive : found.includes(null) ? null : !decisive
    }
    case "not": {
      const found = holds(spec.of, scopes, me, rows)
      return found === null ? null : !found
    }
    case "exists":
      return [...rows[spec.table].values()].some(
        (row) =>
          spec.bound.every(([column, operand]) => {
            const value = term(operand, columns[spec.table][column]!)
            return value !== null && row[column] === value
          }) &&
          (spec.more === undefined || holds(spec.more, [...scopes, row], me, rows) === true)
      )
  }
}

// Tables and their policies

export interface Tables {
  readonly items: any
  readonly grants: any
  readonly links: any
}

export interface FieldSpec {
  /** Whether the condition has the row as its outermost scope. */
  readonly hasRow: boolean
  readonly read: Spec
  readonly mask: unknown
}

/** The policies of one table. */
export interface PolicySpec {
  readonly read: Spec
  readonly insert: Spec
  readonly update: Spec
  readonly delete: Spec
}

/** Random tables with random policies, and what those mean. */
export class PolicyOracle {
  readonly tables: Tables
  /** The same tables without anything that the rows of a part of the database could violate. */
  readonly plain: Tables
  readonly policies: ReadonlyArray<Policy.Policy>
  readonly rows: Rows = { items: new Map(), grants: new Map(), links: new Map() }
  readonly indexes: Record<TableName, Readonly<Record<string, ReadonlyArray<string>>>>
  readonly uniqueColumns: ReadonlyArray<string>
  readonly specs: Readonly<Partial<Record<TableName, ReadonlyArray<PolicySpec>>>>
  readonly fields: Readonly<Record<string, FieldSpec>>
  readonly setsSecret: boolean

  constructor(random: Random) {
    const all = { byA: ["a", "n"], byN: ["n"], byO: ["o", "a"], byS: ["s"], byF: ["f", "n"] }
    const unique = random.chance(0.5)
    this.uniqueColumns = unique ? ["o"] : []
    this.indexes = {
      items: { ...all, ...(unique && { unique: ["o"] }) },
      grants: { byUser: ["user", "scope"], byScope: ["scope"] },
      links: { reference_item: ["item"], byOwner: ["owner"] }
    }
    const make = (isPlain: boolean): Tables => {
      const items: any = Table.make("items", models.items, {
        key: "id",
        indexes: {
          byA: ["a", "n"],
          byN: ["n"],
          byO: ["o", "a"],
          byS: ["s"],
          byF: ["f", "n"],
          ...(unique && { unique: { columns: ["o"], unique: !isPlain } })
        } as any
      })
      return {
        items,
        grants: Table.make("grants", models.grants, { key: "id", indexes: this.indexes["grants"] as any }),
        links: Table.make("links", models.links, {
          key: "id",
          indexes: { byOwner: ["owner"], ...(isPlain && { reference_item: ["item"] }) } as any,
          ...(!isPlain && { references: { item: { table: () => items } } })
        })
      }
    }
    this.tables = make(false)
    this.plain = make(true)
    const spec = (table: TableName): PolicySpec => ({
      read: condition(random, [table]),
      insert: condition(random, [table], 2),
      update: condition(random, [table], 2),
      delete: condition(random, [table], 2)
    })
    this.specs = {
      items: random.array(1 + random.int(2), () => spec("items")),
      ...(random.chance(0.7) && { links: [spec("links")] })
    }
    const field = () => {
      const hasRow = random.chance(0.5)
      return { hasRow, read: condition(random, hasRow ? ["items"] : [], 2) }
    }
    this.fields = {
      ...(random.chance(0.4) && { n: { ...field(), mask: null } }),
      ...(random.chance(0.4) && { o: { ...field(), mask: undefined } }),
      ...(random.chance(0.4) && { s: { ...field(), mask: "***" } })
    }
    this.setsSecret = random.chance(0.3)
    const rule =
      (spec: Spec, hasRow = true) =>
      (subject: any) =>
        declared(spec, hasRow ? [subject.row] : [], subject.me, this.tables)
    this.policies = Object.entries(this.specs).flatMap(([table, specs]) =>
      specs.map((spec, i) =>
        Policy.make(this.tables[table as TableName], {
          read: rule(spec.read),
          insert: rule(spec.insert),
          update: rule(spec.update),
          delete: rule(spec.delete),
          ...(table === "items" &&
            i === 0 && {
              fields: Object.fromEntries(
                Object.entries(this.fields).map(([name, { hasRow, mask, read }]) => [
                  name,
                  { read: rule(read, hasRow), ...(typeof mask === "string" && { mask }) }
                ])
              ),
              ...(this.setsSecret && { set: { s: ({ me }: any) => me.subject } })
            })
        })
      )
    )
  }

  allows(table: TableName, operation: keyof PolicySpec, row: Row, me: Auth.Identity): boolean {
    const specs = this.specs[table]
    return specs === undefined || specs.some((spec) => holds(spec[operation], [row], me, this.rows) === true)
  }

  hidden(table: TableName, row: Row, me: Auth.Identity): ReadonlyArray<string> {
    if (table !== "items") return []
    return Object.entries(this.fields).flatMap(([name, { hasRow, read }]) =>
      holds(read, hasRow ? [row] : [], me, this.rows) === true ? [] : [name]
    )
  }

  /** A row as the caller may see it. */
  shown(table: TableName, row: Row, me: Auth.Identity): Row {
    const next: Record<string, unknown> = { ...row }
    for (const name of this.hidden(table, row, me)) {
      const { mask } = this.fields[name]!
      if (mask === undefined) delete next[name]
      else next[name] = mask
    }
    return next
  }

  isVisible(table: TableName, row: Row, column: string, me: Auth.Identity): boolean {
    return this.allows(table, "read", row, me) && !this.hidden(table, row, me).includes(column)
  }

  /** Whether the order of an index tells hidden values: `undefined` if that depends on how much of it is known. */
  isRefused(table: TableName, index: string | undefined, me: Auth.Identity): boolean | undefined {
    const rules = (table === "items" && index !== undefined ? this.indexes[table][index]! : [])
      .flatMap((column) => this.fields[column] ?? [])
      .map(({ hasRow, read }) => {
        if (hasRow && mentionsRow(read)) return undefined
        return holds(read, hasRow ? [{}] : [], me, this.rows) !== true
      })
    return rules.includes(true) ? true : rules.includes(undefined) ? undefined : false
  }
}
