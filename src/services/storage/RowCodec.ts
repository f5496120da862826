/**
 * Encodes rows of a table from the model's values to SQLite's, and decodes them: one column per field.
 * The encoding keeps the order of a field's values, so that an index on its column sorts as the field does.
 */
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Exit from "effect/Exit"
import * as Base64 from "effect/encoding/Base64"
import { memoize } from "effect/Function"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaParser from "effect/SchemaParser"
import type * as Model from "effect/schema/Model"
import * as Table from "../../contract/Table.ts"
import { jsonCodec, untyped } from "../../protocol/JsonCodec.ts"
import type { SqlValue } from "../Database.ts"

/** How a column's values are stored. Every kind but `json` keeps their order. */
export type ColumnKind = "text" | "integer" | "real" | "boolean" | "bigint" | "bytes" | "json"

/** A column of a table. */
export interface Column {
  readonly name: string
  readonly kind: ColumnKind
  /** The column's declared type in SQL. */
  readonly type: "TEXT" | "INTEGER" | "REAL" | "BLOB"
  readonly notNull: boolean
  /** Whether the field can be missing from the row. NULL then means missing. */
  readonly optional: boolean
  /** Whether null is stored as the JSON text `null`, because NULL means missing or is not allowed. */
  readonly nullAsJson: boolean
  /** The value that the table generates for the field, if it does. */
  readonly generated: Table.Generated | undefined
  /** The schema of the field in the model's `select` variant. */
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

/** The members of a union, flattened; or the AST itself. */
const members = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> =>
  ast._tag === "Union" ? ast.types.flatMap(members) : [ast]

/** The id that Effect gives to a declared type or to a check. */
const idOf = (annotations: Schema.Annotations.Annotations | undefined): unknown => {
  const representation = annotations?.["representation"]
  return isFields(representation) ? representation["id"] : undefined
}

const isInt = (checks: SchemaAST.Checks | undefined): boolean =>
  checks?.some((check) =>
    check._tag === "FilterGroup" ? isInt(check.checks) : idOf(check.annotations) === "effect/schema/isInt"
  ) ?? false

const kindOfLiteral = (literal: SchemaAST.LiteralValue): ColumnKind => {
  switch (typeof literal) {
    case "string":
      return "text"
    case "number":
      return Number.isSafeInteger(literal) ? "integer" : "real"
    case "boolean":
      return "boolean"
    default:
      return "bigint"
  }
}

const primitiveOf = (ast: SchemaAST.AST): ColumnKind => {
  switch (ast._tag) {
    case "String":
    case "TemplateLiteral":
      return "text"
    case "Number":
      return isInt(ast.checks) ? "integer" : "real"
    case "Boolean":
      return "boolean"
    case "BigInt":
      return "bigint"
    case "Literal":
      return kindOfLiteral(ast.literal)
    case "Enum":
      return common(ast.enums.map(([, value]) => kindOfLiteral(value)))
    case "Declaration":
      return idOf(ast.annotations) === "effect/schema/Uint8Array" ? "bytes" : "json"
    default:
      return "json"
  }
}

/** The one kind that stores values of all these kinds; `json` if there is none. */
const common = (all: ReadonlyArray<ColumnKind>): ColumnKind => {
  const kinds = new Set(all)
  if (kinds.size === 1) return all[0]!
  return kinds.size === 2 && kinds.has("integer") && kinds.has("real") ? "real" : "json"
}

const isAbsent = (ast: SchemaAST.AST) => ast._tag === "Null" || ast._tag === "Undefined" || ast._tag === "Void"
const isPresent = (ast: SchemaAST.AST) => !isAbsent(ast)

const columnOf = (name: string, schema: Schema.Top): Column => {
  const encoded = members(SchemaAST.toEncoded(schema.ast))
  const json = members(SchemaAST.toEncoded(Schema.toCodecJson(schema).ast))
  const optional = SchemaAST.toEncoded(schema.ast).context?.isOptional ?? false
  const direct = common(encoded.filter(isPresent).map(primitiveOf))
  const plain = direct === "json" ? common(json.filter(isPresent).map(primitiveOf)) : direct
  // Where NULL means missing, null needs a form of its own.
  const kind = optional && encoded.some((ast) => ast._tag === "Null") ? "json" : plain
  const nullable = json.some(isAbsent)
  return {
    name,
    kind,
    type: columnTypes[kind],
    notNull: !optional && !nullable,
    optional,
    // `Schema.Unknown` and the like can hold null without a Null in their AST.
    nullAsJson: kind === "json" && (optional || !nullable),
    generated: Table.generatedOf(schema),
    schema
  }
}

/** How a column of nested values keeps null: never, as NULL, or as the JSON text `null`. */
export type Nulls = "none" | "sql" | "json"

/** How a column of nested values keeps null. `Schema.Unknown` and the like hold null without a Null in their AST. */
export const nullsOf = ({ nullAsJson, schema }: Column): Nulls => {
  const exit = SchemaParser.decodeUnknownExit(jsonCodec(schema))(null)
  if (Exit.isFailure(exit) || exit.value === undefined) return "none"
  return nullAsJson ? "json" : "sql"
}

/**
 * Encodes a bigint as text that sorts like the numbers: sign, number of digits, digits. For negative numbers the latter
 * two are complemented. Four digits for the number of digits suffice up to 10^9999.
 */
export const bigintToText = (value: bigint): string => {
  const digits = (value < 0n ? -value : value).toString()
  const count = digits.length.toString().padStart(4, "0")
  return value < 0n ? `-${complement(count)}${complement(digits)}` : `p${count}${digits}`
}

/** Decodes a bigint from `bigintToText`. */
export const bigintFromText = (text: string): bigint => {
  const digits = text.slice(5)
  return text.startsWith("-") ? -BigInt(complement(digits)) : BigInt(digits)
}

const bigintText = /^[p-][0-9]{5,10003}$/
const bigintDigits = 9999

const complement = (digits: string): string => digits.replace(/[0-9]/g, (digit) => String(9 - Number(digit)))

const nonFinite = new Map<unknown, number>([
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY]
])

