/**
 * Declares policies: which rows of a table a caller may read and write, and which of their fields.
 * A policy is data. Storage enforces it for every read and write of the table, whoever makes it.
 */
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import type { AnyService, Service } from "./Auth.ts"
import {
  type Condition,
  type Expression,
  type Me,
  me,
  operandOf,
  type RowExpressions,
  rowOf
} from "./PolicyCondition.ts"
import type { AnyTable } from "./TablePlan.ts"

/** What a policy decides about. */
export type Operation = "read" | "insert" | "update" | "delete"

/** What a field's policy hides and protects. */
export interface FieldPolicy {
  /** Who may read the field. Others see it without a value, or with `mask`. Everybody unless given. */
  readonly read: Condition | undefined
  /** Who may change the field, besides `update` of the row. */
  readonly write: Condition | undefined
  /** What is read in the place of a hidden value. Needed if the field can be neither missing nor null. */
  readonly mask: { readonly value: unknown } | undefined
}

/** A policy of a table, as data. */
export interface Policy {
  readonly table: AnyTable
  /** The tables whose rows the conditions look at, its own included. */
  readonly tables: ReadonlySet<AnyTable>
  /** The row that the conditions are about. */
  readonly scope: { readonly table: AnyTable }
  readonly conditions: Readonly<Record<Operation, Condition | undefined>>
  readonly fields: ReadonlyMap<string, FieldPolicy>
  /** The fields whose value the server sets: an expression of the caller, or a literal. */
  readonly set: ReadonlyMap<string, unknown>
}

/** What a condition is about: a row, and the caller. */
export interface Subject<Row, Claims> {
  readonly row: RowExpressions<Row>
  readonly me: Me<Claims>
}

/** Builds the condition of a policy. Called once, when the policy is declared. */
export type Rule<Row, Claims> = (subject: Subject<Row, Claims>) => Condition

/** What a policy allows. What is not given is denied, unless another policy of the table allows it. */
export interface PolicyOptions<Row, Claims> {
  /** Which rows may be read. Other rows are as if they did not exist. */
  readonly read?: Rule<Row, Claims>
  /** Which rows may be inserted. */
  readonly insert?: Rule<Row, Claims>
  /** Which rows may be changed: the condition must hold for the row before and after. */
  readonly update?: Rule<Row, Claims>
  /** Which rows may be deleted. */
  readonly delete?: Rule<Row, Claims>
  /** Fields with rules of their own. */
  readonly fields?: {
    readonly [Field in keyof Row]?: {
      readonly read?: Rule<Row, Claims>
      readonly write?: Rule<Row, Claims>
      readonly mask?: Row[Field]
    }
  }
  /** Fields that the server sets when a row is inserted or replaced, and that no patch changes. */
  readonly set?: {
    readonly [Field in keyof Row]?: (subject: {
      readonly me: Me<Claims>
    }) => Expression<string | null | undefined> | Expression<Row[Field] | null | undefined> | NonNullable<Row[Field]>
  }
}

/** Declares a policy of a table. Throws when the declaration contradicts itself. */
export type Declare<Claims, P extends Policy = Policy> = <T extends AnyTable>(
  table: T,
  options: PolicyOptions<T["model"]["Type"], Claims>
) => P

/** The claims of an `Auth.Service`. */
export type ClaimsOf<S extends AnyService> = S extends Service<any, infer Claims> ? Claims : any

/** Declares a policy of a table, as data. */
export const declare = (table: AnyTable, options: PolicyOptions<any, any>): Policy => {
  const scope = { table }
  const subject: Subject<any, any> = { row: rowOf(scope), me }
  const build = (rule: Rule<any, any> | undefined) => rule?.(subject)
  const fields = new Map<string, FieldPolicy>()
  for (const [name, field] of Object.entries(options.fields ?? {})) {
    if (field === undefined) continue
    const { mask, read, write }: { mask?: unknown; read?: Rule<any, any>; write?: Rule<any, any> } = field
    checkField(table, name, read !== undefined, mask)
    fields.set(name, { read: build(read), write: build(write), mask: mask === undefined ? undefined : { value: mask } })
  }
  const set = new Map<string, unknown>()
  for (const [name, value] of Object.entries<any>(options.set ?? {})) {
    schemaOf(table, name)
    if (value !== undefined) set.set(name, value({ me }))
  }
  for (const [name, value] of set) {
    if (operandOf(value)._tag === "Column") throw new Error(`policy of table ${table.name}: set.${name} is a column`)
  }
  const conditions = {
    read: build(options.read),
    insert: build(options.insert),
    update: build(options.update),
    delete: build(options.delete)
  }
  return { table, tables: tablesOf(table, conditions, fields), scope, conditions, fields, set }
}

/** Throws when two policies give a field of one table a value. */
export const checkSets = (policies: ReadonlyArray<Policy>): void => {
  const found = new Map<AnyTable, Set<string>>()
  for (const { set, table } of policies) {
    const names = found.get(table) ?? new Set()
    for (const name of set.keys()) {
      if (names.has(name)) throw new Error(`two policies of table ${table.name} set the field ${name}`)
      names.add(name)
    }
    found.set(table, names)
  }
}

const schemaOf = (table: AnyTable, field: string): Schema.Top => {
  const schema = table.model.fields[field]
  if (Schema.isSchema(schema)) return schema
  throw new Error(`policy of table ${table.name}: the table has no field ${field}`)
}

const checkField = (table: AnyTable, field: string, isHidden: boolean, mask: unknown): void => {
  const schema = schemaOf(table, field)
  if (field === table.key && isHidden) {
    throw new Error(`policy of table ${table.name}: the key ${field} cannot be hidden; use \`read\` of the row`)
  }
  if (!isHidden || mask !== undefined || canBeAbsent(schema)) return
  throw new Error(
    `policy of table ${table.name}: field ${field} can be neither missing nor null, so hiding it needs \`mask\`, the ` +
      "value that is read in its place"
  )
}

/** Whether a row can be read without a value of the field. */
const canBeAbsent = (schema: Schema.Top): boolean => {
  if (SchemaAST.toEncoded(schema.ast).context?.isOptional === true) return true
  const members = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> =>
    ast._tag === "Union" ? ast.types.flatMap(members) : [ast]
  return members(SchemaAST.toEncoded(Schema.toCodecJson(schema).ast)).some(({ _tag }) => _tag === "Null")
}

const tablesOf = (
  table: AnyTable,
  conditions: Policy["conditions"],
  fields: Policy["fields"]
): ReadonlySet<AnyTable> => {
  const found = new Set([table])
  const visit = (condition: Condition | undefined): void => {
    switch (condition?._tag) {
      case "And":
      case "Or":
        return condition.conditions.forEach(visit)
      case "Not":
        return visit(condition.condition)
      case "Exists":
        found.add(condition.scope.table)
        visit(condition.rest)
    }
  }
  Object.values(conditions).forEach(visit)
  for (const { read, write } of fields.values()) [read, write].forEach(visit)
  return found
}
