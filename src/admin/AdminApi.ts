/**
 * The contract of whoever operates an app: SQL, calls in any caller's name, export and import of rows, tenants.
 * The Worker answers it at `/admin/rpc` to requests with the admin key. It is apart from the contract of the app.
 */
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import { Identity } from "../contract/Auth.ts"
import { Plan, TargetData } from "../contract/MigrationPlan.ts"
import * as Page from "../contract/Page.ts"
import { CallError } from "../protocol/CallError.ts"
import { NoSuchTenant, Tenant, TenantExists, TenantName } from "../system/TenantsApi.ts"

/** The path of the contract. */
export const adminPath = "/admin/rpc"

/** A value of SQLite as JSON. JSON has no bytes, which are base64 here, and no infinite numbers. */
export const Cell = Schema.Union([
  Schema.Null,
  Schema.Finite,
  Schema.String,
  Schema.Struct({ bytes: Schema.String }),
  Schema.Struct({ number: Schema.Literals(["Infinity", "-Infinity"]) })
])
/** A value of SQLite as JSON. */
export type Cell = typeof Cell.Type

/** Rows that a statement may return at most. */
export const maxStatementRows = 10_000

/** One statement of SQL. */
export const Statement = Schema.Struct({
  statement: Schema.NonEmptyString,
  params: Schema.optionalKey(Schema.Array(Cell)),
  /** How many rows to return at most; 1,000 unless given. */
  maxRows: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: maxStatementRows })))
})
/** One statement of SQL. */
export type Statement = typeof Statement.Type

/** What a statement returned. */
export const StatementResult = Schema.Struct({
  columns: Schema.Array(Schema.String),
  rows: Schema.Array(Schema.Array(Cell)),
  /** Whether there are more rows than `maxRows`, or more than a megabyte of them. */
  truncated: Schema.Boolean,
  /** Rows that the statement wrote, with those of cascades. */
  written: Schema.Int
})
/** What a statement returned. */
export type StatementResult = typeof StatementResult.Type

/** A statement was refused, by SQLite or before it ran. Nothing was written. */
export class StatementRefused extends Schema.TaggedError<StatementRefused>("effect-dormouse/admin/StatementRefused")(
  "StatementRefused",
  { detail: Schema.String }
) {
  override get message() {
    return this.detail
  }
}

/** A column of a table, as it is exported. */
export const ColumnDescription = Schema.Struct({
  name: Schema.String,
  kind: Schema.Literals(["text", "integer", "real", "boolean", "bigint", "bytes", "json"]),
  /** Whether every row has a value that is not null. */
  required: Schema.Boolean
})

/** A table, as it is exported. */
export const TableDescription = Schema.Struct({
  name: Schema.String,
  key: Schema.String,
  columns: Schema.Array(ColumnDescription),
  /** The tables that columns refer to, by column. */
  references: Schema.Record(Schema.String, Schema.String)
})
/** A table, as it is exported. */
export type TableDescription = typeof TableDescription.Type

/** What an app stores, and in which portions its rows are imported. */
export const Description = Schema.Struct({
  /** The tables, each after those that it refers to, as far as that is possible. */
  tables: Schema.Array(TableDescription),
  /** Lines and characters of one batch of an import, at most. A single line may be longer. */
  batch: Schema.Struct({ lines: Schema.Int, characters: Schema.Int }),
  /** Whether there is a registry of tenants. */
  hasRegistry: Schema.Boolean
})
/** What an app stores, and in which portions its rows are imported. */
export type Description = typeof Description.Type

/** How a call of the app's contract ended. */
export const RunResult = Schema.Struct({
  /** The values of an action that streams. */
  values: Schema.Array(Schema.Json),
  /** The exit, encoded as the app's contract says. */
  exit: Schema.Json
})
/** How a call of the app's contract ended. */
export type RunResult = typeof RunResult.Type

/** A call was not made: the identity that it names does not fit the app's. */
export class IdentityInvalid extends Schema.TaggedError<IdentityInvalid>("effect-dormouse/admin/IdentityInvalid")(
  "IdentityInvalid",
  {}
) {
  override get message() {
    return "the claims do not fit the identity that the app declares"
  }
}

/** One page of an export. */
export const ExportPage = Schema.Struct({
  /** A line `{"table":…,"row":…}` for each row. */
  lines: Schema.String,
  rows: Schema.Int,
  /** Rows by table. */
  tables: Schema.Record(Schema.String, Schema.Int),
  /** Where the next page begins: the JSON of an array of the last row's table and key. `null` after the last page. */
  cursor: Schema.NullOr(Schema.String),
  /** The version of the tenant's last commit. Two pages with one version are of one state. */
  version: Schema.Finite
})
/** One page of an export. */
export type ExportPage = typeof ExportPage.Type

/** A page cannot be exported: the cursor is not one, or a stored row does not fit its column. */
export class ExportRefused extends Schema.TaggedError<ExportRefused>("effect-dormouse/admin/ExportRefused")(
  "ExportRefused",
  { detail: Schema.String }
) {
  override get message() {
    return this.detail
  }
}

/** What an import does with a row whose key the tenant has already. */
export const OnConflict = Schema.Literals(["fail", "skip", "replace"])
/** What an import does with a row whose key the tenant has already. */
export type OnConflict = typeof OnConflict.Type

/** The name of an import in its tenant. Batches with one id are one import. */
export const ImportId = Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{1,200}$/))

