import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as RpcClient from "effect/rpc/RpcClient"
import { RpcClientError } from "effect/rpc/RpcClientError"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Client } from "effect-dormouse/client"
import type { Observed } from "../../src/client/Client.ts"
import { CallError } from "../../src/protocol/CallError.ts"
import * as Patch from "../../src/protocol/Patch.ts"
import { type Random, Violation } from "../random.ts"
import { type List, MarksApi } from "./mutationApp.ts"

/**
 * Users of one object, with Dormouse's client or with Effect's own. What they show is checked synchronously on each change,
 * the outcomes of their mutations against the database.
 */

/** How often each kind of event, outcome and message occurred, over all histories. */
export type Tally = Record<string, number>

const makeClient = () => Client.make(MarksApi, { url: "" })
/** Dormouse's client. */
export type MarksClient = Effect.Success<ReturnType<typeof makeClient>>

/** Effect's own client, over the protocol of the context. */
export const makeStock = () => RpcClient.make(MarksApi, { flatten: true })
/** Effect's own client. */
export type StockClient = Effect.Success<ReturnType<typeof makeStock>>

/** A row of the database. */
export interface MarkRow {
  readonly list: string
  readonly marker: string
}

type Kind = "add" | "addUpTo" | "addAndFail" | "addAndDie"
type Outcome = "pending" | "done" | "failed" | "unknown" | "defect" | "interrupted"

/** One call of a mutation. */
interface Call {
  readonly marker: string
  readonly list: string
  readonly kind: Kind
  outcome: Outcome
  /** How many mutations ran before it, if it succeeded. */
  count?: number
  /** Whether the timeout is so long that the caller always waits until its live values contain the mutation. */
  isPatient: boolean
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

const lists = ["a", "b"]

/** The marks that a query returned, and how many mutations had run, if it says so. */
interface Value {
  readonly tick: number | undefined
  readonly markers: ReadonlyArray<string>
}

/** Who was shown a value of which query. */
interface Seen {
  readonly tag: Watched["tag"]
  readonly list: string | undefined
  readonly toString: () => string
}

/** One live query of a user, checked on each change. */
export class Watched {
  readonly user: User
  readonly tag: "list" | "rows" | "total"
  readonly list: string | undefined
  private readonly observed: Observed<any, any>
  private shown = new Set<string>()
  private version = 0
  private hasValue = false
  /** The tick of the database when the connection was lost. */
  private tickAtLoss = 0
  private wasLive = false
  isEnded = false

  constructor(user: User, tag: Watched["tag"], list: string | undefined) {
    this.user = user
    this.tag = tag
    this.list = list
    this.observed = user.client.observe(tag as never, (list === undefined ? {} : { list }) as never, () => this.check())
    user.watched.add(this)
    this.check()
  }

  get value(): Value | undefined {
    const { value } = this.observed?.live() ?? { value: Option.none() }
    return Option.isNone(value) ? undefined : valueOf(this.tag, value.value)
  }

  get live() {
    return this.observed.live()
  }

  shows(marker: string): boolean {
    return this.shown.has(marker)
  }

  /** Whether the value must contain the marker of a call that succeeded. */
  concerns(call: Pick<Call, "list">): boolean {
    return this.list === undefined || this.list === call.list
  }

