/**
 * The columns of an app that name files: a file belongs to the rows that name it, and is deleted with the last of them.
 * At the end of a transaction the rows that it changed say which files are named by more rows or fewer.
 */
import { bucketOf } from "../../contract/Bucket.ts"
import type { FileRef } from "../../contract/FileServices.ts"
import { ReferenceViolation } from "../../contract/Storage.ts"
import { fieldsOf } from "../../contract/Table.ts"
import type { AnyTable } from "../../contract/TablePlan.ts"
import type { ChangeRecorder, RowChange, SqlValue } from "../../contract/Transactional.ts"
import { failure } from "../storage/TableInfo.ts"
import type { TransactionFiles } from "./TransactionFiles.ts"

/** A column that names files. */
interface FileColumn {
  readonly table: string
  readonly column: string
  readonly position: number
  readonly bucket: string
}

/** The columns that name files. Throws for one of a bucket that the app does not have. */
export const columnsOf = (tables: ReadonlyArray<AnyTable>, buckets: ReadonlySet<string>): ReadonlyArray<FileColumn> =>
  tables.flatMap(({ model, name: table }) =>
    Object.entries(fieldsOf(model)).flatMap(([column, field], position) => {
      const bucket = bucketOf(field)
      if (bucket === undefined) return []
      if (buckets.has(bucket)) return [{ table, column, position, bucket }]
      throw new Error(
        `table ${table}, column ${column}: the app has no bucket ${bucket}; add it to Files.make({ buckets })`
      )
    })
  )

/** Counts the rows that name each file. */
export const recorderOf = (
  columns: ReadonlyArray<FileColumn>,
  open: (tx: Parameters<ChangeRecorder["record"]>[0]) => TransactionFiles
): ChangeRecorder => ({
  reason: "a column of files",
  tables: new Set(columns.map(({ table }) => table)),
  record: (tx, changes) => {
    const files = open(tx)
    for (const [file, { by, column }] of usesOf(columns, changes)) {
      if (files.use(column.bucket, file, by) || by < 0) continue
      throw failure(new ReferenceViolation({ table: column.table, column: column.column, action: "missing" }))
    }
  }
})

/** By how many rows more or fewer each file is named after these changes, with one of the columns that name it. */
const usesOf = (columns: ReadonlyArray<FileColumn>, changes: ReadonlyArray<RowChange>) => {
  const uses = new Map<FileRef, { by: number; column: FileColumn }>()
  const count = (value: SqlValue | undefined, by: number, column: FileColumn) => {
    if (typeof value !== "string") return
    // The column's schema has checked it when the row was written.
    const file = value as FileRef
    const known = uses.get(file)
    if (known === undefined) uses.set(file, { by, column })
    else known.by += by
  }
  for (const { after, before, table } of changes) {
    for (const column of columns) {
      if (column.table !== table) continue
      count(before?.[column.position], -1, column)
      count(after?.[column.position], 1, column)
    }
  }
  return uses
}
