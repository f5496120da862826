import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as EffectRandom from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import { TestApp } from "effect-dormouse/testing"
import type { Observed } from "../../src/client/Client.ts"
import type { MemoryObject } from "../../src/testing/MemoryObject.ts"
import { Random } from "../random.ts"
import { app, type List, MarksApi } from "./mutationApp.ts"

/**
 * Random histories of several clients of one object, with lost connections, evictions and crashes at every point. The
 * values that clients show are checked synchronously on each change, the outcomes of their mutations at the end.
 */

export interface Options {
  /** Breaks something before the history begins, to prove that a check can fail. */
  readonly sabotage?: (object: MemoryObject<any>) => void
  /** Breaks something before each step. */
  readonly sabotageStep?: (object: MemoryObject<any>) => void
  /** The number of steps. 30 to 79, at random, unless given. */
  readonly steps?: number
}

/** How often each kind of event, outcome and message occurred, over all histories. */
export type Tally = Record<string, number>

const makeClient = () => TestApp.client(MarksApi)
type MarksClient = Effect.Success<ReturnType<typeof makeClient>>
type Kind = "add" | "addUpTo" | "addAndFail" | "addAndDie"
type Outcome = "pending" | "done" | "failed" | "unknown" | "defect" | "interrupted"

/** One call of a mutation. */
interface Call {
  readonly marker: string
  readonly list: string
  readonly kind: Kind
  outcome: Outcome
  /** Whether the timeout is so long that the caller always waits until its live values contain the mutation. */
  readonly isPatient: boolean
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

const lists = ["a", "b"]

/** One live query of a user, checked on each change. */
class Watched {
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

  get value(): { readonly tick: number | undefined; readonly markers: ReadonlyArray<string> } | undefined {
    const { value } = this.observed?.live() ?? { value: Option.none() }
    if (Option.isNone(value)) return undefined
    if (this.tag === "rows") return { tick: undefined, markers: value.value.map(({ id }: { id: string }) => id) }
    return value.value as typeof List.Type
  }

  get live() {
    return this.observed.live()
  }

  shows(marker: string): boolean {
    return this.shown.has(marker)
  }

  /** Whether the value must contain the marker of a call that succeeded. */
  concerns(call: Call): boolean {
    return this.list === undefined || this.list === call.list
  }

