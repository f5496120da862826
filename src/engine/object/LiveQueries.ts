/**
 * Every live query of an object. A commit is matched against what the queries read; those it touched run once each, and the
 * subscribers whose result changed are notified. Everything here is a cache: after a wake it is rebuilt from the sockets.
 */
import type * as Tracer from "effect/Tracer"
import type { EncodedExit } from "../../protocol/Exit.ts"
import { type ReadSet, readsNothing, touches, WriteRecorder, type WriteSet } from "../../services/storage/ReadSet.ts"
import type { EncodedResult } from "../rpc/ResultCodec.ts"
import { QueryResult } from "./QueryResult.ts"
import { ReadIndex } from "./ReadIndex.ts"

/** What identifies a live query: subscriptions with equal keys share one run. */
export interface QueryKey {
  /** The tag of the query, without `live:`. */
  readonly tag: string
  /** The encoded payload, normalized by its schema, with its properties in one order. */
  readonly payload: unknown
  /** The caller as text. Part of the key only when the handler reads the identity. */
  readonly identity: string
  /** Headers that the rpc's middleware may read; empty when it has none. */
  readonly headers: ReadonlyArray<readonly [string, string]>
}

/** One run of a query. */
export interface QueryRun {
  /** The result, of a run that succeeded. */
  readonly result: EncodedResult | undefined
  /** The exit, of a run that failed. */
  readonly failure: EncodedExit | undefined
  readonly reads: ReadSet
}

/**
 * A receiver of results: one socket, or one local stream. All its subscriptions that one flush changes are notified
 * together.
 */
export interface Subscriber {
  /** The caller as text. */
  readonly identity: string
  /** Its subscriptions that have a newer result than they were sent. Added to here, taken by `notify`. */
  readonly pending: Set<Subscription>
  /** Sends what is in `pending`. Called when all runs of a flush are done, never while one is under way. */
  readonly notify: () => void
}

/** One subscriber's interest in one live query. */
export class Subscription {
  readonly subscriber: Subscriber
  readonly id: string | number
  /** What it watches, from `LiveQueries.subscribe` or `restore` on. */
  query!: LiveQuery
  /** The hash of the result that the subscriber has, if that is known. */
  sent: string | undefined
  /** The result that the subscriber has, while it is kept here: patches are made from it. */
  base: QueryResult | undefined

  constructor(subscriber: Subscriber, id: string | number) {
    this.subscriber = subscriber
    this.id = id
  }

  /** Whether the subscriber does not have the newest result. */
  get isDue(): boolean {
    const { failure, result } = this.query
    return failure !== undefined || (result !== undefined && result !== this.base && result.hash !== this.sent)
  }
}

/** One distinct query with subscribers. */
export class LiveQuery {
  key: QueryKey
  /** The key as text, with the identity only when `perIdentity`. */
  keyText: string
  /** Whether the handler reads the caller's identity: then only subscriptions of one caller share it. */
  perIdentity: boolean
  readonly subscriptions = new Set<Subscription>()
  /** The newest result; `undefined` after a wake, until it is needed. */
  result: QueryResult | undefined
  /** How the query failed, if it did. Its subscriptions end with it. */
  failure: EncodedExit | undefined
  /** What the last run read; `undefined` until a run. */
  reads: ReadSet | undefined
  readonly stats: QueryStats = { runs: 0, unchangedRuns: 0, bytes: 0, frames: 0, invalidatedAt: 0, invalidatedBy: [] }

  constructor(key: QueryKey, keyText: string, perIdentity: boolean) {
    this.key = key
    this.keyText = keyText
    this.perIdentity = perIdentity
  }
}

interface QueryStats {
  runs: number
  unchangedRuns: number
  bytes: number
  frames: number
  invalidatedAt: number
  invalidatedBy: ReadonlyArray<string>
}

/** Whether a new subscriber can be sent the present result, unless a pending commit touched it. */
const isFresh = (query: LiveQuery | undefined): query is LiveQuery & { readonly reads: ReadSet } =>
  query?.result !== undefined && query.failure === undefined && query.reads?.clock === false

/** What live queries need of the object. */
export interface LiveQueriesOptions {
  /** Runs a query once. It never throws. `parent` is the span of the flush. */
  readonly run: (key: QueryKey, parent: Tracer.AnySpan | undefined) => QueryRun
  /** Runs a task in a later turn. */
  readonly defer: (task: () => void) => void
  /** Wraps the notification of subscribers, for example in a span. `parent` is the span of the flush. */
  readonly delivery?: (notify: () => void, parent: Tracer.AnySpan | undefined) => void
  /** Milliseconds, for versions that also grow across restarts. */
  readonly now: () => number
  /** Queries that a flush runs in one turn. 100 unless given: that many lists take some ten milliseconds. */
  readonly queriesPerSlice?: number | undefined
}

