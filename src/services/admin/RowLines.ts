/**
 * Reads the lines of an import: each is a row of a table as an export writes it, or one that a seed inserts.
 * A line that is not a row of the app is refused with what is wrong with it.
 */
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { memoize } from "effect/Function"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaParser from "effect/SchemaParser"
import { ImportRefused } from "../../admin/AdminApi.ts"
import { StorageError } from "../../contract/Storage.ts"
import * as Table from "../../contract/Table.ts"
import { jsonCodec } from "../../protocol/JsonCodec.ts"
import * as RowCodec from "../storage/RowCodec.ts"
import { checkRow } from "../storage/StatementLimits.ts"
import { encode, rowId, type TableInfo } from "../storage/TableInfo.ts"
import type { EncodedRow, TableWriter } from "../storage/TableWriter.ts"
import type { TransactionStorage } from "../storage/TransactionStorage.ts"
import type { Line } from "./ImportRows.ts"

/** A row of a line. */
export interface ReadRow extends Line {
  readonly info: TableInfo
  readonly row: EncodedRow
  /** The text that identifies it among the rows of all tables. */
  readonly id: string
}

type Fields = Record<string, unknown>

const decodeLine = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ table: Schema.String, row: Schema.Record(Schema.String, Schema.Json) }))
)

/** Refuses a line. */
export const refuse = (line: number, detail: string): never => {
  throw new ImportRefused({ line, detail })
}

/** What reads lines. */
export interface LineReader {
  readonly storage: TransactionStorage
  readonly writer: TableWriter
  /** The tables of the app. */
  readonly tables: ReadonlySet<string>
  /** Whether a row is an insert, whose other fields its table fills in. */
  readonly isSeed: boolean
  readonly fiber: Fiber.Fiber<any, any>
}

/** The row of a line. Throws an `ImportRefused`. */
export const read = ({ fiber, isSeed, storage, tables, writer }: LineReader, { line, text }: Line): ReadRow => {
  const { row: json, table } = Option.getOrElse(decodeLine(text), () => refuse(line, notARow))
  if (!tables.has(table)) return refuse(line, `the app has no table ${table}`)
  const info = storage.runtime.tableNamed(table)
  try {
    const row = isSeed ? writer.newRow(info, insertOf(info, json), fiber) : storedRow(info, json)
    return { line, text, info, row, id: rowId(info, row.sql[info.keyPosition]!) }
  } catch (error) {
    if (error instanceof Mistake || error instanceof StorageError) return refuse(line, describe(error))
    throw error
  }
}

const notARow = 'not a row: a line is {"table": …, "row": {…}}'

/** What is wrong with a row. */
class Mistake extends Error {}

/** What an error says of a row, without the name of its class. */
export const describe = (error: Mistake | StorageError): string =>
  error instanceof StorageError ? error.reason.message : error.message

const unknownColumn = ({ table }: TableInfo, name: string) => new Mistake(`table ${table.name} has no column ${name}`)

/** A row as it was exported: every column as it was stored. */
const storedRow = (info: TableInfo, json: Fields): EncodedRow => {
  const { codec, table } = info
  for (const name of Object.keys(json)) if (!codec.columnIndex.has(name)) throw unknownColumn(info, name)
  const value = Result.getOrThrowWith(
    codec.fromJson(json),
    (issue) => new Mistake(`not a row of table ${table.name}: ${issue}`)
  )
  const sql = encode(info, value)
  checkRow(sql)
  return { value, sql }
}

/** The fields of an insert, from their JSON. The table's defaults are added by the insert itself. */
const insertOf = (info: TableInfo, json: Fields): Fields => {
  const fields: Fields = {}
  const decoders = decodersOf(info.table)
  for (const [name, value] of Object.entries(json)) {
    const decode = decoders.get(name)
    if (decode === undefined) {
      throw info.codec.columnIndex.has(name)
        ? new Mistake(`the table fills in column ${name} of table ${info.table.name}: leave it out`)
        : unknownColumn(info, name)
    }
    Object.assign(fields, decode({ [name]: value }))
  }
  return fields
}

/** Decodes each field of an insert, as the only field of a struct: a schema may encode a value as a missing field. */
const decodersOf: (table: Table.Any) => ReadonlyMap<string, (json: Fields) => Fields> = memoize((table) => {
  const decoders = new Map<string, (json: Fields) => Fields>()
  for (const [name, field] of Object.entries(Table.fieldsOf(table.model.insert))) {
    const decode = SchemaParser.decodeUnknownExit(jsonCodec(Schema.Struct({ [name]: field })))
    decoders.set(name, (json) => {
      const exit = decode(json)
      if (Exit.isSuccess(exit)) return Object(exit.value)
      const issue = Option.getOrThrow(Exit.findErrorOption(exit))
      throw new Mistake(`not a row of table ${table.name}: ${RowCodec.formatIssue(issue)}`)
    })
  }
  return decoders
})