  private check(): void {
    if (this.observed === undefined || this.isEnded) return
    const { history } = this.user
    const failure = this.observed.failure()
    if (Option.isSome(failure)) history.wrong(`${this} failed: ${failure.value}`)
    const { connection, version } = this.observed.live()
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

class User {
  readonly history: History
  readonly name: string
  readonly client: MarksClient
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
        this.history.count(call.outcome)
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

const outcomeOf = (exit: Exit.Exit<unknown, unknown>): Outcome => {
  if (Exit.isSuccess(exit)) return "done"
  const error: any = Option.getOrUndefined(Exit.findErrorOption(exit))
  if (error?._tag === "OutcomeUnknown") return "unknown"
  if (error !== undefined) return "failed"
  return Exit.hasInterrupts(exit) ? "interrupted" : "defect"
}

class History {
  readonly object: MemoryObject<any>
  readonly users: Array<User> = []
  /** Marks that disappeared from a value. Checked once the outcomes of their calls are known. */
  vanished: Array<{ readonly marker: string; readonly from: Watched }> = []
  readonly trace: Array<string> = []
  failure: Error | undefined
  private readonly tally: Tally

  constructor(object: MemoryObject<any>, tally: Tally) {
    this.object = object
    this.tally = tally
  }

  /** Fails the history. */
  wrong(what: string): never {
    // The client may catch the exception: remember the first one.
    this.failure ??= new Error(`${what}\n${this.trace.join("\n")}`)
    throw this.failure
  }

  /** Counts an event. */
  count(what: string): void {
    this.tally[what] = (this.tally[what] ?? 0) + 1
  }

  /** Counts the kinds of messages on the sockets. */
  countMessages(): void {
    const sent = new Set<string>()
    for (const { data } of this.object.network.log) {
      for (const word of ["Patch", "Snapshot", "Current", "Delivered"]) if (data.includes(`"${word}"`)) this.count(word)
      const mutation = /"dormouse-mutation","([^"]+)"/.exec(data)?.[1]
      if (mutation === undefined) continue
      this.count(sent.has(mutation) ? "sent again" : "sent by socket")
      sent.add(mutation)
    }
  }

  rows(): ReadonlyArray<{ readonly list: string; readonly marker: string }> {
    return this.isWritten ? (this.object.database.prepare("SELECT list, marker FROM marks").all() as any) : []
  }

  tick(): number {
    if (!this.isWritten) return 0
    return Number(this.object.database.prepare("SELECT max(count) AS count FROM ticks").get()?.["count"] ?? 0)
  }

  /** Whether there are tables: the first write creates them. */
  private get isWritten(): boolean {
    return this.object.database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'ticks'").get() !== undefined
  }

  get pending(): ReadonlyArray<Call> {
    return this.users.flatMap(({ calls }) => calls.filter(({ outcome }) => outcome === "pending"))
  }

  /** Waits until everything that is not held back has run. */
  readonly settle = Effect.promise(async () => {
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
  })

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
  checkRows(): void {
    const counts = new Map<string, number>()
    for (const { list, marker } of this.rows()) {
      const key = `${list} ${marker}`
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    for (const { calls } of this.users) {
      for (const { list, marker, outcome } of calls) {
        const key = `${list} ${marker}`
        const count = counts.get(key) ?? 0
        counts.delete(key)
        if (count > 1) this.wrong(`${marker} was done ${count} times`)
        if (outcome === "pending") this.wrong(`${marker} never ended`)
        if (outcome === "done" && count === 0) this.wrong(`${marker} was done and is not there`)
        if ((outcome === "failed" || outcome === "defect") && count > 0) this.wrong(`${marker} failed and is there`)
      }
    }
    for (const key of counts.keys()) this.wrong(`no call added ${key}`)
  }

  /** Every live value is what the database has. */
  checkValues(): void {
    const rows = this.rows()
    for (const { watched } of this.users) {
      for (const query of watched) {
        const { connection, isOptimistic } = query.live
        if (connection._tag !== "Live") this.wrong(`${query} is ${connection._tag} in the end`)
        if (isOptimistic) this.wrong(`${query} is optimistic in the end`)
        const markers = rows.filter(({ list }) => query.list === undefined || query.list === list)
        const expected = markers.map(({ marker }) => marker).sort()
        const actual = [...(query.value?.markers ?? [])].sort()
        if (expected.join() !== actual.join()) this.wrong(`${query} shows ${actual}, the database has ${expected}`)
        if (query.value?.tick !== undefined && query.value.tick !== this.tick()) {
          this.wrong(`${query} shows ${query.value.tick}, the database has ${this.tick()}`)
        }
      }
    }
  }
}

/** Runs the history of a seed. Rejects with the first violation and the steps that led to it. */
export const run = (seed: number, tally: Tally, options: Options = {}): Promise<void> =>
  Effect.gen(function* () {
    const random = new Random(seed)
    const { object } = yield* TestApp
    const { network } = object()
    const history = new History(object(), tally)
    options.sabotage?.(object())
    const names = ["p", "q", "r"].slice(0, 1 + random.int(3))
    for (const name of names) history.users.push(new User(history, name, yield* makeClient()))
    network.hold()
    const steps = options.steps ?? 30 + random.int(50)
    for (let i = 0; i < steps; i++) {
      options.sabotageStep?.(object())
      const user = random.pick(history.users)
      const event = random.int(100)
      const log = (what: string) => {
        history.trace.push(`${i} ${what}`)
        history.count(what.split(" ")[0]!)
      }
      if (event < 45) {
        log(`step (${network.inFlight})`)
        const count = 1 + random.int(5)
        for (let j = 0; j < count; j++) {
          network.stepAny((ways) => random.int(ways))
          if (random.chance(0.5)) yield* history.settle
        }
      } else if (event < 60) {
        log(`mutate ${user.name}`)
        yield* user.mutate(random)
      } else if (event < 70) {
        log(`watch ${user.name}`)
        if (user.watched.size < 5) user.watch(random)
      } else if (event < 75) {
        log(`unwatch ${user.name}`)
        random.pick([...user.watched, undefined])?.end()
      } else if (event < 87) {
        const millis = random.pick([1, 100, 400, 2000])
        log(`wait ${millis}`)
        yield* TestClock.adjust(millis)
      } else if (event < 92) {
        const wire = random.pick([...network.wires, undefined])
        const way = random.pick(["cut", "cutClient", "silence"] as const)
        log(way)
        wire?.[way]()
      } else if (event < 94) {
        log("cut all")
        network.cut()
      } else if (event < 95) {
        log(network.isOffline ? "online" : "offline")
        if (network.isOffline) network.online()
        else network.offline()
      } else if (event < 97) {
        log("evict")
        yield* Effect.promise(() => object().evict())
      } else if (event < 98) {
        log("crash")
        yield* Effect.promise(() => object().crash())
      } else {
        const call = random.pick([...user.calls, undefined])
        log(`interrupt ${call?.marker}`)
        if (call?.outcome === "pending") yield* Effect.forkDetach(Fiber.interrupt(call.fiber))
      }
      yield* history.settle
      history.checkVanished()
    }
    history.trace.push("calm")
    network.online()
    network.release()
    yield* history.settle
    // A mutation is retried for minutes, and a dead connection is detected within one minute.
    for (let i = 0; i < 120 && (i < 8 || history.pending.length > 0); i++) {
      options.sabotageStep?.(object())
      yield* TestClock.adjust(i < 20 ? "10 seconds" : "1 minute")
      yield* history.settle
      history.checkVanished()
    }
    history.checkRows()
    history.checkValues()
    history.countMessages()
    for (const { watched } of history.users) for (const query of watched) query.end()
  }).pipe(
    Effect.scoped,
    Effect.provide(TestApp.layer(app)),
    EffectRandom.withSeed(seed),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([])),
    Effect.catchCause((cause) => Effect.die(new Error(`seed ${seed}: ${cause}`))),
    Effect.runPromise
  )
