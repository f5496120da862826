import { sha256 } from "@noble/hashes/sha2.js"
import * as Base64Url from "effect/encoding/Base64Url"
import type { ResponseExitEncoded } from "effect/rpc/RpcMessage"
import type * as Schema from "effect/Schema"
import { CallError, LimitExceeded } from "../protocol/CallError.ts"
import { bytesBeyond } from "../protocol/Limits.ts"
import * as Patch from "../protocol/Patch.ts"
import { type ReadSet, readsNothing, touches, WriteRecorder, type WriteSet } from "../services/ReadSet.ts"
import { ReadIndex } from "./ReadIndex.ts"
import { failure } from "./Server.ts"

/** What a subscriber asked for. */
export interface Question {
  /** The tag of the query, without `live:`. */
  readonly tag: string
  /** The encoded payload, in the one form that its schema gives it. */
  readonly payload: unknown
  /** Who is asking, as text; only told apart when the handler looks. */
  readonly identity: string
  /** Headers that the rpc's own middleware may look at; empty when it has none. */
  readonly headers: ReadonlyArray<readonly [string, string]>
}

/** One run of a query: its encoded result and what it read. */
export interface Answer {
  readonly exit: ResponseExitEncoded["exit"]
  readonly reads: ReadSet
}

/** A result, with everything that is derived from it once for all who get it. */
export class Value {
  readonly json: Schema.Json
  readonly text: string
  readonly hash: string
  /** The commit after which the query gave this result. */
  readonly version: number
  private snapshot: string | undefined
  private readonly patches = new WeakMap<Value, string>()

  constructor(json: Schema.Json, text: string, version: number) {
    this.json = json
    this.text = text
    this.hash = hashOf(text)
    this.version = version
  }

  /** The frame for who has `base`: the smaller of patch and snapshot. */
  frameFrom(base: Value | undefined): string {
    if (base === undefined || base === this) return this.snapshotFrame()
    let frame = this.patches.get(base)
    if (frame === undefined) {
      const ops = JSON.stringify(Patch.make(base.json, this.json))
      frame = ops.length < this.text.length ? `{"_tag":"Patch","ops":${ops},${this.stamp()}}` : this.snapshotFrame()
      this.patches.set(base, frame)
    }
    return frame
  }

  private snapshotFrame(): string {
    this.snapshot ??= `{"_tag":"Snapshot","value":${this.text},${this.stamp()}}`
    return this.snapshot
  }

  private stamp(): string {
    return `"version":${this.version},"hash":"${this.hash}"`
  }
}

/** Those that get what one commit changed together: the subscriptions of one socket, or one local stream. */
export interface Group {
  /** Who it belongs to, as text. */
  readonly identity: string
  /** Its subscriptions whose result is not what they were sent. Added to here, taken from by the group. */
  readonly changed: Set<Subscription>
  /** Something was added to `changed`. Called after all that one flush runs has run. */
  readonly deliver: () => void
}

export class Subscription {
  readonly group: Group
  readonly id: string | number
  /** What it watches, from `LiveQueries.subscribe` or `restore` on. */
  query!: LiveQuery
  /** The hash of what the subscriber has, as far as anybody knows. */
  sent: string | undefined
  /** What the subscriber has, while it is remembered here: the base of patches. */
  base: Value | undefined

  constructor(group: Group, id: string | number) {
    this.group = group
    this.id = id
  }

  /** Whether the subscriber does not have the last result. */
  get isDue(): boolean {
    const { failure, value } = this.query
    return failure !== undefined || (value !== undefined && value.hash !== this.sent)
  }
}

/** One distinct question that somebody watches. */
export class LiveQuery {
  question: Question
  /** What it is found by: the question, with who is asking only if the handler looked. */
  key: string
  /** Set when the handler looked at who is asking: then only that caller shares it. */
  personal: boolean
  readonly subscriptions = new Set<Subscription>()
  /** The last result, or `undefined` after a wake, until somebody needs it. */
  value: Value | undefined
  /** How the query failed, if it did; its subscriptions end with it. */
  failure: ResponseExitEncoded["exit"] | undefined
  reads: ReadSet | undefined
  readonly stats = { runs: 0, vainRuns: 0, bytes: 0, frames: 0, wokenAt: 0, wokenBy: [] as ReadonlyArray<string> }

