/**
 * Evaluated conditions as SQL: what remains of a condition when only columns of one row are free.
 * A condition that asks for rows of other tables has no SQL here: its reads would not be recorded precisely.
 */
import type { SqlValue } from "../Database.ts"
import type { Node, Term } from "./PolicyProgram.ts"
import { quote, type TableInfo } from "./TableInfo.ts"

/** Conditions of a statement, to be joined with AND. */
export interface SqlCondition {
  readonly sql: string
  readonly params: ReadonlyArray<SqlValue>
}

/** Parts of a condition that becomes SQL: SQLite limits parameters, and the depth of expressions. */
const maxParts = 30

/** What of a condition is SQL, and what remains to be evaluated for each row. */
export const split = (
  node: Node,
  info: TableInfo,
  depth: number
): { readonly sql: SqlCondition | undefined; readonly rest: Node } => {
  const sql: Array<string> = []
  const params: Array<SqlValue> = []
  const rest: Array<Node> = []
  const budget = { left: maxParts }
  for (const part of typeof node === "object" && node._tag === "All" ? node.nodes : [node]) {
    const text = part === true ? undefined : toSql(part, info, depth, budget)
    if (text !== undefined) {
      sql.push(text.sql)
      params.push(...text.params)
    } else if (part !== true) rest.push(part)
  }
  return {
    sql: sql.length === 0 ? undefined : { sql: sql.join(" AND "), params },
    rest: rest.length < 2 ? (rest[0] ?? true) : { _tag: "All", nodes: rest }
  }
}

const signs = { eq: "=", ne: "<>", lt: "<", lte: "<=", gt: ">", gte: ">=" }

const toSql = (node: Node, info: TableInfo, depth: number, budget: { left: number }): SqlCondition | undefined => {
  if (typeof node === "boolean") return { sql: node ? "1" : "0", params: [] }
  budget.left--
  if (budget.left < 0) return undefined
  const term = (term: Term): SqlCondition | undefined => {
    if (term._tag === "Value") return { sql: "?", params: [term.value] }
    if (term._tag === "Caller" || term.depth !== depth) return undefined
    // With a sign SQLite does not choose an index by this column: the scan has one, whose order it follows.
    return { sql: `+${quote(info.codec.columns[term.position]!.name)}`, params: [] }
  }
  switch (node._tag) {
    case "Compare": {
      const left = term(node.left)
      const right = term(node.right)
      if (left === undefined || right === undefined) return undefined
      return { sql: `${left.sql} ${signs[node.comparison]} ${right.sql}`, params: [...left.params, ...right.params] }
    }
    case "In": {
      const value = term(node.term)
      if (value === undefined || "_tag" in node.list) return undefined
      budget.left -= node.list.length
      if (budget.left < 0) return undefined
      const sql = `${value.sql} ${node.negated ? "NOT IN" : "IN"} (${node.list.map(() => "?").join(", ")})`
      return { sql, params: [...value.params, ...node.list] }
    }
    case "IsNull": {
      const value = term(node.term)
      if (value === undefined) return undefined
      const sql = node.asJson ? `ifnull(${value.sql}, 'null') = 'null'` : `${value.sql} IS NULL`
      return { sql: node.negated ? `NOT (${sql})` : sql, params: value.params }
    }
    case "All":
    case "Any": {
      const parts: Array<SqlCondition> = []
      for (const part of node.nodes) {
        const found = toSql(part, info, depth, budget)
        if (found === undefined) return undefined
        parts.push(found)
      }
      const joined = parts.map(({ sql }) => sql).join(node._tag === "All" ? " AND " : " OR ")
      return { sql: `(${joined})`, params: parts.flatMap(({ params }) => params) }
    }
    case "Exists":
      return undefined
  }
}
