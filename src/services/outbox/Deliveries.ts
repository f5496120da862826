/**
 * Delivers what the outbox holds: runs mutations in one transaction with the end of their entries, and has actions run outside.
 * Rows say what there is to do; here is only what runs now. An alarm wakes the object for the next row.
 */
import type * as Context from "effect/Context"
import type { Declared } from "../../contract/Cron.ts"
import type { JobsHost, JobsRuntime } from "../../contract/Jobs.ts"
import { mutationLane } from "../../contract/PromisedCalls.ts"
import type { Expiring } from "../../contract/Transactional.ts"
import type { AttemptOutcome } from "../JobMetrics.ts"
import * as AttemptMetrics from "./AttemptMetrics.ts"
import * as CarriedCalls from "./CarriedCalls.ts"
import { cronTable } from "./Crons.ts"
import { isLost } from "./Decisions.ts"
import { type Attempt, type Lane, leaseMargin } from "./Lanes.ts"
import { type Delivery, deliveryColumns, outboxChanges, outboxTable, toDelivery } from "./OutboxTable.ts"
import { current } from "./OutboxTransactional.ts"
import type { TransactionOutbox } from "./TransactionOutbox.ts"

/** Rows that are handled in one turn. Calls of clients are handled between the turns. */
const rowsPerTurn = 4

/** Milliseconds after which the alarm looks again when something is due: a crash may have come in between. */
const safetyDelay = 5_000

/** A time that does not come. */
const never = Number.POSITIVE_INFINITY

/** What runs now in a lane. */
interface Running {
  /** How many calls. */
  calls: number
  readonly entries: Set<number>
}

/** What is delivered, and how. */
export interface DeliveriesOptions {
  readonly host: JobsHost
  readonly crons: ReadonlyArray<Declared>
  readonly lanes: ReadonlyArray<Lane>
}

/** Milliseconds by which something is due at a start that the start before should have delivered. */
const suspectDelay = 1_000

const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

/** The deliveries of one object. */
export class Deliveries implements JobsRuntime {
  private readonly host: JobsHost
  private readonly crons: ReadonlyArray<Declared>
  private readonly lanes: ReadonlyArray<Lane>
  private readonly running: ReadonlyMap<Lane, Running>
  /** When the alarm goes off, as far as known. */
  private alarmAt: number | undefined
  private hasChanged = false
  /** Whether entries were added, and nothing else has changed. */
  private hasAdded = false
  /** The newest entry that was looked at. */
  private lastSeen = 0
  /** Whether a row could not be written since the last look: the next look comes with the alarm, and not at once. */
  private hasFailed = false
  private isScheduled = false
  /** Mutations that are still to be counted before they run: one of them may have ended the object before this one. */
  private suspects = 0
  /** The mutation that was counted in the turn before. */
  private counted: number | undefined
  /** Where metrics are kept, once a transaction has run. */
  private metrics: Context.Context<never> | undefined

  constructor({ crons, host, lanes }: DeliveriesOptions) {
    this.host = host
    this.crons = crons
    this.lanes = lanes
    this.running = new Map(lanes.map((lane) => [lane, { calls: 0, entries: new Set() }]))
  }

  /** The object starts: sets the alarm for what is there, and fails what is in lanes that the app does not have any more. */
  start(): void {
    if (this.host.isUnwritten()) {
      // A tenant that nobody has written to has no crons.
      return this.host.whenWritten(() => this.begin())
    }
    const [row] = this.host.rows(`SELECT max(id) FROM ${outboxTable}`, [])
    this.lastSeen = Number(row?.[0] ?? 0)
    const late = `SELECT 1 FROM ${outboxTable} WHERE lane = ? AND wake <= ? LIMIT 1`
    const isLate = this.host.rows(late, [mutationLane, this.host.time() - suspectDelay]).length > 0
    if (isLate) this.suspects = rowsPerTurn
    this.failUnknown()
    this.converge()
    this.plan(true)
  }

  /** The first write to a tenant. The alarm is set with it: its crons are written in the next turn, which may not come. */
  private begin(): void {
    if (this.crons.length === 0) return
    this.alarmAt = this.host.time() + safetyDelay
    this.host.alarm.set(this.alarmAt)
    this.host.defer(() =>
      this.host.turn(() => {
        // The write may have been rolled back.
        if (!this.host.isUnwritten()) this.converge()
      })
    )
  }

