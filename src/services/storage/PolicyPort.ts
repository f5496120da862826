/**
 * What the policies of an app decide, as readers and writers of rows ask for it.
 * The implementation comes with the declarations (`Policy.make`), so that an app without policies does not contain it.
 */
import type { Identity } from "../../contract/Auth.ts"
import type { Operation, Policy } from "../../contract/Policy.ts"
import { PolicyDenied, type StorageError } from "../../contract/Storage.ts"
import type { AnyTable } from "../../contract/TablePlan.ts"
import type { SqlValue } from "../Database.ts"
import type { Key } from "./KeyOrder.ts"
import type { SqlCondition } from "./PolicySql.ts"
import type { ReadRecorder } from "./ReadSet.ts"
import type { SqlRow } from "./RowCodec.ts"
import type { Scan, Statement } from "./Scan.ts"
import type { Footprint, SqlFootprint } from "./SqlFootprint.ts"
import { failure, type TableInfo } from "./TableInfo.ts"

/** Which rows of a scan may be read: all, none, or those for which both conditions hold. */
export type Access =
  | boolean
  | { readonly where: SqlCondition | undefined; readonly check: ((row: SqlRow) => boolean) | undefined }

/** Which fields a write names, and what it does to them. */
export interface Change {
  readonly old: SqlRow
  readonly next: SqlRow
  /** The fields that the write gives a value, also if it is the same as before. */
  readonly named: ReadonlySet<string>
  /** Whether the write is a patch, which does not change the fields that the server sets. */
  readonly isPatch: boolean
}

/** The policies of an app for the caller of one transaction. Its methods throw a `StorageError` for what is denied. */
export interface PolicyGuard {
  /** Whether a row may be read. */
  readonly canRead: (info: TableInfo, row: SqlRow) => boolean
  /** Which rows of a scan may be read. `equal` are the values that the scan fixes. Throws if it follows a hidden field. */
  readonly access: (scan: Scan, equal: Key) => Access
  /** The value of a row, without the fields that are hidden. */
  readonly show: (info: TableInfo, row: SqlRow) => any
  /** Whether a row may be read, and none of these fields is hidden in it. */
  readonly isVisible: (info: TableInfo, row: SqlRow, columns: ReadonlyArray<string>) => boolean
  /** Whether a field of the row is hidden: an error about the row must then not describe it. */
  readonly hidesFields: (info: TableInfo, row: SqlRow) => boolean
  /** The input of an insert or a replace, with the values that the server sets. */
  readonly withSet: (info: TableInfo, value: object, operation: Operation) => object
  /** Checks new rows, and that the rows that they refer to may be read. */
  readonly checkInsert: (info: TableInfo, rows: ReadonlyArray<SqlRow>) => void
  /** Checks a row before it is changed. */
  readonly checkBefore: (info: TableInfo, row: SqlRow, operation: "update" | "delete") => void
  /** Checks a change of a row. */
  readonly checkChange: (info: TableInfo, change: Change) => void
  /** Checks that what these rows conflict with in a unique index may be read. */
  readonly checkConflict: (
    info: TableInfo,
    rows: ReadonlyArray<SqlRow>,
    columns: ReadonlyArray<string>,
    operation: "insert" | "update"
  ) => void
  /** Checks a statement of raw SQL. */
  readonly checkSql: (footprint: Footprint) => void
}

/** What policies use of an object's storage: its tables. */
export interface GuardedRuntime {
  readonly table: (table: AnyTable) => TableInfo
  readonly tableNamed: (name: string) => TableInfo
  readonly footprints: Pick<SqlFootprint, "mayHaveTriggers">
}

/** What policies use of a transaction: they read rows, and record it. */
export interface GuardedStorage {
  readonly runtime: GuardedRuntime
  readonly reads: Pick<ReadRecorder, "range" | "identity"> | undefined
  /** Grows with each write of the transaction. */
  readonly changes: number
  readonly select: (statement: Statement) => ReadonlyArray<SqlRow>
  readonly rowByKey: (info: TableInfo, key: SqlValue) => SqlRow | undefined
  readonly rowsLeft: () => number
  readonly countRead: (rows: number) => void
}

/** The policies of an app, compiled, for all transactions of an object. */
export interface AppPolicies {
  readonly has: (table: string) => boolean
  /** The guard of one transaction. */
  readonly guard: (storage: GuardedStorage, identity: () => Identity) => PolicyGuard
}

/** How the policies of an app are enforced. */
export type Enforcement = (policies: ReadonlyArray<Policy>, runtime: GuardedRuntime) => AppPolicies

const enforcements = new WeakMap<Policy, Enforcement>()

/** Says how a policy is enforced. */
export const enforceBy = (policy: Policy, enforcement: Enforcement): void => void enforcements.set(policy, enforcement)

/** The policies of an app, ready to be enforced; `undefined` if it has none. */
export const open = (policies: ReadonlyArray<Policy>, runtime: GuardedRuntime): AppPolicies | undefined => {
  let enforcement: Enforcement | undefined
  for (const policy of policies) {
    enforcement = enforcements.get(policy)
    if (enforcement === undefined) throw new Error("a policy was not made by Policy.make")
  }
  return enforcement?.(policies, runtime)
}

/** The error for what no policy allows. */
export const denied = (table: string, operation: (typeof PolicyDenied.Type)["operation"]): StorageError =>
  failure(new PolicyDenied({ table, operation }))
