import type * as Rpc from "effect/rpc/Rpc"
import type { TagOf } from "../contract/Api.ts"
import type { LiveValue } from "./LiveValues.ts"

/** The live values that a mutation may change before the server has. */
export interface View<Rpcs extends Rpc.Any> {
  /** Changes the value of one live query. Nothing happens when nobody watches it. A change that throws is left out. */
  readonly update: <Tag extends TagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>,
    change: (value: Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>) => Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>
  ) => void
  /** Changes the value of every live query of a tag, whose encoded payload the function gets. */
  readonly updateEach: <Tag extends TagOf<Rpcs, "query">>(
    tag: Tag,
    change: (
      value: Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>,
      payload: Rpc.Payload<Rpc.ExtractTag<Rpcs, Tag>>
    ) => Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>
  ) => void
}

/** What becomes of a mutation whose caller is still waiting. */
interface Pending {
  /** The live values that it changed before the server had. */
  readonly changed: Set<LiveValue>
  /** The commit it became part of, once the server said so. */
  version: number | undefined
  /** The connection in which its success was heard. */
  session: number | undefined
  /** Whether every frame of the commit has been delivered. */
  isDelivered: boolean
  /** Who waits until the live values show it. */
  readonly waiting: Set<() => void>
}

/**
 * Mutations and their optimistic changes from the call until the server's own values contain them: in the frames of the
 * commit, or in the first frames of a connection that was opened after the success was known.
 */
export class OptimisticChanges {
  private readonly pending = new Map<string, Pending>()

  begin(mutation: string): void {
    this.pending.set(mutation, {
      changed: new Set(),
      version: undefined,
      session: undefined,
      isDelivered: false,
      waiting: new Set()
    })
  }

  /** Changes a value, from now on and over every value of the server that does not contain the mutation. */
  add(mutation: string, live: LiveValue, apply: (value: unknown) => unknown): void {
    this.pending.get(mutation)?.changed.add(live)
    live.overlays = [...live.overlays, { mutation, apply }]
  }

  /** The server has said which commit a mutation is part of. */
  committed(mutation: string, version: number): void {
    const pending = this.pending.get(mutation)
    if (pending !== undefined) pending.version = version
  }

  /** The mutation is known to have succeeded, in this connection. */
  succeeded(mutation: string, session: number): void {
    const pending = this.pending.get(mutation)
    if (pending !== undefined) pending.session = session
  }

  /** Whether the live values may not show the mutation yet. */
  isPending(mutation: string): boolean {
    return this.pending.has(mutation)
  }

  hasSucceeded(mutation: string): boolean {
    return this.pending.get(mutation)?.session !== undefined
  }

  /**
   * Every frame up to this version has been delivered: gives the values that lose their changes. A value that has no
   * frame of this connection yet keeps them until it has, because until then it shows what was before.
   */
  delivered(version: number, session: number): ReadonlyArray<LiveValue> {
    const values: Array<LiveValue> = []
    for (const [mutation, pending] of this.pending) {
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

  /** Whether a frame of this connection and version shows what the mutation did. */
  contains(mutation: string, session: number, version: number): boolean {
    const pending = this.pending.get(mutation)
    if (pending === undefined || pending.isDelivered) return true
    if (pending.session !== undefined && pending.session < session) return true
    return pending.version !== undefined && pending.version <= version
  }

  /** Takes the changes of a mutation back, and gives the values that had them. */
  remove(mutation: string): Iterable<LiveValue> {
    const pending = this.pending.get(mutation)
    if (pending === undefined) return []
    this.pending.delete(mutation)
    for (const live of pending.changed) withdraw(mutation, live)
    for (const resume of pending.waiting) resume()
    return pending.changed
  }

  /** All live values are those of the server in this connection: whoever waits for what they contain goes on. */
  shown(session: number): void {
    for (const [mutation, pending] of [...this.pending]) {
      if (pending.session === undefined) continue
      if (pending.isDelivered || pending.session < session) this.remove(mutation)
    }
  }

  /** Nothing is live: nobody can see that a mutation is missing. */
  unwatched(): void {
    for (const [mutation, { session }] of [...this.pending]) if (session !== undefined) this.remove(mutation)
  }

  /** Calls when the live values show a mutation that succeeded. Gives the function that ends the wait. */
  whenShown(mutation: string, resume: () => void): () => void {
    const pending = this.pending.get(mutation)
    if (pending === undefined) resume()
    else pending.waiting.add(resume)
    return () => pending?.waiting.delete(resume)
  }
}

const withdraw = (mutation: string, live: LiveValue): void => {
  live.overlays = live.overlays.filter((overlay) => overlay.mutation !== mutation)
}
