/**
 * Counts the open sockets of each caller of an object. A22: sockets beyond the limits are refused before they are open.
 * The counts come from the sockets themselves, also after a wake.
 */
import type { CallerLimits } from "../../protocol/CallerLimits.ts"
import type { CallerKeys, TooMany } from "../rpc/CallRates.ts"

/** When a caller with too many sockets may try again: nobody knows when one will close. Milliseconds. */
const retryAfter = 10_000

/** The open sockets of each caller. */
export class SocketCounts {
  private readonly limits: CallerLimits
  private readonly open = new Map<string, number>()

  constructor(limits: CallerLimits) {
    this.limits = limits
  }

  /** Why a caller can open no more sockets. */
  refusal({ address, identity }: CallerKeys): TooMany | undefined {
    return this.beyond("socketsPerIdentity", identity) ?? this.beyond("socketsPerAddress", address)
  }

  /** A socket was opened, or restored. */
  opened({ address, identity }: CallerKeys): void {
    this.add(identity, 1)
    this.add(address, 1)
  }

  /** A socket was closed. */
  closed({ address, identity }: CallerKeys): void {
    this.add(identity, -1)
    this.add(address, -1)
  }

  private beyond(limit: "socketsPerIdentity" | "socketsPerAddress", key: string | undefined): TooMany | undefined {
    const max = this.limits[limit]
    return key === undefined || (this.open.get(key) ?? 0) < max ? undefined : { limit, max, retryAfter }
  }

  private add(key: string | undefined, change: 1 | -1): void {
    if (key === undefined) return
    const count = (this.open.get(key) ?? 0) + change
    if (count > 0) this.open.set(key, count)
    else this.open.delete(key)
  }
}
