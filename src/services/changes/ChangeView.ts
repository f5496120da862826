/**
 * What one caller is sent of an entry of the change log: the rows that it may read, without the fields that are hidden from it.
 * Policies decide as the tables are now, about the rows as they were and as they are after the change.
 */
import { memoize } from "effect/Function"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { keyOf } from "../../contract/Changes.ts"
import { RowUnreadable } from "../../contract/Storage.ts"
import type { AnyTable } from "../../contract/TablePlan.ts"
import { jsonCodec } from "../../protocol/JsonCodec.ts"
import type { PolicyGuard } from "../storage/PolicyPort.ts"
import type { SqlRow } from "../storage/RowCodec.ts"
import { failure, type TableInfo } from "../storage/TableInfo.ts"
import { decode, type StoredChange } from "./ChangeRows.ts"

/** What a view needs of a transaction. */
export interface ViewHost {
  readonly tableNamed: (name: string) => TableInfo
  /** The policies for the caller; nothing in an app without policies. */
  readonly guard: PolicyGuard | undefined
}

/** The JSON texts of the changes of an entry that the caller is sent. */
export const view = (
  { guard, tableNamed }: ViewHost,
  tables: ReadonlySet<string>,
  entry: string
): ReadonlyArray<string> =>
  decode(entry).flatMap(({ after, before, table }) => {
    if (!tables.has(table)) return []
    const change = { after, before, info: tableNamed(table) }
    const text = textOf(change, guard)
    return text === undefined ? [] : [text]
  })

const textOf = (
  { after, before, info }: Pick<StoredChange, "after" | "before"> & { readonly info: TableInfo },
  guard: PolicyGuard | undefined
): string | undefined => {
  const mayRead = (row: SqlRow | undefined): row is SqlRow =>
    row !== undefined && (guard === undefined || guard.canRead(info, row))
  const had = mayRead(before)
  const { keyText, rowText } = textsOf(info.table)
  const table = `{"table":${JSON.stringify(info.table.name)}`
  if (mayRead(after))
    return `${table},"op":"${had ? "update" : "insert"}","row":${rowText(valueOf(info, after, guard))}}`
  return had ? `${table},"op":"delete","key":${keyText(valueOf(info, before, guard)[info.table.key])}}` : undefined
}

const valueOf = (info: TableInfo, row: SqlRow, guard: PolicyGuard | undefined): any =>
  guard?.hidesFields(info, row)
    ? guard.show(info, row)
    : Result.getOrThrowWith(info.codec.decode(row), (issue) =>
        failure(new RowUnreadable({ table: info.table.name, issue }))
      )

/** Encodes the rows and the keys of a table for the wire, without fields that are in no variant for it. */
const textsOf: (table: AnyTable) => {
  readonly rowText: (value: unknown) => string
  readonly keyText: (key: unknown) => string
} = memoize((table) => {
  const row = Schema.encodeUnknownSync(jsonCodec(table.model.json))
  const key = Schema.encodeUnknownSync(jsonCodec(keyOf(table)))
  return { rowText: (value) => JSON.stringify(row(value)), keyText: (value) => JSON.stringify(key(value)) }
})
