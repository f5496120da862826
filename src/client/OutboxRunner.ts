/**
 * Runs the mutations of a client with an outbox: stores each, sends them one after the other, removes them when done.
 * Also sends the mutations that closed clients left in the outbox, under their original ids.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import { RpcClientError } from "effect/rpc/RpcClientError"
import type { Scope } from "effect/Scope"
import { kindOf } from "../contract/Kind.ts"
import { CallError, LimitExceeded } from "../protocol/CallError.ts"
import { sentAfterHeader, timePath } from "../protocol/MutationId.ts"
import { OutcomeUnknown } from "./ClientError.ts"
import { type DeviceStatus, deviceEvent } from "./DeviceStatus.ts"
import type { Mutations, MutationsOptions } from "./Mutations.ts"
import type { OutboxEntry, OutboxStorage } from "./OutboxStorage.ts"
import { OutcomePending } from "./OutcomePending.ts"
import { parse } from "./ServerMessage.ts"
import { Fetch } from "./Transport.ts"

/** A mutation, as the callbacks of an outbox are given it. */
export interface StoredMutation {
  /** The tag of the mutation. */
  readonly tag: string
  /** The encoded payload. */
  readonly payload: unknown
}

/** The outcome of a mutation that no caller waits for: an earlier page left it, or its caller has stopped waiting. */
export interface Replayed extends StoredMutation {
  /** Its value, or a failure. `OutcomeUnknown` also when the contract has no such mutation, or cannot decode the payload. */
  readonly exit: Exit.Exit<unknown, unknown>
}

/** A mutation that waits because the server, or what answered in its place, refuses the request. */
export interface Waiting extends StoredMutation {
  /** Why: `status 401: token expired`. */
  readonly reason: string
}

/** How an outbox is made. The outbox goes on when a callback dies. */
export interface OutboxOptions {
  /** Where entries are stored: the service of `layerIndexedDb`, of `layerMemory`, or your own. */
  readonly storage: OutboxStorage["Service"]
  /** Names the caller. Mutations of one identity are never sent with the token of another. Empty unless given. */
  readonly identity?: string
  /**
   * Called with the outcome of each mutation that no caller waits for: an earlier page left it, or its caller was interrupted or
   * got `OutcomePending`.
   */
  readonly onReplayed?: (replayed: Replayed) => Effect.Effect<void>
  /**
   * Called with each mutation that the storage refused, because it is blocked or full. The mutation is sent all the same, and
   * is lost if the page is closed before.
   */
  readonly onUnstored?: (unstored: StoredMutation) => Effect.Effect<void>
  /**
   * Called when a request is refused for another reason than its mutation: an expired token, the login page of a hotel's
   * network. The mutation stays in its place and is sent again. Called again when the reason changes.
   */
  readonly onWaiting?: (waiting: Waiting) => Effect.Effect<void>
}

/** A mutation that is being sent. */
interface Job {
  entry: OutboxEntry
  isStored: boolean
  readonly payload: unknown
  /** Why it was refused the last time. */
  reason: string | undefined
}

/** The mutation has no outcome yet: it is sent again. */
class NoOutcome extends Data.TaggedError("NoOutcome")<{ readonly reason?: string }> {}

/** The storage takes neither the mark of a mutation nor its removal. The mutation was not sent, and stays stored. */
class Unmarked extends Data.TaggedError("Unmarked") {}

/**
 * Makes the function that runs the mutations of one client. One queue has all that the client sends: first what closed
 * clients left, then its own mutations in the order of their calls, each after the outcome of the one before.
 */
