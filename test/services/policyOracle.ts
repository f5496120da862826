import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { type Auth, Table } from "effect-dormouse"
import { Policy } from "effect-dormouse/auth"
import type { Random } from "../random.ts"
import {
  condition,
  declared,
  holds,
  type Kind,
  mentionsRow,
  type Row,
  type Shape,
  type Spec
} from "./policyConditions.ts"

/**
 * Random tables, rows and policies, and what the policies mean: conditions are evaluated on plain objects, as SQL would,
 * with null for "unknown". Nothing here is shared with the implementation.
 */

export type { Row }
export type TableName = "items" | "grants" | "links"

class Item extends Model.Class<Item>("oracle/Item")({
  id: Schema.String,
  a: Schema.String,
  n: Schema.NullOr(Schema.Int),
  o: Schema.optionalKey(Schema.String),
  f: Schema.Boolean,
  s: Schema.String,
  m: Schema.String,
  h: Schema.String
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
  owner: Schema.NullOr(Schema.String),
  m: Schema.String
}) {}
const models = { items: Item, grants: Grant, links: Link }

/** The columns that conditions compare. Those that they do not compare have markers. */
export const columns: Record<TableName, Readonly<Record<string, Kind>>> = {
  items: { id: "text", a: "text", n: "int", o: "text", f: "bool", s: "text" },
  grants: { id: "text", user: "text", scope: "text", level: "int" },
  links: { id: "text", item: "text", owner: "text" }
}

const texts = ["x", "y", "u0", "u1", "i1"]
const ints = [0, 1, 2, 3]
export const users = ["u0", "u1", "u2"]

/** A value that no row has twice, and that nobody can guess: who is shown one was shown that row. */
export const marker = (random: Random): string =>
  `mark${random.array(3, () => random.int(2 ** 32).toString(36)).join("")}`

export const valueOf = (random: Random, kind: Kind): any =>
  kind === "text" ? random.pick(texts) : kind === "int" ? random.pick(ints) : random.chance(0.5)

const byId = { table: "items", by: ["id"] }
const shape: Shape = {
  columns,
  valueOf,
  users,
  lookups: [
    { table: "grants", by: ["user"] },
    { table: "grants", by: ["scope"] },
    { table: "grants", by: ["user", "user"] },
    { table: "grants", by: ["scope", "user"] },
    byId,
    byId
  ]
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
  readonly rows: Record<TableName, Map<string, Row>> = { items: new Map(), grants: new Map(), links: new Map() }
  readonly indexes: Record<TableName, Readonly<Record<string, ReadonlyArray<string>>>>
  readonly uniqueColumns: ReadonlyArray<string>
  readonly specs: Readonly<Partial<Record<TableName, ReadonlyArray<PolicySpec>>>>
  readonly fields: Readonly<Record<string, FieldSpec>>
  readonly setsSecret: boolean

  constructor(random: Random) {
    const all = {
      byA: ["a", "n"],
      byN: ["n"],
      byO: ["o", "a"],
      byS: ["s"],
      byF: ["f", "n"],
      byM: ["m"],
      byH: ["h", "a"]
    }
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
          byM: ["m"],
          byH: ["h", "a"],
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
      read: condition(random, shape, [table]),
      insert: condition(random, shape, [table], 2),
      update: condition(random, shape, [table], 2),
      delete: condition(random, shape, [table], 2)
    })
    this.specs = {
      items: random.array(1 + random.int(2), () => spec("items")),
      ...(random.chance(0.7) && { links: [spec("links")] })
    }
    const field = () => {
      const hasRow = random.chance(0.5)
      return { hasRow, read: condition(random, shape, hasRow ? ["items"] : [], 2) }
    }
    this.fields = {
      ...(random.chance(0.4) && { n: { ...field(), mask: null } }),
      ...(random.chance(0.4) && { o: { ...field(), mask: undefined } }),
      ...(random.chance(0.4) && { s: { ...field(), mask: "***" } }),
      ...(random.chance(0.7) && { h: { ...field(), mask: "***" } })
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
    return specs === undefined || specs.some((spec) => holds(shape, spec[operation], [row], me, this.rows) === true)
  }

  hidden(table: TableName, row: Row, me: Auth.Identity): ReadonlyArray<string> {
    if (table !== "items") return []
    return Object.entries(this.fields).flatMap(([name, { hasRow, read }]) =>
      holds(shape, read, hasRow ? [row] : [], me, this.rows) === true ? [] : [name]
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
        return holds(shape, read, hasRow ? [{}] : [], me, this.rows) !== true
      })
    return rules.includes(true) ? true : rules.includes(undefined) ? undefined : false
  }
}