  /** The alarm went off, or the tenant may be used again. */
  wake(): void {
    this.alarmAt = undefined
    // In this event: with its commit the platform forgets that the alarm went off.
    this.deliverInTurn()
  }

  /** A transaction committed. */
  committed(wrote: (table: string) => boolean): void {
    const { expiring } = this.host
    if (wrote(outboxChanges) || wrote(cronTable) || expiring.some(({ changes }) => wrote(changes)))
      this.hasChanged = true
    else if (wrote(outboxTable)) this.hasAdded = true
  }

  /** The end of a turn: sets the alarm with the writes of the turn. */
  endTurn(): void {
    if (this.hasChanged) this.plan()
    else if (this.hasAdded) this.planAdded()
  }

  /** Delivers soon what is due, and sets the alarm for the next row. */
  private plan(isStart = false): void {
    this.hasChanged = false
    this.look()
    // A tenant that is suspended is woken when it may be used again.
    if (!this.host.isOpen()) return
    const now = this.host.time()
    let next = Math.min(this.nextCron() ?? never, ...this.host.expiring.map((rows) => this.nextEnd(rows)))
    for (const lane of this.lanes) {
      // A lane that is full goes on when one of its calls ends.
      const full = lane.send === undefined ? now + safetyDelay : undefined
      const at = this.freeOf(lane) > 0 ? this.nextOf(lane) : full
      if (at !== undefined && at < next) next = at
      const lease = this.leaseOf(lane)
      if (lease !== undefined && lease < next) next = lease
    }
    this.setAlarm(next, now, isStart)
  }

  /** The same when nothing has happened but that entries were added. */
  private planAdded(): void {
    const next = this.look()
    // A batch may still wait for others.
    if (next === null || !this.host.isOpen()) return
    const now = this.host.time()
    if (next <= now) this.plan()
    else this.setAlarm(next, now, false)
  }

  /** When the first of the entries is due that were added since the last time. */
  private look(): number | null {
    this.hasAdded = false
    const [row] = this.host.rows(`SELECT min(wake), max(id) FROM ${outboxTable} WHERE id > ?`, [this.lastSeen])
    const [next, last] = row ?? []
    if (typeof last === "number") this.lastSeen = last
    return typeof next === "number" ? next : null
  }

  private setAlarm(next: number, now: number, isStart: boolean): void {
    if (next === never) return
    if (next <= now && !this.hasFailed) this.schedule()
    const at = next <= now ? now + safetyDelay : next
    if (isStart) this.host.alarm.confirm(at)
    else if (this.alarmAt === undefined || at < this.alarmAt) this.host.alarm.set(at)
    else return
    this.alarmAt = at
  }

  private schedule(): void {
    if (this.isScheduled) return
    this.isScheduled = true
    this.host.defer(() => {
      this.isScheduled = false
      this.deliverInTurn()
    })
  }

  private deliverInTurn(): void {
    this.host.turn(() => {
      this.hasChanged = true
      this.hasFailed = false
      if (this.host.isOpen()) this.deliverDue()
    })
  }

  /** Handles the rows that are due, a few of each lane. */
  private deliverDue(): void {
    if (this.host.isUnwritten()) return
    const now = this.host.time()
    if ((this.nextCron() ?? never) <= now) this.transaction((outbox) => outbox.tick())
    for (const rows of this.host.expiring) {
      if (this.nextEnd(rows) <= now) this.transaction((outbox) => outbox.sweep(rows))
    }
    for (const lane of this.lanes) {
      if (lane.transact !== undefined) this.transactDue(lane, lane.transact, now)
      else if (lane.send !== undefined) this.sendDue(lane, lane.send, now)
      else while (!this.hasFailed && this.freeOf(lane) > 0 && this.callDue(lane, now)) {}
    }
  }

  /** Runs the mutations that are due. */
  private transactDue(lane: Lane, transact: NonNullable<Lane["transact"]>, now: number): void {
    for (const delivery of this.dueIn(lane, now, rowsPerTurn)) {
      if (this.hasFailed) return
      // One that ran before it may have removed it.
      if (this.isHandled(lane, delivery, now) || !this.isDue(delivery) || this.isSettledAsLost(delivery)) continue
      const isSuspect = this.suspects > 0
      if (isSuspect && !this.isCounted(delivery)) return
      const attempt = transact(delivery, {
        begin: () => {
          if (!this.isDue(delivery)) throw new Error("the job was cancelled or rescheduled while its middleware ran")
        },
        end: (context) => {
          this.metrics ??= AttemptMetrics.registryOf(context)
          current(context).end(delivery)
        }
      })
      // An attempt that was counted before it ran is not counted again.
      const tried = isSuspect ? { ...delivery, attempts: delivery.attempts - 1 } : delivery
      if (!(attempt instanceof Promise)) this.settle(tried, attempt, now)
      else {
        const { entries } = this.runningIn(lane)
        entries.add(delivery.id)
        this.finish(attempt, (attempt) => {
          entries.delete(delivery.id)
          this.settle(tried, attempt, now)
        })
      }
    }
  }

