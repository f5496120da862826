import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { RowNotFound, Storage, type StorageError, StorageWriter } from "./Storage.ts"
import { type Columns, make as makeQuery, type TableQuery } from "./TableQuery.ts"

/** The annotation by which `Table` finds the fields that it fills in itself. */
const generatedAnnotation = "~effect-dormouse/generated"
export type Generated = "key" | "insertedAt" | "updatedAt"

/** What fills the field in, or `undefined` where the author does. */
export const generatedOf = (field: Schema.Top): Generated | undefined =>
  field.ast.annotations?.[generatedAnnotation] as Generated | undefined

/** A key that is generated (UUIDv7 from the transaction's clock and randomness) unless an insert gives it. */
export const key = <S extends Schema.Top & { readonly Encoded: string }>(schema: S): Key<S> => {
  const annotated = schema.annotate({ [generatedAnnotation]: "key" }) as unknown as S
  return Model.Field({
    select: annotated,
    insert: Schema.optionalKey(annotated),
    update: annotated,
    json: annotated,
    jsonCreate: Schema.optionalKey(annotated),
    jsonUpdate: annotated
  })
}

export interface Key<S extends Schema.Top>
  extends ReturnType<
    typeof Model.Field<{
      readonly select: S
      readonly insert: Schema.optionalKey<S>
      readonly update: S
      readonly json: S
      readonly jsonCreate: Schema.optionalKey<S>
      readonly jsonUpdate: S
    }>
  > {}

const timestamp = (generated: Generated) =>
  Model.FieldOnly(["select", "json"])(Schema.DateTimeUtcFromMillis.annotate({ [generatedAnnotation]: generated }))

/** The time of the transaction that inserted the row: a `DateTime.Utc`, milliseconds in the database and on the wire. */
export const insertedAt = timestamp("insertedAt")

/** The time of the transaction that last wrote the row: a `DateTime.Utc`, milliseconds in the database and on the wire. */
export const updatedAt = timestamp("updatedAt")

export type IndexInput<Column extends string> =
  | ReadonlyArray<Column>
  | { readonly columns: ReadonlyArray<Column>; readonly unique: boolean }

export interface Reference {
  /** A thunk, because tables may refer to each other and to themselves. */
  readonly table: () => Any
  /** What happens to the referring row when the row it refers to is deleted. `restrict` unless given. */
  readonly onDelete?: "restrict" | "cascade" | "setNull"
}

export interface Index {
  readonly name: string
  readonly columns: ReadonlyArray<string>
  readonly unique: boolean
}

/** A table as the engine sees it. */
export interface Any {
  readonly name: string
  readonly model: Model.Any
  readonly key: string
  /** The declared indexes, and one on each reference that no declared index begins with. */
  readonly indexes: ReadonlyMap<string, Index>
  readonly references: ReadonlyMap<string, Reference>
  /** Columns that may be dropped, with their data, when the database still has them. */
  readonly dropped: ReadonlySet<string>
  /** Fields that no variant for the wire has: those of `Model.Sensitive`, above all. */
  readonly sensitive: ReadonlySet<string>
}

/** A row, decoded: an instance of the table's model. */
export type Row<T extends Any> = T["model"]["Type"]
export type RowKey<M extends Model.Any, K extends string> = M["Type"][K & keyof M["Type"]]
/** What an insert takes: the model's `insert` variant, with its constructor defaults. */
export type Insert<M extends Model.Any> = M["insert"]["~type.make.in"]
/** What a patch takes: any part of the model's `update` variant but the key. `undefined` takes an optional field away. */
export type Patch<M extends Model.Any, K extends string> = PatchOf<M["update"]["~type.make.in"], K>
type PatchOf<Update, K extends string> = {
  readonly [Field in keyof Update as Exclude<Field, K>]?:
    | Update[Field]
    | ({} extends Pick<Update, Field> ? undefined : never)
}

export interface Table<
  Name extends string,
  M extends Model.Any,
  K extends string,
  Indexes extends Record<string, IndexInput<string>>
> extends Any {
  readonly name: Name
  readonly model: M

  /** The row with this key. */
  readonly get: (key: RowKey<M, K>) => Effect.Effect<M["Type"], RowNotFound | StorageError, Storage>
  /** The rows with these keys, in the keys' order; `None` where there is none. */
  readonly getMany: (
    keys: ReadonlyArray<RowKey<M, K>>
  ) => Effect.Effect<ReadonlyArray<Option.Option<M["Type"]>>, StorageError, Storage>
  readonly insert: (value: Insert<M>) => Effect.Effect<M["Type"], StorageError, StorageWriter>
  readonly insertMany: (
    values: ReadonlyArray<Insert<M>>
  ) => Effect.Effect<ReadonlyArray<M["Type"]>, StorageError, StorageWriter>
  /** Changes some fields of a row. */
  readonly patch: (
    key: RowKey<M, K>,
    changes: Patch<M, K>
  ) => Effect.Effect<M["Type"], RowNotFound | StorageError, StorageWriter>
  /** Gives a row new values in every field but its key and `insertedAt`. */
  readonly replace: (
    key: RowKey<M, K>,
    value: Insert<M>
  ) => Effect.Effect<M["Type"], RowNotFound | StorageError, StorageWriter>
  /** Inserts a row, or replaces the one with the same key. */
  readonly upsert: (value: Insert<M>) => Effect.Effect<M["Type"], StorageError, StorageWriter>
  /** Deletes a row, with what its references ask for. Answers whether there was one. */
  readonly delete: (key: RowKey<M, K>) => Effect.Effect<boolean, StorageError, StorageWriter>
  /** Rows in the order of an index, or of the key when none is named. */
  readonly query: {
    (): TableQuery<M["Type"], [K]>
    <I extends keyof Indexes & string>(index: I): TableQuery<M["Type"], Columns<Indexes[I], K>>
  }
}

