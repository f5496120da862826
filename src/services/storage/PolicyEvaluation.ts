/**
 * Evaluates compiled conditions, as far as their values are known: with the caller and with whole rows to true or false,
 * with fewer columns to the condition that remains, which may become SQL.
 */
import type { Json } from "effect/Schema"
import type { Identity } from "../../contract/Auth.ts"
import type { Comparison } from "../../contract/PolicyCondition.ts"
import type { SqlValue } from "../Database.ts"
import { compareValues } from "./KeyOrder.ts"
import { type ExistsNode, join, type List, type Node, type Term } from "./PolicyProgram.ts"
import { bigintToText, type ColumnKind } from "./RowCodec.ts"

/** A row of which some columns are known. */
export type PartialRow = ReadonlyArray<SqlValue | undefined>

/** What conditions look at besides the rows that they are given. */
export interface World {
  /** The caller. Calling it counts as reading the identity. */
  readonly identity: () => Identity
  /** Whether the rows that `prefix` finds include one for which `rest` holds. Nothing in `rest` is free but that row. */
  readonly lookup: (node: ExistsNode, prefix: ReadonlyArray<SqlValue>, rest: Node) => boolean
}

/** Evaluates a condition as far as it is known. `rows` are by depth; a column that is not known stays free. */
export const evaluate = (node: Node, rows: ReadonlyArray<PartialRow>, world: World): Node => {
  if (typeof node === "boolean") return node
  switch (node._tag) {
    case "Compare": {
      const left = valueOf(node.left, rows, world)
      const right = valueOf(node.right, rows, world)
      if (left === null || right === null) return false
      if (left !== undefined && right !== undefined) return compares(node.comparison, left, right)
      return { ...node, left: known(node.left, left), right: known(node.right, right) }
    }
    case "In": {
      const list = listOf(node.list, world)
      // As in SQL, nothing is in an empty list, not even null.
      if (list?.length === 0) return node.negated
      const value = valueOf(node.term, rows, world)
      if (value === null || list === undefined) return false
      if (value === undefined) return { ...node, list }
      if (list.some((item) => item !== null && compareValues(value, item) === 0)) return !node.negated
      return node.negated && !list.includes(null)
    }
    case "IsNull": {
      const value =
        node.term._tag === "Caller"
          ? claimAt(node.term.path, world) == null
            ? null
            : 0
          : valueOf(node.term, rows, world)
      if (value === undefined) return node
      return (value === null || (node.asJson && value === "null")) !== node.negated
    }
    case "All":
    case "Any": {
      const decisive = node._tag === "Any"
      const open: Array<Node> = []
      for (const part of node.nodes) {
        const result = evaluate(part, rows, world)
        if (result === decisive) return decisive
        if (typeof result !== "boolean") open.push(result)
      }
      return open.length === 0 ? !decisive : join(node._tag, open)
    }
    case "Exists":
      return evaluateExists(node, rows, world)
  }
}

const evaluateExists = (node: ExistsNode, rows: ReadonlyArray<PartialRow>, world: World): Node => {
  const prefix: Array<SqlValue> = []
  let isFree = false
  for (const term of node.prefix) {
    const value = valueOf(term, rows, world)
    if (value === null) return node.negated
    if (value === undefined) isFree = true
    else prefix.push(value)
  }
  const rest = node.rest === true ? true : evaluate(node.rest, rows.slice(0, node.depth), world)
  if (rest === false) return node.negated
  if (!isFree && !isFreeAbove(rest, node.depth)) return world.lookup(node, prefix, rest) !== node.negated
  return { ...node, prefix: node.prefix.map((term) => known(term, valueOf(term, rows, world))), rest }
}

/** Whether a condition has columns of rows above a depth. */
const isFreeAbove = (node: Node, depth: number): boolean => {
  if (typeof node === "boolean") return false
  const isAbove = (term: Term) => term._tag === "Column" && term.depth < depth
  switch (node._tag) {
    case "Compare":
      return isAbove(node.left) || isAbove(node.right)
    case "In":
    case "IsNull":
      return isAbove(node.term)
    case "All":
    case "Any":
      return node.nodes.some((part) => isFreeAbove(part, depth))
    case "Exists":
      return node.prefix.some(isAbove) || isFreeAbove(node.rest, depth)
  }
}

/** The value of a term. `undefined` for a column that is not known. */
const valueOf = (term: Term, rows: ReadonlyArray<PartialRow>, world: World): SqlValue | undefined => {
  if (term._tag === "Column") return rows[term.depth]?.[term.position]
  return term._tag === "Value" ? term.value : toColumn(claimAt(term.path, world), term.kind)
}

const known = (term: Term, value: SqlValue | undefined): Term => (value === undefined ? term : { _tag: "Value", value })

const listOf = (list: List, world: World): ReadonlyArray<SqlValue> | undefined => {
  if (!("_tag" in list)) return list
  const claim = claimAt(list.path, world)
  return Array.isArray(claim) ? claim.map((item) => toColumn(item, list.kind)) : undefined
}

/** The subject, or the claim at a path; `undefined` if there is none. */
export const claimAt = (path: ReadonlyArray<string> | undefined, { identity }: World): Json | undefined => {
  const { claims, subject } = identity()
  if (path === undefined) return subject
  let found: unknown = claims
  for (const name of path) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return undefined
    found = Reflect.get(found, name)
  }
  return isJson(found) ? found : undefined
}

/** Claims are JSON, and so is each part of them. */
const isJson = (value: unknown): value is Json => value !== undefined

/** A part of an identity as SQLite stores it in such a column; null if it has no form there, and so equals nothing. */
const toColumn = (json: Json | undefined, kind: ColumnKind | undefined): SqlValue => {
  switch (kind) {
    case "text":
      return typeof json === "string" && json.isWellFormed() ? json : null
    case "integer":
    case "real":
      return typeof json === "number" ? json : null
    case "boolean":
      return typeof json === "boolean" ? Number(json) : null
    case "bigint":
      return typeof json === "string" && /^-?\d{1,9999}$/.test(json) ? bigintToText(BigInt(json)) : null
    case undefined:
      return typeof json === "string" || typeof json === "number" ? json : null
    default:
      return null
  }
}

const compares = (comparison: Comparison, left: SqlValue, right: SqlValue): boolean => {
  const order = compareValues(left, right)
  switch (comparison) {
    case "eq":
      return order === 0
    case "ne":
      return order !== 0
    case "lt":
      return order < 0
    case "lte":
      return order <= 0
    case "gt":
      return order > 0
    case "gte":
      return order >= 0
  }
}