  constructor(question: Question, key: string, personal: boolean) {
    this.question = question
    this.key = key
    this.personal = personal
  }
}

/** Whether a new subscriber can have the value that is there, unless a commit touched it. */
const isFresh = (query: LiveQuery | undefined): query is LiveQuery & { readonly reads: ReadSet } =>
  query?.value !== undefined && query.failure === undefined && query.reads?.clock === false

export interface Options {
  /** Runs a query once. It never throws. */
  readonly run: (question: Question) => Answer
  /** Called when there is something to flush, once until `flush` is called. */
  readonly schedule: () => void
  /** Runs a task in a later turn. */
  readonly soon: (task: () => void) => void
  /** The limit of that name. */
  readonly resultBytes: number
  /** Milliseconds, for versions that also grow across restarts. */
  readonly now: () => number
}

/**
 * Groups that are told in one turn, which then takes some ten milliseconds; calls that come meanwhile are answered before
 * the next. More turns would cost the last ones more: what the first ones acknowledge comes in between.
 */
const groupsPerTurn = 1000

/**
 * Every live query of an object. A commit is matched against what the queries read; the touched ones run once each, and
 * their subscribers' groups are told to deliver. Everything here is a cache: after a wake it is rebuilt from the
 * subscriptions that the sockets remember.
 */
export class LiveQueries {
  private readonly options: Options
  private readonly queries = new Map<string, LiveQuery>()
  /** Questions whose handler was seen to look at who is asking, with the number of queries that each has become. */
  private readonly personal = new Map<string, number>()
  private readonly index = new ReadIndex<LiveQuery>()
  /** Queries that nobody has run since the object woke: any commit may concern them. */
  private readonly unread = new Set<LiveQuery>()
  private pending = new WriteRecorder()
  private scheduled = false
  private version = 0
  private isAwake = false
  private flushed = 0
  /** Groups that deliver with the flush that is to come, whether or not it concerns them. */
  private waiting = new Set<Group>()
  /** Groups that have something to deliver. */
  private readonly told = new Set<Group>()
  /** Whether some of them wait for a later turn. */
  private isContinued = false

  constructor(options: Options) {
    this.options = options
  }

  /** The version of the last commit. */
  get currentVersion(): number {
    // What the sockets remember may be older than what one that is gone was told: after a wake time counts as well.
    if (!this.isAwake) {
      this.isAwake = true
      this.version = this.nextVersion()
    }
    return this.version
  }

  /** No version that is given out from now on is below this one. */
  atLeast(version: number): void {
    this.version = Math.max(this.version, version)
  }

  /** Versions are a hybrid logical clock: time where it advances, a count where it does not. */
  private nextVersion(): number {
    return Math.max(this.version + 1, Math.floor(this.options.now()) * 1024)
  }

  committed(writes: WriteRecorder): void {
    if (writes.isEmpty) return
    if (!this.scheduled) this.flushed = this.currentVersion
    this.version = this.nextVersion()
    if (this.queries.size === 0) return
    this.pending.merge(writes)
    if (this.scheduled) return
    this.scheduled = true
    this.options.schedule()
  }

  /** The version up to which everything was run. */
  get flushedVersion(): number {
    return this.scheduled ? this.flushed : this.currentVersion
  }

  private totals = { runs: 0, vainRuns: 0, frames: 0, bytes: 0 }

  /** What was done since this was last asked, of all queries together. */
  takeTotals(): LiveQueries["totals"] {
    const { totals } = this
    this.totals = { runs: 0, vainRuns: 0, frames: 0, bytes: 0 }
    return totals
  }

  /** A frame of a query was sent. */
  countFrame(query: LiveQuery, bytes: number): void {
    query.stats.frames++
    query.stats.bytes += bytes
    this.totals.frames++
    this.totals.bytes += bytes
  }

