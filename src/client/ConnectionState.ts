/**
 * The state of a client's connection, which says how fresh its live values are.
 * It is part of every live value and a stream of its own.
 */
import * as Data from "effect/Data"

/**
 * The state of a client's connection. `since` is in milliseconds since the epoch.
 *
 * - `Idle`: no query is live, so no socket is open; calls go over HTTP.
 * - `Connecting`: the first connection is being opened.
 * - `Live`: every live value is the server's current value.
 * - `Stale`: since `since` the connection is lost, or a value is being requested again; values are those of that
 *   moment, and the client is reconnecting.
 * - `Offline`: the device reports no network since `since`.
 * - `Refused`: the server refused this client; live queries failed with the same reason.
 */
export type ConnectionState = Data.TaggedEnum<{
  Idle: {}
  Connecting: {}
  Live: {}
  Stale: { readonly since: number }
  Offline: { readonly since: number }
  Refused: { readonly reason: string }
}>

/** Constructors and matchers: `ConnectionState.Idle()`, `ConnectionState.$match`. Equal states are `Equal`. */
export const ConnectionState = Data.taggedEnum<ConnectionState>()
