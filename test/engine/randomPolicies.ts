/// <reference types="node" />
import type { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Auth } from "effect-dormouse"
import { Policy } from "effect-dormouse/auth"
import type { Random } from "../random.ts"
import {
  condition,
  declared,
  holds,
  type Kind,
  type Row,
  type Rows,
  type Shape,
  type Spec
} from "../services/policyConditions.ts"
import type { ColumnSpec, TableSpec, Write } from "./randomApp.ts"

/**
 * Random policies for the tables of a random app, and which of its writes they deny. The first table has the members of
 * groups: most conditions look them up, and the app's writes change them.
 */

const subjects = ["ada", "bob", "cy"]
const groups = ["a", "b", "k0"]

/** Callers of an app with policies. */
export const callers: ReadonlyArray<Auth.Identity> = [
  { subject: "ada", claims: { of: { admin: true, level: 2, scopes: ["a", "k0"] } } },
  { subject: "bob", claims: { of: { level: 1, scopes: [] } } },
  { subject: "cy", claims: { of: { admin: false, scopes: ["b", "ada"] } } },
  { subject: null, claims: {} }
]

/** The table that policies look up. */
export const members: TableSpec = {
  name: "t0",
  key: "text",
  columns: [
    { name: "who", kind: "text", nullable: true, values: subjects },
    { name: "what", kind: "text", nullable: false, values: groups },
    { name: "level", kind: "integer", nullable: false, values: [0, 1, 2, 3] }
  ],
  indexes: [
    { name: "i0", columns: ["who", "what"], unique: false },
    { name: "i1", columns: ["what", "level"], unique: false }
  ],
  isStamped: false
}

/** The table with values that the conditions of policies compare its columns with. It has a column of text. */
export const withComparableValues = (spec: TableSpec): TableSpec => ({
  ...spec,
  columns: spec.columns.map((column, i) =>
    column.reference === undefined && (i === 0 || column.kind === "text")
      ? { ...column, kind: "text", values: ["", "é", "😀", ...groups, ...subjects] }
      : column
  )
})

const kindOf = (kind: ColumnSpec["kind"]): Kind => (kind === "text" ? "text" : kind === "boolean" ? "bool" : "int")

const shapeOf = (specs: ReadonlyArray<TableSpec>): Shape => ({
  columns: Object.fromEntries(
    specs.map(({ columns, key, name }) => [
      name,
      {
        id: kindOf(key),
        ...Object.fromEntries(columns.map(({ kind, name }) => [name, kindOf(kind)]))
      }
    ])
  ),
  valueOf: (random, kind) =>
    kind === "text"
      ? random.pick([...groups, ...subjects, "k1"])
      : kind === "int"
        ? random.pick([0, 1, 2, 3])
        : random.chance(0.5),
  users: subjects,
  lookups: [
    ...["who", "who,what", "what,who", "what"].map((by) => ({ table: members.name, by: by.split(",") })),
    ...specs.slice(1).map(({ name }) => ({ table: name, by: ["id"] }))
  ],
  callers: new Set(["who"])
})

type Rules = Readonly<Record<"read" | "insert" | "update" | "delete", Spec>>

interface TableRules {
  readonly rules: ReadonlyArray<Rules>
  readonly field: { readonly name: string; readonly read: Spec; readonly mask: unknown } | undefined
  /** The column that the server sets to the caller. */
  readonly set: string | undefined
}

/** Writes of one row or several rows of one table. */
type Leaf = Extract<Write, { readonly table: number }>

const randomRules = (random: Random, shape: Shape, { columns, name }: TableSpec): TableRules => {
  const allow: Spec = { is: "constant", value: true }
  const member: Spec = {
    is: "exists",
    table: members.name,
    bound: [
      ["who", { subject: true }],
      [
        "what",
        random.chance(0.5)
          ? { literal: random.pick(groups) }
          : { at: 0, table: name, column: textColumn(random, shape, name) }
      ]
    ],
    more: undefined
  }
  const ofWrites = () => (random.chance(0.4) ? allow : condition(random, shape, [name], 2))
  const rules = random.array(
    1 + random.int(2),
    (): Rules => ({
      read: random.chance(0.5) ? member : condition(random, shape, [name]),
      insert: ofWrites(),
      update: ofWrites(),
      delete: ofWrites()
    })
  )
  const plain = columns.filter(({ reference }) => reference === undefined)
  const hidden = random.pick(plain)
  const masks = { text: "***", integer: 0, real: 0.5, boolean: false }
  const settable = plain.filter(({ kind, nullable }) => kind === "text" && nullable)
  return {
    rules,
    field: random.chance(0.5)
      ? {
          name: hidden.name,
          read: random.chance(0.3) ? member : condition(random, shape, [name], 2),
          mask: hidden.nullable && random.chance(0.5) ? undefined : masks[hidden.kind]
        }
      : undefined,
    set: settable.length > 0 && random.chance(0.2) ? random.pick(settable).name : undefined
  }
}

const textColumn = (random: Random, { columns }: Shape, table: string): string => {
  const texts = Object.entries(columns[table]!).flatMap(([name, kind]) => (kind === "text" ? [name] : []))
  return texts.length === 0 ? "id" : random.pick(texts)
}

