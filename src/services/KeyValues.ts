/**
 * Effect's `KeyValueStore` over a database, in the transactions of an app and alone, and the store behind `PersistedCache`.
 * O12: what has expired is never returned. It is deleted then by the alarm of an app with jobs, and otherwise a few rows with each write.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Layer from "effect/Layer"
import * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Persistence from "effect/persistence/Persistence"
import type { Transactional, Tx } from "../contract/Transactional.ts"
import { Database } from "./Database.ts"
import * as ValueRows from "./keyValues/ValueRows.ts"
import * as StandaloneTable from "./stores/StandaloneTable.ts"

export { KeyValueStore, KeyValueStoreError } from "effect/persistence/KeyValueStore"

/** How a value is stored. */
export interface SetOptions {
  /** How long the key exists. Without it the key does not expire, also if it did before. */
  readonly timeToLive?: Duration.Input
}

type Value = string | Uint8Array

/** Sets a key that expires. Only the stores of this module can. Not a property of the store: views of it would copy that. */
type Expiring = (
  key: string,
  value: Value,
  timeToLive: Duration.Duration
) => Effect.Effect<void, KeyValueStore.KeyValueStoreError>
const expiringOf = new WeakMap<KeyValueStore.KeyValueStore, Expiring>()

/**
 * Sets the value of a key, and after which time it expires. Fails if the `KeyValueStore` is not one of this module, or is a
 * view of one (`KeyValueStore.prefix`).
 */
export const set = (
  key: string,
  value: Value,
  options: SetOptions = {}
): Effect.Effect<void, KeyValueStore.KeyValueStoreError, KeyValueStore.KeyValueStore> =>
  Effect.flatMap(KeyValueStore.KeyValueStore, (store) => {
    const { timeToLive } = options
    const duration = timeToLive === undefined ? Duration.infinity : Duration.fromInputUnsafe(timeToLive)
    if (!Duration.isFinite(duration)) return store.set(key, value)
    return expiringOf.get(store)?.(key, value, duration) ?? Effect.fail(errorOf("set", "its keys cannot expire", key))
  })

const errorOf = (method: string, message: string, key?: string) =>
  new KeyValueStore.KeyValueStoreError({
    method,
    message: `the KeyValueStore failed: ${message}`,
    ...(key !== undefined && { key })
  })

/** When something expires that is set now. */
const expiryOf = (now: number, timeToLive: Duration.Duration): number =>
  Math.min(Math.ceil(now + Duration.toMillis(timeToLive)), Number.MAX_SAFE_INTEGER)

/** Runs an operation on the rows. */
type Run = <A>(body: (rows: ValueRows.ValueRows) => A) => Effect.Effect<A>

const encoder = new TextEncoder()
const toText = (value: Value): string => (typeof value === "string" ? value : Base64.encode(value))
const toBytes = (value: Value): Uint8Array => (typeof value === "string" ? encoder.encode(value) : value)

/** The names of Effect's store in the table. Those of `Persistence` begin with another letter. */
const valuesSpace = "v"
const persistedSpace = (storeId: string) => `p${storeId}`

/** The store over its rows. `refused` is what writes do instead, in a query. */
const storeOver = (run: Run, refused?: Effect.Effect<never>): KeyValueStore.KeyValueStore => {
  const operation = <A>(method: string, key: string | undefined, body: (rows: ValueRows.ValueRows) => A) =>
    Effect.suspend(() =>
      key?.isWellFormed() === false
        ? Effect.fail(errorOf(method, "the key has half a surrogate pair"))
        : Effect.catchDefect(run(body), (cause) =>
            Effect.andThen(
              Effect.logError("a key could not be read or written", cause),
              Effect.fail(errorOf(method, "the database refused it", key))
            )
          )
    )
  const writing: typeof operation = (method, key, body) => refused ?? operation(method, key, body)
  const setting = (key: string, value: Value, timeToLive?: Duration.Duration) =>
    typeof value === "string" && !value.isWellFormed()
      ? Effect.fail(errorOf("set", "the value has half a surrogate pair", key))
      : writing("set", key, (rows) => rows.set(valuesSpace, key, value, timeToLive))
  const changing = <V extends Value>(method: string, key: string, f: (value: V) => V, convert: (value: Value) => V) =>
    // What the function throws is its own defect, and not that of the database.
    Effect.flatMap(
      operation(method, key, (rows) => rows.row(valuesSpace, key)),
      (row) => {
        if (row === undefined) return Effect.undefined
        const changed = f(convert(row.value))
        return Effect.as(
          writing(method, key, (rows) => rows.replace(valuesSpace, key, changed, row.expires)),
          changed
        )
      }
    )
  const store = KeyValueStore.make({
    get: (key) => operation("get", key, (rows) => mapValue(rows.row(valuesSpace, key), toText)),
    getUint8Array: (key) => operation("getUint8Array", key, (rows) => mapValue(rows.row(valuesSpace, key), toBytes)),
    set: (key, value) => setting(key, value),
    remove: (key) => writing("remove", key, (rows) => rows.remove(valuesSpace, key)),
    clear: writing("clear", undefined, (rows) => rows.clear(valuesSpace, "")),
    clearPrefix: (prefix) => writing("clearPrefix", prefix, (rows) => rows.clear(valuesSpace, prefix)),
    size: operation("size", undefined, (rows) => rows.size(valuesSpace)),
    keys: operation("keys", undefined, (rows) => rows.keys(valuesSpace)),
    modify: (key, f) => changing("modify", key, f, toText),
    modifyUint8Array: (key, f) => changing("modifyUint8Array", key, f, toBytes)
  })
  expiringOf.set(store, setting)
  return store
}

