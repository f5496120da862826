/**
 * Exports the rows of all tables, a page in each transaction: table after table, in the order of the keys.
 * A page begins after the key of the page before, so a row that is there all the time is exported once.
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type ExportPage, ExportRefused } from "../../admin/AdminApi.ts"
import type { AnyTable } from "../../contract/TablePlan.ts"
import { jsonCodec } from "../../protocol/JsonCodec.ts"
import type { SqlValue } from "../Database.ts"
import type { SqlRow } from "../storage/RowCodec.ts"
import type { TableInfo } from "../storage/TableInfo.ts"
import type { TransactionStorage } from "../storage/TransactionStorage.ts"
import { toCell } from "./Cells.ts"

/** Characters and rows of one page: about what an object reads and encodes in 20 ms. */
const page = { characters: 1_000_000, rows: 5_000 } as const

/** A table, and the key of the last row of it that was exported, as it is in its line. */
const decodeCursor = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Tuple([Schema.String, Schema.Json])))

const refuse = (detail: string): never => {
  throw new ExportRefused({ detail })
}

/** Where a page begins. */
interface Position {
  readonly table: number
  /** The key after which it begins; `null` for the first row of the table. */
  readonly after: SqlValue
}

const positionOf = (storage: TransactionStorage, tables: ReadonlyArray<AnyTable>, cursor: string | null): Position => {
  if (cursor === null) return { table: 0, after: null }
  const [name, json] = Option.getOrElse(decodeCursor(cursor), () => refuse("the cursor is not one of an export"))
  const table = tables.findIndex((table) => table.name === name)
  if (table < 0) refuse(`the cursor is in table ${name}, which the app does not have`)
  const { codec } = storage.runtime.tableNamed(name)
  const key = Option.getOrElse(Schema.decodeUnknownOption(jsonCodec(codec.key.schema))(json), () =>
    refuse(`the cursor has no key of table ${name}`)
  )
  return { table, after: Result.getOrElse(codec.encodeField(codec.key, key), refuse) }
}

/** The statement that reads a table from a position on. */
const select = ({ columns, keyName, name }: TableInfo, after: SqlValue) =>
  after === null
    ? { sql: `SELECT ${columns} FROM ${name} ORDER BY ${keyName}`, params: [] }
    : { sql: `SELECT ${columns} FROM ${name} WHERE ${keyName} > ? ORDER BY ${keyName}`, params: [after] }

/** The JSON of a row. */
const jsonOf = (info: TableInfo, row: SqlRow): Record<string, unknown> =>
  Result.getOrThrowWith(info.codec.toJson(row), (issue) => {
    const key = JSON.stringify(toCell(row[info.keyPosition]!))
    return new ExportRefused({
      detail: `the row ${key} of table ${info.table.name} does not fit its columns: ${issue}`
    })
  })

/** The next page of the rows of these tables. Throws an `ExportRefused`. */
export const next = (
  storage: TransactionStorage,
  tables: ReadonlyArray<AnyTable>,
  cursor: string | null
): Omit<ExportPage, "version"> => {
  const { limits } = storage.runtime
  const maxRows = Math.max(1, Math.min(page.rows, limits.rowsRead))
  // The lines are the text of a result, which escapes every quote in them.
  const maxCharacters = Math.min(page.characters, limits.resultBytes / 8)
  const first = positionOf(storage, tables, cursor)
  const lines: Array<string> = []
  const counts: Record<string, number> = {}
  let characters = 0
  for (let i = first.table; i < tables.length; i++) {
    const info = storage.runtime.table(tables[i]!)
    const { params, sql } = select(info, i === first.table ? first.after : null)
    for (const row of storage.iterate({ sql, params })) {
      const json = jsonOf(info, row)
      const line = `{"table":${JSON.stringify(info.table.name)},"row":${JSON.stringify(json)}}\n`
      lines.push(line)
      counts[info.table.name] = (counts[info.table.name] ?? 0) + 1
      characters += line.length
      if (lines.length < maxRows && characters < maxCharacters) continue
      const last = JSON.stringify([info.table.name, json[info.table.key]])
      return { lines: lines.join(""), rows: lines.length, tables: counts, cursor: last }
    }
  }
  return { lines: lines.join(""), rows: lines.length, tables: counts, cursor: null }
}
