import type { Auth } from "effect-dormouse"
import { Policy } from "effect-dormouse/auth"
import type { Random } from "../random.ts"

/**
 * Random conditions of policies, and what they mean: they are evaluated on plain objects, as SQL would, with null for
 * "unknown". Nothing here is shared with the implementation.
 */

export type Row = Readonly<Record<string, any>>
/** The rows of each table, by key. */
export type Rows = Readonly<Record<string, ReadonlyMap<unknown, Row>>>
export type Kind = "text" | "int" | "bool"

/** The tables that conditions are about. */
export interface Shape {
  readonly columns: Readonly<Record<string, Readonly<Record<string, Kind>>>>
  readonly valueOf: (random: Random, kind: Kind) => any
  readonly users: ReadonlyArray<string>
  /** What `exists` looks up: a table, and the columns of an index that it compares. */
  readonly lookups: ReadonlyArray<{ readonly table: string; readonly by: ReadonlyArray<string> }>
  /** The columns that are mostly compared with the caller when they are looked up. */
  readonly callers?: ReadonlySet<string>
}

type Operand =
  | { readonly at: number; readonly table: string; readonly column: string }
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
      readonly table: string
      readonly bound: ReadonlyArray<readonly [string, Operand]>
      readonly more: Spec | undefined
    }

const columnAt = (random: Random, shape: Shape, scopes: ReadonlyArray<string>, kind?: Kind): Operand => {
  const found = scopes.flatMap((table, at) =>
    Object.entries(shape.columns[table]!).flatMap(([column, of]) =>
      kind === undefined || of === kind ? [{ at, table, column }] : []
    )
  )
  return found.length === 0 ? columnAt(random, shape, scopes, "text") : random.pick(found)
}

const kindAt = ({ columns }: Shape, operand: Operand): Kind =>
  "at" in operand ? columns[operand.table]![operand.column]! : "text"

/** A condition about the rows of these tables, the outermost first; about the caller alone if there are none. */
export const condition = (random: Random, shape: Shape, scopes: ReadonlyArray<string>, depth = 3): Spec => {
  const again = () => condition(random, shape, scopes, depth - 1)
  const kind = random.int(depth > 0 ? 12 : 6)
  if (scopes.length === 0 && kind < 6) {
    return random.pick<() => Spec>([
      () => ({ is: "compare", op: "eq", left: { claim: "admin" }, right: { literal: true } }),
      () => ({
        is: "compare",
        op: random.pick(["eq", "ne"]),
        left: { subject: true },
        right: { literal: random.pick(shape.users) }
      }),
      () => ({ is: "compare", op: random.pick(["lt", "gte"]), left: { claim: "level" }, right: { literal: 1 } }),
      () => ({ is: "null", value: random.pick([{ subject: true }, { claim: "level" }]) }),
      () => ({ is: "constant", value: random.chance(0.7) })
    ])()
  }
  switch (kind) {
    case 0: {
      const left = columnAt(random, shape, scopes)
      const op = random.pick<Op>(["eq", "eq", "ne", "lt", "lte", "gt", "gte"])
      return { is: "compare", op, left, right: { literal: shape.valueOf(random, kindAt(shape, left)) } }
    }
    case 1: {
      const left = columnAt(random, shape, scopes)
      return {
        is: "compare",
        op: random.pick<Op>(["eq", "ne", "lt"]),
        left,
        right: columnAt(random, shape, scopes, kindAt(shape, left))
      }
    }
    case 2:
      return {
        is: "compare",
        op: random.pick<Op>(["eq", "eq", "ne"]),
        left: columnAt(random, shape, scopes, "text"),
        right: { subject: true }
      }
    case 3: {
      const left = columnAt(random, shape, scopes, "int")
      const right: Operand = kindAt(shape, left) === "int" ? { claim: "level" } : { subject: true }
      return { is: "compare", op: random.pick<Op>(["eq", "lte", "gt"]), left, right }
    }
    case 4: {
      const value = columnAt(random, shape, scopes, "text")
      const list = random.chance(0.5)
        ? ("claim" as const)
        : random.array(random.int(3), () => shape.valueOf(random, "text"))
      return { is: "in", value, list }
    }
    case 5:
      return { is: "null", value: columnAt(random, shape, scopes) }
    case 6:
    case 7:
      return { is: random.pick(["and", "or"] as const), all: random.array(1 + random.int(3), again) }
    case 8:
      return { is: "not", of: again() }
    default:
      return exists(random, shape, scopes, depth)
  }
}

const exists = (random: Random, shape: Shape, scopes: ReadonlyArray<string>, depth: number): Spec => {
  const { by, table } = random.pick(shape.lookups)
  const bound = by.map((column): readonly [string, Operand] => {
    const kind = shape.columns[table]![column]!
    if (shape.callers?.has(column) === true && random.chance(0.6)) return [column, { subject: true }]
    const hasColumn = scopes.some((scope) => Object.values(shape.columns[scope]!).includes(kind))
    if (hasColumn && random.chance(0.5)) return [column, columnAt(random, shape, scopes, kind)]
    const isCaller = kind === "text" && random.chance(0.7)
    return [column, isCaller ? { subject: true } : { literal: shape.valueOf(random, kind) }]
  })
  const more = random.chance(0.5) ? condition(random, shape, [...scopes, table], depth - 2) : undefined
  return { is: "exists", table, bound, more }
}

/** Whether a condition mentions the row of the policy. */
export const mentionsRow = (spec: Spec): boolean => JSON.stringify(spec).includes('"at":0')

/** The condition as an author writes it. */
export const declared = (spec: Spec, scopes: ReadonlyArray<any>, me: Policy.Me, tables: any): Policy.Condition => {
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
export const holds = (
  shape: Shape,
  spec: Spec,
  scopes: ReadonlyArray<Row>,
  me: Auth.Identity,
  rows: Rows
): boolean | null => {
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
          ? kindAt(shape, spec.left)
          : typeof sample === "boolean"
            ? "bool"
            : typeof sample === "number"
              ? "int"
              : "text"
      const [left, right] = [term(spec.left, kind), term(spec.right, kind)]
      if (left === null || right === null) return null
      const order = compare(left, right)
      return {
        eq: order === 0,
        ne: order !== 0,
        lt: order < 0,
        lte: order <= 0,
        gt: order > 0,
        gte: order >= 0
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
      const found = spec.all.map((part) => holds(shape, part, scopes, me, rows))
      const decisive = spec.is === "or"
      return found.includes(decisive) ? decisive : found.includes(null) ? null : !decisive
    }
    case "not": {
      const found = holds(shape, spec.of, scopes, me, rows)
      return found === null ? null : !found
    }
    case "exists":
      return [...rows[spec.table]!.values()].some(
        (row) =>
          spec.bound.every(([column, operand]) => {
            const value = term(operand, shape.columns[spec.table]![column]!)
            return value !== null && row[column] === value
          }) &&
          (spec.more === undefined || holds(shape, spec.more, [...scopes, row], me, rows) === true)
      )
  }
}

/** As SQLite orders them: text by its bytes. */
const compare = (left: any, right: any): number =>
  typeof left === "string" ? Buffer.compare(Buffer.from(left), Buffer.from(right)) : Number(left) - Number(right)