  private check(): void {
    if (this.observed === undefined || this.isEnded) return
    const { history } = this.user
    const failure = this.observed.failure()
    if (Option.isSome(failure)) history.wrong(`${this} failed: ${failure.value}`)
    const { connection, isOptimistic, version } = this.observed.live()
    const { value } = this
    if (value === undefined) {
      if (this.hasValue) history.wrong(`${this} lost its value`)
    } else {
      this.hasValue = true
      if (version < this.version) history.wrong(`${this} went back from version ${this.version} to ${version}`)
      this.version = version
      const markers = new Set(value.markers)
      if (markers.size < value.markers.length) history.wrong(`${this} shows a mark twice: ${value.markers}`)
      for (const marker of this.shown) if (!markers.has(marker)) history.vanished.push({ marker, from: this })
      this.shown = markers
      for (const call of this.user.calls) {
        if (call.outcome === "done" && call.isPatient && this.concerns(call) && !markers.has(call.marker)) {
          history.wrong(`${this} does not show ${call.marker}, which was done`)
        }
        if (call.outcome === "failed" && markers.has(call.marker)) {
          history.wrong(`${this} shows ${call.marker}, which failed`)
        }
      }
      this.user.compareTicks()
      if (!isOptimistic) history.note(this, value)
    }
    const isLive = connection._tag === "Live"
    if (this.wasLive && !isLive) this.tickAtLoss = history.tick()
    this.wasLive = isLive
    if (isLive && value?.tick !== undefined && value.tick < this.tickAtLoss) {
      history.wrong(`${this} counts as live with ${value.tick}, and the database had ${this.tickAtLoss} before`)
    }
  }

  end(): void {
    this.isEnded = true
    this.user.watched.delete(this)
    this.observed.end()
  }

  toString(): string {
    return `${this.tag}(${this.list ?? ""}) of ${this.user.name}`
  }
}

/** A user with Dormouse's client. */
export class User {
  readonly history: History
  readonly name: string
  /** The client of the present page. */
  client: MarksClient
  readonly watched = new Set<Watched>()
  readonly calls: Array<Call> = []

  constructor(history: History, name: string, client: MarksClient) {
    this.history = history
    this.name = name
    this.client = client
  }

  /** All queries of one client show one version. */
  compareTicks(): void {
    const ticks = new Set<number>()
    for (const { value } of this.watched) if (value?.tick !== undefined) ticks.add(value.tick)
    if (ticks.size > 1) this.history.wrong(`${this.name} shows ${[...ticks]} at once`)
  }

  watch(random: Random): void {
    const tag = random.pick(["list", "list", "rows", "rows", "total"] as const)
    new Watched(this, tag, tag === "total" ? undefined : random.pick(lists))
  }

  mutate(random: Random): Effect.Effect<void> {
    const kind = random.pick(["add", "add", "add", "addUpTo", "addAndFail", "addAndDie"] as const)
    const marker = `${this.name}${this.calls.length}`
    const list = random.pick(lists)
    // An optimistic change may be wrong: it then shows the mark in a list that will not have it.
    const guess = random.chance(0.85) ? list : random.pick(lists)
    const isOptimistic = random.chance(0.6)
    const payload = { list, marker, ...(kind === "addUpTo" ? { max: random.int(6) } : {}) }
    const add = (markers: ReadonlyArray<string>) => [...markers, marker].sort()
    const isPatient = random.chance(0.9)
    const options = {
      timeout: isPatient ? "5 minutes" : "3 seconds",
      ...(isOptimistic
        ? {
            optimistic: (view: any) => {
              const inList = (value: typeof List.Type) => ({ ...value, markers: add(value.markers) })
              view.update("list", { list: guess }, inList)
              view.update("total", {}, inList)
              view.updateEach("rows", (rows: ReadonlyArray<{ id: string }>, payload: { list: string }) =>
                payload.list === guess ? add(rows.map(({ id }) => id)).map((id) => ({ id, ballast: "" })) : rows
              )
            }
          }
        : {})
    }
    return Effect.gen({ self: this }, function* () {
      const call: { -readonly [K in keyof Call]: Call[K] } = {
        marker,
        list,
        kind,
        outcome: "pending",
        isPatient,
        fiber: undefined as never
      }
      this.calls.push(call)
      call.fiber = yield* this.client
        .mutate(kind, payload as never, options as never)
        .pipe(Effect.forkDetach({ startImmediately: true }))
      call.fiber.addObserver((exit) => {
        call.outcome = outcomeOf(exit)
        this.history.ended(call, exit)
        if (call.outcome !== "done" || !isPatient) return
        for (const watched of this.watched) {
          if (watched.value !== undefined && watched.concerns(call) && !watched.shows(marker)) {
            this.history.wrong(`${marker} was done and ${watched} does not show it`)
          }
        }
      })
      if (!isOptimistic || call.outcome !== "pending") return
      for (const watched of this.watched) {
        const isGuessed = watched.list === undefined || watched.list === guess
        if (isGuessed && watched.value !== undefined && !watched.shows(marker)) {
          this.history.wrong(`${watched} does not show ${marker} at once`)
        }
      }
    })
  }
}

/** What a stock client may meet when its connection or the object is lost. */
const isLoss = (error: unknown): boolean =>
  error instanceof RpcClientError || (error instanceof CallError && error.reason._tag === "Unavailable")

/** One live query of a stock client, as a stream that is opened again when its connection is lost. */
export class StockWatched {
  readonly user: StockUser
  readonly tag: Watched["tag"]
  readonly list: string | undefined
  value: Value | undefined
  private encoded: any
  private parts = ""
  private version = 0
  /** The tick of the database when the stream was opened. */
  private tickAtOpen = 0
  /** The marks of mutations that were acknowledged before the stream was opened. */
  private doneAtOpen: ReadonlyArray<Call> = []
  private tick = 0
  fiber: Fiber.Fiber<unknown, unknown> | undefined

