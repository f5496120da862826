import * as Exit from "effect/Exit"
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import type * as Table from "../contract/Table.ts"
import { type Generated, generatedOf } from "../contract/Table.ts"
import type { SqlValue } from "./Database.ts"

/** How a column's values are kept. Each kind but `json` keeps the order of the values it holds. */
export type ColumnKind = "text" | "integer" | "real" | "boolean" | "bigint" | "bytes" | "json"

export interface Column {
  readonly name: string
  readonly kind: ColumnKind
  /** The column's declared type in SQL. */
  readonly type: "TEXT" | "INTEGER" | "REAL" | "BLOB"
  readonly notNull: boolean
  /** The field may be missing from the row. NULL then means missing. */
  readonly optional: boolean
  /** The field may be missing and may be null: NULL means missing, and the JSON text `null` means null. */
  readonly nullAsJson: boolean
  readonly generated: Generated | undefined
  /** The field as the model's `select` variant has it. */
  readonly schema: Schema.Top
}

const columnTypes: Record<ColumnKind, Column["type"]> = {
  text: "TEXT",
  integer: "INTEGER",
  real: "REAL",
  boolean: "INTEGER",
  bigint: "TEXT",
  bytes: "BLOB",
  json: "TEXT"
}

/** The members of a union, however nested, or the one AST. */
const members = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> =>
  ast._tag === "Union" ? ast.types.flatMap(members) : [ast]

const isInt = (ast: SchemaAST.AST): boolean =>
  ast.checks?.some(
    (check) => (check.annotations?.["representation"] as { id?: string } | undefined)?.id === "effect/schema/isInt"
  ) ?? false

const primitiveOf = (ast: SchemaAST.AST): ColumnKind => {
  switch (ast._tag) {
    case "String":
    case "TemplateLiteral":
      return "text"
    case "Number":
      return isInt(ast) ? "integer" : "real"
    case "Boolean":
      return "boolean"
    case "BigInt":
      return "bigint"
    case "Literal":
      switch (typeof ast.literal) {
        case "string":
          return "text"
        case "number":
          return Number.isInteger(ast.literal) ? "integer" : "real"
        case "boolean":
          return "boolean"
        default:
          return "bigint"
      }
    default:
      return "json"
  }
}

/** One kind that fits all members, or `json`. */
const commonKind = (asts: ReadonlyArray<SchemaAST.AST>): ColumnKind => {
  const kinds = new Set(asts.map(primitiveOf))
  if (kinds.size === 1) return primitiveOf(asts[0]!)
  if (kinds.size === 2 && kinds.has("integer") && kinds.has("real")) return "real"
  return "json"
}

const isAbsent = (ast: SchemaAST.AST) => ast._tag === "Null" || ast._tag === "Undefined"

const kindOf = (schema: Schema.Top): ColumnKind => {
  const encoded = members(SchemaAST.toEncoded(schema.ast)).filter((ast) => !isAbsent(ast))
  if (encoded.length > 0 && encoded.every((ast) => isBytes(ast))) return "bytes"
  const direct = commonKind(encoded)
  if (direct !== "json") return direct
  return commonKind(members(SchemaAST.toEncoded(Schema.toCodecJson(schema).ast)).filter((ast) => !isAbsent(ast)))
}

const isBytes = (ast: SchemaAST.AST) =>
  ast._tag === "Declaration" &&
  (ast.annotations?.["typeConstructor"] as { _tag?: string } | undefined)?._tag === "Uint8Array"

const columnOf = (name: string, schema: Schema.Top): Column => {
  const encoded = SchemaAST.toEncoded(schema.ast)
  const optional = encoded.context?.isOptional ?? false
  const nullable = members(encoded).some((ast) => ast._tag === "Null")
  const nullInJson = members(SchemaAST.toEncoded(Schema.toCodecJson(schema).ast)).some(
    (ast) => ast._tag === "Null" || ast._tag === "Unknown" || ast._tag === "Any"
  )
  const nullAsJson = optional && nullable
  const kind = nullAsJson ? "json" : kindOf(schema)
  return {
    name,
    kind,
    type: columnTypes[kind],
    notNull: !optional && !nullInJson,
    optional,
    nullAsJson,
    generated: generatedOf(schema),
    schema
  }
}

