/**
 * Where an outbox stores its mutations: the entries, the port, and its layers in IndexedDB and in memory.
 * A lock per client id keeps two pages from sending the entries of the same client.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
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
  /**
   * A time of the server, in milliseconds since the epoch, after which it was first sent; `null` while the server certainly
   * has not run it.
   */
  sentAfter: Schema.NullOr(Schema.Finite)
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
    /** All entries that can be decoded, in the order in which they were put. The others stay where they are. */
    readonly entries: Effect.Effect<ReadonlyArray<OutboxEntry>>
    /**
     * Takes an exclusive lock on a client id until the scope closes. Returns whether it was free. A client locks its
     * own id while it runs; the lock of another id is free only if that client has closed, and its entries may then be
     * sent.
     */
    readonly claim: (client: string) => Effect.Effect<boolean, never, Scope>
    /** Completes when the lock of a client id is free. */
    readonly closed: (client: string) => Effect.Effect<void>
  }
>()("effect-dormouse/client/OutboxStorage") {}

const decodeEntry = Schema.decodeUnknownOption(OutboxEntry)

/** What is stored, as a list. What is no list was written by another version of this library: it stays, as an item. */
const listOf = (stored: unknown): ReadonlyArray<unknown> =>
  stored === undefined ? [] : Array.isArray(stored) ? stored : [stored]

const decodable = (stored: unknown): ReadonlyArray<OutboxEntry> =>
  listOf(stored).flatMap((item) => Option.toArray(decodeEntry(item)))

const hasId = (id: string) => (item: unknown) => Option.getOrUndefined(decodeEntry(item))?.id === id

const put = (stored: unknown, entry: OutboxEntry): ReadonlyArray<unknown> => {
  const items = listOf(stored)
  const index = items.findIndex(hasId(entry.id))
  return index === -1 ? [...items, entry] : items.map((item, i) => (i === index ? entry : item))
}

const without = (stored: unknown, id: string): ReadonlyArray<unknown> => {
  const isIt = hasId(id)
  return listOf(stored).filter((item) => !isIt(item))
}

/** Stores entries in memory, for as long as the layer. Clients that share the layer act as tabs of one browser. */
export const layerMemory: Layer.Layer<OutboxStorage> = Layer.sync(OutboxStorage, () => {
  let stored: unknown
  /** The ids that are locked, and what is called when they are free. */
  const claimed = new Map<string, Array<() => void>>()
  return {
    put: (entry) =>
      Effect.sync(() => {
        stored = put(stored, entry)
      }),
    remove: (id) =>
      Effect.sync(() => {
        stored = without(stored, id)
      }),
    entries: Effect.sync(() => decodable(stored)),
    claim: (client) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          if (claimed.has(client)) return false
          claimed.set(client, [])
          return true
        }),
        (isOurs) =>
          Effect.sync(() => {
            if (!isOurs) return
            const waiting = claimed.get(client) ?? []
            claimed.delete(client)
            for (const resume of waiting) resume()
          })
      ),
    closed: (client) =>
      Effect.callback((resume) => {
        const waiting = claimed.get(client)
        if (waiting === undefined) resume(Effect.void)
        else waiting.push(() => resume(Effect.void))
      })
  }
})

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
        let undecodable = 0
        const change = (f: (stored: unknown) => ReadonlyArray<unknown>) => Effect.promise(() => update(key, f, store))
        return {
          put: (entry) => change((stored) => put(stored, entry)),
          remove: (id) => change((stored) => without(stored, id)),
          entries: Effect.gen(function* () {
            const stored = yield* Effect.promise(() => get(key, store))
            const entries = decodable(stored)
            const others = listOf(stored).length - entries.length
            if (others > undecodable) {
              yield* Effect.logWarning(
                `${others} entries of the outbox cannot be decoded: they stay, for the version of the page that wrote them`
              )
            }
            undecodable = others
            return entries
          }),
          claim: (client) =>
            Effect.map(
              Effect.acquireRelease(
                Effect.promise(() => lock(lockOf(client))),
                (release) => Effect.sync(() => release?.())
              ),
              (release) => release !== undefined
            ),
          closed: (client) => Effect.promise((signal) => unlocked(lockOf(client), signal))
        }
      }
    )
  )

const lockOf = (client: string) => `dormouse-outbox:${client}`

/** Waits until a lock is free: it is taken then, and given back at once. */
const unlocked = async (name: string, signal: AbortSignal): Promise<void> =>
  browser.navigator?.locks?.request(name, { signal }, async () => {})

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
