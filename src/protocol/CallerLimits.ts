/**
 * How much one caller may do: sockets, live queries and calls. These are limits for everybody, against floods; what one
 * user of an app may do is for its handlers to decide (`RateLimits`).
 */
import type * as Duration from "effect/Duration"

/** So many calls in a window. */
export interface CallRate {
  readonly limit: number
  readonly window: Duration.Input
}

/** The limits of one caller in one tenant. `Infinity` is no limit. */
export interface CallerLimits {
  /** Live queries of one socket. A page shows tens; a thousand fill about 20 attachments, and are rows then. */
  readonly liveQueriesPerSocket: number
  /** Open sockets of one subject: its tabs and devices. A socket that was lost counts until the platform notices. */
  readonly socketsPerIdentity: number
  /** Open sockets of one network address. The platform gives an object 32,768: this leaves seven eighths to others. */
  readonly socketsPerAddress: number
  /** Calls of one subject. An object handles 1,500 calls a second of a lone caller: this is an eighth of it. */
  readonly callsPerIdentity: CallRate
  /** Calls of one network address, which many may share. An object handles 8,000 a second: this is a quarter of it. */
  readonly callsPerAddress: CallRate
}

/** The default limits. `App.make({ limits })` and the environment change them. */
export const defaults: CallerLimits = {
  liveQueriesPerSocket: 1000,
  socketsPerIdentity: 256,
  socketsPerAddress: 4096,
  callsPerIdentity: { limit: 12_000, window: "1 minute" },
  callsPerAddress: { limit: 120_000, window: "1 minute" }
}