  constructor(user: StockUser, tag: Watched["tag"], list: string | undefined) {
    this.user = user
    this.tag = tag
    this.list = list
  }

  /** Runs the stream until it is interrupted. */
  get run(): Effect.Effect<void> {
    const { history } = this.user
    const open: Stream.Stream<any, unknown> = Stream.suspend(() => {
      this.value = undefined
      this.version = 0
      this.parts = ""
      this.tickAtOpen = history.tick()
      this.doneAtOpen = history.done
      return this.user.stream(this.tag, this.list)
    })
    return Effect.suspend(() => Stream.runForEach(open, (frame) => Effect.sync(() => this.take(frame)))).pipe(
      Effect.andThen(Effect.sync(() => history.wrong(`${this} ended`))),
      Effect.catchIf(
        (error): error is unknown => !isLoss(error),
        (error) => Effect.sync(() => history.wrong(`${this} failed: ${error}`))
      ),
      Effect.tapError(() => Effect.sync(() => this.lost())),
      Effect.retry(Schedule.spaced("500 millis")),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (!Exit.hasInterrupts(exit)) history.broken(`${this} ended with ${exit}`)
        })
      ),
      Effect.ignoreCause
    )
  }

  private lost(): void {
    this.user.history.count("stream lost")
    this.value = undefined
  }

  private take(frame: any): void {
    const { history } = this.user
    history.count(`stock ${frame._tag}`)
    switch (frame._tag) {
      case "Part": {
        this.parts += frame.text
        if (!frame.last) return
        const whole = JSON.parse(this.parts)
        this.parts = ""
        return this.take(whole)
      }
      case "Snapshot":
        this.encoded = frame.value
        break
      case "Patch":
        this.encoded = Result.getOrThrow(Patch.apply(this.encoded, frame.ops))
        break
      default:
        history.wrong(`${this} was sent a ${frame._tag} and had no value`)
    }
    if (frame.version <= this.version) history.wrong(`${this} went from version ${this.version} to ${frame.version}`)
    const isFirst = this.value === undefined
    this.version = frame.version
    this.value = valueOf(this.tag, this.encoded)
    history.note(this, this.value)
    const { tick } = this.value
    if (tick !== undefined && tick < this.tick) history.wrong(`${this} went back from ${this.tick} to ${tick}`)
    this.tick = tick ?? 0
    if (isFirst) history.checkFresh(this, this.value, this.tickAtOpen, this.doneAtOpen)
  }

  concerns(call: Pick<Call, "list">): boolean {
    return this.list === undefined || this.list === call.list
  }

  toString(): string {
    return `stock ${this.tag}(${this.list ?? ""}) of ${this.user.name}`
  }
}