export const make = (options: MutationsOptions, outbox: OutboxOptions): Effect.Effect<Mutations["run"], never, Scope> =>
  Effect.gen(function* () {
    const { device, ended, kept, token } = options
    const { storage } = outbox
    const owner = `${options.url} ${options.tenant ?? "main"} ${outbox.identity ?? ""}`
    const scope = yield* Effect.scope
    const serverTime = yield* makeServerTime(options.url)
    const work = yield* Queue.unbounded<Effect.Effect<void>>()
    yield* attempt("lock its client id", storage.claim(options.clientId))

    const replayed = ({ payload, tag }: OutboxEntry, exit: Exit.Exit<unknown, unknown>) =>
      attempt("report", outbox.onReplayed?.({ tag, payload, exit }))

    const unstored = ({ payload, tag }: OutboxEntry) => attempt("report", outbox.onUnstored?.({ tag, payload }))

    /** Replaces the entry, also in the storage if it is there. Returns whether the storage took it. */
    const replace = (job: Job, sentAfter: number | null) =>
      Effect.gen(function* () {
        const entry = { ...job.entry, sentAfter }
        if (job.isStored && !(yield* attempt("mark a mutation", storage.put(entry)))) return false
        job.entry = entry
        return true
      })

    /** Stores after which time of the server the mutation is sent. */
    const mark = Effect.fnUntraced(function* (job: Job) {
      const sentAfter = yield* serverTime
      if (yield* replace(job, sentAfter)) return
      // A later page would take an entry without a mark for one that was never sent, however old it is.
      if (!(yield* attempt("remove a mutation", storage.remove(job.entry.id)))) return yield* new Unmarked()
      job.isStored = false
      yield* unstored(job.entry)
      yield* replace(job, sentAfter)
    })

    /** Sends a mutation, until it has an answer or is refused. */
    const sendOnce = Effect.fnUntraced(function* (job: Job) {
      yield* online(device)
      // A token that cannot be had dies, and so would the call: that says nothing about the mutation.
      const hasToken = !Effect.isEffect(token) || (yield* attempt("get a token", token))
      if (!hasToken) return yield* new NoOutcome({ reason: "there is no token" })
      const isSent = job.entry.sentAfter !== null
      if (!isSent) yield* mark(job)
      const { id, sentAfter, tag } = job.entry
      return yield* options.deliver(tag, job.payload, id, Duration.infinity, {
        isSent,
        headers: { [sentAfterHeader]: String(sentAfter) },
        onRefused: (error, isFirst) =>
          Effect.gen(function* () {
            const reason = reasonOf(error)
            const max = /limit requestBytes is (\d+)/.exec(reason)?.[1]
            if (max !== undefined) {
              return yield* new CallError({ reason: new LimitExceeded({ limit: "requestBytes", max: Number(max) }) })
            }
            // It certainly did not run: however long it waits now, it can be sent.
            if (isFirst) yield* replace(job, null)
            return yield* new NoOutcome({ reason })
          })
      })
    })

    /** Says why a mutation waits. */
    const waiting = Effect.fnUntraced(function* (job: Job, reason: string | undefined) {
      if (reason === undefined || reason === job.reason) return
      job.reason = reason
      const { payload, tag } = job.entry
      yield* Effect.logWarning(`a mutation waits in the outbox: ${reason}`)
      yield* attempt("report", outbox.onWaiting?.({ tag, payload, reason }))
    })

    /** Sends a mutation until its outcome is known, and removes it from the storage then. */
    const send = (job: Job): Effect.Effect<Exit.Exit<unknown, unknown>, Unmarked> =>
      Effect.gen(function* () {
        for (let attempts = 0; ; attempts++) {
          const exit = yield* Effect.exit(sendOnce(job))
          if (Exit.isSuccess(exit) || isOutcome(exit)) {
            const isRemoved = !job.isStored || (yield* attempt("remove a mutation", storage.remove(job.entry.id)))
            // What is still stored may be sent by a later page: it is not settled.
            if (isRemoved) kept.delete(job.entry.id)
            else sent.add(job.entry.id)
            return exit
          }
          const error = errorOf(exit)
          if (error instanceof Unmarked) return yield* error
          yield* waiting(job, error instanceof NoOutcome ? error.reason : Cause.pretty(exit.cause))
          const delay = Math.min(longestDelay, 250 * 2 ** attempts)
          const jitter = yield* Random.nextBetween(0.75, 1)
          yield* Effect.raceFirst(Effect.sleep(Math.round(delay * jitter)), deviceEvent(device, "wake"))
        }
      })

    /** The entries of others whose outcome is known, and which the storage would not remove. */
    const sent = new Set<string>()

    /** Sends a mutation that a closed client left, and reports its outcome. */
    const resume = Effect.fnUntraced(function* (entry: OutboxEntry) {
      const remove = attempt("remove a mutation", storage.remove(entry.id))
      if (sent.has(entry.id)) return yield* remove
      const rpc = options.rpcOf(entry.tag)
      const payload =
        rpc && kindOf(rpc.rpc) === "mutation" ? Effect.runSyncExit(rpc.decodePayload(entry.payload)) : Exit.void
      let exit: Exit.Exit<unknown, unknown>
      if (rpc !== undefined && payload !== Exit.void && Exit.isSuccess(payload)) {
        exit = yield* send({ entry, payload: payload.value, isStored: true, reason: undefined })
      } else {
        // The contract has changed since.
        if (!(yield* remove)) sent.add(entry.id)
        exit = Exit.fail(new OutcomeUnknown({ tag: entry.tag }))
      }
      yield* replayed(entry, exit)
    })

    const left = Effect.map(storage.entries, (entries) =>
      entries.filter((entry) => entry.owner === owner && entry.client !== options.clientId)
    )

    /** The open clients that have entries. Theirs are sent when they have closed. */
    const open = new Set<string>()

    /** Sends the entries of closed clients, those of each client in order. */
    const replay: Effect.Effect<void> = Effect.gen(function* () {
      for (const client of new Set((yield* left).map(({ client }) => client))) {
        if (open.has(client)) continue
        const isClosed = yield* Effect.scoped(
          Effect.gen(function* () {
            if (!(yield* storage.claim(client))) return false
            // Read again under the lock: the client may have sent some before it closed.
            const entries = (yield* left).filter((entry) => entry.client === client)
            // One that cannot be marked holds back those behind it.
            yield* Effect.ignore(Effect.forEach(entries, resume, { discard: true }))
            return true
          })
        )
        if (isClosed) continue
        open.add(client)
        yield* Effect.forkIn(
          Effect.gen(function* () {
            yield* attempt("wait for another page", storage.closed(client))
            open.delete(client)
            yield* replayInTurn
          }),
          scope
        )
      }
    })

    /** Replays when it is its turn in the queue. Returns whether the storage could be read. */
    const replayInTurn: Effect.Effect<boolean> = Effect.suspend(() => {
      const done = Deferred.makeUnsafe<boolean>()
      const turn = Effect.flatMap(attempt("read what earlier pages left", replay), (isDone) =>
        Deferred.succeed(done, isDone)
      )
      Queue.offerUnsafe(work, Effect.asVoid(turn))
      return Deferred.await(done)
    })

    // Before the first mutation of this client can be called.
    yield* Effect.forkScoped(
      Effect.gen(function* () {
        for (let failures = 0; ; ) {
          failures = (yield* replayInTurn) ? 0 : failures + 1
          const delay = failures === 0 ? longestDelay : Math.min(longestDelay, 500 * 2 ** failures)
          yield* Effect.raceFirst(Effect.sleep(delay), deviceEvent(device, "wake"))
        }
      }),
      { startImmediately: true }
    )
    yield* Effect.forkScoped(Effect.forever(Effect.flatMap(Queue.take(work), (turn) => attempt("take its turn", turn))))

    /** The callers that wait for an outcome. */
    const callers = new Map<string, Deferred.Deferred<unknown, unknown>>()
    let isClosed = false
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isClosed = true
        for (const caller of callers.values()) Deferred.doneUnsafe(caller, Exit.interrupt())
      })
    )

    return (tag, payload, mutation, timeout) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          if (isClosed) return yield* Effect.interrupt
          const entry: OutboxEntry = {
            id: mutation,
            client: options.clientId,
            owner,
            tag,
            payload: options.rpcOf(tag)!.encodePayload(payload),
            at: yield* Clock.currentTimeMillis,
            sentAfter: null
          }
          const caller = Deferred.makeUnsafe<unknown, unknown>()
          callers.set(mutation, caller)
          kept.add(mutation)
          const storing = yield* Effect.forkIn(attempt("store a mutation", storage.put(entry)), scope, {
            startImmediately: true
          })
          const turn = Effect.gen(function* () {
            const isStored = yield* Fiber.join(storing)
            if (!isStored) yield* unstored(entry)
            const outcome = yield* Effect.catchTag(
              send({ entry, payload, isStored, reason: undefined }),
              "Unmarked",
              () => Effect.succeed(Exit.fail(new OutcomeUnknown({ tag })))
            )
            if (callers.has(mutation)) return void Deferred.doneUnsafe(caller, outcome)
            ended(mutation)
            yield* replayed(entry, outcome)
          })
          Queue.offerUnsafe(work, turn)
          const waited = timeoutOf(Deferred.await(caller), tag, timeout)
          return yield* Effect.ensuring(
            restore(waited),
            Effect.sync(() => callers.delete(mutation))
          )
        })
      )
  })

