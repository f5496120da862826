import * as Data from "effect/Data"

/**
 * What a client knows of its connection, and so of how fresh its live values are.
 *
 * - `Idle`: nothing is live, so no socket is open; calls go over HTTP.
 * - `Connecting`: the first connection is being made.
 * - `Live`: values are what the server has.
 * - `Stale`: the connection was lost at `since` (milliseconds); values are those of that moment, and it is being restored.
 * - `Offline`: the device says that it has no network, since `since`.
 * - `Refused`: the server does not want this client; live streams have failed with the same reason.
 */
export type ConnectionState = Data.TaggedEnum<{
  Idle: {}
  Connecting: {}
  Live: {}
  Stale: { readonly since: number }
  Offline: { readonly since: number }
  Refused: { readonly reason: string }
}>

export const ConnectionState = Data.taggedEnum<ConnectionState>()