/** A user with Effect's own client, which does not send a mutation again: each ran once or not at all. */
export class StockUser {
  readonly history: History
  readonly name: string
  readonly watched = new Set<StockWatched>()
  readonly calls: Array<Call> = []
  private readonly clients: Record<"http" | "socket", StockClient>

  constructor(history: History, name: string, clients: Record<"http" | "socket", StockClient>) {
    this.history = history
    this.name = name
    this.clients = clients
  }

  /** The frames of a live query over the socket. */
  stream(tag: Watched["tag"], list: string | undefined): Stream.Stream<any, unknown> {
    return this.clients.socket(`live:${tag}` as "live:list", (list === undefined ? {} : { list }) as { list: string })
  }

  /** Subscribes to a live query. */
  watch(random: Random): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const tag = random.pick(["list", "list", "rows", "total"] as const)
      const watched = new StockWatched(this, tag, tag === "total" ? undefined : random.pick(lists))
      this.watched.add(watched)
      watched.fiber = yield* Effect.forkDetach(watched.run, { startImmediately: true })
    })
  }

  /** Ends a live query. */
  unwatch(watched: StockWatched): Effect.Effect<void> {
    this.watched.delete(watched)
    return Effect.asVoid(Effect.forkDetach(Fiber.interrupt(watched.fiber!)))
  }

  /** Calls a mutation once. */
  mutate(random: Random): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const kind = random.pick(["add", "add", "add", "addUpTo", "addAndFail", "addAndDie"] as const)
      const call: Call = {
        marker: `${this.name}${this.calls.length}`,
        list: random.pick(lists),
        kind,
        outcome: "pending",
        isPatient: false,
        fiber: undefined as never
      }
      this.calls.push(call)
      const { list, marker } = call
      const rpc = this.clients[random.pick(["http", "socket"] as const)]
      const payload = { list, marker, ...(kind === "addUpTo" ? { max: random.int(6) } : {}) }
      const fiber = yield* Effect.forkDetach(rpc(kind as "add", payload), { startImmediately: true })
      fiber.addObserver((exit) => {
        const outcome = outcomeOf(exit)
        const error = Option.getOrUndefined(Exit.findErrorOption(exit))
        // It may have run: the answer is lost.
        call.outcome = outcome === "failed" && (error as any)?._tag !== "Full" ? "unknown" : outcome
        if (call.outcome === "unknown" && !isLoss(error)) this.history.broken(`${marker} failed with ${error}`)
        if (outcome === "defect" && kind !== "addAndDie") this.history.broken(`${marker} died: ${exit}`)
        this.history.ended(call, exit)
      })
    })
  }

  /** Calls a query. What it returns is not older than the call. */
  ask(random: Random): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const { history } = this
      const tag = random.pick(["list", "rows", "total"] as const)
      const list = tag === "total" ? undefined : random.pick(lists)
      const rpc = this.clients[random.pick(["http", "socket"] as const)]
      const tick = history.tick()
      const { done } = history
      const seen = { tag, list, toString: () => `${tag}(${list ?? ""}) of ${this.name}, called` }
      const fiber = yield* Effect.forkDetach(
        rpc(tag as "list", (list === undefined ? {} : { list }) as { list: string }),
        { startImmediately: true }
      )
      fiber.addObserver((exit) => {
        if (Exit.isSuccess(exit)) {
          history.count("answered")
          const value = valueOf(tag, exit.value)
          history.note(seen, value)
          history.checkFresh(seen, value, tick, done)
        } else if (!isLoss(Option.getOrUndefined(Exit.findErrorOption(exit)))) history.broken(`${seen} failed: ${exit}`)
      })
    })
  }
}

