/**
 * Conditions of policies, compiled for the rows that SQLite stores: columns by position, literals encoded, negations at the
 * leaves. Every other part only asks whether something is certainly true, so SQL's "unknown" is false here.
 */
import * as Result from "effect/Result"
import type { Policy } from "../../contract/Policy.ts"
import type { Comparison, Condition, Operand, Scope } from "../../contract/PolicyCondition.ts"
import type { AnyTable } from "../../contract/TablePlan.ts"
import type { SqlValue } from "../Database.ts"
import * as RowCodec from "./RowCodec.ts"

/** A value of a comparison. `depth` counts the rows: 0 is the row of the policy, 1 that of an `exists` in it. */
export type Term =
  | { readonly _tag: "Column"; readonly depth: number; readonly position: number }
  | { readonly _tag: "Value"; readonly value: SqlValue }
  /** The subject, or the claim at a path, in the form of the column that it is compared with. */
  | {
      readonly _tag: "Caller"
      readonly path: ReadonlyArray<string> | undefined
      readonly kind: RowCodec.ColumnKind | undefined
    }

/** A list of values: claims, or literals. Null stands for one that can equal nothing. */
export type List = ReadonlyArray<SqlValue> | Extract<Term, { _tag: "Caller" }>

/** A compiled condition. A boolean is decided. */
export type Node =
  | boolean
  | { readonly _tag: "Compare"; readonly comparison: Comparison; readonly left: Term; readonly right: Term }
  | { readonly _tag: "In"; readonly term: Term; readonly list: List; readonly negated: boolean }
  | { readonly _tag: "IsNull"; readonly term: Term; readonly asJson: boolean; readonly negated: boolean }
  | { readonly _tag: "All" | "Any"; readonly nodes: ReadonlyArray<Node> }
  | ExistsNode

/** Whether another table has a row. */
export interface ExistsNode {
  readonly _tag: "Exists"
  readonly table: string
  readonly index: string
  /** The positions of the bound columns, the first of the index, and their values. */
  readonly columns: ReadonlyArray<number>
  readonly prefix: ReadonlyArray<Term>
  readonly rest: Node
  readonly depth: number
  readonly negated: boolean
}

/** A field with rules of its own. */
export interface FieldProgram {
  readonly column: RowCodec.Column
  readonly position: number
  readonly read: Node
  readonly write: Node
  /** What SQLite would store for the value that is shown instead. */
  readonly mask: SqlValue
}

/** All policies of one table, compiled. */
export interface PolicyProgram {
  readonly read: Node
  readonly insert: Node
  readonly update: Node
  readonly delete: Node
  readonly fields: ReadonlyArray<FieldProgram>
  /** The values that the server sets: an operand that is a claim, the subject or a literal. */
  readonly set: ReadonlyArray<{ readonly column: RowCodec.Column; readonly value: Operand }>
}

const negations: Record<Comparison, Comparison> = { eq: "ne", ne: "eq", lt: "gte", lte: "gt", gt: "lte", gte: "lt" }

/** Compiles all policies of one table: a row may be read if one of them allows it. */
export const make = (table: AnyTable, policies: ReadonlyArray<Policy>, operandOf: (value: unknown) => Operand) => {
  const codec = RowCodec.of(table)
  const columnOf = (name: string) => codec.columns[codec.columnIndex.get(name)!]!
  const any = (parts: ReadonlyArray<readonly [Policy, Condition | undefined]>): Node =>
    join(
      "Any",
      parts.map(([policy, condition]) => (condition === undefined ? false : compile(condition, [policy.scope])))
    )
  const rule = (name: "read" | "insert" | "update" | "delete") =>
    any(policies.map((policy) => [policy, policy.conditions[name]]))
  const fields = [...new Set(policies.flatMap(({ fields }) => [...fields.keys()]))].map((name): FieldProgram => {
    const governing = policies.filter((policy) => policy.fields.has(name))
    const fieldRule = (kind: "read" | "write") =>
      any(governing.map((policy) => [policy, policy.fields.get(name)![kind] ?? { _tag: "Constant", value: true }]))
    const mask = governing.map((policy) => policy.fields.get(name)!.mask).find((mask) => mask !== undefined)
    const column = columnOf(name)
    return {
      column,
      position: codec.columnIndex.get(name)!,
      read: fieldRule("read"),
      write: fieldRule("write"),
      mask: mask === undefined ? absent(column) : literal(table, column, mask.value)
    }
  })
  const set = policies.flatMap((policy) =>
    Array.from(policy.set, ([name, given]) => {
      const [column, value] = [columnOf(name), operandOf(given)]
      if (value._tag === "Literal") literal(table, column, value.value)
      return { column, value }
    })
  )
  const program: PolicyProgram = {
    read: rule("read"),
    insert: rule("insert"),
    update: rule("update"),
    delete: rule("delete"),
    fields,
    set
  }
  return program
}