/** Counts of all queries together, since `takeTotals` was last called. */
export interface LiveTotals {
  runs: number
  unchangedRuns: number
  frames: number
  bytes: number
}

/**
 * Subscriptions that are notified in one turn, which then takes some ten milliseconds; calls that arrive meanwhile are
 * answered before the next. More turns would cost the last subscribers more: the acknowledgements of the first come between.
 */
const notifyBatchSize = 1000

/** By how much a flush may grow, as a part of what it began with, and in slices. */
const growthOfFlush = { part: 0.25, slices: 5 }

/** The live queries of one object. */
export class LiveQueries {
  private readonly options: LiveQueriesOptions
  private readonly queriesPerSlice: number
  private readonly queries = new Map<string, LiveQuery>()
  /** Shared keys whose handler has read the caller's identity, with the number of queries that each was split into. */
  private readonly perIdentity = new Map<string, number>()
  private readonly index = new ReadIndex<LiveQuery>()
  /** Queries that have not run since the object woke: every commit counts as touching them. */
  private readonly stale = new Set<LiveQuery>()
  private pendingWrites = new WriteRecorder()
  /** What the pending writes touch; cleared by the next commit. */
  private pendingWork: { readonly writes: WriteSet; readonly touched: ReadonlyArray<LiveQuery> } | undefined
  private hasPending = false
  private version = 0
  private isAwake = false
  private flushed = 0
  /**
   * What the flush under way has still to run. Until nothing is left, nothing is sent: results of before and after a commit
   * that came between two slices would be mixed.
   */
  private readonly toRun = new Set<LiveQuery>()
  private isBegun = false
  /**
   * How many queries may still be added to the flush under way. Beyond that it ends in one turn: commits that follow each
   * other do not keep it from ending.
   */
  private growthLeft = 0
  /** Subscribers that are notified after the next flush, whether or not it concerns them. */
  private readonly notifyAfterFlush = new Set<Subscriber>()
  /** Subscribers that have something to be sent. */
  private readonly notifyQueue = new Set<Subscriber>()
  /** Whether some of them wait for a later turn. */
  private isContinued = false
  /** The span of the last flush, while subscribers wait to be notified of it. */
  private flushSpan: Tracer.AnySpan | undefined
  private counted: LiveTotals = { runs: 0, unchangedRuns: 0, frames: 0, bytes: 0 }

  constructor(options: LiveQueriesOptions) {
    this.options = options
    this.queriesPerSlice = options.queriesPerSlice ?? 100
  }

  // --- versions

  /** The version of the last commit. */
  get currentVersion(): number {
    // A socket that has closed may have been sent a later version than the open ones saved: use the time as well.
    if (!this.isAwake) {
      this.isAwake = true
      this.version = this.nextVersion()
    }
    return this.version
  }

  /** No version from now on is below this one. */
  atLeast(version: number): void {
    this.version = Math.max(this.version, version)
  }

  /** Versions are a hybrid logical clock: the time where it advances, a count where it does not. */
  private nextVersion(): number {
    return Math.max(this.version + 1, Math.floor(this.options.now()) * 1024)
  }

  /** The version up to which everything was run. */
  get flushedVersion(): number {
    return this.needsFlush ? this.flushed : this.currentVersion
  }

  // --- commits and flushes

  /** A transaction committed. Its writes are pending until the next flush. */
  committed(writes: WriteRecorder): void {
    if (writes.isEmpty) return
    if (!this.needsFlush) this.flushed = this.currentVersion
    this.version = this.nextVersion()
    if (this.queries.size === 0) return
    this.pendingWrites.merge(writes)
    this.pendingWork = undefined
    this.hasPending = true
  }

  /** Whether a flush is needed, or has begun and goes on with the next call of `flush`. */
  get needsFlush(): boolean {
    return this.hasPending || this.isBegun
  }

  /** Whether a flush has begun and has queries left to run. Nobody is notified until it ends. */
  get isFlushing(): boolean {
    return this.isBegun
  }

  /** How many subscriptions the next flush may have to notify. */
  get subscriptionsToNotify(): number {
    let count = this.notifyAfterFlush.size
    for (const query of this.work().touched) count += query.subscriptions.size
    return count
  }