/** Milliseconds. The longest delay before a mutation is sent again, or the storage is read again. */
const longestDelay = 60_000

/** Milliseconds for which a time of the server is used. An older one only makes the server refuse a copy earlier. */
const timeLasts = 10_000

/** A time of the server that has passed. Asked of it, so that nothing is sent while it cannot be reached. */
const makeServerTime = Effect.fnUntraced(function* (base: string) {
  const fetch = yield* Fetch
  const url = new URL(timePath.slice(1), base.endsWith("/") ? base : `${base}/`).href
  let last: { readonly time: number; readonly at: number } | undefined
  return Effect.gen(function* () {
    const at = Number(yield* Clock.monotonicTimeNanos) / 1e6
    if (last !== undefined && at - last.at < timeLasts) return last.time
    const { status, text } = yield* Effect.tryPromise({
      try: async (signal) => {
        const response = await fetch(url, { cache: "no-store", signal })
        return { status: response.status, text: await response.text() }
      },
      catch: () => new NoOutcome({})
    })
    const time = parse(text)
    if (status !== 200 || typeof time !== "number" || !Number.isSafeInteger(time) || time < 0) {
      return yield* new NoOutcome({ reason: `status ${status}: ${text.slice(0, 200)}` })
    }
    last = { time, at }
    return time
  })
})

