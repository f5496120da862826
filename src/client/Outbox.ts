import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import { browser } from "./Browser.ts"
import type * as Mutations from "./Mutations.ts"
import * as OutboxRunner from "./OutboxRunner.ts"

/** A mutation that has no outcome yet, as it is written down. */
export const OutboxEntry = Schema.Struct({
  /** Its mutation id, under which the server does it once. */
  id: Schema.String,
  /** The client that made it. */
  client: Schema.String,
  /** Whose it is: the server, the tenant and the identity it is to be sent with. */
  owner: Schema.String,
  tag: Schema.String,
  /** The encoded payload. */
  payload: Schema.Unknown,
  /** When it was made, in milliseconds. */
  at: Schema.Finite,
  /** When it was first sent, or `null` while it surely was not. */
  sentAt: Schema.NullOr(Schema.Finite)
})
export type OutboxEntry = typeof OutboxEntry.Type

/**
 * Where a client writes mutations down before it sends them, so that they outlive the page. Entries come back in the
 * order they were put in.
 */
export class OutboxStorage extends Context.Service<
  OutboxStorage,
  {
    /** Adds an entry, or replaces the one with the same id in its place. */
    readonly put: (entry: OutboxEntry) => Effect.Effect<void>
    readonly remove: (id: string) => Effect.Effect<void>
    readonly entries: Effect.Effect<ReadonlyArray<OutboxEntry>>
    /**
     * Whether no living client has this id; then nobody else gets it until the scope ends. A client claims its own id
     * while it lives, and those of clients that died to send what they left.
     */
    readonly claim: (client: string) => Effect.Effect<boolean, never, Scope>
  }
>()("effect-dormouse/client/OutboxStorage") {}

/** How a mutation ended that was left over by a client that is gone. */
export interface Replayed {
  readonly tag: string
  readonly payload: unknown
  readonly exit: Exit.Exit<unknown, unknown>
}

export interface OutboxOptions {
  readonly storage: OutboxStorage["Service"]
  /** Whose mutations these are; those of one identity are not sent with the token of another. */
  readonly identity?: string
  /** Hears how the mutations ended that a closed page left. Nobody else waits for them. */
  readonly onReplayed?: (replayed: Replayed) => Effect.Effect<void>
}

/** What a client needs to write mutations down. */
export interface Outbox {
  readonly run: (options: Mutations.MutationsOptions) => Effect.Effect<Mutations.Mutations["run"], never, Scope>
}

/** Makes the outbox of a client: mutations are written down before they are sent, so that they outlive the page. */
export const make = (options: OutboxOptions): Outbox => ({ run: (mutations) => OutboxRunner.make(mutations, options) })

const put = (entries: ReadonlyArray<OutboxEntry>, entry: OutboxEntry): ReadonlyArray<OutboxEntry> =>
  entries.some(({ id }) => id === entry.id)
    ? entries.map((other) => (other.id === entry.id ? entry : other))
    : [...entries, entry]

const without = (entries: ReadonlyArray<OutboxEntry>, id: string): ReadonlyArray<OutboxEntry> =>
  entries.filter((entry) => entry.id !== id)

/** Entries that live as long as the layer: clients that share it are as the tabs of one browser. */
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

/** Entries in the browser's IndexedDB; the Web Locks API tells which clients live, in whatever tab. */
export const layerIndexedDb = (options: { readonly name?: string } = {}): Layer.Layer<OutboxStorage> =>
  Layer.effect(
    OutboxStorage,
    Effect.map(
      Effect.promise(() => import("idb-keyval")),
      ({ createStore, get, update }) => {
        const store = createStore(options.name ?? "dormouse-outbox", "entries")
        const key = "entries"
        // Entries that another version wrote differently are dropped rather than sent as something they were not.
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

/** Takes a lock if it is free, and gives the function that releases it. Without Web Locks every lock is free. */
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