/** Whether a value is one that `toSql` returns for this column. */
export const fits = (column: Column, value: SqlValue): boolean => {
  if (value === null) return !column.notNull
  switch (column.kind) {
    case "text":
    case "json":
      return typeof value === "string" && value.isWellFormed()
    case "bigint":
      return typeof value === "string" && bigintText.test(value)
    case "bytes":
      return value instanceof Uint8Array
    case "boolean":
      return value === 0 || value === 1
    case "integer":
      return Number.isSafeInteger(value)
    case "real":
      return typeof value === "number" ? !Number.isNaN(value) : value === "NaN"
  }
}

/** A value does not fit its column. */
class CodecError extends Error {}

/** Checks that a value is text. Throws `CodecError`, as the next two do. */
const text = (column: Column, value: unknown): string => {
  if (typeof value === "string") return value
  throw new CodecError(`column ${column.name} holds text and the value is ${typeof value}`)
}
const number = (column: Column, value: unknown): number => {
  if (typeof value === "number") return value
  throw new CodecError(`column ${column.name} holds numbers and the value is ${typeof value}`)
}
const bytes = (column: Column, value: unknown): Uint8Array => {
  if (value instanceof Uint8Array) return value
  throw new CodecError(`column ${column.name} holds bytes and the value is ${typeof value}`)
}

/** Encodes the JSON form of a field as a value of SQLite. Throws `CodecError`. */
const toSql = (column: Column, json: unknown): SqlValue => {
  if (json === undefined) return null
  if (json === null) return column.nullAsJson ? "null" : null
  switch (column.kind) {
    case "text": {
      // A lone surrogate has no UTF-8 form: each platform would store something else.
      const value = text(column, json)
      if (!value.isWellFormed()) throw new CodecError(`column ${column.name} has half a surrogate pair`)
      return value
    }
    case "boolean":
      return json === true ? 1 : 0
    case "bigint": {
      const digits = text(column, json)
      if (digits.replace("-", "").length > bigintDigits) {
        throw new CodecError(`column ${column.name} has more than ${bigintDigits} digits`)
      }
      return bigintToText(BigInt(digits))
    }
    case "bytes":
      return Result.getOrThrow(Base64.decode(text(column, json)))
    case "real":
      // NaN is stored as its JSON text and sorts after all numbers. SQLite would turn the number into NULL.
      return nonFinite.get(json) ?? (json === "NaN" ? json : number(column, json))
    case "json":
      return JSON.stringify(json)
    case "integer":
      return number(column, json)
  }
}

