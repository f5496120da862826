import * as Layer from "effect/Layer"
import { Database, type SqlValue, take } from "../../services/Database.ts"

/** What is used of a Durable Object's storage: `ctx.storage`. */
export interface DurableObjectSql {
  readonly sql: {
    readonly exec: (sql: string, ...params: Array<any>) => Cursor
  }
  readonly transactionSync: <A>(body: () => A) => A
}

interface Cursor {
  readonly columnNames: ReadonlyArray<string>
  readonly raw: () => IterableIterator<ReadonlyArray<ArrayBuffer | string | number | null>>
}

const fromRow = (row: ReadonlyArray<ArrayBuffer | string | number | null>): ReadonlyArray<SqlValue> => {
  for (let i = 0; i < row.length; i++) {
    if (row[i] instanceof ArrayBuffer) {
      return row.map((value) => (value instanceof ArrayBuffer ? new Uint8Array(value) : value))
    }
  }
  // No blob is left in the row.
  return row as ReadonlyArray<SqlValue>
}

/** The database of an object. */
export const make = (storage: DurableObjectSql): Database["Service"] => ({
  all(sql, params, most) {
    const cursor = storage.sql.exec(sql, ...params)
    const rows: Array<ReadonlyArray<SqlValue>> = []
    for (const row of most === undefined ? cursor.raw() : take(cursor.raw(), most)) rows.push(fromRow(row))
    return {
      // Asked for only where rows become objects: the platform makes the names anew each time.
      get columns() {
        return cursor.columnNames
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

/** The database of an object, for as long as the object is in memory. */
export const layer = (storage: DurableObjectSql): Layer.Layer<Database> => Layer.succeed(Database, make(storage))