/**
 * A bigint as text whose byte order is the numbers' order: sign, count of digits, digits; a negative number's count and
 * digits are complemented. Four digits of count reach 10^9999.
 */
export const bigintToText = (value: bigint): string => {
  const digits = (value < 0n ? -value : value).toString()
  const count = digits.length.toString().padStart(4, "0")
  return value < 0n ? `-${complement(count)}${complement(digits)}` : `p${count}${digits}`
}

export const bigintFromText = (text: string): bigint => {
  const digits = text.slice(5)
  return text.startsWith("-") ? -BigInt(complement(digits)) : BigInt(digits)
}

const complement = (digits: string): string => digits.replace(/[0-9]/g, (digit) => String(9 - Number(digit)))

const nonFinite = new Map<unknown, number>([
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY]
])

/** The JSON form of a field to the value SQLite keeps. */
const toSql = (column: Column, json: unknown): SqlValue => {
  if (json === undefined) return null
  if (json === null) return column.nullAsJson ? "null" : null
  switch (column.kind) {
    case "boolean":
      return json === true ? 1 : 0
    case "bigint":
      return bigintToText(BigInt(json as string))
    case "bytes":
      return Result.getOrThrow(Base64.decode(json as string))
    case "real":
      // NaN stays the text that JSON gave it and sorts after all numbers; SQLite would make it NULL.
      return nonFinite.get(json) ?? (json as number)
    case "json":
      return JSON.stringify(json)
    default:
      return json as string | number
  }
}

/** The value SQLite keeps to the JSON form of a field; `undefined` when the field is missing. */
const fromSql = (column: Column, value: SqlValue): unknown => {
  if (value === null) return column.optional ? undefined : null
  switch (column.kind) {
    case "boolean":
      return value === 1
    case "bigint":
      return bigintFromText(value as string).toString()
    case "bytes":
      return Base64.encode(value as Uint8Array)
    case "real":
      return value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY ? String(value) : value
    case "json":
      return JSON.parse(value as string)
    default:
      return value
  }
}

/** A row as SQLite keeps it, in the order of the codec's columns. */
export type SqlRow = ReadonlyArray<SqlValue>

/** Rows of one table between the model's values and SQLite's. */
export interface RowCodec {
  readonly columns: ReadonlyArray<Column>
  readonly columnIndex: ReadonlyMap<string, number>
  readonly key: Column
  readonly encode: (row: unknown) => Exit.Exit<SqlRow, Schema.SchemaError>
  readonly decode: (row: SqlRow) => Exit.Exit<any, Schema.SchemaError>
  /** One field's value as SQLite keeps it; `None` when it does not fit the field's schema. */
  readonly encodeField: (column: Column, value: unknown) => Option.Option<SqlValue>
}

export const make = (table: Table.Any): RowCodec => {
  const columns = Object.entries(table.model.fields).map(([name, schema]) => columnOf(name, schema as Schema.Top))
  const columnIndex = new Map(columns.map((column, index) => [column.name, index]))
  const codec = Schema.toCodecJson(table.model as unknown as Schema.Codec<unknown, unknown>)
  const encodeRow = Schema.encodeUnknownExit(codec)
  const decodeRow = Schema.decodeUnknownExit(codec)
  const fields = new Map<string, (value: unknown) => Option.Option<unknown>>()
  for (const column of columns) {
    fields.set(
      column.name,
      Schema.encodeUnknownOption(Schema.toCodecJson(column.schema as unknown as Schema.Codec<unknown, unknown>))
    )
  }
  return {
    columns,
    columnIndex,
    key: columns[columnIndex.get(table.key)!]!,
    encode: (row) =>
      Exit.map(encodeRow(row), (json) => {
        const record = json as Record<string, unknown>
        return columns.map((column) => toSql(column, record[column.name]))
      }),
    decode: (row) => {
      const json: Record<string, unknown> = {}
      for (let i = 0; i < columns.length; i++) {
        const value = fromSql(columns[i]!, row[i]!)
        if (value !== undefined) json[columns[i]!.name] = value
      }
      return decodeRow(json)
    },
    encodeField: (column, value) =>
      value === undefined && column.optional
        ? Option.some(null)
        : Option.map(fields.get(column.name)!(value), (json) => toSql(column, json))
  }
}
