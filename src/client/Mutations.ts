import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type { Scope } from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { formatMutationId, outcomesKept } from "../protocol/MutationId.ts"
import { OutcomeUnknown } from "./ClientError.ts"
import type { LiveRpc } from "./LiveRpc.ts"
import type { Entry, OutboxStorage } from "./Outbox.ts"
import { type Signals, signal } from "./Signals.ts"

/** How a mutation ended that was left over by a client that is gone. */
export interface Replayed {
  readonly tag: string
  readonly payload: unknown
  readonly exit: Exit.Exit<unknown, unknown>
}

export interface OutboxOptions {
  readonly storage: OutboxStorage["Service"]
  /** Whose mutations these are; those of one identity are not sent with the token of another. */
  readonly identity?: string
  /** Hears how the mutations ended that a closed page left. Nobody else waits for them. */
  readonly onReplayed?: (replayed: Replayed) => Effect.Effect<void>
}

export interface Options {
  readonly clientId: string
  /** The server and the tenant, as text. */
  readonly server: string
  readonly outbox: OutboxOptions | undefined
  readonly signals: Signals
  /** Sends a mutation until an answer comes, or its time is over. */
  readonly deliver: (
    tag: string,
    payload: unknown,
    mutation: string,
    options: {
      readonly giveUpAfter: Duration.Duration
      /** When it was first sent, if that was before. */
      readonly sentAt?: number | undefined
    }
  ) => Effect.Effect<unknown, unknown>
  /** `undefined` for a tag that is no mutation of the contract. */
  readonly rpcOf: (tag: string) => LiveRpc | undefined
}

/** How long to go on when no answer comes and nothing was written down. */
const patience = Duration.minutes(1)

/**
 * The mutations of one client, numbered. With an outbox each is written down before it is sent and sent in order, and
 * what clients left that are gone is sent in their place, under the numbers that they gave.
 */
export interface Mutations {
  readonly nextId: () => string
  readonly run: (
    tag: string,
    payload: unknown,
    mutation: string,
    giveUpAfter: Duration.Input | undefined
  ) => Effect.Effect<unknown, unknown>
}

export const make = (options: Options): Effect.Effect<Mutations, never, Scope> =>
  Effect.gen(function* () {
    let count = 0
    const nextId = () => formatMutationId({ client: options.clientId, number: count++ })

    const { outbox } = options
    if (outbox === undefined) {
      return {
        nextId,
        run: (tag, payload, mutation, giveUpAfter) =>
          options.deliver(tag, payload, mutation, {
            giveUpAfter: Duration.min(Duration.fromInputUnsafe(giveUpAfter ?? patience), Duration.millis(outcomesKept))
          })
      }
    }

    const { storage } = outbox
    const owner = `${options.server} ${outbox.identity ?? ""}`
    const inOrder = yield* Semaphore.make(1)
    yield* storage.claim(options.clientId)

    /** Sends what is written down, and forgets it when its outcome is known. */
    const send = (entry: Entry, payload: unknown, giveUpAfter?: Duration.Input) =>
      Effect.gen(function* () {
        yield* online(options.signals)
        const now = yield* Clock.currentTimeMillis
        const sentAt = entry.sentAt ?? now
        if (entry.sentAt === null) yield* storage.put({ ...entry, sentAt })
        // The server forgets outcomes in the end; sent again after that, it would be done again.
        const left = Duration.millis(sentAt + outcomesKept - now)
        if (Duration.isNegative(left) || Duration.isZero(left)) return yield* new OutcomeUnknown({ tag: entry.tag })
        const most = giveUpAfter === undefined ? left : Duration.min(left, Duration.fromInputUnsafe(giveUpAfter))
        return yield* options.deliver(entry.tag, payload, entry.id, {
          giveUpAfter: most,
          sentAt: entry.sentAt ?? undefined
        })
      }).pipe(
        // An interruption is the end of this page, not of the mutation.
        Effect.onExit((exit) => (Exit.hasInterrupts(exit) ? Effect.void : storage.remove(entry.id)))
      )

    const resume = (entry: Entry) => {
      const rpc = options.rpcOf(entry.tag)
      const payload = rpc?.decodePayload(entry.payload)
      const sent =
        payload === undefined || Result.isFailure(payload)
          ? // The contract has changed since; nobody can tell any more what was meant.
            Effect.andThen(storage.remove(entry.id), Effect.fail(new OutcomeUnknown({ tag: entry.tag })))
          : send(entry, payload.success)
      return Effect.flatMap(Effect.exit(sent), (exit) =>
        Exit.hasInterrupts(exit)
          ? Effect.void
          : (outbox.onReplayed?.({ tag: entry.tag, payload: entry.payload, exit }) ?? Effect.void)
      )
    }

    /** Sends what the clients left that are gone, each in its order. */
    const replay = Effect.gen(function* () {
      const left = (yield* storage.entries).filter((entry) => entry.owner === owner)
      const clients = new Set(left.map(({ client }) => client))
      clients.delete(options.clientId)
      for (const client of clients) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            if (!(yield* storage.claim(client))) return
            // It may have sent some before it went.
            const entries = (yield* storage.entries).filter((entry) => entry.owner === owner && entry.client === client)
            yield* Effect.forEach(entries, resume, { discard: true })
          })
        )
      }
    }).pipe(inOrder.withPermit)

    yield* Effect.forkScoped(
      Effect.gen(function* () {
        while (true) {
          yield* replay
          yield* signal(options.signals, "wake")
        }
      })
    )

    return {
      nextId,
      run: (tag, payload, mutation, giveUpAfter) =>
        Effect.gen(function* () {
          const at = yield* Clock.currentTimeMillis
          const encoded = options.rpcOf(tag)!.encodePayload(payload)
          const entry: Entry = {
            id: mutation,
            client: options.clientId,
            owner,
            tag,
            payload: encoded,
            at,
            sentAt: null
          }
          yield* storage.put(entry)
          return yield* inOrder.withPermit(send(entry, payload, giveUpAfter))
        })
    }
  })

/** Waits until the device has a network. */
const online = (signals: Signals): Effect.Effect<void> =>
  Effect.suspend(() => (signals.isOnline() ? Effect.void : Effect.andThen(signal(signals, "wake"), online(signals))))
