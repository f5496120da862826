/**
 * Finds the rpcs of a contract that would send rows of a table with their sensitive fields.
 * `App.make` throws for such a contract.
 */
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcSchema from "effect/rpc/RpcSchema"
import type * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import { withSchemas } from "../protocol/RpcCodec.ts"
import * as Table from "./Table.ts"

/** An rpc that would send whole rows of a table, including fields that are declared sensitive. */
export interface Leak {
  readonly rpc: string
  readonly part: "success" | "error"
  readonly table: string
  readonly fields: ReadonlyArray<string>
}

/**
 * The places where a contract would send whole rows of a table with sensitive fields: the model itself, another
 * variant, a class that extends it, a struct of all its fields. Single fields are not searched for: an author who
 * copies a sensitive field into another schema does so on purpose.
 */
export const leaks = (rpcs: Iterable<Rpc.Any>, tables: ReadonlyArray<Table.Any>): ReadonlyArray<Leak> => {
  const guarded = tables
    .filter(({ sensitive }) => sensitive.size > 0)
    .map((table) => ({ table: table.name, fields: [...table.sensitive], wholes: wholesOf(table) }))
  if (guarded.length === 0) return []
  const found: Array<Leak> = []
  for (const rpc of rpcs) {
    for (const [part, schema] of sentBy(withSchemas(rpc))) {
      const sent = onTheWire(schema.ast)
      for (const { fields, table, wholes } of guarded) {
        if (sent.some((ast) => wholes.some((whole) => holds(ast, whole))))
          found.push({ rpc: rpc._tag, part, table, fields })
      }
    }
  }
  return found
}

/** Throws when a contract has a leak. The message names the rpc, the table and the fields. */
export const check = (rpcs: Iterable<Rpc.Any>, tables: ReadonlyArray<Table.Any>): void => {
  const found = leaks(rpcs, tables)
  if (found.length === 0) return
  throw new Error(
    found
      .map(
        ({ fields, part, rpc, table }) =>
          `rpc ${rpc}: its ${part} is a whole row of table ${table}, and would send the sensitive ${fields.join(", ")}; ` +
          "use the model's json variant"
      )
      .join("\n")
  )
}

/** The field lists of a row, of its insert and of its update variant, those without sensitive fields left out. */
const wholesOf = (table: Table.Any): ReadonlyArray<Schema.Struct.Fields> => {
  const { fields, insert, update } = table.model
  return [fields, Table.fieldsOf(insert), Table.fieldsOf(update)].filter((fields) =>
    [...table.sensitive].some((name) => name in fields)
  )
}

const holds = (ast: SchemaAST.AST, fields: Schema.Struct.Fields): boolean => {
  if (ast._tag !== "Objects") return false
  const types = new Map(ast.propertySignatures.map(({ name, type }) => [name, type]))
  return Object.entries(fields).every(([name, field]) => types.get(name) === field.ast)
}

const sentBy = (rpc: Rpc.AnyWithProps): ReadonlyArray<readonly [Leak["part"], Schema.Top]> => {
  const { errorSchema, successSchema } = rpc
  const error = ["error", errorSchema] as const
  return RpcSchema.isStreamSchema(successSchema)
    ? [["success", successSchema.success], ["error", successSchema.error], error]
    : [["success", successSchema], error]
}

/** All schemas that the encoded form of a schema contains, itself included. */
const onTheWire = (root: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> => {
  const seen = new Set([root])
  // Iteration of a set includes members that are added meanwhile.
  for (const ast of seen) for (const part of partsOf(ast)) seen.add(part)
  return [...seen]
}

const partsOf = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> => {
  // Only the encoded side of a transformation crosses the wire.
  if (ast.encoding !== undefined) return [ast.encoding.at(-1)!.to]
  switch (ast._tag) {
    case "Declaration":
      return ast.typeParameters
    case "Objects":
      return [...ast.propertySignatures, ...ast.indexSignatures].map(({ type }) => type)
    case "Arrays":
      return [...ast.elements, ...ast.rest]
    case "Union":
      return ast.types
    case "Suspend":
      return [ast.thunk()]
    default:
      return []
  }
}