  private work(): { readonly writes: WriteSet; readonly touched: ReadonlyArray<LiveQuery> } {
    if (this.pendingWork === undefined) {
      const writes = this.pendingWrites.toWriteSet()
      this.pendingWork = { writes, touched: [...this.index.touched(writes), ...this.stale] }
    }
    return this.pendingWork
  }

  /** Has a subscriber notified after the next flush, whether or not it concerns its subscriptions. */
  notifyWithFlush(subscriber: Subscriber): void {
    this.notifyAfterFlush.add(subscriber)
  }

  /**
   * Runs what the commits since the last flush touched, and then notifies the subscribers whose results changed. When that
   * is many queries, it runs the first of them, and `isFlushing` says that it must be called again in a later turn. What a
   * commit touches meanwhile runs as well, also again: in the end all results hold at the version of the last commit.
   */
  flush(parent?: Tracer.AnySpan): void {
    if (!this.needsFlush) return
    if (this.hasPending) this.takeWork()
    const { queriesPerSlice } = this
    const isSliced = this.toRun.size > queriesPerSlice
    let left = this.growthLeft < 0 ? Number.POSITIVE_INFINITY : queriesPerSlice
    for (const query of this.toRun) {
      if (left-- === 0) return
      this.toRun.delete(query)
      // An earlier run of this flush may have moved its subscriptions to queries of their own callers.
      if (query.subscriptions.size === 0) continue
      const before = query.result
      this.run(query, parent)
      // Notifying a socket of all its queries is not divided: make the patches with the slices.
      if (isSliced && first(query.subscriptions)?.base === before) query.result?.prepareFrom(before)
    }
    this.isBegun = false
    for (const subscriber of this.notifyAfterFlush) this.notifyQueue.add(subscriber)
    this.notifyAfterFlush.clear()
    this.flushSpan = parent
    this.notify()
  }

  /** Takes what the pending commits touched into the flush. */
  private takeWork(): void {
    const { touched, writes } = this.work()
    this.hasPending = false
    this.pendingWrites = new WriteRecorder()
    this.pendingWork = undefined
    if (!this.isBegun) {
      this.isBegun = true
      const { part, slices } = growthOfFlush
      this.growthLeft = touched.length + Math.max(touched.length * part, this.queriesPerSlice * slices)
    }
    const tables = tablesOf(writes)
    for (const query of touched) {
      query.stats.invalidatedAt = this.version
      query.stats.invalidatedBy = tables
      this.runLater(query)
    }
  }

  /** Makes a query a part of the flush under way, also when it has run in it. */
  private runLater(query: LiveQuery): void {
    if (this.toRun.has(query)) return
    this.toRun.add(query)
    this.growthLeft--
  }

  /** Notifies the subscribers that have something to be sent, in this turn as many as a turn takes. */
  notify(): void {
    if (!this.isContinued) this.deliver()
  }

  private deliver(): void {
    if (this.isBegun || this.notifyQueue.size === 0) return
    const { delivery } = this.options
    if (delivery === undefined) this.notifySome()
    else delivery(() => this.notifySome(), this.flushSpan)
    if (this.notifyQueue.size === 0) this.flushSpan = undefined
  }

  private notifySome(): void {
    let notified = 0
    let failed: { readonly cause: unknown } | undefined
    for (const subscriber of this.notifyQueue) {
      if (notified >= notifyBatchSize) break
      notified += Math.max(1, subscriber.pending.size)
      this.notifyQueue.delete(subscriber)
      try {
        subscriber.notify()
      } catch (cause) {
        // Notify the other subscribers before throwing.
        failed ??= { cause }
      }
    }
    if (this.notifyQueue.size > 0 && !this.isContinued) {
      this.isContinued = true
      this.options.defer(() => {
        this.isContinued = false
        this.deliver()
      })
    }
    if (failed !== undefined) throw failed.cause
  }

  // --- subscriptions

  /** Adds a subscription. `notify` sends its query's result or failure, or while a flush is under way the end of the flush. */
  subscribe(subscription: Subscription, key: QueryKey): void {
    const known = this.queries.get(this.textOf(key))
    // What is committed and not flushed must be in the first value, and reach all other subscribers in one piece. The flush
    // may also find that callers do not share the query any more. A large one ends in a later turn, and the subscriber waits.
    if (this.hasPending && (!isFresh(known) || touches(known.reads, this.work().writes))) this.flush()
    const query = this.find(key)
    this.join(subscription, query)
    if (isFresh(query)) this.mark(subscription)
    else if (this.isBegun) this.runLater(query)
    else this.runAlone(query)
  }