/** Decodes a value of SQLite to the JSON form of a field; `undefined` if the field is missing. Throws `CodecError`. */
const fromSql = (column: Column, value: SqlValue): unknown => {
  if (value === null && column.optional) return undefined
  if (!fits(column, value)) throw new CodecError(`column ${column.name} holds a value of another type`)
  if (value === null) return null
  switch (column.kind) {
    case "boolean":
      return value === 1
    case "bigint":
      return bigintFromText(text(column, value)).toString()
    case "bytes":
      return Base64.encode(bytes(column, value))
    case "real":
      return value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY ? String(value) : value
    case "json":
      try {
        return JSON.parse(text(column, value))
      } catch (error) {
        if (error instanceof CodecError) throw error
        throw new CodecError(`column ${column.name} holds text that is not JSON`)
      }
    default:
      return value
  }
}

/** A row as SQLite stores it, in the order of the codec's columns. */
export type SqlRow = ReadonlyArray<SqlValue>

/** Encodes and decodes rows of one table. A failure names the field and what is wrong with it. */
export interface RowCodec {
  readonly columns: ReadonlyArray<Column>
  /** The positions of the columns, by name. */
  readonly columnIndex: ReadonlyMap<string, number>
  /** The column of the key. */
  readonly key: Column
  /** Whether all values of a row are immutable, and values of a column are equal if and only if they are `===`. */
  readonly isPlain: boolean
  /** Encodes a row of the model. */
  readonly encode: (row: Fields) => Result.Result<SqlRow, string>
  /** Decodes a row to an instance of the model. */
  readonly decode: (row: SqlRow) => Result.Result<any, string>
  /** The JSON form of a row, field by field, without checking more than the type of each value. */
  readonly toJson: (row: SqlRow) => Result.Result<Fields, string>
  /** Decodes the JSON form of a row to an instance of the model. */
  readonly fromJson: (json: Fields) => Result.Result<any, string>
  /** Encodes the value of one field. */
  readonly encodeField: (column: Column, value: unknown) => Result.Result<SqlValue, string>
}

/** Formats an issue of a schema as text. */
export const formatIssue = SchemaIssue.makeFormatterDefault()

const issueOf = (cause: Cause.Cause<SchemaIssue.Issue>): string =>
  Option.match(Cause.findErrorOption(cause), { onNone: () => Cause.pretty(cause), onSome: formatIssue })

const orIssue = <A>(body: () => Result.Result<A, string>): Result.Result<A, string> => {
  try {
    return body()
  } catch (error) {
    if (error instanceof CodecError) return Result.fail(error.message)
    throw error
  }
}

type Fields = Record<string, unknown>
const isFields = (value: unknown): value is Fields => typeof value === "object" && value !== null

/** The function that decodes values of a schema. It throws when a value does not fit. */
export const decoderOf = (schema: Schema.Top): ((encoded: unknown) => unknown) =>
  Schema.decodeUnknownSync(untyped(schema))

/** Encodes and decodes one field between the model's rows and its JSON form; `undefined` if the field is missing. */
interface Field {
  readonly encode: (row: Fields) => unknown
  readonly decode: (json: unknown, row: Fields) => void
}

/** A field whose JSON form is its value. */
const plainField = (name: string): Field => ({
  encode: (row) => row[name],
  decode: (json, row) => {
    if (json !== undefined) row[name] = json
  }
})

/** A generated time. */
const timeField = (column: Column): Field => ({
  encode: (row) => {
    const value = row[column.name]
    if (DateTime.isDateTime(value)) return DateTime.toEpochMillis(value)
    throw new CodecError(`column ${column.name} holds times and the value is ${typeof value}`)
  },
  decode: (json, row) => {
    row[column.name] = Option.getOrThrowWith(
      DateTime.make(number(column, json)),
      () => new CodecError(`column ${column.name} holds a number that is not a time`)
    )
  }
})

/** Whether the JSON form of a field is its value. Its schema then need not be interpreted. */
const isPlainField = (column: Column): boolean =>
  column.kind !== "json" &&
  column.kind !== "bytes" &&
  column.kind !== "bigint" &&
  members(column.schema.ast).every((ast) => ast.encoding === undefined && ast._tag !== "Undefined") &&
  members(Schema.toCodecJson(column.schema).ast).every((ast) => ast.encoding === undefined)