  /** Whether a mutation was counted in the turn before, alone. Otherwise it is counted now, and runs in the next turn. */
  private isCounted(delivery: Delivery): boolean {
    if (this.counted === delivery.id) {
      this.counted = undefined
      this.suspects--
      return true
    }
    const { counted } = this
    const isCommitted = this.transaction((outbox) => {
      // It was overtaken, and has not begun.
      if (counted !== undefined) outbox.takeAttemptBack(counted)
      return outbox.attempt(delivery)
    })
    if (isCommitted === true) this.counted = delivery.id
    return false
  }

  /** Whether a mutation is not begun any more, because the object was lost each time. */
  private isSettledAsLost(delivery: Delivery): boolean {
    if (this.counted === delivery.id || !isLost(delivery)) return false
    this.settle({ ...delivery, delays: null }, { kind: "cut", detail: "the object was lost each time while it ran" })
    return true
  }

  /** The entries of the next call for what is due in a lane. `undefined` when there is none, none when there may be more. */
  private nextCall(lane: Lane, now: number): ReadonlyArray<Delivery> | undefined {
    const { size } = lane.batch
    const due = this.dueIn(lane, now, size)
    if (due.length === 0) return undefined
    if (due.length < size && this.nextOf(lane)! > now) return undefined
    const waiting = due.filter((delivery) => !this.isHandled(lane, delivery, now))
    // One call has one caller. Messages of others are the next batch.
    return waiting.filter(({ caller }) => isSame(caller, waiting[0]?.caller))
  }

  /** Begins one call for what is due in a lane. Returns whether there may be more. */
  private callDue(lane: Lane, now: number): boolean {
    const deliveries = this.nextCall(lane, now)
    if (deliveries === undefined) return false
    if (deliveries.length === 0) return !this.hasFailed
    const running = this.runningIn(lane)
    const isClaimed = this.transaction((outbox) => {
      for (const delivery of deliveries) outbox.claim(delivery, now + lane.timeout + leaseMargin)
      return true
    })
    // Without a claim they could be delivered twice.
    if (isClaimed === undefined) return false
    running.calls++
    for (const { id } of deliveries) running.entries.add(id)
    // After the commit: nothing is delivered before its claim is durable.
    this.host.defer(() => this.call(lane, deliveries, now))
    return true
  }

  /** Hands the calls for what is due in a lane to its broker, and those again of which nothing was heard for long. */
  private sendDue(lane: Lane, send: NonNullable<Lane["send"]>, now: number): void {
    const { names } = lane
    const calls = new Set<string>()
    for (const delivery of this.overdueIn(lane, now)) {
      const { call } = delivery
      if (this.hasFailed || this.isHandled(lane, delivery, now) || call === null || calls.has(call)) continue
      if (this.transaction((outbox) => CarriedCalls.handOverAgain(outbox, names, call) ?? true)) calls.add(call)
    }
    while (!this.hasFailed && this.freeOf(lane) > 0) {
      const deliveries = this.nextCall(lane, now)
      if (deliveries === undefined) break
      const [first, ...others] = deliveries
      if (first === undefined) continue
      const call = this.transaction((outbox) => CarriedCalls.handOver(outbox, [first, ...others]))
      if (call !== undefined) calls.add(call)
    }
    // After the commit: nothing leaves before its row says so.
    if (calls.size > 0) this.host.defer(() => this.sendCalls(lane, send, [...calls]))
  }

  private sendCalls(lane: Lane, send: NonNullable<Lane["send"]>, calls: ReadonlyArray<string>): void {
    const { host } = this
    const refused = (cause: unknown) =>
      host.turn(() => {
        this.transaction((outbox) => CarriedCalls.takeBack(outbox, lane.names, calls))
        host.log(`${lane.names[1]}: the broker did not take ${calls.length} calls`, cause)
      })
    host.waitUntil(send(calls).catch(refused))
  }

