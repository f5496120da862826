/**
 * The `Database` port of a Durable Object: its SQLite storage.
 * Blobs arrive as `ArrayBuffer` and are converted to `Uint8Array`.
 */
import * as Layer from "effect/Layer"
import { Database, type SqlValue, take } from "../../services/Database.ts"

/** The part of a Durable Object's storage that is used here: `ctx.storage`. */
export interface DurableObjectSql {
  readonly sql: {
    readonly exec: (sql: string, ...params: Array<any>) => Cursor
  }
  readonly transactionSync: <A>(body: () => A) => A
}

interface Cursor {
  readonly columnNames: ReadonlyArray<string>
  readonly rowsRead: number
  readonly raw: () => IterableIterator<RawRow>
}

/** A row as the platform returns it. */
type RawRow = ReadonlyArray<ArrayBuffer | string | number | null>

const hasNoBlob = (row: RawRow): row is ReadonlyArray<string | number | null> => {
  for (let i = 0; i < row.length; i++) if (row[i] instanceof ArrayBuffer) return false
  return true
}

/** Most rows have no blob, and are not copied. */
const fromRow = (row: RawRow): ReadonlyArray<SqlValue> =>
  hasNoBlob(row) ? row : row.map((value) => (value instanceof ArrayBuffer ? new Uint8Array(value) : value))

/** The database of a Durable Object. */
export const make = (storage: DurableObjectSql): Database["Service"] => ({
  all(sql, params, max) {
    const cursor = storage.sql.exec(sql, ...params)
    const rows: Array<ReadonlyArray<SqlValue>> = []
    for (const row of max === undefined ? cursor.raw() : take(cursor.raw(), max)) rows.push(fromRow(row))
    return {
      // Read lazily: the platform builds the names on each access, and most statements need none.
      get columns() {
        return cursor.columnNames
      },
      get rowsRead() {
        return cursor.rowsRead
      },
      rows
    }
  },
  run(sql, params) {
    storage.sql.exec(sql, ...params)
  },
  *iterate(sql, params) {
    for (const row of storage.sql.exec(sql, ...params).raw()) yield fromRow(row)
  },
  transaction: (body) => storage.transactionSync(body)
})

/** A layer of the database of a Durable Object, from its `ctx.storage`. */
export const layer = (storage: DurableObjectSql): Layer.Layer<Database> => Layer.succeed(Database, make(storage))
