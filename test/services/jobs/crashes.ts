/// <reference types="node" />
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/testing/TestClock"
import type { App } from "effect-dormouse"
import { type Fate, MemoryBroker, TestApp } from "effect-dormouse/testing"
import type { RequestSession } from "../../../src/engine/rpc/SessionHeader.ts"
import { carriedBy } from "../../../src/services/Broker.ts"
import type { MemoryObject } from "../../../src/testing/MemoryObject.ts"
import { turns } from "../../deployment/memory.ts"
import { Violation } from "../../random.ts"
import { type Plan, period, type What, world } from "../../worker/work.ts"

/** Runs an app of `work.ts` in memory, crashes its object at a chosen moment, and compares what ran with what was scheduled. */

/** When the object crashes: at a commit, or in the handler of an action or of a queue. */
export type CrashPoint =
  | { readonly at: "before commit" | "after commit"; readonly number: number }
  | { readonly at: "begin" | "end"; readonly number: number; readonly goesOn: boolean }

/** How often a run came to a moment at which it can crash. */
export interface Moments {
  commits: number
  begins: number
  ends: number
}

/** A run of an app. */
export interface Run {
  readonly object: MemoryObject<any>
  readonly moments: Moments
  /** How often each handler of an action or of a queue has begun. */
  readonly begun: ReadonlyMap<string, number>
  /** How often the object has crashed. */
  readonly crashes: () => number
  /** Calls a mutation in the object. Returns whether it was answered with a success. */
  readonly call: (tag: string, payload: unknown) => Promise<boolean>
  /** Passes time, and lets everything happen that follows. */
  readonly pass: (millis: number) => Promise<void>
  readonly now: () => number
  readonly clock: Clock.Clock
  /** Sets the clock, also to a time before. */
  readonly setTime: (time: number) => Promise<void>
  /** What carries the messages, if something does. */
  readonly broker: MemoryBroker | undefined
  /** Deploys another version of the app: the object starts with it. */
  readonly deploy: (app: App.App<any>) => Promise<void>
}

/** The moments of a run without a crash: all at which another run can crash. */
const pointsOf = ({ begins, commits, ends }: Moments): ReadonlyArray<CrashPoint> => {
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1)
  return [
    ...numbers(commits).flatMap(
      (number): Array<CrashPoint> => [
        { at: "before commit", number },
        { at: "after commit", number }
      ]
    ),
    ...[true, false].flatMap(
      (goesOn): Array<CrashPoint> => [
        ...numbers(begins).map((number): CrashPoint => ({ at: "begin", number, goesOn })),
        ...numbers(ends).map((number): CrashPoint => ({ at: "end", number, goesOn }))
      ]
    )
  ]
}

/** Runs a workload without a crash, then with a crash at each of some moments. Returns at how many. */
export const crashAtEach = async (
  runWith: (point?: CrashPoint) => Promise<Moments>,
  some = (points: ReadonlyArray<CrashPoint>) => points
): Promise<number> => {
  const points = some(pointsOf(await runWith()))
  for (const point of points) {
    try {
      await runWith(point)
    } catch (cause) {
      if (!(cause instanceof Violation)) throw cause
      throw new Violation(`a crash at ${JSON.stringify(point)}: ${cause.message}`)
    }
  }
  console.info(`${points.length} crashes`)
  return points.length
}

const session: RequestSession = { tenant: "main", identity: { subject: "ada", claims: {} } }

/** Runs a script with a new object, which crashes at one moment, or at none. */
export const withObject = (
  app: App.App<any>,
  point: CrashPoint | undefined,
  script: (run: Run) => Promise<void>,
  fate?: () => Fate
): Promise<void> => {
  const broker = fate && new MemoryBroker({ queues: ["works"], fate })
  return withBroker(app, point, script, broker)
}

