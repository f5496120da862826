import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type * as Table from "./Table.ts"
import type { Page, PageOptions, Plan } from "./TableQuery.ts"

/**
 * The rows of the app's tables, to read. Queries and mutations have it; inside them every operation belongs to the one
 * transaction of the call. Authors reach it through the methods of their tables, which know the types.
 */
export class Storage extends Context.Service<
  Storage,
  {
    readonly get: (table: Table.Any, key: unknown) => Effect.Effect<Option.Option<any>, StorageError>
    readonly getMany: (
      table: Table.Any,
      keys: ReadonlyArray<unknown>
    ) => Effect.Effect<ReadonlyArray<Option.Option<any>>, StorageError>
    readonly collect: <Row>(plan: Plan<Row>) => Effect.Effect<ReadonlyArray<Row>, StorageError>
    readonly count: <Row>(plan: Plan<Row>) => Effect.Effect<number, StorageError>
    readonly stream: <Row>(plan: Plan<Row>) => Stream.Stream<Row, StorageError>
    readonly page: <Row>(plan: Plan<Row>, options: PageOptions) => Effect.Effect<Page<Row>, StorageError>
  }
>()("effect-dormouse/Storage") {}

/** The same rows, to write. Only mutations have it. */
export class StorageWriter extends Context.Service<
  StorageWriter,
  {
    readonly insertMany: (
      table: Table.Any,
      values: ReadonlyArray<any>
    ) => Effect.Effect<ReadonlyArray<any>, StorageError>
    readonly patch: (table: Table.Any, key: unknown, changes: object) => Effect.Effect<Option.Option<any>, StorageError>
    readonly replace: (table: Table.Any, key: unknown, value: any) => Effect.Effect<Option.Option<any>, StorageError>
    readonly upsert: (table: Table.Any, value: any) => Effect.Effect<any, StorageError>
    readonly delete: (table: Table.Any, key: unknown) => Effect.Effect<boolean, StorageError>
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

/** Another row has the same key, or the same values in a unique index; `index` is the key's column or the index's name. */
export class UniqueViolation extends Schema.TaggedError<UniqueViolation>("effect-dormouse/Storage/UniqueViolation")(
  "UniqueViolation",
  { table: Schema.String, index: Schema.String }
) {
  override get message() {
    return `another row of table ${this.table} has the same value of ${this.index}`
  }
}

/** A reference to a row that does not exist, or a row that cannot go because another refers to it. */
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

/** The values do not fit the table's schema; `issue` says where. */
export class RowInvalid extends Schema.TaggedError<RowInvalid>("effect-dormouse/Storage/RowInvalid")("RowInvalid", {
  table: Schema.String,
  issue: Schema.String
}) {
  override get message() {
    return `not a row of table ${this.table}: ${this.issue}`
  }
}

/** A stored row no longer fits the table's schema: it was written by raw SQL, or by another version of the schema. */
export class RowUnreadable extends Schema.TaggedError<RowUnreadable>("effect-dormouse/Storage/RowUnreadable")(
  "RowUnreadable",
  { table: Schema.String, issue: Schema.String }
) {
  override get message() {
    return `a stored row of table ${this.table} does not fit its schema: ${this.issue}`
  }
}

/** A page cursor that is damaged, or belongs to another table, index or direction. */
export class CursorInvalid extends Schema.TaggedError<CursorInvalid>("effect-dormouse/Storage/CursorInvalid")(
  "CursorInvalid",
  { table: Schema.String, issue: Schema.String }
) {
  override get message() {
    return `the cursor cannot be used in table ${this.table}: ${this.issue}`
  }
}

/** `unique` met a second row. */
export class NotUnique extends Schema.TaggedError<NotUnique>("effect-dormouse/Storage/NotUnique")("NotUnique", {
  table: Schema.String
}) {
  override get message() {
    return `more than one row of table ${this.table} was found`
  }
}

/** A limit of `Limits`, by name. */
export class StorageLimit extends Schema.TaggedError<StorageLimit>("effect-dormouse/Storage/StorageLimit")(
  "StorageLimit",
  { limit: Schema.String, max: Schema.Number, actual: Schema.Number }
) {
  override get message() {
    return `limit ${this.limit} is ${this.max}, got ${this.actual}`
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

export const StorageErrorReason = Schema.Union([
  UniqueViolation,
  ReferenceViolation,
  RowInvalid,
  RowUnreadable,
  CursorInvalid,
  NotUnique,
  StorageLimit,
  StatementFailed
])
export type StorageErrorReason = typeof StorageErrorReason.Type

/**
 * What a storage operation can fail with beside `RowNotFound`. A handler may leave it uncaught: a limit then reaches the
 * caller as a `CallError`, everything else as an opaque defect. To answer one in particular, use
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