  /**
   * Adds a subscription from before hibernation. Nothing runs until it must: a subscriber that had the newest result is
   * notified after the next commit that changes it.
   */
  restore(subscription: Subscription, key: QueryKey): void {
    const query = this.find(key)
    if (query.reads === undefined) this.stale.add(query)
    this.join(subscription, query)
    this.mark(subscription)
  }

  /**
   * Gives subscriptions of one subscriber another caller, which `change` sets. Those whose result depends on the caller get
   * that of the new one; the others keep theirs.
   */
  changeCaller(subscriptions: ReadonlyArray<Subscription>, change: () => void): void {
    // What follows has a version of its own, so that no two frames of a subscription have the same one.
    if (this.hasPending) this.flush()
    const moved = subscriptions.flatMap((subscription) => {
      const { key, perIdentity } = subscription.query
      return perIdentity ? [{ subscription, key }] : []
    })
    // All first: no run of the former caller's query may be one of the new caller's.
    for (const { subscription } of moved) this.unsubscribe(subscription)
    change()
    if (!this.needsFlush) this.version = Math.max(this.currentVersion + 1, this.nextVersion())
    for (const { key, subscription } of moved) {
      this.subscribe(subscription, { ...key, identity: subscription.subscriber.identity })
    }
    for (const { query } of subscriptions) {
      // Whether it depends on the caller is not known since the wake.
      if (!this.stale.has(query)) continue
      if (this.isBegun) this.runLater(query)
      else this.runAlone(query)
    }
  }

  /** Runs a query that has not run since the wake. */
  refresh(query: LiveQuery): void {
    if (!this.stale.has(query)) return
    // Run alone, it would show a later version than the other queries of its subscriber.
    if (this.hasPending) this.flush()
    else this.runAlone(query)
  }

  /** Ends a subscription. */
  unsubscribe(subscription: Subscription): void {
    const { query, subscriber } = subscription
    subscriber.pending.delete(subscription)
    query.subscriptions.delete(subscription)
    if (query.subscriptions.size === 0) this.forget(query)
  }

  // --- statistics

  /** The totals since `takeTotals` was last called. */
  get totals(): LiveTotals {
    return { ...this.counted }
  }

  /** The totals since the last call. Resets them. */
  takeTotals(): LiveTotals {
    const { counted } = this
    this.counted = { runs: 0, unchangedRuns: 0, frames: 0, bytes: 0 }
    return counted
  }

  /** A frame of a query was sent. */
  countFrame(query: LiveQuery, bytes: number): void {
    query.stats.frames++
    query.stats.bytes += bytes
    this.counted.frames++
    this.counted.bytes += bytes
  }

  /** What each live query reads and costs. */
  explain(): ReadonlyArray<Explanation> {
    return [...this.queries.values()].map((query) => ({
      tag: query.key.tag,
      payload: query.key.payload,
      perIdentity: query.perIdentity,
      subscribers: query.subscriptions.size,
      version: query.result?.version ?? null,
      reads: query.reads === undefined ? "not run since the object woke" : describe(query.reads),
      ...query.stats
    }))
  }

  // --- queries

  private textOf(key: QueryKey): string {
    const shared = sharedText(key)
    return this.perIdentity.has(shared) ? identityText(key) : shared
  }

  private find(key: QueryKey): LiveQuery {
    const text = this.textOf(key)
    let query = this.queries.get(text)
    if (query === undefined) {
      const shared = sharedText(key)
      const perIdentity = text !== shared
      if (perIdentity) this.perIdentity.set(shared, (this.perIdentity.get(shared) ?? 0) + 1)
      query = new LiveQuery(key, text, perIdentity)
      this.queries.set(text, query)
    }
    return query
  }

  private join(subscription: Subscription, query: LiveQuery): void {
    query.subscriptions.add(subscription)
    subscription.query = query
    // The pending work counts subscriptions, and has the queries that are stale.
    this.pendingWork = undefined
  }

  private forget(query: LiveQuery): void {
    this.index.delete(query)
    this.stale.delete(query)
    this.toRun.delete(query)
    if (this.queries.get(query.keyText) === query) this.queries.delete(query.keyText)
    if (!query.perIdentity) return
    const shared = sharedText(query.key)
    const left = (this.perIdentity.get(shared) ?? 1) - 1
    if (left > 0) this.perIdentity.set(shared, left)
    else this.perIdentity.delete(shared)
  }

