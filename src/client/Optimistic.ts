import type * as Rpc from "effect/rpc/Rpc"
import type { TagOf } from "../contract/Api.ts"
import type { LiveValue } from "./LiveValues.ts"

/** The live values that a mutation may change before the server has. */
export interface View<Rpcs extends Rpc.Any> {
  /** Changes the value of one live query. Nothing happens when nobody watches it. */
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

/** What becomes of a mutation that has optimistic changes. */
interface Pending {
  /** The commit it became part of, once the server said so. */
  version: number | undefined
  /** The connection in which its success was heard. */
  session: number | undefined
  /** Whether every frame of the commit has been delivered. */
  isSettled: boolean
}

/**
 * Optimistic changes from the call of a mutation until the server's own values contain it: in the frame of its commit,
 * or in the first frame of a connection that was opened after its success was known.
 */
export class OptimisticChanges {
  private readonly pending = new Map<string, Pending>()
  private readonly changed = new Map<string, Set<LiveValue>>()

  add(mutation: string, live: LiveValue, apply: (value: unknown) => unknown): void {
    if (!this.pending.has(mutation))
      this.pending.set(mutation, { version: undefined, session: undefined, isSettled: false })
    let changed = this.changed.get(mutation)
    if (changed === undefined) {
      changed = new Set()
      this.changed.set(mutation, changed)
    }
    changed.add(live)
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

  /**
   * Every frame up to this version has been delivered: gives the values that lose their changes. A value that has no
   * frame of this connection yet keeps them until it has, because until then it shows what was before.
   */
  settled(version: number, session: number): ReadonlyArray<LiveValue> {
    const values: Array<LiveValue> = []
    for (const [mutation, pending] of this.pending) {
      if (pending.version === undefined || pending.version > version) continue
      pending.isSettled = true
      for (const live of this.changed.get(mutation) ?? []) {
        if (live.session !== session) continue
        live.overlays = live.overlays.filter((overlay) => overlay.mutation !== mutation)
        values.push(live)
      }
    }
    return values
  }

  /** Whether the next frame of this connection shows what the mutation did. */
  contains(mutation: string, session: number): boolean {
    const pending = this.pending.get(mutation)
    if (pending === undefined || pending.isSettled) return true
    return pending.session !== undefined && pending.session < session
  }

  /** Takes the changes of a mutation back, and gives the values that had them. */
  remove(mutation: string): ReadonlyArray<LiveValue> {
    const values = [...(this.changed.get(mutation) ?? [])]
    this.pending.delete(mutation)
    this.changed.delete(mutation)
    for (const live of values) live.overlays = live.overlays.filter((overlay) => overlay.mutation !== mutation)
    return values
  }
}