/**
 * Declares a table: a model, its key, and the indexes that queries may follow. Every index ends with the key, so that
 * the order of its rows is total.
 */
export const make = /* @__NO_SIDE_EFFECTS__ */ <
  const Name extends string,
  M extends Model.Any,
  const K extends keyof M["fields"] & string,
  const Indexes extends Record<string, IndexInput<keyof M["fields"] & string>> = {}
>(
  name: Name,
  model: M,
  options: {
    readonly key: K
    readonly indexes?: Indexes
    readonly references?: { readonly [Column in keyof M["fields"] & string]?: Reference }
    readonly dropped?: ReadonlyArray<string>
  }
): Table<Name, M, K, Indexes> => {
  const fields = Object.keys(model.fields)
  const twins = fields.filter((field, i) => fields.findIndex((other) => sameName(other, field)) !== i)
  if (twins.length > 0) throw new Error(`table ${name}: SQLite cannot tell column ${twins[0]} from another one`)
  const references = new Map<string, Reference>(Object.entries(options.references ?? {}) as Array<[string, Reference]>)
  const indexes = new Map<string, Index>()
  for (const [index, input] of Object.entries<IndexInput<string>>(options.indexes ?? {})) {
    if (index === "") throw new Error(`table ${name}: an index needs a name`)
    indexes.set(
      index,
      "columns" in input
        ? { name: index, columns: input.columns, unique: input.unique }
        : { name: index, columns: input, unique: false }
    )
  }
  // Deleting a row looks for the rows that refer to it; without an index each delete would read the whole table.
  for (const column of references.keys()) {
    if (![...indexes.values()].some((index) => index.columns[0] === column)) {
      const index = `reference_${column}`
      if (indexes.has(index)) throw new Error(`table ${name}: the index name ${index} is taken by the reference`)
      indexes.set(index, { name: index, columns: [column], unique: false })
    }
  }
  const table: Any = {
    name,
    model,
    key: options.key,
    indexes,
    references,
    dropped: new Set(options.dropped),
    sensitive: new Set(fields.filter((field) => !(field in fieldsOf(model.json))))
  }
  const orNotFound = <A, R>(key: unknown, row: Effect.Effect<Option.Option<A>, StorageError, R>) =>
    Effect.flatMap(row, (row) =>
      Option.isSome(row) ? Effect.succeed(row.value) : Effect.fail(new RowNotFound({ table: name, key }))
    )
  const methods: Pick<
    Table<Name, M, K, Indexes>,
    "get" | "getMany" | "insert" | "insertMany" | "patch" | "replace" | "upsert" | "delete" | "query"
  > = {
    get: (key) =>
      orNotFound(
        key,
        Storage.use((storage) => storage.get(table, key))
      ),
    getMany: (keys) => Storage.use((storage) => storage.getMany(table, keys)),
    insert: (value) => Effect.map(methods.insertMany([value]), (rows) => rows[0]!),
    insertMany: (values) => StorageWriter.use((storage) => storage.insertMany(table, values)),
    patch: (key, changes) =>
      orNotFound(
        key,
        StorageWriter.use((storage) => storage.patch(table, key, changes))
      ),
    replace: (key, value) =>
      orNotFound(
        key,
        StorageWriter.use((storage) => storage.replace(table, key, value))
      ),
    upsert: (value) => StorageWriter.use((storage) => storage.upsert(table, value)),
    delete: (key) => StorageWriter.use((storage) => storage.delete(table, key)),
    query: (index?: string) => makeQuery(table, index)
  }
  return Object.assign(table, methods) as Table<Name, M, K, Indexes>
}

const hasFields = (schema: Schema.Top): schema is Schema.Top & { readonly fields: Schema.Struct.Fields } =>
  "fields" in schema

/** The fields of a model or of one of its variants, which are all structs. */
export const fieldsOf = (schema: Schema.Top): Schema.Struct.Fields => (hasFields(schema) ? schema.fields : {})

/** SQLite compares names without regard to the case of ASCII letters. */
const sameName = (a: string, b: string) => a.toLowerCase() === b.toLowerCase()

/** Runs an effect in a transaction inside the transaction: when it fails, what it wrote is undone and nothing else. */
export const atomically = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | StorageWriter> =>
  StorageWriter.use((storage) => storage.atomically(effect))