  /** Runs a query that has subscribers, and marks the subscriptions that do not have its result. */
  private run(query: LiveQuery, parent: Tracer.AnySpan | undefined): void {
    const asking = first(query.subscriptions)?.subscriber.identity ?? query.key.identity
    // The caller that it was run for may have unsubscribed.
    if (query.key.identity !== asking) query.key = { ...query.key, identity: asking }
    const run = this.options.run(query.key, parent)
    const { reads } = run
    query.stats.runs++
    this.counted.runs++
    this.stale.delete(query)
    query.reads = reads
    if (readsNothing(reads)) this.index.delete(query)
    else this.index.set(query, reads)
    this.pendingWork = undefined
    this.setResult(query, run)
    if (reads.identity && !query.perIdentity) this.splitByIdentity(query, parent)
    for (const subscription of query.subscriptions) this.mark(subscription)
  }

  /**
   * Runs a query without a commit. What changes then, because the handler reads the time, has a version of its own: no two
   * frames of a subscription have the same one.
   */
  private runAlone(query: LiveQuery): void {
    const { perIdentity, result } = query
    this.run(query, undefined)
    if (result !== undefined && (query.result !== result || query.perIdentity !== perIdentity)) {
      this.version = this.nextVersion()
    }
  }

  private setResult(query: LiveQuery, { failure, result }: QueryRun): void {
    query.failure = failure
    if (result === undefined) return
    if (query.result?.text === result.text) {
      query.stats.unchangedRuns++
      this.counted.unchangedRuns++
    } else query.result = new QueryResult(result, this.currentVersion)
  }

  private mark(subscription: Subscription): void {
    if (!subscription.isDue) return
    subscription.subscriber.pending.add(subscription)
    this.notifyQueue.add(subscription.subscriber)
  }

  /**
   * The handler has read the caller's identity for the first time. Each caller gets a query of its own; this one is kept for
   * the caller that it was run for.
   */
  private splitByIdentity(query: LiveQuery, parent: Tracer.AnySpan | undefined): void {
    const shared = query.keyText
    this.queries.delete(shared)
    this.perIdentity.set(shared, 1)
    query.perIdentity = true
    query.keyText = identityText(query.key)
    this.queries.set(query.keyText, query)
    const others = new Set<LiveQuery>()
    for (const subscription of query.subscriptions) {
      const { identity } = subscription.subscriber
      if (identity === query.key.identity) continue
      query.subscriptions.delete(subscription)
      const own = this.find({ ...query.key, identity })
      this.join(subscription, own)
      others.add(own)
    }
    for (const own of others) {
      if (this.isBegun) this.runLater(own)
      else this.run(own, parent)
    }
  }
}

/** What a live query reads and costs. */
export interface Explanation {
  readonly tag: string
  readonly payload: unknown
  /** Whether each caller has a run of its own, because the handler reads the caller's identity. */
  readonly perIdentity: boolean
  readonly subscribers: number
  /** The version of the newest result; null until a run. */
  readonly version: number | null
  readonly reads: unknown
  readonly runs: number
  /** Runs whose result was that of the run before. */
  readonly unchangedRuns: number
  readonly frames: number
  /** Characters of those frames. */
  readonly bytes: number
  /** The version of the last commit that made it run. */
  readonly invalidatedAt: number
  /** The tables that this commit wrote. */
  readonly invalidatedBy: ReadonlyArray<string>
}

const sharedText = (key: QueryKey): string => JSON.stringify([key.tag, key.payload ?? null, key.headers])
const identityText = (key: QueryKey): string =>
  JSON.stringify([key.tag, key.payload ?? null, key.headers, key.identity])

const first = <A>(items: Iterable<A>): A | undefined => {
  for (const item of items) return item
  return undefined
}

const tablesOf = (writes: WriteSet): ReadonlyArray<string> =>
  writes.everything ? ["everything"] : [...writes.rowTables, ...writes.rawTables]

const describe = (reads: ReadSet): unknown =>
  reads.everything
    ? "everything"
    : {
        tables: [...reads.tables],
        ranges: [...reads.ranges.values()].map(({ index, ranges, table }) => ({
          table,
          index: index === "" ? "key" : index,
          ranges: ranges.map(({ from, to }) => [from, to])
        })),
        identity: reads.identity,
        clock: reads.clock
      }
