import type { Fate } from "effect-dormouse/testing"
import { type Random, Violation } from "../../random.ts"
import { quietApp, type What, withoutQueue } from "../../worker/work.ts"
import { check, job, type PlannedRow, plannedIn, type Run, rows, untilQuiet, withObject } from "./crashes.ts"

/** Random histories of an object with jobs, compared with a plain model: what was scheduled, for when, and what has become of it. */

const kinds: ReadonlyArray<What> = ["add", "add", "late", "fail", "act", "actFail", "actAgain", "message", "flaky"]
const isMutation = (what: What) => what === "add" || what === "fail"
const isMessage = (what: What) => what === "message" || what === "flaky"
const stepsPerHistory = 25
/** Milliseconds by which a mutation may be late: an object looks again within five seconds, and a lost alarm costs two more. */
const maxLate = 12_000

/** How often each kind of event came, in all histories. */
export type Tally = Map<string, number>

/** What the model knows of one job. */
interface Expected {
  readonly text: string
  readonly what: What
  due: number
  isCancelled: boolean
}

/** What can happen to the object while it only works. */
const calm = [
  "schedule",
  "schedule",
  "schedule",
  "schedule",
  "rolledBack",
  "cancel",
  "cancel",
  "postpone",
  "postpone",
  "pass",
  "pass",
  "pass",
  "evict"
] as const
/** What can happen to any object. */
const rough = [...calm, "crash", "crashInCommit", "deploy", "forward", "back"] as const
/** What can happen to one whose messages a broker carries. */
const carried = [...rough, "crashConsumer"] as const
type Event = (typeof carried)[number]

/** What a history is about. */
export interface Scene {
  /** A broker carries the messages, and treats each as it likes. */
  readonly hasBroker: boolean
  /** Nothing is lost but what the broker loses: each handler begins once. */
  readonly isCalm: boolean
}

/** The history of one object. */
class History {
  private readonly run: Run
  private readonly random: Random
  private readonly tally: Tally
  private readonly jobs = new Map<string, Expected>()
  private count = 0
  private crashes = 0
  private hasQueue = true
  /** The latest time that the clock has shown: jobs that are due since then may run. */
  private latest = 0
  /** By how much the clock was set back. The clock of the object stands meanwhile, and a consumer has another one. */
  private behind = 0
  private readonly events: ReadonlyArray<Event>
  /** When the clock began to run without a jump. */
  private since = 0

  constructor(run: Run, random: Random, tally: Tally, { hasBroker, isCalm }: Scene) {
    this.events = isCalm ? calm : hasBroker ? carried : rough
    this.run = run
    this.random = random
    this.tally = tally
  }

  async step(): Promise<void> {
    const event = this.random.pick(this.events)
    this.tally.set(event, (this.tally.get(event) ?? 0) + 1)
    return this.happen(event)
  }

  private async happen(event: Event): Promise<void> {
    const { object, pass, setTime } = this.run
    const { random } = this
    switch (event) {
      case "schedule":
        return this.schedule()
      case "rolledBack":
        await this.run.call("planNot", { jobs: [job(random.pick(kinds), `not ${++this.count}`, 0)] })
        return
      case "cancel":
        return this.change("cancel", () => ({}))
      case "postpone":
        return this.change("postpone", () => ({ due: this.run.now() + random.int(8000) }))
      case "pass":
        return pass(random.int(2000))
      case "crash":
        this.crashes++
        return object.crash()
      case "crashInCommit":
        this.crashes++
        return object.failNextCommit()
      case "evict":
        // The platform evicts no object that waits for an action.
        if (this.isIdle()) await object.evict()
        return
      case "deploy":
        this.crashes++
        this.hasQueue = !this.hasQueue
        return this.run.deploy(this.hasQueue ? quietApp : withoutQueue)
      case "forward":
        // It goes from timer to timer in spite of that, and may overtake what runs, which is then tried again.
        this.crashes += 5
        return this.jump(10_000 + random.int(60_000))
      case "crashConsumer":
        this.crashes++
        return this.run.broker?.crash()
      case "back":
        await setTime(Math.max(0, this.run.now() - random.int(5000)))
        this.since = this.run.now()
        this.behind = Math.max(this.behind, this.latest - this.since)
    }
  }

  /** The clock jumps: no time between is shown. A test clock would go from timer to timer. */
  private async jump(millis: number): Promise<void> {
    const { object, pass, setTime } = this.run
    // What runs comes to its end before: it needs turns of the event loop, and no time.
    for (let i = 0; i < 5; i++) await pass(0)
    const { at } = object.alarm
    object.alarm.stop()
    await setTime(this.run.now() + millis)
    this.since = this.run.now()
    if (at !== undefined) object.alarm.service.set(at)
    await pass(0)
  }

  private isIdle(): boolean {
    return rows(this.run.object, "SELECT 1 FROM _dormouse_outbox WHERE state = 'running' AND call IS NULL").length === 0
  }

  private async schedule(): Promise<void> {
    const { random } = this
    const jobs = random.array(1 + random.int(4), () => {
      // A message to a queue that the app does not have waits for the next start.
      const what = random.pick(this.hasQueue ? kinds : kinds.filter((what) => !isMessage(what)))
      const delay = random.chance(0.3) ? 0 : random.int(6000)
      return job(what, `${++this.count}`, delay, random.chance(0.2) ? "key" : undefined)
    })
    const wasAnswered = await this.run.call("plan", { jobs })
    this.observe(wasAnswered ? jobs.map(({ text }) => text) : [])
  }

