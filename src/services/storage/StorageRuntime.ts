/**
 * The app's tables over one database: what all transactions of an object share.
 * It lives as long as the object's heap. Everything in it can be built again from the declarations and the database.
 */
import type * as Random from "effect/Random"
import { v7 as uuidv7 } from "uuid"
import type * as Table from "../../contract/Table.ts"
import type * as Limits from "../../protocol/Limits.ts"
import { type Database, toObjects } from "../Database.ts"
import * as SqlFootprint from "./SqlFootprint.ts"
import { makeAll, type TableInfo } from "./TableInfo.ts"

/** The database, the tables' statements and codecs, and what is known of the schema. */
export class StorageRuntime {
  readonly database: Database["Service"]
  readonly limits: Limits.Limits
  readonly footprints: SqlFootprint.SqlFootprint
  private readonly tables: ReadonlyMap<string, TableInfo>
  private lastKey = { time: Number.NEGATIVE_INFINITY, sequence: 0 }

  constructor(database: Database["Service"], tables: ReadonlyArray<Table.Any>, limits: Limits.Limits) {
    this.database = database
    this.limits = limits
    this.footprints = SqlFootprint.make({ query: (sql, params) => toObjects(database.all(sql, params)) })
    this.tables = makeAll(tables)
  }

  /** The statements and codecs of a table. Throws for a table that the app does not declare. */
  table(table: Table.Any): TableInfo {
    const info = this.tables.get(table.name)
    if (info === undefined) throw new Error(`table ${table.name} is not one of the app's tables`)
    return info
  }

  /** The next UUIDv7. Keys ascend, within a millisecond too, as long as one heap makes them. */
  nextKey(time: number, random: Random.Random): string {
    if (time > this.lastKey.time) {
      this.lastKey = { time, sequence: Math.floor(random.nextDoubleUnsafe() * 2 ** 31) }
    } else {
      this.lastKey = { time: this.lastKey.time, sequence: this.lastKey.sequence + 1 }
    }
    const bytes = new Uint8Array(16)
    for (let i = 10; i < 16; i++) bytes[i] = Math.floor(random.nextDoubleUnsafe() * 256)
    return uuidv7({ msecs: this.lastKey.time, seq: this.lastKey.sequence, random: bytes })
  }
}
