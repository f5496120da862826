/**
 * Optimistic changes: which mutations have changed which live values, and when the server's values contain them.
 * A change is kept from the call of its mutation until then, or until the mutation fails.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type { PublicTagOf } from "../contract/Api.ts"
import type { LiveValue } from "./LiveValues.ts"

/** Changes live values before the server does. A change that throws is left out. */
export interface View<Rpcs extends Rpc.Any> {
  /** Changes the value of one live query. Does nothing when the query is not live. */
  readonly update: <Tag extends PublicTagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>,
    change: (value: Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>) => Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>
  ) => void
  /** Changes the value of every live query of a tag. `change` also gets the query's encoded payload. */
  readonly updateEach: <Tag extends PublicTagOf<Rpcs, "query">>(
    tag: Tag,
    change: (
      value: Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>,
      payload: Rpc.Payload<Rpc.ExtractTag<Rpcs, Tag>>
    ) => Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>
  ) => void
}

/** A mutation whose effect the live values may not contain yet. */
interface Pending {
  /** The live values with an optimistic change of it. */
  readonly changed: Set<LiveValue>
  /** The version of its commit, once the server has reported it. */
  version: number | undefined
  /** The number of the connection that was open when its success arrived; `undefined` before that. */
  session: number | undefined
  /** Whether every frame of its commit has arrived. */
  isDelivered: boolean
  /** Done when the live values contain it, or it is removed. */
  readonly shown: Deferred.Deferred<void>
}

/**
 * The mutations of a client whose effect its live values may not contain yet. They contain it when the frames of its
 * commit have arrived, or the first frames of a connection that was opened after its success was known.
 */
export class OptimisticChanges {
  readonly #pending = new Map<string, Pending>()

  /** A mutation is called. */
  begin(mutation: string): void {
    this.#pending.set(mutation, {
      changed: new Set(),
      version: undefined,
      session: undefined,
      isDelivered: false,
      shown: Deferred.makeUnsafe()
    })
  }

  /** Adds an optimistic change. It applies to every value of the server that does not contain the mutation. */
  add(mutation: string, live: LiveValue, apply: (value: unknown) => unknown): void {
    this.#pending.get(mutation)?.changed.add(live)
    live.overlays = [...live.overlays, { mutation, apply }]
  }

  /** A live query was started. The changes that it had when it was live before apply to its new value. */
  resume(live: LiveValue): void {
    for (const { changed } of this.#pending.values()) {
      for (const before of [...changed]) {
        if (before.key !== live.key) continue
        changed.delete(before)
        changed.add(live)
        live.overlays = before.overlays
      }
    }
  }

  /** The server reported the version of the mutation's commit. */
  committed(mutation: string, version: number): void {
    const pending = this.#pending.get(mutation)
    if (pending !== undefined) pending.version = version
  }

  /** The mutation's success arrived on this connection. */
  succeeded(mutation: string, session: number): void {
    const pending = this.#pending.get(mutation)
    if (pending !== undefined) pending.session = session
  }

  /** Whether the live values may not contain the mutation yet. */
  isPending(mutation: string): boolean {
    return this.#pending.has(mutation)
  }

  /** Whether the mutation is known to have succeeded. */
  hasSucceeded(mutation: string): boolean {
    return this.#pending.get(mutation)?.session !== undefined
  }

  /**
   * All frames up to this version have arrived. Returns the live values whose changes were removed. A value without a
   * frame of this connection keeps its changes until it has one, because until then it shows an older server value.
   */
  delivered(version: number, session: number): ReadonlyArray<LiveValue> {
    const values: Array<LiveValue> = []
    for (const [mutation, pending] of this.#pending) {
      if (pending.version === undefined || pending.version > version) continue
      pending.isDelivered = true
      for (const live of pending.changed) {
        if (live.session !== session) continue
        withdraw(mutation, live)
        values.push(live)
      }
    }
    return values
  }

  /** Whether a server value, at this version and on this connection, contains the mutation. */
  contains(mutation: string, session: number, version: number): boolean {
    const pending = this.#pending.get(mutation)
    if (pending === undefined || pending.isDelivered) return true
    if (pending.session !== undefined && pending.session < session) return true
    return pending.version !== undefined && pending.version <= version
  }

  /** Removes a mutation and its changes. Returns the live values that had them. */
  remove(mutation: string): Iterable<LiveValue> {
    const pending = this.#pending.get(mutation)
    if (pending === undefined) return []
    this.#pending.delete(mutation)
    for (const live of pending.changed) withdraw(mutation, live)
    Deferred.doneUnsafe(pending.shown, Effect.void)
    return pending.changed
  }

  /** Every live value is the server's current one on this connection: removes the mutations that they contain. */
  shown(session: number): void {
    for (const [mutation, pending] of [...this.#pending]) {
      if (pending.session === undefined) continue
      if (pending.isDelivered || pending.session < session) this.remove(mutation)
    }
  }

  /** No query is live any more: no value can lack a mutation that succeeded. */
  unwatched(): void {
    for (const [mutation, { session }] of [...this.#pending]) if (session !== undefined) this.remove(mutation)
  }

  /** Waits until the live values contain the mutation, or it is removed. */
  whenShown(mutation: string): Effect.Effect<void> {
    const pending = this.#pending.get(mutation)
    return pending === undefined ? Effect.void : Deferred.await(pending.shown)
  }
}

const withdraw = (mutation: string, live: LiveValue): void => {
  live.overlays = live.overlays.filter((overlay) => overlay.mutation !== mutation)
}