  /** Cancels or postpones one of the last jobs, if it is a mutation: an action may have begun, and failed. */
  private async change(tag: "cancel" | "postpone", more: () => object): Promise<void> {
    const recent = [...this.jobs.values()].filter(({ what }) => isMutation(what)).slice(-6)
    if (recent.length === 0) return
    const { text } = this.random.pick(recent)
    const hasRun = this.hasRun(text)
    await this.run.call(tag, { text, ...more() })
    this.observe([])
    const changed = this.jobs.get(text)
    if (tag === "cancel" && hasRun && changed?.isCancelled === true)
      throw new Violation(`${text} was cancelled after it ran`)
  }

  private hasRun(text: string): boolean {
    return rows(this.run.object, "SELECT text FROM lines WHERE event = 'ran'").some((line) => line.text === text)
  }

  /** Takes over what has committed, and compares it with what was known. */
  private observe(answered: ReadonlyArray<string>): void {
    const planned = new Map(plannedIn(this.run.object).map((row): [string, PlannedRow] => [row.text, row]))
    for (const text of [...answered, ...this.jobs.keys()]) {
      if (!planned.has(text)) throw new Violation(`${text} was forgotten`)
    }
    for (const { due, isCancelled, text, what } of planned.values()) {
      const known = this.jobs.get(text)
      if (known?.isCancelled === true && !isCancelled) throw new Violation(`${text} is not cancelled any more`)
      this.jobs.set(text, { text, what, due, isCancelled })
    }
  }

  /** No job has run before its time. */
  private checkTimes(): void {
    for (const { at, event, text } of rows(this.run.object, "SELECT * FROM lines ORDER BY id")) {
      const known = this.jobs.get(text)
      const isFirst = event === "began" || (known !== undefined && isMutation(known.what))
      if (known === undefined || !isFirst) continue
      const early = this.run.broker !== undefined && isMessage(known.what) ? this.behind : 0
      if (at < known.due - early) throw new Violation(`${text} ran ${known.due - at} ms too early`)
    }
  }

  /** After a step: nothing has run early, and nothing that was cancelled. */
  check(): void {
    this.latest = Math.max(this.latest, this.run.now())
    this.observe([])
    this.checkTimes()
    for (const { isCancelled, text } of this.jobs.values()) {
      if (isCancelled && this.hasRun(text)) throw new Violation(`${text} was cancelled, and ran`)
    }
    const isLate = this.run.now() - this.since > maxLate
    const waiting = "SELECT id, due FROM _dormouse_outbox WHERE lane = 'mutations' AND state = 'waiting' AND due < ?"
    const [late] = isLate ? rows(this.run.object, waiting.replace("?", String(this.run.now() - maxLate))) : []
    if (late !== undefined) throw new Violation(`at ${this.run.now()} job ${late.id} waits since ${late.due}`)
  }

  /** The end: the queue is there, failed messages are tried again, and all must have come to its end. */
  async end(): Promise<void> {
    const { object, pass } = this.run
    const starts = object.starts
    if (!this.hasQueue) {
      this.crashes++
      await this.run.deploy(quietApp)
    }
    // The clock may stand before a time that it has shown.
    const until = this.latest + 10_000
    while (this.run.now() < until) await pass(1000)
    for (const { text, what } of this.jobs.values()) {
      if (!isMessage(what) || this.failedReason(text) === undefined) continue
      if (this.failedReason(text) !== "unknown")
        throw new Violation(`message ${text} failed: ${this.failedReason(text)}`)
      // A commit that is to fail may not have come yet.
      while (!(await this.run.call("again", { text }))) await pass(0)
    }
    await untilQuiet(this.run, this.run.broker === undefined ? 90 : 2500)
    this.check()
    check(this.run, this.crashes + object.starts - starts)
  }

  private failedReason(text: string): string | undefined {
    const failed = rows(this.run.object, "SELECT payload, reason FROM _dormouse_outbox WHERE state = 'failed'")
    const found = failed.find(({ payload }) => JSON.parse(payload).text === text)
    return found && JSON.parse(found.reason).kind
  }
}

/** What a broker does with a call: it takes, refuses, loses, delays and repeats. */
const anyFate = (random: Random): Fate => {
  const late = () => random.int(random.chance(0.2) ? 90_000 : 3000)
  if (random.chance(0.15)) return { isRefused: true }
  if (random.chance(0.15)) return { after: [] }
  return { after: random.array(random.chance(0.3) ? 2 + random.int(2) : 1, () => (random.chance(0.5) ? 0 : late())) }
}

/** Runs one history. */
export const history = (
  random: Random,
  tally: Tally,
  scene: Scene = { hasBroker: false, isCalm: false }
): Promise<void> => {
  let isFair = false
  const script = async (run: Run) => {
    const history = new History(run, random, tally, scene)
    for (let step = 0; step < stepsPerHistory; step++) {
      await history.step()
      history.check()
    }
    isFair = true
    await history.end()
  }
  return withObject(quietApp, undefined, script, scene.hasBroker ? () => (isFair ? {} : anyFate(random)) : undefined)
}
