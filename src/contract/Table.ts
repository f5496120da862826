/**
 * Declares tables: a model of the schema, a key, indexes and references. A table's methods read and write its rows.
 * A declaration is pure: a migration creates the table in SQLite when the object starts.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { RowNotFound, Storage, type StorageError, StorageWriter } from "./Storage.ts"
import type { AnyTable, Index, IndexInput, Reference, RenamedFrom } from "./TablePlan.ts"
import { type Columns, make as makeQuery, type TableQuery } from "./TableQuery.ts"

export type { AnyTable as Any, Index, IndexInput, Reference } from "./TablePlan.ts"

/** The annotation of fields whose value the table generates. */
const generatedAnnotation = "~effect-dormouse/generated"

/** The values that a table can generate. */
export type Generated = "key" | "insertedAt" | "updatedAt"

const isGenerated = (value: unknown): value is Generated =>
  value === "key" || value === "insertedAt" || value === "updatedAt"

/** The value that the table generates for a field, or `undefined` for a field that inserts give. */
export const generatedOf = (field: Schema.Top): Generated | undefined => {
  const generated = field.ast.annotations?.[generatedAnnotation]
  return isGenerated(generated) ? generated : undefined
}

/** A key field: a UUIDv7 from the transaction's time and random numbers, unless an insert gives the key. */
export const key = <S extends Schema.Top & { readonly Encoded: string }>(schema: S): Key<S> => {
  // An annotation changes no type of a schema; `Top` only says that `annotate` returns some schema.
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

/** The field of a generated key. Inserts may leave it out. */
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

/**
 * The time of the transaction that inserted the row: a `DateTime.Utc`, milliseconds in the database and on the wire.
 */
export const insertedAt = timestamp("insertedAt")

/**
 * The time of the transaction that last wrote the row: a `DateTime.Utc`, milliseconds in the database and on the wire.
 */
export const updatedAt = timestamp("updatedAt")

/** A row, decoded: an instance of the table's model. */
export type Row<T extends AnyTable> = T["model"]["Type"]
/** The type of a table's key. */
export type RowKey<M extends Model.Any, K extends string> = M["Type"][K & keyof M["Type"]]
/** The input of an insert: the model's `insert` variant, with its constructor defaults. */
export type Insert<M extends Model.Any> = M["insert"]["~type.make.in"]
/**
 * The input of a patch: any fields of the model's `update` variant but the key. `undefined` removes an optional field.
 */
export type Patch<M extends Model.Any, K extends string> = PatchOf<M["update"]["~type.make.in"], K>
type PatchOf<Update, K extends string> = {
  readonly [Field in keyof Update as Exclude<Field, K>]?:
    | Update[Field]
    | ({} extends Pick<Update, Field> ? undefined : never)
}

/** The fields that an index can have: nested values, which are stored as JSON, have no order. */
export type IndexedField<M extends Model.Any> = {
  [Field in keyof M["fields"] & string]: IsNested<NonNullable<M["Encoded"][Field & keyof M["Encoded"]]>> extends true
    ? never
    : Field
}[keyof M["fields"] & string]
/** Whether a value is an array or an object, and not one value as dates and bytes are. `App.make` sees the rest. */
type IsNested<Encoded> = [Encoded] extends [string | number | bigint | boolean]
  ? false
  : [Encoded] extends [ReadonlyArray<unknown> | (object & { readonly toJSON?: never; readonly byteLength?: never })]
    ? true
    : false

/** A table, with the methods that read and write its rows. */
export interface Table<
  Name extends string,
  M extends Model.Any,
  K extends string,
  Indexes extends Record<string, IndexInput<string>>
> extends AnyTable {
  readonly name: Name
  readonly model: M

  /** The row with this key. Fails with `RowNotFound` when there is none. */
  readonly get: (key: RowKey<M, K>) => Effect.Effect<M["Type"], RowNotFound | StorageError, Storage>
  /** The rows with these keys, in the order of the keys; `None` for a key without a row. */
  readonly getMany: (
    keys: ReadonlyArray<RowKey<M, K>>
  ) => Effect.Effect<ReadonlyArray<Option.Option<M["Type"]>>, StorageError, Storage>
  /** Inserts a row. Returns it with its generated fields. */
  readonly insert: (value: Insert<M>) => Effect.Effect<M["Type"], StorageError, StorageWriter>
  /** Inserts all rows or none. Returns them with their generated fields. */
  readonly insertMany: (
    values: ReadonlyArray<Insert<M>>
  ) => Effect.Effect<ReadonlyArray<M["Type"]>, StorageError, StorageWriter>
  /** Changes some fields of a row. */
  readonly patch: (
    key: RowKey<M, K>,
    changes: Patch<M, K>
  ) => Effect.Effect<M["Type"], RowNotFound | StorageError, StorageWriter>
  /** Replaces every field of a row but its key and `insertedAt`. */
  readonly replace: (
    key: RowKey<M, K>,
    value: Insert<M>
  ) => Effect.Effect<M["Type"], RowNotFound | StorageError, StorageWriter>
  /** Replaces the row with the same key, or inserts one. */
  readonly upsert: (value: Insert<M>) => Effect.Effect<M["Type"], StorageError, StorageWriter>
  /** Deletes a row, with what references to it require. Returns whether there was a row. */
  readonly delete: (key: RowKey<M, K>) => Effect.Effect<boolean, StorageError, StorageWriter>
  /** Starts a query on the table: rows in the order of an index, or of the key without an argument. */
  readonly query: {
    (): TableQuery<M["Type"], [K]>
    <I extends keyof Indexes & string>(index: I): TableQuery<M["Type"], Columns<Indexes[I], K>>
  }
}

/**
 * Declares a table: a model, its key, and the indexes that queries can follow. Every index ends with the key, so that
 * the order of its rows is total. Throws when the declaration contradicts itself.
 */
export const make = /* @__NO_SIDE_EFFECTS__ */ <
  const Name extends string,
  M extends Model.Any,
  const K extends keyof M["fields"] & string,
  const Indexes extends Record<string, IndexInput<IndexedField<M>>> = {}
>(
  name: Name,
  model: M,
  options: {
    /** The field that is the key. */
    readonly key: K
    readonly indexes?: Indexes
    readonly references?: { readonly [Column in keyof M["fields"] & string]?: Reference }
    /** Columns that the model no longer has and whose data may be lost. Others are kept aside, if rows can lack them. */
    readonly dropped?: ReadonlyArray<string>
    /**
     * The name that the table had before, and those of its columns. Several names are those of several earlier versions. Keep
     * them until no tenant's database has the old name.
     */
    readonly renamedFrom?: {
      readonly table?: string | ReadonlyArray<string>
      readonly columns?: { readonly [Column in keyof M["fields"] & string]?: string | ReadonlyArray<string> }
    }
  }
): Table<Name, M, K, Indexes> => {
  checkName("the table name", name)
  const fields = Object.keys(model.fields)
  for (const field of fields) {
    checkName(`table ${name}: the field name`, field)
    if (field in Object.prototype) {
      throw new Error(`table ${name}: the field name ${field} is reserved: every object has such a property`)
    }
  }
  const duplicates = fields.filter((field, i) => fields.findIndex((other) => sameName(other, field)) !== i)
  if (duplicates.length > 0) {
    throw new Error(`table ${name}: column ${duplicates[0]} has the name of another column; SQLite ignores case`)
  }
  const references = new Map<string, Reference>()
  for (const [column, reference] of Object.entries<Reference | undefined>(options.references ?? {})) {
    if (reference !== undefined) references.set(column, reference)
  }
  const indexes = new Map<string, Index>()
  for (const [index, input] of Object.entries<IndexInput<string>>(options.indexes ?? {})) {
    if (index === "") throw new Error(`table ${name}: an index needs a name`)
    checkName(`table ${name}: the index name`, index)
    indexes.set(
      index,
      "columns" in input
        ? { name: index, columns: input.columns, unique: input.unique }
        : { name: index, columns: input, unique: false }
    )
  }
  // A delete looks up the rows that refer to the deleted row: without an index it would read the whole table.
  for (const column of references.keys()) {
    if (![...indexes.values()].some((index) => index.columns[0] === column)) {
      const index = `reference_${column}`
      if (indexes.has(index)) throw new Error(`table ${name}: the index name ${index} is reserved for a reference`)
      indexes.set(index, { name: index, columns: [column], unique: false })
    }
  }
  const renamedFrom = options.renamedFrom && namesBefore(name, fields, options.renamedFrom)
  const table = {
    name,
    model,
    key: options.key,
    indexes,
    references,
    dropped: new Set(options.dropped),
    ...(renamedFrom && { renamedFrom }),
    sensitive: new Set(fields.filter((field) => !(field in fieldsOf(model.json))))
  } satisfies AnyTable
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
  return Object.assign(table, methods)
}

/** The earlier names of a table and its columns. Throws for a name that a field has now, or that two have had. */
const namesBefore = (
  table: string,
  fields: ReadonlyArray<string>,
  given: {
    readonly table?: string | ReadonlyArray<string>
    readonly columns?: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  }
): RenamedFrom => {
  const all = (names: string | ReadonlyArray<string> = []) => (typeof names === "string" ? [names] : names)
  const columns: Record<string, ReadonlyArray<string>> = {}
  const taken = [...fields]
  for (const [field, names] of Object.entries(given.columns ?? {})) {
    if (!fields.includes(field)) throw new Error(`table ${table}: renamedFrom names ${field}, which is no field`)
    columns[field] = all(names)
    for (const name of columns[field]) {
      checkName(`table ${table}: the earlier name of ${field}`, name)
      const other = taken.find((other) => sameName(other, name))
      if (other !== undefined) {
        throw new Error(`table ${table}: ${field} is renamed from ${name}, which is also the name of ${other}`)
      }
      taken.push(name)
    }
  }
  const tables = all(given.table)
  for (const earlier of tables) {
    checkName(`table ${table}: its earlier name`, earlier)
    if (sameName(earlier, table)) throw new Error(`table ${table}: it is renamed from its own name`)
  }
  return { table: tables, columns }
}

const hasFields = (schema: Schema.Top): schema is Schema.Top & { readonly fields: Schema.Struct.Fields } =>
  "fields" in schema

/** The fields of a model, or of one of its variants. Empty for a schema that is not a struct. */
export const fieldsOf = (schema: Schema.Top): Schema.Struct.Fields => (hasFields(schema) ? schema.fields : {})

/** Throws for a name that SQLite cannot have: it would store half a surrogate pair as something else. */
const checkName = (what: string, name: string): void => {
  if (name === "") throw new Error(`${what} "" is empty`)
  if (!name.isWellFormed() || name.includes("\0")) throw new Error(`${what} ${JSON.stringify(name)} is not well-formed`)
}

/** SQLite ignores the case of ASCII letters in names. */
const sameName = (a: string, b: string) => a.toLowerCase() === b.toLowerCase()

/** Runs an effect in a nested transaction: when it fails, only what it wrote is rolled back. */
export const atomically = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | StorageWriter> =>
  StorageWriter.use((storage) => storage.atomically(effect))
