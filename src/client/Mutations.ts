import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import { formatMutationId, mutationRetention } from "../protocol/MutationId.ts"
import type { RpcCodec } from "../protocol/RpcCodec.ts"
import type { DeviceStatus } from "./DeviceStatus.ts"
import type { Outbox } from "./Outbox.ts"

export interface MutationsOptions {
  readonly clientId: string
  /** The server and the tenant, as text. */
  readonly server: string
  readonly outbox: Outbox | undefined
  readonly device: DeviceStatus
  /** Sends a mutation until an answer comes, or its time is over. */
  readonly deliver: (
    tag: string,
    payload: unknown,
    mutation: string,
    options: {
      readonly timeout: Duration.Duration
      /** When it was first sent, if that was before. */
      readonly sentAt?: number | undefined
    }
  ) => Effect.Effect<unknown, unknown>
  /** `undefined` for a tag that is no mutation of the contract. */
  readonly rpcOf: (tag: string) => RpcCodec | undefined
}

/** How long to go on when no answer comes and nothing was written down. */
const defaultTimeout = Duration.minutes(1)

/** The mutations of one client, numbered. With an outbox each is written down before it is sent. */
export interface Mutations {
  readonly nextId: () => string
  readonly run: (
    tag: string,
    payload: unknown,
    mutation: string,
    timeout: Duration.Input | undefined
  ) => Effect.Effect<unknown, unknown>
}

export const make = (options: MutationsOptions): Effect.Effect<Mutations, never, Scope> => {
  let count = 0
  const nextId = () => formatMutationId({ client: options.clientId, number: count++ })
  // The outbox brings its own way along: a page that has none does not load it.
  const run = options.outbox === undefined ? Effect.succeed(direct(options)) : options.outbox.run(options)
  return Effect.map(run, (run) => ({ nextId, run }))
}

const direct =
  (options: MutationsOptions): Mutations["run"] =>
  (tag, payload, mutation, timeout) =>
    options.deliver(tag, payload, mutation, {
      timeout: Duration.min(Duration.fromInputUnsafe(timeout ?? defaultTimeout), Duration.millis(mutationRetention))
    })