const withBroker = (
  app: App.App<any>,
  point: CrashPoint | undefined,
  script: (run: Run) => Promise<void>,
  broker: MemoryBroker | undefined
): Promise<void> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const { object: objectOf } = yield* TestApp
      const context = yield* Effect.context<never>()
      const clock = yield* Effect.clockWith((clock) => Effect.succeed(clock))
      const object = objectOf()
      const moments: Moments = { commits: 0, begins: 0, ends: 0 }
      const begun = new Map<string, number>()
      let crashes = 0
      const crash = () => {
        crashes++
        // An object that only starts cannot be stopped before it has a heap.
        if ((object as any).heap === undefined) queueMicrotask(() => void object.crash())
        else void object.crash()
      }
      watchCommits(object, point, moments, crash)
      const reached = (at: "begin" | "end", number: number) =>
        Effect.suspend(() => {
          if (point?.at !== at || point.number !== number) return Effect.void
          if (broker === undefined) crash()
          else {
            // What consumes is another process than the object.
            crashes++
            broker.crash()
          }
          // Where it runs may be lost together with the object, or go on.
          return point.goesOn ? Effect.void : Effect.never
        })
      const { begin, end } = world
      yield* Effect.addFinalizer(() => Effect.sync(() => Object.assign(world, { begin, end })))
      world.tries.clear()
      world.begin = (text) => {
        begun.set(text, (begun.get(text) ?? 0) + 1)
        return reached("begin", ++moments.begins)
      }
      world.end = () => reached("end", ++moments.ends)
      const pass = (effect: Effect.Effect<void>) =>
        Effect.runPromiseWith(context)(
          Effect.andThen(
            effect,
            Effect.promise(() => turns().then(turns))
          )
        )
      yield* Effect.promise(() =>
        script({
          object,
          moments,
          begun,
          crashes: () => crashes,
          call: (tag, payload) => call(object, tag, payload),
          pass: (millis) => pass(TestClock.adjust(millis)),
          clock,
          now: () => clock.currentTimeMillisUnsafe(),
          setTime: (time) => pass(TestClock.setTime(time)),
          broker,
          deploy: (app) => {
            const isCarried = app.jobs?.queues.some(({ name }) => broker?.queues.has(name))
            return deploy(object, broker !== undefined && isCarried ? carriedBy(app, broker) : app)
          }
        })
      )
    }).pipe(
      Effect.scoped,
      Effect.provide(
        TestApp.layer(app, broker === undefined ? {} : { broker }).pipe(
          Layer.provideMerge(TestClock.layer()),
          Layer.provide(Logger.layer([]))
        )
      ),
      Effect.provide(TestClock.layer())
    )
  )

/** Counts the commits of an object, and crashes it before or after one of them. */
export const watchCommits = (
  object: MemoryObject<any>,
  point: CrashPoint | undefined,
  moments: Moments,
  crash: () => void
): void => {
  const { database } = object
  const { exec } = database
  database.exec = (sql) => {
    if (sql === "BEGIN IMMEDIATE" && point?.at === "before commit" && moments.commits + 1 === point.number) {
      object.failNextCommit()
    }
    exec.call(database, sql)
    if (sql === "ROLLBACK" && point?.at === "before commit") moments.commits++
    if (sql === "COMMIT" && ++moments.commits === point?.number && point.at === "after commit") crash()
  }
}

const call = async (object: MemoryObject<any>, tag: string, payload: unknown): Promise<boolean> => {
  const request = { _tag: "Request", id: "1", tag, payload, headers: [] }
  try {
    const { body } = await object.stub.call(session, JSON.stringify([request]))
    const messages: ReadonlyArray<any> = JSON.parse(body)
    return messages.some(({ exit }) => exit?._tag === "Success")
  } catch {
    return false
  }
}

/** What a row of `planned` says. */
export interface PlannedRow {
  readonly text: string
  readonly what: What
  readonly due: number
  readonly isCancelled: boolean
}

/** The rows of a table of an object, read without waking it. */
export const rows = (object: MemoryObject<any>, sql: string): ReadonlyArray<any> => {
  const exists = object.database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'planned'").get()
  return exists === undefined ? [] : object.database.prepare(sql).all()
}

/** What was scheduled by mutations that have committed. */
export const plannedIn = (object: MemoryObject<any>): ReadonlyArray<PlannedRow> =>
  rows(object, "SELECT * FROM planned").map((row) => ({ ...row, isCancelled: Boolean(row.isCancelled) }))

/** Passes time until nothing is left to do. Nothing but its alarm wakes the object. */
export const untilQuiet = async ({ object, pass }: Run, seconds = 60): Promise<void> => {
  const left = () => rows(object, "SELECT target, state FROM _dormouse_outbox WHERE state NOT IN ('failed', 'done')")
  for (let second = 0; second < seconds; second++) {
    await pass(1000)
    if (left().length === 0) return
  }
  throw new Violation(`waits for ever: ${JSON.stringify(left())}`)
}