const mapValue = <A>(row: ValueRows.Row | undefined, f: (value: Value) => A): A | undefined => row && f(row.value)

/** The store of one transaction. */
const inTransaction = (tx: Tx): KeyValueStore.KeyValueStore =>
  storeOver(
    (body) =>
      Effect.clockWith((clock) =>
        // Reading the clock is recorded.
        Effect.sync(() => body(rowsOf(tx, () => clock.currentTimeMillisUnsafe())))
      ),
    tx.readOnly ? refused : undefined
  )

const rowsOf = (tx: Tx, now: () => number): ValueRows.ValueRows =>
  ValueRows.over(tx.query, {
    now,
    onRead: (name) => tx.recordRead(ValueRows.rowTable, name),
    onWrite: (name) => tx.recordWrite(ValueRows.rowTable, name),
    onEnd: () => tx.recordWrite(ValueRows.valueEnds),
    expiryOf
  })

/** Expired keys that the alarm deletes in one transaction. */
const rowsPerSweep = 100

const refused = Effect.die(new Error("a query cannot write: make it a mutation"))

/**
 * Effect's `KeyValueStore` in the queries and mutations of an app: `App.make({ transactional: [KeyValues.transactional] })`. What
 * a mutation writes commits and rolls back with it. A live query that read a key runs again when that key changes.
 */
export const transactional: Transactional<KeyValueStore.KeyValueStore, KeyValueStore.KeyValueStore> = {
  tag: KeyValueStore.KeyValueStore,
  tables: [ValueRows.table],
  open: inTransaction,
  expiring: {
    changes: ValueRows.valueEnds,
    next: ValueRows.nextEnd,
    sweep: (tx) => rowsOf(tx, () => tx.now).sweep(rowsPerSweep)
  }
}

/** Runs operations over a database, each in a transaction of its own. */
const alone = Effect.map(Database, (database): Run => {
  StandaloneTable.create(database, ValueRows.table)
  const query: Tx["query"] = (sql, params = []) => database.all(sql, params).rows
  return (body) =>
    Effect.map(Clock.currentTimeMillis, (now) =>
      database.transaction(() =>
        body(ValueRows.over(query, { now: () => now, onRead: () => {}, onWrite: () => {}, onEnd: () => {}, expiryOf }))
      )
    )
})

/** Effect's `KeyValueStore` over a `Database`, without an app. */
export const layer: Layer.Layer<KeyValueStore.KeyValueStore, never, Database> = Layer.effect(
  KeyValueStore.KeyValueStore,
  Effect.map(alone, (run) => storeOver(run))
)

/** What Effect's `Persistence` is made of, over a `Database`. */
export const layerBacking: Layer.Layer<Persistence.BackingPersistence, never, Database> = Layer.effect(
  Persistence.BackingPersistence,
  Effect.map(alone, (run) =>
    Persistence.BackingPersistence.of({ make: (storeId) => Effect.succeed(backingOver(run, persistedSpace(storeId))) })
  )
)

/** Effect's `Persistence` over a `Database`, for `PersistedCache` and others. */
export const layerPersistence: Layer.Layer<Persistence.Persistence, never, Database> = Layer.provide(
  Persistence.layer,
  layerBacking
)

const backingOver = (run: Run, space: string): Persistence.BackingPersistenceStore => {
  const operation = <A>(what: string, body: (rows: ValueRows.ValueRows) => A) =>
    Effect.catchDefect(run(body), (cause) =>
      Effect.andThen(
        Effect.logError(`${what} failed`, cause),
        Effect.fail(new Persistence.PersistenceError({ message: `${what} failed` }))
      )
    )
  const reading = (rows: ValueRows.ValueRows, key: string): object | undefined => {
    const row = rows.row(space, check(key))
    return row && JSON.parse(toText(row.value))
  }
  const writing = (rows: ValueRows.ValueRows, key: string, value: object, timeToLive: Duration.Duration | undefined) =>
    rows.set(space, check(key), JSON.stringify(value), timeToLive)
  return {
    get: (key) => operation("reading a persisted value", (rows) => reading(rows, key)),
    getMany: ([first, ...others]) =>
      operation("reading persisted values", (rows) => [
        readable(() => reading(rows, first)),
        ...others.map((key) => readable(() => reading(rows, key)))
      ]),
    set: (key, value, timeToLive) =>
      operation("writing a persisted value", (rows) => writing(rows, key, value, timeToLive)),
    setMany: (entries) =>
      operation("writing persisted values", (rows) => {
        for (const [key, value, timeToLive] of entries) writing(rows, key, value, timeToLive)
      }),
    remove: (key) => operation("removing a persisted value", (rows) => rows.remove(space, check(key))),
    clear: operation("clearing persisted values", (rows) => rows.clear(space, ""))
  }
}

const check = (key: string): string => {
  if (!key.isWellFormed()) throw new Error("the key has half a surrogate pair")
  return key
}

/** A damaged value among many is one that is missing, as in Effect's own stores. */
const readable = <A>(body: () => A): A | undefined => {
  try {
    return body()
  } catch (cause) {
    if (cause instanceof SyntaxError) return undefined
    throw cause
  }
}
