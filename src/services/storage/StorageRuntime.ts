/**
 * The state that all transactions of one object share: its tables over one database, and caches.
 * It lives in the object's memory, and is rebuilt from the declarations and the database after hibernation.
 */
import type * as Random from "effect/Random"
import { v7 as uuidv7 } from "uuid"
import type { Policy } from "../../contract/Policy.ts"
import type * as Table from "../../contract/Table.ts"
import type * as Limits from "../../protocol/Limits.ts"
import { type Database, toObjects } from "../Database.ts"
import * as PolicyPort from "./PolicyPort.ts"
import type { Scan } from "./Scan.ts"
import * as SqlFootprint from "./SqlFootprint.ts"
import { type TableInfo, TableInfos } from "./TableInfo.ts"
import * as TableSchema from "./TableSchema.ts"

/** The database, the statements and codecs of the tables, and the cached footprints of SQL. */
export class StorageRuntime {
  readonly database: Database["Service"]
  readonly limits: Limits.Limits
  /** The tables that a statement of raw SQL reads and writes. */
  readonly footprints: SqlFootprint.SqlFootprint
  /** The scans whose rows were cached when they were last read. */
  readonly scans = new KnownScans()
  /** The policies of the app; `undefined` if it has none. */
  readonly policies: PolicyPort.AppPolicies | undefined
  /** The version of the last commit. Whoever runs live queries counts it. */
  version = (): number => 0
  private readonly tables: TableInfos
  private foreignWrites: number | undefined
  private lastKey = { time: Number.NEGATIVE_INFINITY, sequence: 0 }

  constructor(
    database: Database["Service"],
    tables: ReadonlyArray<Table.Any>,
    limits: Limits.Limits,
    policies: ReadonlyArray<Policy> = []
  ) {
    this.database = database
    this.limits = limits
    this.tables = new TableInfos(tables)
    this.footprints = SqlFootprint.make({ query: (sql, params) => toObjects(database.all(sql, params)) }, this.tables)
    this.policies = PolicyPort.open(policies, this)
  }

  /** Whether the tables have no rows, because nothing was ever written. */
  get isUnwritten(): boolean {
    return this.database.isUnwritten?.() === true
  }

  /** The statements and codecs of a table. Throws for a table that the app does not declare. */
  table(table: Table.Any): TableInfo {
    return this.tableNamed(table.name)
  }

  /** The same, by the name of the table. */
  tableNamed(name: string): TableInfo {
    const info = this.tables.get(name)
    if (info === undefined) throw new Error(`table ${name} is not one of the app's tables`)
    return info
  }

  /**
   * The tables that a statement of a table's method writes besides the rows that the method records: by triggers, and by
   * the references of tables that the app does not declare. Call directly before the statement runs.
   */
  sideWrites(sql: string, paramCount: number): ReadonlySet<string> | "everything" {
    const hasTriggers = this.footprints.mayHaveTriggers()
    if (!hasTriggers && !this.footprints.mayHaveForeignReferences()) return noTables
    const { sideWrites } = this.footprints.footprint(sql, paramCount)
    if (hasTriggers || sideWrites === "everything") return sideWrites
    // The declared references write what the method records.
    return new Set([...sideWrites].filter((table) => !this.tables.has(table)))
  }

  /** The tables of earlier versions of the app, which it no longer declares. Read from the database at each call. */
  retired(): ReadonlyArray<TableSchema.RecordedTable> {
    return TableSchema.recorded(this.database).filter(({ name }) => !this.tables.has(name))
  }

  /** Call when a transaction begins: drops the cached rows if another connection has committed since the last call. */
  checkForeignWrites(): void {
    const writes = this.database.foreignWrites?.()
    if (writes === this.foreignWrites) return
    this.foreignWrites = writes
    this.clearRows("everything")
  }

  /** Drops the cached rows of these tables. */
  clearRows(tables: ReadonlySet<string> | "everything"): void {
    for (const { rowCache, table } of this.tables.used()) {
      if (tables === "everything" || tables.has(table.name)) rowCache.clear()
    }
  }

  /** The next UUIDv7. Keys ascend, even within a millisecond, as long as the object stays in memory. */
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

const noTables: ReadonlySet<string> = new Set()

/** How many scans are kept. Beyond that all are dropped, and added again when they are read. */
const maxScans = 2_000

/** The scans whose rows were cached, by what they read. */
export class KnownScans {
  private readonly known = new Set<string>()

  add(scan: Scan): void {
    if (this.known.size >= maxScans) this.known.clear()
    this.known.add(textOf(scan))
  }

  has(scan: Scan): boolean {
    return this.known.has(textOf(scan))
  }
}

const textOf = ({ descending, index, info, range, where }: Scan): string =>
  JSON.stringify([info.name, index, descending, range, where])