/** The value of a query as marks, with the tick of the database if it has one. */
const valueOf = (tag: Watched["tag"], value: any): Value =>
  tag === "rows" ? { tick: undefined, markers: value.map(({ id }: { id: string }) => id) } : value

/** How a call ended. */
export const outcomeOf = (exit: Exit.Exit<unknown, unknown>): Outcome => {
  if (Exit.isSuccess(exit)) return "done"
  const error: any = Option.getOrUndefined(Exit.findErrorOption(exit))
  // With an outbox the mutation of a caller that does not wait any longer is still sent.
  if (error?._tag === "OutcomeUnknown" || error?._tag === "OutcomePending") return "unknown"
  if (error !== undefined) return "failed"
  return Exit.hasInterrupts(exit) ? "interrupted" : "defect"
}

/** What the users of one object did, and what was seen wrong. */
export class History {
  /** How many mutations the database has, as far as it is known: never more than it has. */
  readonly tick: () => number
  readonly users: Array<User> = []
  /** Marks that disappeared from a value. Checked once the outcomes of their calls are known. */
  vanished: Array<{ readonly marker: string; readonly from: Watched }> = []
  readonly trace: Array<string> = []
  /** The most mutations that a value or an outcome has shown. */
  seen = 0
  readonly stock: Array<StockUser> = []
  /** Every value that was shown without a guess, by query and tick. */
  private readonly states = new Map<string, Value & { readonly list: string | undefined }>()
  private readonly counts = new Map<number, string>()
  failure: Violation | undefined
  private readonly tally: Tally

  constructor(tick: () => number, tally: Tally) {
    this.tick = tick
    this.tally = tally
  }

  /** Fails the history. */
  wrong(what: string): never {
    // The client may catch the exception: remember the first one.
    this.failure ??= new Violation(`${what}\n${this.trace.join("\n")}`)
    throw this.failure
  }

  /** The same outside of a check. */
  broken(what: string): void {
    this.failure ??= new Violation(`${what}\n${this.trace.join("\n")}`)
  }

  /** Counts the outcome of a call. No two mutations find the same number of earlier ones. */
  ended(call: Call, exit: Exit.Exit<unknown, unknown>): void {
    this.count(call.outcome)
    if (call.outcome !== "done" || !Exit.isSuccess(exit)) return
    const count = exit.value as number
    const other = this.counts.get(count)
    if (other !== undefined && other !== call.marker) {
      this.broken(`${call.marker} and ${other} were both done after ${count} others`)
    }
    this.counts.set(count, call.marker)
    call.count = count
    this.seen = Math.max(this.seen, count + 1)
  }

  /** Remembers a value without guesses: two values of one query with one tick are equal, whoever is shown them. */
  note(from: Seen, value: Value): void {
    if (value.tick === undefined) return
    this.seen = Math.max(this.seen, value.tick)
    const key = `${from.tag} ${from.list} ${value.tick}`
    const known = this.states.get(key)
    if (known === undefined) this.states.set(key, { ...value, list: from.list })
    else if (known.markers.join() !== value.markers.join()) {
      this.wrong(`${from} shows ${value.markers} at ${value.tick}, and somebody was shown ${known.markers}`)
    }
  }

  /** A value that was asked for contains everything that was there before. */
  checkFresh(from: Seen, value: Value, tick: number, done: ReadonlyArray<Call>): void {
    if (value.tick !== undefined && value.tick < tick) this.wrong(`${from} shows ${value.tick} and not ${tick}`)
    const markers = new Set(value.markers)
    for (const call of done) {
      const isIn = from.list === undefined || from.list === call.list
      if (isIn && !markers.has(call.marker)) this.wrong(`${from} does not show ${call.marker}, which was done before`)
    }
  }

  /** Each value contains the mutations that ran before its tick, and no others. */
  checkStates(): void {
    for (const { list, markers, tick } of this.states.values()) {
      const shown = new Set(markers)
      for (const call of this.done) {
        if (call.count === undefined || (list !== undefined && list !== call.list)) continue
        if (shown.has(call.marker) !== call.count < tick!) {
          this.wrong(`${markers} was shown of ${list} at ${tick}, and ${call.marker} ran after ${call.count}`)
        }
      }
    }
  }