/** Policies of a random app, and what they mean. */
export class RandomPolicies {
  readonly policies: ReadonlyArray<Policy.Policy>
  /** What writes did that the policies deny. */
  readonly violations: Array<string> = []
  /** How often policies denied a write, and how often they allowed one. */
  readonly counts = { denied: 0, allowed: 0 }
  /** The database of the app. The test sets it. */
  database: DatabaseSync | undefined
  private readonly specs: ReadonlyArray<TableSpec>
  private readonly shape: Shape
  private readonly rules = new Map<string, TableRules>()

  constructor(random: Random, specs: ReadonlyArray<TableSpec>, tables: ReadonlyArray<any>) {
    this.specs = specs
    this.shape = shapeOf(specs)
    for (const spec of specs) {
      if (random.chance(spec === members ? 0.4 : 0.85)) this.rules.set(spec.name, randomRules(random, this.shape, spec))
    }
    const byName = Object.fromEntries(tables.map((table) => [table.name, table]))
    this.policies = [...this.rules].flatMap(([name, { field, rules, set }]) =>
      rules.map((rule, i) => {
        const of =
          (spec: Spec) =>
          ({ me, row }: any) =>
            declared(spec, [row], me, byName)
        return Policy.make(byName[name], {
          read: of(rule.read),
          insert: of(rule.insert),
          update: of(rule.update),
          delete: of(rule.delete),
          ...(i === 0 &&
            field !== undefined && {
              fields: { [field.name]: { read: of(field.read), ...(field.mask !== undefined && { mask: field.mask }) } }
            }),
          ...(i === 0 && set !== undefined && { set: { [set]: ({ me }: any) => me.subject } })
        })
      })
    )
  }

  /** Every row of the app's tables, as text. */
  dump(): string {
    return JSON.stringify(this.specs.map(({ name }) => this.stored(name)))
  }

  /** Runs a write of rows, and notes what the policies do not allow. */
  watch<A, E, R>(leaf: Leaf, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Auth.Auth> {
    return Effect.flatMap(Auth.identity, (me) =>
      Effect.suspend(() => {
        const before = this.dump()
        const verdict = this.verdict(leaf, me)
        return Effect.onExit(effect, (exit) =>
          Effect.sync(() => {
            const isDenied = Exit.isFailure(exit) && String(exit.cause).includes("PolicyDenied")
            if (isDenied) this.counts.denied++
            else if (Exit.isSuccess(exit)) this.counts.allowed++
            const what = `${me.subject}: ${JSON.stringify(leaf)} ended with ${String(exit)}`
            if (verdict === "denied" && !isDenied) this.violations.push(`not denied: ${what}`)
            const changesNothing = verdict !== undefined || Exit.isFailure(exit)
            if (changesNothing && this.dump() !== before) this.violations.push(`changed a row: ${what}`)
          })
        )
      })
    )
  }

  /** Whether a write is denied, or is about a row that does not exist for the caller; `undefined` if neither is certain. */
  private verdict(leaf: Leaf, me: Auth.Identity): "denied" | "absent" | undefined {
    const { name } = this.specs[leaf.table]!
    const rows = this.rows()
    const rules = this.rules.get(name)
    if (rules === undefined) return undefined
    const allows = (operation: keyof Rules, row: Row) =>
      rules.rules.some((rule) => holds(this.shape, rule[operation], [row], me, rows) === true)
    const { set } = rules
    const written = (row: Row): Row => (set === undefined ? row : { ...row, [set]: me.subject })
    const insert = (values: ReadonlyArray<Row>) =>
      values.every((row) => allows("insert", written(row))) ? undefined : "denied"
    const update = (old: Row, next: Row) => (allows("update", old) && allows("update", next) ? undefined : "denied")
    if (leaf.write === "insert") return insert(leaf.rows)
    const key = leaf.write === "upsert" ? leaf.values["id"] : leaf.key
    const old = rows[name]!.get(key)
    const isThere = old !== undefined && allows("read", old)
    if (leaf.write === "upsert")
      return isThere ? update(old, { ...old, ...written(leaf.values) }) : insert([leaf.values])
    if (!isThere) return "absent"
    switch (leaf.write) {
      case "patch":
        return update(old, { ...old, ...leaf.values })
      case "replace":
        return update(old, { ...old, ...written(leaf.values), id: key })
      case "delete":
        return allows("delete", old) ? undefined : "denied"
    }
  }

  private rows(): Rows {
    return Object.fromEntries(
      this.specs.map(({ columns, name }) => {
        const booleans = columns.flatMap(({ kind, name }) => (kind === "boolean" ? [name] : []))
        const rows = this.stored(name).map((stored) => {
          const row: Record<string, unknown> = { ...stored }
          for (const column of booleans) if (row[column] !== null) row[column] = row[column] === 1
          return row
        })
        return [name, new Map(rows.map((row) => [row["id"], row]))]
      })
    )
  }

  private stored(table: string): ReadonlyArray<Row> {
    const { database } = this
    if (database === undefined) throw new Error("the test did not set the database")
    const exists = database.prepare("SELECT 1 FROM sqlite_master WHERE name = ?").get(table) !== undefined
    return exists ? database.prepare(`SELECT * FROM ${table} ORDER BY id`).all() : []
  }
}