/** What SQLite stores for a field without a value: NULL, or the JSON text `null` where NULL is not allowed. */
const absent = (column: RowCodec.Column): SqlValue => (column.notNull ? "null" : null)

const literal = (table: AnyTable, column: RowCodec.Column, value: unknown): SqlValue =>
  Result.getOrThrowWith(
    RowCodec.of(table).encodeField(column, value),
    (issue) => new Error(`a policy has a value that does not fit table ${table.name}: ${issue}`)
  )

/** Compiles a condition. `scopes` are the rows that it can refer to, the outermost first. */
const compile = (condition: Condition, scopes: ReadonlyArray<Scope>, negated = false): Node => {
  switch (condition._tag) {
    case "Constant":
      return condition.value !== negated
    case "Not":
      return compile(condition.condition, scopes, !negated)
    case "And":
    case "Or": {
      const nodes = condition.conditions.map((part) => compile(part, scopes, negated))
      return join((condition._tag === "And") !== negated ? "All" : "Any", nodes)
    }
    case "Compare": {
      const { left, right } = condition
      const comparison = negated ? negations[condition.comparison] : condition.comparison
      const form = formOf([left, right], scopes)
      return { _tag: "Compare", comparison, left: termOf(left, form, scopes), right: termOf(right, form, scopes) }
    }
    case "In": {
      const { list, operand } = condition
      const literals = "_tag" in list ? [] : list.map((value): Operand => ({ _tag: "Literal", value }))
      const form = formOf([operand, ...literals], scopes)
      const values = "_tag" in list ? termOf(list, form, scopes) : list.map((value) => stored(value, form))
      if ("_tag" in values && values._tag !== "Caller")
        throw new Error("a policy compares with a list that is no claim")
      return { _tag: "In", term: termOf(operand, form, scopes), list: values, negated }
    }
    case "IsNull": {
      const column = columnIn(condition.operand, scopes)?.column
      if (column?.notNull === true && !column.nullAsJson) return negated
      const term = termOf(condition.operand, undefined, scopes)
      return { _tag: "IsNull", term, asJson: column?.nullAsJson === true, negated }
    }
    case "Exists": {
      const { table } = condition.scope
      const depth = scopes.length
      const codec = RowCodec.of(table)
      const inner = [...scopes, condition.scope]
      return {
        _tag: "Exists",
        table: table.name,
        index: condition.index,
        columns: condition.bound.map(([column]) => codec.columnIndex.get(column)!),
        prefix: condition.bound.map(([column, value]) => {
          const bound: Operand = { _tag: "Column", scope: condition.scope, column }
          columnIn(value, scopes)
          return termOf(value, formOf([bound, value], inner), inner)
        }),
        // A row is found or not: the condition inside is asked for as it is, also under a negation.
        rest: compile(condition.rest, inner),
        depth,
        negated
      }
    }
  }
}

/** A column that a condition compares, with its table. */
interface ComparedColumn {
  readonly table: AnyTable
  readonly column: RowCodec.Column
}