  /** Whether a row is none that must be delivered now: it has ended, failed long ago, still runs, or was cut. */
  private isHandled(lane: Lane, delivery: Delivery, now: number): boolean {
    const { attempts, id, state } = delivery
    if (state === "done" || state === "failed") this.transaction((outbox) => outbox.forget([id]))
    // It has not ended yet, although its time is over.
    else if (this.runningIn(lane).entries.has(id)) {
      this.transaction((outbox) => outbox.extend(delivery, now + lane.timeout + leaseMargin))
    } else if (state === "running") {
      this.settle(
        { ...delivery, attempts: attempts - 1 },
        { kind: "cut", detail: lane.send === undefined ? "the object was lost while it ran" : unheard }
      )
    } else return false
    return true
  }

  /** Makes the call of entries that were claimed. */
  private call(lane: Lane, deliveries: ReadonlyArray<Delivery>, began: number): void {
    const abort = new AbortController()
    const ended = Promise.withResolvers<ReadonlyArray<Attempt>>()
    const all = (attempt: Attempt) => ended.resolve(deliveries.map(() => attempt))
    const cancel = this.host.after(lane.timeout, () => {
      all({ kind: "timeout", detail: `no end within ${lane.timeout} ms` })
      abort.abort()
    })
    const call = lane.call?.(deliveries, abort.signal) ?? Promise.resolve([])
    call.then(ended.resolve, (cause) => all({ kind: "cut", detail: String(cause?.message ?? cause) }))
    this.finish(ended.promise, (attempts) => {
      cancel()
      const running = this.runningIn(lane)
      running.calls--
      for (const [index, delivery] of deliveries.entries()) {
        running.entries.delete(delivery.id)
        const attempt = attempts[index]
        if (attempt !== undefined) this.settle(delivery, attempt, began)
        else if (this.transaction((outbox) => outbox.end(delivery) ?? true)) this.ended(delivery, "done", began)
      }
    })
  }

  /** Waits for what runs, and then runs a body as a turn. */
  private finish<A>(work: Promise<A>, body: (result: A) => void): void {
    const { turn, waitUntil } = this.host
    waitUntil(
      work.then((result) =>
        turn(() => {
          body(result)
          this.hasChanged = true
        })
      )
    )
  }

  /** An attempt ended. A failure is tried again, or kept. */
  private settle(delivery: Delivery, attempt: Attempt, began?: number): void {
    if (attempt === undefined) return this.ended(delivery, "done", began)
    const isRetried = this.transaction((outbox) =>
      this.isDue(delivery) ? outbox.fail(delivery, delivery.attempts + 1, attempt) : undefined
    )
    if (isRetried !== undefined) this.ended(delivery, isRetried ? "retried" : "failed", began)
    if (isRetried === false)
      this.host.log(`${delivery.target.replace("~queue.", "queue ")} (${delivery.id}) is not tried again`, attempt)
  }

  /** Counts an attempt whose end was committed. */
  private ended(delivery: Delivery, outcome: AttemptOutcome, began: number | undefined): void {
    if (this.metrics !== undefined)
      AttemptMetrics.ended(delivery, outcome, { began, now: this.host.time() }, this.metrics)
  }

  private transaction<A>(body: (outbox: TransactionOutbox) => A): A | undefined {
    const result = this.host.transaction((context) => {
      this.metrics ??= AttemptMetrics.registryOf(context)
      return { value: body(current(context)) }
    })
    if (result !== undefined) return result.value
    // After a rollback the row is as it was: the alarm comes back to it.
    this.hasChanged = true
    this.hasFailed = true
    return undefined
  }

  // --- rows

  private dueIn({ names, send }: Lane, now: number, max: number): ReadonlyArray<Delivery> {
    const condition = `lane = ? AND wake <= ?${send === undefined ? "" : notCarried}`
    const sql = `SELECT ${deliveryColumns} FROM ${outboxTable} WHERE ${condition} ORDER BY wake, id LIMIT ?`
    const due: Array<Delivery> = []
    for (const name of names) {
      if (due.length < max) due.push(...this.host.rows(sql, [name, now, max - due.length]).map(toDelivery))
    }
    return due
  }

  /** Whether an entry that was due still is. A delivery under way changes its `wake`, and nothing else its `due`. */
  private isDue({ due, id }: Delivery): boolean {
    const sql = `SELECT 1 FROM ${outboxTable} WHERE id = ? AND due = ? AND state NOT IN ('failed', 'done')`
    return this.host.rows(sql, [id, due]).length > 0
  }

