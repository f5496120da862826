/**
 * The `Database` port of a Durable Object: its SQLite storage.
 * Blobs arrive as `ArrayBuffer` and are converted to `Uint8Array`.
 */
import { memoize } from "effect/Function"
import * as Layer from "effect/Layer"
import { Database, rollBack, type SqlValue, take } from "../../services/Database.ts"
import { OpenCursors } from "./OpenCursors.ts"

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
  readonly next: () => { done?: boolean }
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

/** The open statements of each database, whichever of its ports ran them. */
const cursorsOf = memoize((_: DurableObjectSql) => new OpenCursors())

/** The database of a Durable Object. */
export const make = (storage: DurableObjectSql): Database["Service"] => {
  const open = cursorsOf(storage)
  const transaction = <A>(body: () => A): A => storage.transactionSync(body)
  const changeSchema = () => void rollBack(transaction, () => storage.sql.exec("CREATE TABLE _dormouse_cancel (k)"))
  const exec = (sql: string, params: ReadonlyArray<SqlValue>): Cursor => {
    try {
      return storage.sql.exec(sql, ...params)
    } catch (cause) {
      if (!String(cause).includes("SQLITE_LOCKED") || !open.end(changeSchema)) throw cause
      return storage.sql.exec(sql, ...params)
    }
  }
  return {
    all(sql, params, max) {
      const cursor = exec(sql, params)
      const raw = cursor.raw()
      const rows: Array<ReadonlyArray<SqlValue>> = []
      for (const row of max === undefined ? raw : take(raw, max)) rows.push(fromRow(row))
      if (rows.length === max) open.add(cursor)
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
      exec(sql, params)
    },
    *iterate(sql, params) {
      const cursor = exec(sql, params)
      let isOver = false
      try {
        for (const row of cursor.raw()) yield fromRow(row)
        isOver = true
      } finally {
        if (!isOver) open.add(cursor)
      }
    },
    transaction
  }
}

/** A layer of the database of a Durable Object, from its `ctx.storage`. */
export const layer = (storage: DurableObjectSql): Layer.Layer<Database> => Layer.succeed(Database, make(storage))
