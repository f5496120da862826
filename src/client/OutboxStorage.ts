/**
 * Where an outbox stores its mutations: the entries, the port, and its layers in IndexedDB and in memory.
 * A lock per client id keeps two pages from sending the entries of the same client.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import { browser } from "./Browser.ts"

/** A mutation without an outcome, as it is stored. */
export const OutboxEntry = Schema.Struct({
  /** Its mutation id. The server runs it once, however often it is sent with this id. */
  id: Schema.String,
  /** The id of the client that called it. */
  client: Schema.String,
  /** The server, the tenant and the identity that it belongs to. Only a client of the same three sends it. */
  owner: Schema.String,
  tag: Schema.String,
  /** The encoded payload. */
  payload: Schema.Unknown,
  /** When it was called, in milliseconds since the epoch. */
  at: Schema.Finite,
  /** When it was first sent, in milliseconds since the epoch; `null` while it certainly was not. */
  sentAt: Schema.NullOr(Schema.Finite)
})
/** A mutation without an outcome, as it is stored. */
export type OutboxEntry = typeof OutboxEntry.Type

/**
 * Where an outbox stores its entries. All pages of one browser share it; it keeps the order in which entries were put. A
 * storage that is blocked or full refuses with a defect: the outbox logs it, and sends what it could not store.
 */
export class OutboxStorage extends Context.Service<
  OutboxStorage,
  {
    /** Adds an entry, or replaces the one with the same id in its place. */
    readonly put: (entry: OutboxEntry) => Effect.Effect<void>
    /** Removes the entry with this id, if there is one. */
    readonly remove: (id: string) => Effect.Effect<void>
    /** All entries, in the order in which they were put. */
    readonly entries: Effect.Effect<ReadonlyArray<OutboxEntry>>
    /**
     * Takes an exclusive lock on a client id until the scope closes. Returns whether it was free. A client locks its
     * own id while it runs; the lock of another id is free only if that client has closed, and its entries may then be
     * sent.
     */
    readonly claim: (client: string) => Effect.Effect<boolean, never, Scope>
  }
>()("effect-dormouse/client/OutboxStorage") {}

const put = (entries: ReadonlyArray<OutboxEntry>, entry: OutboxEntry): ReadonlyArray<OutboxEntry> =>
  entries.some(({ id }) => id === entry.id)
    ? entries.map((other) => (other.id === entry.id ? entry : other))
    : [...entries, entry]

const without = (entries: ReadonlyArray<OutboxEntry>, id: string): ReadonlyArray<OutboxEntry> =>
  entries.filter((entry) => entry.id !== id)

/** Stores entries in memory, for as long as the layer. Clients that share the layer act as tabs of one browser. */
export const layerMemory: Layer.Layer<OutboxStorage> = Layer.sync(OutboxStorage, () => {
  let entries: ReadonlyArray<OutboxEntry> = []
  const claimed = new Set<string>()
  return {
    put: (entry) =>
      Effect.sync(() => {
        entries = put(entries, entry)
      }),
    remove: (id) =>
      Effect.sync(() => {
        entries = without(entries, id)
      }),
    entries: Effect.sync(() => entries),
    claim: (client) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          if (claimed.has(client)) return false
          claimed.add(client)
          return true
        }),
        (isOurs) => Effect.sync(() => isOurs && claimed.delete(client))
      )
  }
})

const decodeEntries = Schema.decodeUnknownSync(Schema.Array(OutboxEntry))

/**
 * Stores entries in IndexedDB, in a database named `dormouse-outbox` unless `name` is given. Client ids are locked with
 * the Web Locks API, across tabs; in a browser without it, two tabs may send the same entry, which the server runs
 * once.
 */
export const layerIndexedDb = (options: { readonly name?: string } = {}): Layer.Layer<OutboxStorage> =>
  Layer.effect(
    OutboxStorage,
    Effect.map(
      Effect.promise(() => import("idb-keyval")),
      ({ createStore, get, update }) => {
        const store = createStore(options.name ?? "dormouse-outbox", "entries")
        const key = "entries"
        // Entries in another format, of another version of this library, are dropped: their meaning is unknown.
        const read = (stored: unknown): ReadonlyArray<OutboxEntry> => {
          try {
            return decodeEntries(stored ?? [])
          } catch {
            return []
          }
        }
        const change = (f: (entries: ReadonlyArray<OutboxEntry>) => ReadonlyArray<OutboxEntry>) =>
          Effect.promise(() => update(key, (stored) => f(read(stored)), store))
        return {
          put: (entry) => change((entries) => put(entries, entry)),
          remove: (id) => change((entries) => without(entries, id)),
          entries: Effect.promise(async () => read(await get(key, store))),
          claim: (client) =>
            Effect.map(
              Effect.acquireRelease(
                Effect.promise(() => lock(`dormouse-outbox:${client}`)),
                (release) => Effect.sync(() => release?.())
              ),
              (release) => release !== undefined
            )
        }
      }
    )
  )

/** Takes a lock if it is free, and returns the function that releases it. Without Web Locks every lock is free. */
const lock = (name: string): Promise<(() => void) | undefined> => {
  const { locks } = browser.navigator ?? {}
  if (locks === undefined) return Promise.resolve(() => {})
  return new Promise((resolve, reject) => {
    locks
      .request(name, { ifAvailable: true }, (granted) => {
        if (granted === null) {
          resolve(undefined)
          return undefined
        }
        return new Promise<void>((release) => resolve(release))
      })
      .catch(reject)
  })
}