/** Compares what ran with what was scheduled, when the object has crashed so many times. */
export const check = ({ begun, object }: Pick<Run, "begun" | "object">, crashes: number): void =>
  compare({
    planned: plannedIn(object),
    ran: countOf(rows(object, "SELECT text FROM lines WHERE event = 'ran'")),
    begun,
    failed: countOf(
      rows(object, "SELECT payload FROM _dormouse_outbox WHERE state = 'failed'").map(({ payload }) =>
        JSON.parse(payload)
      )
    ),
    crashes
  })

/** What a test has found: what was scheduled, and how often each of it ran, had begun, and is kept as failed. */
export interface Outcome {
  readonly planned: ReadonlyArray<PlannedRow>
  readonly ran: ReadonlyMap<string, number>
  readonly begun: ReadonlyMap<string, number>
  readonly failed: ReadonlyMap<string, number>
  readonly crashes: number
}

/** Compares what ran with what was scheduled. */
export const compare = ({ begun, crashes, failed, planned, ran }: Outcome): void => {
  const wrong: Array<string> = []
  for (const { isCancelled, text, what } of planned) {
    const [runs, begins, failures] = [ran.get(text) ?? 0, begun.get(text) ?? 0, failed.get(text) ?? 0]
    const found = { runs, begins, failures }
    const isRight = isCancelled ? runs + failures === 0 : expected[what](found, crashes)
    if (!isRight) wrong.push(`${isCancelled ? "cancelled " : ""}${what} "${text}": ${JSON.stringify(found)}`)
  }
  const known = new Set(planned.map(({ text }) => text))
  for (const text of [...ran.keys(), ...begun.keys(), ...failed.keys()]) {
    if (text !== "beat" && !known.has(text)) wrong.push(`"${text}" was never scheduled`)
  }
  if (wrong.length > 0) throw new Violation(wrong.join("; "))
}

interface Found {
  /** How often it ran to its end. */
  readonly runs: number
  /** How often the handler of an action or of a message has begun. */
  readonly begins: number
  /** How often it is kept as failed. */
  readonly failures: number
}

const once = ({ failures, runs }: Found) => runs === 1 && failures === 0
/** Runs at least once, with so many attempts that fail, and one more for each crash. */
const again = (failing: number) => (found: Found, crashes: number) =>
  found.failures === 0 &&
  found.runs >= 1 &&
  found.runs <= 1 + crashes &&
  found.begins >= 1 &&
  found.begins <= 1 + failing + crashes

const expected: Readonly<Record<What, (found: Found, crashes: number) => boolean>> = {
  add: once,
  late: once,
  cancelJob: once,
  postponeJob: once,
  fail: ({ failures, runs }) => runs === 0 && failures === 1,
  // One that was cut is kept, also when it had come to its end.
  act: ({ begins, failures, runs }, crashes) =>
    begins <= 1 && runs <= 1 && (failures === 0 ? runs === 1 : failures === 1 && crashes > 0),
  actFail: ({ begins, failures, runs }) => begins <= 1 && runs === 0 && failures === 1,
  actAgain: again(1),
  message: again(0),
  flaky: again(1)
}

/** How often there is a row with each text. */
export const countOf = (rows: Iterable<{ readonly text: string }>): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const { text } of rows) counts.set(text, (counts.get(text) ?? 0) + 1)
  return counts
}

/** Compares the runs of the cron with the time that has passed since the first. */
export const checkBeats = ({ now, object }: Run): void => {
  const beats = rows(object, "SELECT at FROM lines WHERE text = 'beat' ORDER BY id").length
  const [cron] = rows(object, "SELECT next FROM _dormouse_crons WHERE name = 'beat'")
  if (cron === undefined) throw new Violation("the app's cron is not there")
  const first = Number(cron.next) - beats * period
  // It is set with the first write, or soon after the crash that came then.
  if (first < period || first > 2 * period) throw new Violation(`${beats} runs of the cron, the next at ${cron.next}`)
  if (Number(cron.next) <= now()) throw new Violation(`at ${now()} the cron waits since ${cron.next}`)
}

/** Another version of the app is deployed: the object starts with it. */
export const deploy = async (object: MemoryObject<any>, app: App.App<any>): Promise<void> => {
  // First: what arrives while it stops starts it again.
  const made: any = object
  made.options = { ...made.options, app }
  await object.crash()
}

/** A job of a script. */
export const job = (what: What, text: string, delay: number, key?: string): Plan => ({
  what,
  text,
  delay,
  ...(key !== undefined && { key })
})