/** The form in which two values are compared: that of a column, or of a literal. */
type Form = ComparedColumn | "text" | "real" | "boolean" | undefined

const columnIn = (operand: Operand, scopes: ReadonlyArray<Scope>): ComparedColumn | undefined => {
  if (operand._tag !== "Column") return undefined
  const { table } = operand.scope
  if (!scopes.includes(operand.scope)) {
    throw new Error(`a policy compares ${table.name}.${operand.column} outside of the rule that it belongs to`)
  }
  const codec = RowCodec.of(table)
  return { table, column: codec.columns[codec.columnIndex.get(operand.column)!]! }
}

/** The form in which operands are compared. Throws when two of them have no common form. */
const formOf = (operands: ReadonlyArray<Operand>, scopes: ReadonlyArray<Scope>): Form => {
  const [first, ...others] = operands.flatMap((operand) => columnIn(operand, scopes) ?? [])
  if (first !== undefined) {
    for (const other of [first, ...others]) {
      if (areComparable(first.column, other.column)) continue
      const nameOf = ({ column, table }: ComparedColumn) => `${table.name}.${column.name} (${column.kind})`
      throw new Error(
        `a policy compares ${nameOf(first)} with ${other === first ? "a value" : nameOf(other)}; nested values and ` +
          "values of different types have no order"
      )
    }
    return first
  }
  const literals = operands.flatMap((operand) => (operand._tag === "Literal" ? [kindOf(operand.value)] : []))
  if (new Set(literals).size > 1) throw new Error("a policy compares a claim with values of different types")
  return literals[0]
}

const areComparable = (a: RowCodec.Column, b: RowCodec.Column): boolean => {
  const isNumber = ({ kind }: RowCodec.Column) => kind === "integer" || kind === "real"
  return a.kind !== "json" && (a.kind === b.kind || (isNumber(a) && isNumber(b)))
}

const kindOf = (value: unknown): "text" | "real" | "boolean" => {
  if (typeof value === "string") return "text"
  if (typeof value === "number") return "real"
  if (typeof value === "boolean") return "boolean"
  throw new Error("a policy compares a claim with a value that is no text, number or boolean")
}

const termOf = (operand: Operand, form: Form, scopes: ReadonlyArray<Scope>): Term => {
  switch (operand._tag) {
    case "Column": {
      const { table } = columnIn(operand, scopes)!
      const position = RowCodec.of(table).columnIndex.get(operand.column)!
      return { _tag: "Column", depth: scopes.indexOf(operand.scope), position }
    }
    case "Literal":
      return { _tag: "Value", value: stored(operand.value, form) }
    case "Subject":
      return { _tag: "Caller", path: undefined, kind: typeof form === "object" ? form.column.kind : form }
    case "Claim":
      return { _tag: "Caller", path: operand.path, kind: typeof form === "object" ? form.column.kind : form }
  }
}

/** A literal as SQLite stores it in the column, or as a JSON value if it is compared with a claim. */
const stored = (value: unknown, form: Form): SqlValue => {
  if (value === null || value === undefined) return null
  if (typeof form === "object") return literal(form.table, form.column, value)
  if (typeof value === "boolean") return value ? 1 : 0
  return typeof value === "string" || typeof value === "number" ? value : null
}

/** Joins conditions. What other tables decide comes last: often it need not be looked up. */
export const join = (tag: "All" | "Any", nodes: ReadonlyArray<Node>): Node => {
  const decisive = tag === "Any"
  const open = nodes.filter((node) => node !== !decisive)
  if (open.includes(decisive)) return decisive
  if (open.length < 2) return open[0] ?? !decisive
  return { _tag: tag, nodes: open.toSorted((a, b) => cost(a) - cost(b)) }
}

const cost = (node: Node): number => {
  if (typeof node === "boolean") return 0
  if (node._tag === "Exists") return node.rest === true ? 2 : 3
  return node._tag === "All" || node._tag === "Any" ? Math.max(...node.nodes.map(cost)) : 1
}