  get everyone(): ReadonlyArray<User | StockUser> {
    return [...this.users, ...this.stock]
  }

  /** The mutations that were acknowledged. */
  get done(): ReadonlyArray<Call> {
    return this.everyone.flatMap(({ calls }) => calls.filter(({ outcome }) => outcome === "done"))
  }

  /** Counts an event. */
  count(what: string): void {
    this.tally[what] = (this.tally[what] ?? 0) + 1
  }

  get pending(): ReadonlyArray<Call> {
    return this.everyone.flatMap(({ calls }) => calls.filter(({ outcome }) => outcome === "pending"))
  }

  /** A mark may disappear only if it was the user's own optimistic change, and failed or belongs to another list. */
  checkVanished(): void {
    for (const { from, marker } of this.vanished) {
      const call = from.user.calls.find((call) => call.marker === marker)
      const isOver = call !== undefined && call.outcome !== "pending" && call.outcome !== "done"
      if (!isOver && !(call !== undefined && !from.concerns(call))) this.wrong(`${marker} vanished from ${from}`)
    }
    this.vanished = []
    if (this.failure !== undefined) throw this.failure
  }

  /** A successful mutation has one row, a failed one has none, one with an unknown outcome has at most one. */
  checkRows(rows: ReadonlyArray<MarkRow>): void {
    const counts = new Map<string, number>()
    for (const { list, marker } of rows) {
      const key = `${list} ${marker}`
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    for (const { calls } of this.everyone) {
      for (const { kind, list, marker, outcome } of calls) {
        const key = `${list} ${marker}`
        const count = counts.get(key) ?? 0
        counts.delete(key)
        if (count > 1) this.wrong(`${marker} was done ${count} times`)
        if (outcome === "pending") this.wrong(`${marker} never ended`)
        if (outcome === "done" && count === 0) this.wrong(`${marker} was done and is not there`)
        const isRolledBack =
          outcome === "failed" || outcome === "defect" || kind === "addAndFail" || kind === "addAndDie"
        if (isRolledBack && count > 0) this.wrong(`${marker} failed and is there`)
      }
    }
    for (const key of counts.keys()) this.wrong(`no call added ${key}`)
  }

  /** Every live value is what the database has. */
  checkValues(rows: ReadonlyArray<MarkRow>, tick: number): void {
    const difference = this.disconnected() ?? this.difference(rows, tick)
    if (difference !== undefined) this.wrong(`in the end, ${difference}`)
  }

  /** A live query without a current value, if there is one. */
  disconnected(): string | undefined {
    for (const { watched } of this.users) {
      for (const query of watched) {
        const { connection } = query.live
        if (connection._tag !== "Live") return `${query} is ${connection._tag}`
      }
    }
    for (const { watched } of this.stock) {
      for (const query of watched) if (query.value === undefined) return `${query} has no value`
    }
    return undefined
  }

  /** A live query that shows something else than the database has, if there is one. */
  difference(rows: ReadonlyArray<MarkRow>, tick: number): string | undefined {
    for (const { watched } of this.users) {
      for (const query of watched) if (query.live.isOptimistic) return `${query} is optimistic`
    }
    for (const { watched } of this.everyone) {
      for (const query of watched) {
        const { value } = query
        const expected = rows.filter((row) => query.concerns(row)).map(({ marker }) => marker)
        const [actual, wanted] = [[...(value?.markers ?? [])].sort().join(), expected.sort().join()]
        if (actual !== wanted) return `${query} shows ${actual}, the database has ${wanted}`
        if (value?.tick !== undefined && value.tick !== tick) {
          return `${query} shows ${value.tick}, the database has ${tick}`
        }
      }
    }
    return undefined
  }
}