  /** Whether a flush is still to come. */
  get isScheduled(): boolean {
    return this.scheduled
  }

  /** Has a group deliver with the flush that is to come, whether or not it concerns its subscriptions. */
  deliverAfterFlush(group: Group): void {
    this.waiting.add(group)
  }

  /** Runs what the commits since the last flush touched, and has the results delivered. */
  flush(): void {
    if (!this.scheduled) return
    this.scheduled = false
    const writes = this.pending.toWriteSet()
    this.pending = new WriteRecorder()
    for (const group of this.waiting) this.told.add(group)
    this.waiting.clear()
    const tables = tablesOf(writes)
    for (const query of [...this.index.touched(writes), ...this.unread]) {
      // A run before this one may have shared its subscribers out among queries of their own.
      if (query.subscriptions.size === 0) continue
      query.stats.wokenAt = this.version
      query.stats.wokenBy = tables
      this.run(query)
    }
    this.deliver()
  }

  /**
   * Has the groups deliver that have something to deliver: as many as one turn should take, the others in later ones.
   * Those bring whatever is the newest by then.
   */
  deliver(): void {
    if (!this.isContinued) this.deliverSome()
  }

  private deliverSome(): void {
    let delivered = 0
    let failed: { readonly cause: unknown } | undefined
    for (const group of this.told) {
      if (delivered++ === groupsPerTurn) break
      this.told.delete(group)
      try {
        group.deliver()
      } catch (cause) {
        // The others must hear of it all the same.
        failed ??= { cause }
      }
    }
    if (this.told.size > 0 && !this.isContinued) {
      this.isContinued = true
      this.options.soon(() => {
        this.isContinued = false
        this.deliverSome()
      })
    }
    if (failed !== undefined) throw failed.cause
  }

  /** Adds a subscriber. Its query then has a value, or a failure, and `deliver` brings it to the group. */
  subscribe(subscription: Subscription, question: Question): void {
    const known = this.queries.get(this.keyOf(question))
    // What was committed and not flushed must be in the first value, and reach everybody else in one piece. The flush may
    // also find that callers do not share the query any more.
    if (this.scheduled && (!isFresh(known) || touches(known.reads, this.pending.toWriteSet()))) this.flush()
    const query = this.find(question)
    this.join(subscription, query)
    if (isFresh(query)) this.mark(subscription)
    else this.run(query)
  }

  /**
   * Adds a subscriber of before the object slept. Nothing runs until it must: a subscriber that had everything hears of
   * the next commit that changes its result.
   */
  restore(subscription: Subscription, question: Question): void {
    const query = this.find(question)
    if (query.reads === undefined) this.unread.add(query)
    this.join(subscription, query)
    this.mark(subscription)
  }

  /** Runs a query that has not run since the wake. */
  refresh(query: LiveQuery): void {
    if (!this.unread.has(query)) return
    // It would give what was committed since, and the others of its group would not.
    if (this.scheduled) this.flush()
    else this.run(query)
  }

  unsubscribe(subscription: Subscription): void {
    const { group, query } = subscription
    group.changed.delete(subscription)
    query.subscriptions.delete(subscription)
    if (query.subscriptions.size === 0) this.forget(query)
  }

  /** What is known of each live query, for people. */
  explain(): ReadonlyArray<Explanation> {
    return [...this.queries.values()].map((query) => ({
      tag: query.question.tag,
      payload: query.question.payload,
      personal: query.personal,
      subscribers: query.subscriptions.size,
      version: query.value?.version ?? null,
      reads: query.reads === undefined ? "not run since the object woke" : describe(query.reads),
      ...query.stats
    }))
  }

  private keyOf(question: Question): string {
    const shared = sharedKey(question)
    return this.personal.has(shared) ? personalKey(question) : shared
  }