  /** When a lane has something to do: its first row is due, and a batch has waited for others, or is full. */
  private nextOf(lane: Lane): number | undefined {
    const { batch, send } = lane
    const next = this.firstOf(lane, send === undefined ? "" : notCarried)
    if (next === undefined) return undefined
    const now = this.host.time()
    if (batch.wait === 0 || next > now || this.dueIn(lane, now, batch.size).length === batch.size) return next
    return next + batch.wait
  }

  /** When the first row of a lane is due that fulfils a condition. */
  private firstOf({ names }: Lane, condition: string): number | undefined {
    const sql = `SELECT min(wake) FROM ${outboxTable} WHERE lane = ? AND wake IS NOT NULL${condition}`
    const found = names.map((name) => this.host.rows(sql, [name])[0]?.[0]).filter((wake) => typeof wake === "number")
    return found.length === 0 ? undefined : Math.min(...found)
  }

  /** When the first of the calls is over that a broker has, or that run because of it. */
  private leaseOf(lane: Lane): number | undefined {
    return lane.send === undefined ? undefined : this.firstOf(lane, carried)
  }

  /** The entries of calls that are over. */
  private overdueIn({ names }: Lane, now: number): ReadonlyArray<Delivery> {
    const sql = `SELECT ${deliveryColumns} FROM ${outboxTable} WHERE lane = ? AND wake <= ?${carried} ORDER BY wake`
    return names.flatMap((name) => this.host.rows(sql, [name, now]).map(toDelivery))
  }

  /** The crons of this version of the app. */
  private converge(): void {
    const { crons } = this
    const rows = this.host.rows(`SELECT 1 FROM ${cronTable} WHERE declared = 1 LIMIT 1`, [])
    if (crons.length > 0 || rows.length > 0) this.transaction((outbox) => outbox.converge(crons))
  }

  /** When the first of the rows of another service ends. */
  private nextEnd({ next }: Expiring): number {
    const [row] = this.host.rows(next, [])
    return typeof row?.[0] === "number" ? row[0] : never
  }

  private nextCron(): number | undefined {
    const rows = this.host.rows(`SELECT min(next) FROM ${cronTable}`, [])
    return typeof rows[0]?.[0] === "number" ? rows[0][0] : undefined
  }

  /** Keeps, as failed, what waits in lanes that the app does not have any more. */
  private failUnknown(): void {
    const { lanes } = this
    const known = new Set(lanes.flatMap(({ names }) => names))
    let last = ""
    for (;;) {
      const sql = `SELECT lane FROM ${outboxTable} WHERE lane > ? AND wake IS NOT NULL ORDER BY lane LIMIT 1`
      const [row] = this.host.rows(sql, [last])
      if (row === undefined) return
      last = String(row[0])
      // Of a key there is one at a time: when it has failed, the next one follows.
      while (!known.has(last) && this.failAll(last) && !this.hasFailed) {}
    }
  }

  /** Keeps, as failed, what waits in a lane. What is kept for a while is deleted when that is over. */
  private failAll(lane: string): boolean {
    const condition = "lane = ? AND wake IS NOT NULL AND (state NOT IN ('done', 'failed') OR wake <= ?)"
    const sql = `SELECT ${deliveryColumns} FROM ${outboxTable} WHERE ${condition} ORDER BY wake`
    const deliveries = this.host.rows(sql, [lane, this.host.time()]).map(toDelivery)
    for (const delivery of deliveries) {
      if (delivery.state === "done" || delivery.state === "failed")
        this.transaction((outbox) => outbox.forget([delivery.id]))
      else this.settle(delivery, { kind: "unknown", detail: lane })
    }
    return deliveries.length > 0
  }

  private runningIn(lane: Lane): Running {
    // The constructor made one for each lane.
    return this.running.get(lane)!
  }

  /** How many calls may begin. Those that a broker has are counted by their rows, as they outlive the object. */
  private freeOf(lane: Lane): number {
    if (lane.send === undefined) return lane.concurrency - this.runningIn(lane).calls
    const calls = `SELECT DISTINCT call FROM ${outboxTable} WHERE lane IN (?, ?, ?)${carried}`
    return lane.concurrency - this.host.rows(calls, [...lane.names]).length
  }
}

const unheard = "what handled it was lost, or could not reach the object"

/** A broker has the call, or it runs because of it. */
const carried = " AND call IS NOT NULL"
const notCarried = " AND call IS NULL"
