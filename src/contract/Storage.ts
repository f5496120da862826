/**
 * The services through which handlers read and write rows, and the typed errors of storage.
 * Authors call the methods of their tables, which use these services.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { AnyTable, Page, PageOptions, Plan } from "./TablePlan.ts"

/**
 * Reads rows of the app's tables. Queries and mutations have it, and every operation belongs to the one transaction of
 * the call. The methods of tables use it and add the types.
 */
export class Storage extends Context.Service<
  Storage,
  {
    /** The row with a key. */
    readonly get: (table: AnyTable, key: unknown) => Effect.Effect<Option.Option<any>, StorageError>
    /** The rows with these keys, in the order of the keys. */
    readonly getMany: (
      table: AnyTable,
      keys: ReadonlyArray<unknown>
    ) => Effect.Effect<ReadonlyArray<Option.Option<any>>, StorageError>
    /** All rows of a plan. */
    readonly collect: <Row>(plan: Plan<Row>) => Effect.Effect<ReadonlyArray<Row>, StorageError>
    /** The number of rows of a plan. */
    readonly count: <Row>(plan: Plan<Row>) => Effect.Effect<number, StorageError>
    /** The rows of a plan, read as they are consumed. */
    readonly stream: <Row>(plan: Plan<Row>) => Stream.Stream<Row, StorageError>
    /** One page of a plan's rows. */
    readonly page: <Row>(plan: Plan<Row>, options: PageOptions) => Effect.Effect<Page<Row>, StorageError>
    /** Runs an effect without policies, in a span named `Storage.unrestricted`. */
    readonly unrestricted: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  }
>()("effect-dormouse/Storage") {}

/** Writes rows of the app's tables. Only mutations have it. */
export class StorageWriter extends Context.Service<
  StorageWriter,
  {
    /** Inserts all rows or none. Returns them with their generated fields. */
    readonly insertMany: (
      table: AnyTable,
      values: ReadonlyArray<any>
    ) => Effect.Effect<ReadonlyArray<any>, StorageError>
    /** Changes some fields of a row. `None` when there is no row with this key. */
    readonly patch: (table: AnyTable, key: unknown, changes: object) => Effect.Effect<Option.Option<any>, StorageError>
    /** Replaces every field but the key and `insertedAt`. `None` when there is no row with this key. */
    readonly replace: (table: AnyTable, key: unknown, value: any) => Effect.Effect<Option.Option<any>, StorageError>
    /** Replaces the row with the same key, or inserts one. */
    readonly upsert: (table: AnyTable, value: any) => Effect.Effect<any, StorageError>
    /** Deletes a row, with what its references require. Returns whether there was a row. */
    readonly delete: (table: AnyTable, key: unknown) => Effect.Effect<boolean, StorageError>
    /** Runs an effect in a nested transaction, which alone is rolled back when the effect fails. */
    readonly atomically: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  }
>()("effect-dormouse/StorageWriter") {}

/** No row has this key. */
export class RowNotFound extends Schema.TaggedError<RowNotFound>("effect-dormouse/Storage/RowNotFound")("RowNotFound", {
  table: Schema.String,
  key: Schema.Unknown
}) {
  override get message() {
    return `no row with this key in table ${this.table}`
  }
}

/**
 * Another row has the same key, or the same values in a unique index. `index` is the key's column or the index's name.
 */
export class UniqueViolation extends Schema.TaggedError<UniqueViolation>("effect-dormouse/Storage/UniqueViolation")(
  "UniqueViolation",
  { table: Schema.String, index: Schema.String }
) {
  override get message() {
    return `another row of table ${this.table} has the same value of ${this.index}`
  }
}

/** A reference to a row that does not exist (`missing`), or a row that another row refers to (`restrict`). */
export class ReferenceViolation extends Schema.TaggedError<ReferenceViolation>(
  "effect-dormouse/Storage/ReferenceViolation"
)("ReferenceViolation", {
  table: Schema.String,
  column: Schema.String,
  action: Schema.Literals(["missing", "restrict"])
}) {
  override get message() {
    return this.action === "missing"
      ? `${this.table}.${this.column} refers to a row that does not exist`
      : `a row of table ${this.table} refers to this one by ${this.column}`
  }
}