const isTime = ({ generated }: Column): boolean => generated === "insertedAt" || generated === "updatedAt"

const fieldOf = (column: Column): Field => {
  const { name } = column
  if (isTime(column)) return timeField(column)
  if (isPlainField(column)) return plainField(name)
  // As the only field of a struct, because a schema may encode a value as a missing field.
  const codec = jsonCodec(Schema.Struct({ [name]: column.schema }))
  const encode = SchemaParser.encodeUnknownExit(codec)
  const decode = SchemaParser.decodeUnknownExit(codec)
  const orCodecError = (exit: Exit.Exit<unknown, SchemaIssue.Issue>): Fields => {
    if (Exit.isSuccess(exit) && isFields(exit.value)) return exit.value
    if (Exit.isSuccess(exit)) throw new CodecError(`column ${name} was not encoded as a field`)
    throw new CodecError(issueOf(exit.cause))
  }
  return {
    encode: (row) => orCodecError(encode(name in row ? { [name]: row[name] } : {}))[name],
    decode: (json, row) => void Object.assign(row, orCodecError(decode(json === undefined ? {} : { [name]: json })))
  }
}

type ModelClass = Model.Any & (new (fields: object) => unknown)

/** The type `Model.Any` does not say that a model is a class. */
const isClass = (model: Model.Any): model is ModelClass => typeof model === "function"

/** The codec of a table. Made once: an object that starts again in the same isolate does not make it again. */
export const of: (table: Table.Any) => RowCodec = memoize((table) => make(table))

const make = (table: Table.Any): RowCodec => {
  const columns = Object.entries(table.model.fields).flatMap(([name, schema]) =>
    Schema.isSchema(schema) ? [columnOf(name, schema)] : []
  )
  const columnIndex = new Map(columns.map((column, index) => [column.name, index]))
  // A start needs only the columns: the codecs are made with the first row, and with the first bound of each column.
  let made: ReadonlyArray<Field> | undefined
  const fields = () => {
    made ??= columns.map(fieldOf)
    return made
  }
  const { model } = table
  if (!isClass(model)) throw new Error(`table ${table.name}: its model is not a class`)
  const strict: (column: Column) => (value: unknown) => Exit.Exit<unknown, SchemaIssue.Issue> = memoize(({ schema }) =>
    SchemaParser.encodeUnknownExit(jsonCodec(schema))
  )
  /** Decodes the JSON forms of the fields. */
  const decodeWith = (jsonOf: (column: Column, index: number) => unknown): Result.Result<any, string> =>
    orIssue(() => {
      const values: Fields = {}
      for (let i = 0; i < columns.length; i++) fields()[i]!.decode(jsonOf(columns[i]!, i), values)
      try {
        // The constructor checks every field. It throws an error whose cause is the issue.
        return Result.succeed(new model(values))
      } catch (error) {
        if (error instanceof Error && SchemaIssue.isIssue(error.cause)) return Result.fail(formatIssue(error.cause))
        throw error
      }
    })
  return {
    columns,
    columnIndex,
    key: columns[columnIndex.get(table.key)!]!,
    isPlain: columns.every((column) => isTime(column) || isPlainField(column)),
    encode: (row) =>
      orIssue(() =>
        Result.succeed(
          columns.map((column, i) => {
            // Undefined and null have the same JSON form. An undefined field counts as missing.
            if (column.optional && column.name in row && row[column.name] === undefined) return null
            return toSql(column, fields()[i]!.encode(row))
          })
        )
      ),
    decode: (row) => decodeWith((column, i) => fromSql(column, row[i]!)),
    toJson: (row) =>
      orIssue(() => {
        const json: Fields = {}
        for (const [i, column] of columns.entries()) {
          const value = fromSql(column, row[i]!)
          if (value !== undefined) json[column.name] = value
        }
        return Result.succeed(json)
      }),
    fromJson: (json) => decodeWith(({ name }) => json[name]),
    encodeField: (column, value) =>
      orIssue(() => {
        if (value === undefined && column.optional) return Result.succeed(null)
        const exit = strict(column)(value)
        return Exit.isSuccess(exit)
          ? Result.succeed(toSql(column, exit.value))
          : Result.fail(`column ${column.name}: ${issueOf(exit.cause)}`)
      })
  }
}