  private find(question: Question): LiveQuery {
    const key = this.keyOf(question)
    let query = this.queries.get(key)
    if (query === undefined) {
      const shared = sharedKey(question)
      const personal = key !== shared
      if (personal) this.personal.set(shared, this.personal.get(shared)! + 1)
      query = new LiveQuery(question, key, personal)
      this.queries.set(key, query)
    }
    return query
  }

  private join(subscription: Subscription, query: LiveQuery): void {
    query.subscriptions.add(subscription)
    subscription.query = query
  }

  private forget(query: LiveQuery): void {
    this.index.delete(query)
    this.unread.delete(query)
    if (this.queries.get(query.key) === query) this.queries.delete(query.key)
    if (!query.personal) return
    const shared = sharedKey(query.question)
    const left = this.personal.get(shared)! - 1
    if (left > 0) this.personal.set(shared, left)
    else this.personal.delete(shared)
  }

  /** Runs a query that somebody watches, and marks those subscribers that do not have its result. */
  private run(query: LiveQuery): void {
    const asking = first(query.subscriptions)!.group.identity
    // Who asked first may have gone.
    if (query.question.identity !== asking) query.question = { ...query.question, identity: asking }
    const { exit, reads } = this.options.run(query.question)
    query.stats.runs++
    this.totals.runs++
    this.unread.delete(query)
    query.reads = reads
    if (readsNothing(reads)) this.index.delete(query)
    else this.index.set(query, reads)
    this.settle(query, exit)
    if (reads.identity && !query.personal) this.split(query)
    for (const subscription of query.subscriptions) this.mark(subscription)
  }

  private settle(query: LiveQuery, exit: ResponseExitEncoded["exit"]): void {
    query.failure = undefined
    if (exit._tag === "Failure") {
      query.failure = exit
      return
    }
    const json = (exit.value ?? null) as Schema.Json
    const text = JSON.stringify(json)
    const max = this.options.resultBytes
    const actual = bytesBeyond(text, max)
    if (actual !== undefined) {
      const reason = new LimitExceeded({ limit: "resultBytes", max, actual })
      query.failure = failure(new CallError({ reason }))
    } else if (query.value?.text === text) {
      query.stats.vainRuns++
      this.totals.vainRuns++
    } else query.value = new Value(json, text, this.currentVersion)
  }

  private mark(subscription: Subscription): void {
    if (!subscription.isDue) return
    subscription.group.changed.add(subscription)
    this.told.add(subscription.group)
  }

  /**
   * The handler looked at who is asking for the first time. Each caller gets a query of its own; the one at hand stays
   * with the caller it was run for.
   */
  private split(query: LiveQuery): void {
    const shared = query.key
    this.queries.delete(shared)
    this.personal.set(shared, 1)
    query.personal = true
    query.key = personalKey(query.question)
    this.queries.set(query.key, query)
    const others = new Set<LiveQuery>()
    for (const subscription of query.subscriptions) {
      const { identity } = subscription.group
      if (identity === query.question.identity) continue
      query.subscriptions.delete(subscription)
      const own = this.find({ ...query.question, identity })
      this.join(subscription, own)
      others.add(own)
    }
    for (const own of others) this.run(own)
  }
}

export interface Explanation {
  readonly tag: string
  readonly payload: unknown
  readonly personal: boolean
  readonly subscribers: number
  readonly version: number | null
  readonly reads: unknown
  readonly runs: number
  readonly vainRuns: number
  readonly frames: number
  readonly bytes: number
  readonly wokenAt: number
  readonly wokenBy: ReadonlyArray<string>
}

const sharedKey = (question: Question): string =>
  JSON.stringify([question.tag, question.payload ?? null, question.headers])
const personalKey = (question: Question): string =>
  JSON.stringify([question.tag, question.payload ?? null, question.headers, question.identity])

const first = <A>(items: Iterable<A>): A | undefined => {
  for (const item of items) return item
  return undefined
}

const encoder = new TextEncoder()

/** 128 bits of SHA-256: a collision would leave a subscriber stale, so it must not happen. */
export const hashOf = (text: string): string => Base64Url.encode(sha256(encoder.encode(text)).subarray(0, 16))

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
