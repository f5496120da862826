/**
 * Numbers the mutations of one client, and runs them: directly, or through an outbox that stores them first.
 * How a mutation is sent is the client's business, given as `deliver`.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import { formatMutationId, mutationRetention } from "../protocol/MutationId.ts"
import type { RpcCodec } from "../protocol/RpcCodec.ts"
import type { DeviceStatus } from "./DeviceStatus.ts"

/** What mutations need of their client. */
export interface MutationsOptions {
  /** An id that no other client has. Part of every mutation id. */
  readonly clientId: string
  /** The URL and the tenant. An outbox sends a stored mutation only to the same server. */
  readonly server: string
  readonly outbox: Outbox | undefined
  readonly device: DeviceStatus
  /** Sends a mutation until it has an answer, or until `timeout` after the call of `deliver`. */
  readonly deliver: (
    tag: string,
    payload: unknown,
    mutation: string,
    options: {
      readonly timeout: Duration.Duration
      /** When it was first sent, in milliseconds, if an earlier page sent it. */
      readonly sentAt?: number | undefined
    }
  ) => Effect.Effect<unknown, unknown>
  /** The codecs of a mutation; `undefined` for a tag that the contract does not have. */
  readonly rpcOf: (tag: string) => RpcCodec | undefined
  /** The mutations that an outbox has stored: a later page may send them. */
  readonly stored: Set<string>
}

/** The outbox of a client, for `Client.make({ outbox })`. */
export interface Outbox {
  /** Makes the function by which a client runs its mutations, and sends what earlier pages left. */
  readonly run: (options: MutationsOptions) => Effect.Effect<Mutations["run"], never, Scope>
}

/** How long a mutation is tried without an outbox, and how long its caller waits for the live values to contain it. */
export const defaultTimeout: Duration.Input = 60_000

/** The mutations of one client. */
export interface Mutations {
  /** The id of the next mutation. It also says which ones are settled. */
  readonly nextId: () => string
  /** A mutation has ended, and this client does not send it again. */
  readonly ended: (mutation: string) => void
  /** Runs a mutation with a checked payload. Without a `timeout` the default applies. */
  readonly run: (
    tag: string,
    payload: unknown,
    mutation: string,
    timeout: Duration.Input | undefined
  ) => Effect.Effect<unknown, unknown>
}

/** Makes the mutations of one client. With an outbox, also sends what earlier pages left in it. */
export const make = (options: Omit<MutationsOptions, "stored">): Effect.Effect<Mutations, never, Scope> => {
  const { clientId: client, outbox } = options
  let count = 0
  /** The numbers of the mutations that are not settled, in ascending order. */
  const open = new Map<string, number>()
  const stored = new Set<string>()
  const nextId = () => {
    const number = count++
    const [below = number] = open.values()
    const id = formatMutationId({ client, number, below })
    open.set(id, number)
    return id
  }
  const ended = (mutation: string) => {
    if (!stored.has(mutation)) open.delete(mutation)
  }
  const all = { ...options, stored }
  // The outbox brings its own `run`, so that a page without an outbox does not load that code.
  const run = outbox === undefined ? Effect.succeed(direct(all)) : outbox.run(all)
  return Effect.map(run, (run) => ({ nextId, ended, run }))
}

const direct =
  (options: MutationsOptions): Mutations["run"] =>
  (tag, payload, mutation, timeout) =>
    options.deliver(tag, payload, mutation, {
      timeout: Duration.min(Duration.fromInputUnsafe(timeout ?? defaultTimeout), Duration.millis(mutationRetention))
    })
