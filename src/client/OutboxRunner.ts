/**
 * Runs the mutations of a client with an outbox: stores each, sends them one after the other, removes them when done.
 * Also sends the mutations that closed clients left in the outbox, under their original ids.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Scope } from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { mutationRetention } from "../protocol/MutationId.ts"
import { OutcomeUnknown } from "./ClientError.ts"
import { type DeviceStatus, deviceEvent } from "./DeviceStatus.ts"
import type { Mutations, MutationsOptions } from "./Mutations.ts"
import type { OutboxEntry, OutboxStorage } from "./OutboxStorage.ts"

/** The outcome of a mutation that an earlier page left in the outbox. */
export interface Replayed {
  /** The tag of the mutation. */
  readonly tag: string
  /** The encoded payload. */
  readonly payload: unknown
  /** Its value, or a failure. `OutcomeUnknown` also when the contract can no longer decode the payload. */
  readonly exit: Exit.Exit<unknown, unknown>
}

/** How an outbox is made. */
export interface OutboxOptions {
  /** Where entries are stored: the service of `layerIndexedDb`, of `layerMemory`, or your own. */
  readonly storage: OutboxStorage["Service"]
  /** Names the caller. Mutations of one identity are never sent with the token of another. Empty unless given. */
  readonly identity?: string
  /** Called with the outcome of each mutation that an earlier page left. No caller is waiting for these. */
  readonly onReplayed?: (replayed: Replayed) => Effect.Effect<void>
  /**
   * Called with each mutation that the storage refused, because it is blocked or full. The mutation is sent all the same, and
   * is lost if the page is closed before.
   */
  readonly onUnstored?: (unstored: Pick<Replayed, "tag" | "payload">) => Effect.Effect<void>
}

/**
 * Makes the function that runs the mutations of one client: they are sent in the order of their calls, each after the
 * outcome of the one before. Entries of closed clients are sent when the client is made and when the device wakes.
 */
export const make = (options: MutationsOptions, outbox: OutboxOptions): Effect.Effect<Mutations["run"], never, Scope> =>
  Effect.gen(function* () {
    const { storage } = outbox
    const owner = `${options.server} ${outbox.identity ?? ""}`
    const inOrder = yield* Semaphore.make(1)
    yield* attempt("lock its client id", storage.claim(options.clientId))

    /** Whether an entry is not in the storage any more, or is there with the time when it is first sent. */
    const mark = (entry: OutboxEntry, sentAt: number) =>
      Effect.gen(function* () {
        if (entry.sentAt !== null || (yield* attempt("mark a mutation", storage.put({ ...entry, sentAt })))) return true
        // A later page would take an entry without a mark for one that was never sent, however old it is.
        if (!(yield* attempt("remove a mutation", storage.remove(entry.id)))) return false
        yield* unstored(entry)
        return true
      })

    const unstored = ({ payload, tag }: OutboxEntry) => outbox.onUnstored?.({ tag, payload }) ?? Effect.void

    /** Sends a mutation, and removes it from the storage when its outcome is known. */
    const send = (entry: OutboxEntry, payload: unknown, isStored: boolean, timeout?: Duration.Input) =>
      Effect.gen(function* () {
        yield* online(options.device)
        const now = yield* Clock.currentTimeMillis
        const sentAt = entry.sentAt ?? now
        if (isStored && !(yield* mark(entry, sentAt))) return yield* new OutcomeUnknown({ tag: entry.tag })
        // Sent again after the server has deleted its outcome, the mutation would run again.
        const left = Duration.millis(sentAt + mutationRetention - now)
        if (Duration.isNegative(left) || Duration.isZero(left)) return yield* new OutcomeUnknown({ tag: entry.tag })
        const limit = timeout === undefined ? left : Duration.min(left, Duration.fromInputUnsafe(timeout))
        return yield* options.deliver(entry.tag, payload, entry.id, {
          timeout: limit,
          sentAt: entry.sentAt ?? undefined
        })
      }).pipe(
        // An interruption ends this page, not the mutation: the entry stays for the next page.
        Effect.onExit((exit) =>
          isStored && !Exit.hasInterrupts(exit) ? attempt("remove a mutation", storage.remove(entry.id)) : Effect.void
        )
      )

    /** Sends a mutation that a closed client left, and reports its outcome. */
    const resume = (entry: OutboxEntry) => {
      const rpc = options.rpcOf(entry.tag)
      const payload = rpc && Effect.runSyncExit(rpc.decodePayload(entry.payload))
      const sent =
        payload === undefined || Exit.isFailure(payload)
          ? // The contract has changed since: the payload can no longer be decoded.
            Effect.andThen(
              attempt("remove a mutation", storage.remove(entry.id)),
              Effect.fail(new OutcomeUnknown({ tag: entry.tag }))
            )
          : send(entry, payload.value, true)
      return Effect.flatMap(Effect.exit(sent), (exit) =>
        Exit.hasInterrupts(exit)
          ? Effect.void
          : (outbox.onReplayed?.({ tag: entry.tag, payload: entry.payload, exit }) ?? Effect.void)
      )
    }

    /** Sends the entries of closed clients, those of each client in order. */
    const replay = Effect.gen(function* () {
      const left = (yield* storage.entries).filter((entry) => entry.owner === owner)
      const clients = new Set(left.map(({ client }) => client))
      clients.delete(options.clientId)
      for (const client of clients) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            if (!(yield* storage.claim(client))) return
            // Read again under the lock: the client may have sent some before it closed.
            const entries = (yield* storage.entries).filter((entry) => entry.owner === owner && entry.client === client)
            yield* Effect.forEach(entries, resume, { discard: true })
          })
        )
      }
    }).pipe(inOrder.withPermit)

    yield* Effect.forkScoped(
      Effect.gen(function* () {
        while (true) {
          yield* attempt("read what earlier pages left", replay)
          yield* deviceEvent(options.device, "wake")
        }
      })
    )

    return (tag, payload, mutation, timeout) =>
      Effect.gen(function* () {
        const at = yield* Clock.currentTimeMillis
        const encoded = options.rpcOf(tag)!.encodePayload(payload)
        const entry: OutboxEntry = {
          id: mutation,
          client: options.clientId,
          owner,
          tag,
          payload: encoded,
          at,
          sentAt: null
        }
        const isStored = yield* attempt("store a mutation", storage.put(entry))
        if (!isStored) yield* unstored(entry)
        return yield* inOrder.withPermit(send(entry, payload, isStored, timeout))
      })
  })

/** Uses the storage, which may be blocked or full. Logs that, and returns whether it was not. */
const attempt = <R>(what: string, use: Effect.Effect<unknown, never, R>): Effect.Effect<boolean, never, R> =>
  Effect.catchDefect(Effect.as(use, true), (defect) =>
    Effect.as(Effect.logWarning(`the outbox could not ${what}`, defect), false)
  )

/** Waits until the device has a network. */
const online = (device: DeviceStatus): Effect.Effect<void> =>
  Effect.suspend(() => (device.isOnline() ? Effect.void : Effect.andThen(deviceEvent(device, "wake"), online(device))))