/** Why the server refused a request. */
const reasonOf = ({ reason }: RpcClientError): string =>
  reason._tag === "RpcClientDefect" && reason.cause instanceof Error ? reason.cause.message : reason.message

const errorOf = (exit: Exit.Exit<unknown, unknown>): unknown => Option.getOrUndefined(Exit.findErrorOption(exit))

/** Whether a failure is the outcome of the mutation: the server refused it and says so. */
const isOutcome = (exit: Exit.Failure<unknown, unknown>): boolean => {
  const error = errorOf(exit)
  if (error !== undefined) {
    return !(
      error instanceof NoOutcome ||
      error instanceof Unmarked ||
      error instanceof RpcClientError ||
      (error instanceof CallError && error.isRetryable)
    )
  }
  // A defect is one of the server: what can die in this page was tried before.
  return Cause.hasDies(exit.cause)
}

/** Ends the wait of a caller, not the mutation. */
const timeoutOf = (outcome: Effect.Effect<unknown, unknown>, tag: string, timeout: Duration.Input | undefined) =>
  timeout === undefined
    ? outcome
    : Effect.timeoutOrElse(outcome, {
        duration: timeout,
        orElse: () => Effect.fail(new OutcomePending({ tag }))
      })

/** Uses the storage, which may be blocked or full, or a callback. Logs what went wrong, and returns whether nothing did. */
const attempt = <R>(
  what: string,
  use: Effect.Effect<unknown, never, R> = Effect.void
): Effect.Effect<boolean, never, R> =>
  Effect.catchCause(Effect.as(use, true), (cause) =>
    Effect.as(Effect.logWarning(`the outbox could not ${what}`, cause), false)
  )

/** Waits until the device has a network. */
const online = (device: DeviceStatus): Effect.Effect<void> =>
  Effect.suspend(() => (device.isOnline() ? Effect.void : Effect.andThen(deviceEvent(device, "wake"), online(device))))