/** How far an import is. */
export const ImportState = Schema.Struct({
  /** The last line that was imported. 0 before the first. */
  line: Schema.Int,
  /** Rows that were written, rows that were left out because their key was there, and rows that wait for others. */
  written: Schema.Int,
  skipped: Schema.Int,
  waiting: Schema.Int,
  isDone: Schema.Boolean
})
/** How far an import is. */
export type ImportState = typeof ImportState.Type

/** One batch of an import. */
export const ImportBatch = Schema.Struct({
  id: ImportId,
  /** The number of the line before the first one of `lines`. */
  after: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  /** Lines of a file, separated by newlines. Empty ones count. */
  lines: Schema.String,
  onConflict: OnConflict,
  /** Whether the rows are inserts, whose keys, times and defaults the tables fill in. */
  isSeed: Schema.Boolean
})
/** One batch of an import. */
export type ImportBatch = typeof ImportBatch.Type

/** How one step of the end of an import went. */
export const ImportStep = Schema.Struct({
  state: ImportState,
  /** Where the next step of this round begins; `null` when the round has ended. */
  next: Schema.NullOr(Schema.Int),
  /** Rows that waited, and were written in this step. */
  settled: Schema.Int
})
/** How one step of the end of an import went. */
export type ImportStep = typeof ImportStep.Type

/** A line cannot be imported. Nothing of its batch was written. */
export class ImportRefused extends Schema.TaggedError<ImportRefused>("effect-dormouse/admin/ImportRefused")(
  "ImportRefused",
  { line: Schema.Int, detail: Schema.String }
) {
  override get message() {
    return `line ${this.line}: ${this.detail}`
  }
}

/** The deployment has no registry of tenants. */
export class NoRegistry extends Schema.TaggedError<NoRegistry>("effect-dormouse/admin/NoRegistry")("NoRegistry", {}) {
  override get message() {
    return "the app has no registry of tenants: see Tenants.registry"
  }
}

const tenant = { tenant: TenantName }
const inTenant = [NoSuchTenant, CallError] as const
const ofRegistry = [NoRegistry, CallError] as const

/** What whoever has the admin key can do. */
export class AdminApi extends RpcGroup.make(
  Rpc.make("describe", { success: Description }),
  /** Runs one statement in a transaction. Without `write` it cannot write. */
  Rpc.make("sql", {
    payload: { ...tenant, ...Statement.fields, write: Schema.optionalKey(Schema.Boolean) },
    success: StatementResult,
    error: Schema.Union([StatementRefused, ...inTenant])
  }),
  /** What each live query of a tenant reads and costs. */
  Rpc.make("explain", {
    payload: tenant,
    success: Schema.Array(Schema.Json),
    error: Schema.Union(inTenant)
  }),
  /**
   * What a start would change in a tenant's database: of the version that runs, or of another one, whose tables and migrations
   * are `target`. Changes nothing.
   */
  Rpc.make("plan", {
    payload: { ...tenant, target: Schema.optionalKey(TargetData) },
    success: Plan,
    error: Schema.Union(inTenant)
  }),
  /** Calls an rpc of the app's contract, as the given caller; anonymous unless given. */
  Rpc.make("run", {
    payload: { ...tenant, tag: Schema.String, payload: Schema.Json, as: Schema.optionalKey(Identity) },
    success: RunResult,
    error: Schema.Union([IdentityInvalid, ...inTenant])
  }),
  /** A page of the rows of all tables. A cursor of `null` begins. */
  Rpc.make("export", {
    payload: { ...tenant, cursor: Schema.NullOr(Schema.String) },
    success: ExportPage,
    error: Schema.Union([ExportRefused, ...inTenant])
  }),
  /** How far an import is. With `again` it begins anew, whether it has ended or not. */
  Rpc.make("import.begin", {
    payload: { ...tenant, id: ImportId, again: Schema.optionalKey(Schema.Boolean) },
    success: ImportState,
    error: Schema.Union(inTenant)
  }),
  /** Imports lines in one transaction. Lines that the import has already are left out. */
  Rpc.make("import.batch", {
    payload: { ...tenant, ...ImportBatch.fields },
    success: ImportState,
    error: Schema.Union([ImportRefused, ...inTenant])
  }),
  /**
   * Imports rows that wait for others, a portion in each step: a round goes from the last line to the first. `together`
   * imports all that wait in one transaction: rows that refer to each other in a circle. When none waits, the import has ended.
   */
  Rpc.make("import.finish", {
    payload: { ...tenant, id: ImportId, before: Schema.NullOr(Schema.Int), together: Schema.Boolean },
    success: ImportStep,
    error: Schema.Union([ImportRefused, ...inTenant])
  }),
  /** The tenants by name, a page at a time. */
  Rpc.make("tenants.list", {
    payload: { size: Page.Fields.size, after: Page.Fields.after },
    success: Page.Page(Tenant),
    error: Schema.Union(ofRegistry)
  }),
  Rpc.make("tenants.create", {
    payload: tenant,
    success: Tenant,
    error: Schema.Union([TenantExists, ...ofRegistry])
  }),
  Rpc.make("tenants.suspend", { payload: tenant, success: Tenant, error: Schema.Union([NoSuchTenant, ...ofRegistry]) }),
  Rpc.make("tenants.resume", { payload: tenant, success: Tenant, error: Schema.Union([NoSuchTenant, ...ofRegistry]) }),
  Rpc.make("tenants.delete", { payload: tenant, success: Tenant, error: Schema.Union([NoSuchTenant, ...ofRegistry]) })
) {}