/** The values do not fit the table's schema. `issue` names the field and what is wrong with it. */
export class RowInvalid extends Schema.TaggedError<RowInvalid>("effect-dormouse/Storage/RowInvalid")("RowInvalid", {
  table: Schema.String,
  issue: Schema.String
}) {
  override get message() {
    return `not a row of table ${this.table}: ${this.issue}`
  }
}

/** A stored row does not fit the table's schema: raw SQL or another version of the schema wrote it. */
export class RowUnreadable extends Schema.TaggedError<RowUnreadable>("effect-dormouse/Storage/RowUnreadable")(
  "RowUnreadable",
  { table: Schema.String, issue: Schema.String }
) {
  override get message() {
    return `a stored row of table ${this.table} does not fit its schema: ${this.issue}`
  }
}

/** A page cursor that is malformed, or belongs to another table, index or direction. */
export class CursorInvalid extends Schema.TaggedError<CursorInvalid>("effect-dormouse/Storage/CursorInvalid")(
  "CursorInvalid",
  { table: Schema.String, issue: Schema.String }
) {
  override get message() {
    return `the cursor cannot be used in table ${this.table}: ${this.issue}`
  }
}

/** `unique` found a second row. */
export class NotUnique extends Schema.TaggedError<NotUnique>("effect-dormouse/Storage/NotUnique")("NotUnique", {
  table: Schema.String
}) {
  override get message() {
    return `more than one row of table ${this.table} was found`
  }
}

/** A limit of `Limits` was exceeded; `limit` is its name. */
export class StorageLimit extends Schema.TaggedError<StorageLimit>("effect-dormouse/Storage/StorageLimit")(
  "StorageLimit",
  { limit: Schema.String, max: Schema.Number, actual: Schema.Number }
) {
  override get message() {
    return `limit ${this.limit} is ${this.max}, got ${this.actual}`
  }
}

/**
 * No policy of the table allows this to the caller. `sql` is raw SQL, which policies cannot check; `table` is then `*` if it
 * is not known what the statement uses.
 */
export class PolicyDenied extends Schema.TaggedError<PolicyDenied>("effect-dormouse/Storage/PolicyDenied")(
  "PolicyDenied",
  { table: Schema.String, operation: Schema.Literals(["read", "insert", "update", "delete", "sql"]) }
) {
  override get message() {
    if (this.operation !== "sql") return `no policy of table ${this.table} allows this ${this.operation}`
    const used = this.table === "*" ? "may use tables with policies" : `uses table ${this.table}, which has policies`
    return `raw SQL that ${used} runs only inside Storage.unrestricted`
  }
}

/** SQLite refused a statement for a reason that is none of the above. */
export class StatementFailed extends Schema.TaggedError<StatementFailed>("effect-dormouse/Storage/StatementFailed")(
  "StatementFailed",
  { cause: Schema.Defect() }
) {
  override get message() {
    return `SQLite refused a statement: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }
}

/** Why a storage operation failed. */
export const StorageErrorReason = Schema.Union([
  UniqueViolation,
  ReferenceViolation,
  RowInvalid,
  RowUnreadable,
  CursorInvalid,
  NotUnique,
  StorageLimit,
  PolicyDenied,
  StatementFailed
])
/** Why a storage operation failed. */
export type StorageErrorReason = typeof StorageErrorReason.Type

/**
 * The failure of a storage operation, besides `RowNotFound`. A handler need not catch it: a limit and `PolicyDenied` then
 * reach the caller as a `CallError`, everything else as an opaque defect. To handle one reason, use
 * `Effect.catchReason("StorageError", "UniqueViolation", …)`.
 */
export class StorageError extends Schema.TaggedError<StorageError>("effect-dormouse/StorageError")("StorageError", {
  reason: StorageErrorReason
}) {
  override readonly cause = this.reason
  override get message(): string {
    return `${this.reason._tag}: ${this.reason.message}`
  }
}

/**
 * Runs an effect without policies: it reads and writes every row, and its SQL may use every table. It runs in the same
 * transaction, in a span named `Storage.unrestricted`.
 */
export const unrestricted = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Storage> =>
  Storage.use((storage) => storage.unrestricted(effect))
