/**
 * Numbers the mutations of one client, and runs them: directly, or through an outbox that stores them first.
 * How a mutation is sent is the client's business, given as `deliver`.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { RpcClientError } from "effect/rpc/RpcClientError"
import type { Scope } from "effect/Scope"
import { formatMutationId, mutationRetention } from "../protocol/MutationId.ts"
import type { RpcCodec } from "../protocol/RpcCodec.ts"
import type { DeviceStatus } from "./DeviceStatus.ts"

/** What mutations need of their client. */
export interface MutationsOptions {
  /** An id that no other client has. Part of every mutation id. */
  readonly clientId: string
  /** The URL of the Worker. */
  readonly url: string
  readonly tenant?: string
  readonly token?: string | Effect.Effect<string>
  readonly outbox?: Outbox
  readonly device: DeviceStatus
  /** Sends a mutation until it has an answer, or until `timeout` after the call of `deliver`. */
  readonly deliver: (
    tag: string,
    payload: unknown,
    mutation: string,
    timeout: Duration.Duration,
    stored?: StoredDelivery
  ) => Effect.Effect<unknown, unknown>
  /** The codecs of a mutation; `undefined` for a tag that the contract does not have. */
  readonly rpcOf: (tag: string) => RpcCodec | undefined
  /** The mutations that an outbox still sends, or that a later page may send. They are not settled. */
  readonly kept: Set<string>
  /** A mutation that is not kept any more has ended, and nobody waits for it. */
  readonly ended: (mutation: string) => void
}

/** How a mutation of an outbox is delivered. */
export interface StoredDelivery {
  /** Says when it was first sent, by the server's clock: the server refuses a copy that would run again. */
  readonly headers: Record<string, string>
  /** Whether an earlier copy may have reached the server. */
  readonly isSent: boolean
  /** The server refused the request before it ran anything. `isFirst`: no earlier copy can have run either. */
  readonly onRefused: (error: RpcClientError, isFirst: boolean) => Effect.Effect<never, unknown>
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
  /** The call of a mutation has ended. Unless an outbox keeps it, this client does not send it again. */
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
export const make = (options: Omit<MutationsOptions, "kept">): Effect.Effect<Mutations, never, Scope> => {
  const { clientId: client, outbox } = options
  let count = 0
  /** The numbers of the mutations that are not settled, in ascending order. */
  const open = new Map<string, number>()
  const kept = new Set<string>()
  const nextId = () => {
    const number = count++
    const [below = number] = open.values()
    const id = formatMutationId({ client, number, below })
    open.set(id, number)
    return id
  }
  const ended = (mutation: string) => {
    if (kept.has(mutation)) return
    open.delete(mutation)
    options.ended(mutation)
  }
  const direct: Mutations["run"] = (tag, payload, mutation, timeout) =>
    options.deliver(
      tag,
      payload,
      mutation,
      Duration.min(Duration.fromInputUnsafe(timeout ?? defaultTimeout), Duration.millis(mutationRetention))
    )
  // The outbox brings its own `run`, so that a page without an outbox does not load that code.
  return Effect.map(outbox?.run({ ...options, kept, ended }) ?? Effect.succeed(direct), (run) => ({
    nextId,
    ended,
    run
  }))
}
