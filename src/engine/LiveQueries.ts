import { sha256 } from "@noble/hashes/sha2.js"
import * as Base64Url from "effect/encoding/Base64Url"
import type { ResponseExitEncoded } from "effect/rpc/RpcMessage"
import type * as Schema from "effect/Schema"
import { CallError, LimitExceeded } from "../protocol/CallError.ts"
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
export interface Value {
  readonly json: Schema.Json
  readonly text: string
  readonly hash: string
  /** The commit after which the query gave this result. */
  readonly version: number
}

/** Those that get what one commit changed together: the subscriptions of one socket, or one local stream. */
export interface Group {
  /** Who it belongs to, as text. */
  readonly identity: string
  /** A result of its subscriptions may differ from what it was sent. Called after all that one flush runs has run. */
  readonly deliver: () => void
}

export class Subscription {
  readonly group: Group
  readonly id: string | number
  query: LiveQuery
  /** The hash of what the subscriber has, as far as anybody knows. */
  sent: string | undefined
  /** What the subscriber has, while it is remembered here: the base of patches. */
  base: Value | undefined
  /** Messages that the subscriber has not acknowledged. */
  unacknowledged = 0

  constructor(group: Group, id: string | number, query: LiveQuery) {
    this.group = group
    this.id = id
    this.query = query
  }
}

/** One distinct question that somebody watches. */
export class LiveQuery {
  readonly question: Question
  readonly subscriptions = new Set<Subscription>()
  /** The last result, or `undefined` after a wake, until somebody needs it. */
  value: Value | undefined
  /** How the query failed, if it did; its subscriptions end with it. */
  failure: ResponseExitEncoded["exit"] | undefined
  reads: ReadSet | undefined
  /** Set when the handler looked at who is asking: then only that caller shares it. */
  personal = false
  readonly patches = new WeakMap<Value, string>()
  readonly stats = { runs: 0, vainRuns: 0, bytes: 0, frames: 0, wokenAt: 0, wokenBy: [] as ReadonlyArray<string> }

  constructor(question: Question) {
    this.question = question
  }

  /** The frame that brings a subscriber from what it has to the last result: the smaller of patch and snapshot. */
  frame(subscription: Subscription): string {
    const value = this.value!
    const { base } = subscription
    const version = `"version":${value.version},"hash":"${value.hash}"`
    if (base !== undefined && base !== value) {
      let ops = this.patches.get(base)
      if (ops === undefined) {
        ops = JSON.stringify(Patch.make(base.json, value.json))
        this.patches.set(base, ops)
      }
      if (ops.length < value.text.length) return `{"_tag":"Patch","ops":${ops},${version}}`
    }
    return `{"_tag":"Snapshot","value":${value.text},${version}}`
  }
}

export interface Options {
  /** Runs a query once. It never throws. */
  readonly run: (question: Question) => Answer
  /** Called when there is something to flush, once until `flush` is called. */
  readonly schedule: () => void
  /** The limit of that name. */
  readonly resultBytes: number
  /** Milliseconds, for versions that also grow across restarts. */
  readonly now: () => number
}

/**
 * Every live query of an object. A commit is matched against what the queries read; the touched ones run once each, and
 * their subscribers' groups are told to deliver. Everything here is a cache: after a wake it is rebuilt from the
 * subscriptions that the sockets remember.
 */
export class LiveQueries {
  private readonly options: Options
  private readonly queries = new Map<string, LiveQuery>()
  /** Questions whose handler was seen to look at who is asking. */
  private readonly personal = new Set<string>()
  private readonly index = new ReadIndex<LiveQuery>()
  /** Queries that nobody has run since the object woke: any commit may concern them. */
  private readonly unread = new Set<LiveQuery>()
  private pending = new WriteRecorder()
  private scheduled = false
  private version = 0
  private flushed = 0
  private waiting = new Set<Group>()

  constructor(options: Options) {
    this.options = options
  }

  /** The version of the last commit. */
  get currentVersion(): number {
    if (this.version === 0) this.version = this.nextVersion()
    return this.version
  }

  /** No version that is given out from now on is below this one. */
  atLeast(version: number): void {
    this.version = Math.max(this.version, version)
  }

  /** Versions are a hybrid logical clock: time where it advances, a count where it does not. */
  private nextVersion(): number {
    return Math.max(this.version + 1, this.options.now() * 1024)
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

  /** Has a group deliver with the flush that is to come, whether or not it concerns its subscriptions. */
  deliverAfterFlush(group: Group): void {
    this.waiting.add(group)
  }

  /** Whether a flush is still to come. */
  get isScheduled(): boolean {
    return this.scheduled
  }

  /** Runs what the commits since the last flush touched, and has the results delivered. */
  flush(): void {
    if (!this.scheduled) return
    this.scheduled = false
    const writes = this.pending.toWriteSet()
    this.pending = new WriteRecorder()
    this.flushed = this.version
    const groups = this.waiting
    this.waiting = new Set()
    const tables = tablesOf(writes)
    for (const query of [...this.index.touched(writes), ...this.unread]) {
      query.stats.wokenAt = this.version
      query.stats.wokenBy = tables
      if (this.rerun(query)) {
        for (const subscription of query.subscriptions) groups.add(subscription.group)
      }
    }
    for (const group of groups) group.deliver()
  }

  /** Adds a subscriber. Its query then has a value, or a failure. */
  subscribe(group: Group, id: string | number, question: Question): Subscription {
    const known = this.find(question)
    // What was committed and not flushed must be in the first value, and reach everybody else in one piece.
    if (this.scheduled && (known.reads === undefined || touches(known.reads, this.pending.toWriteSet()))) this.flush()
    const subscription = new Subscription(group, id, known)
    known.subscriptions.add(subscription)
    const isStale = known.value === undefined || known.failure !== undefined || known.reads?.clock !== false
    if (isStale && this.rerun(known)) {
      for (const other of known.subscriptions) if (other !== subscription) other.group.deliver()
    }
    return subscription
  }

  /** Adds a subscriber of before the object slept. Nothing runs until it must. */
  restore(group: Group, id: string | number, question: Question, sent: string | undefined): Subscription {
    const query = this.find(question)
    if (query.reads === undefined) this.unread.add(query)
    const subscription = new Subscription(group, id, query)
    subscription.sent = sent
    query.subscriptions.add(subscription)
    return subscription
  }

  /** Brings a query that has not run since the wake up to date. */
  refresh(query: LiveQuery): void {
    if (this.unread.has(query)) this.rerun(query)
  }

  unsubscribe(subscription: Subscription): void {
    const { query } = subscription
    query.subscriptions.delete(subscription)
    if (query.subscriptions.size > 0) return
    this.index.delete(query)
    this.unread.delete(query)
    const key = query.personal ? personalKey(query.question) : sharedKey(query.question)
    if (this.queries.get(key) === query) this.queries.delete(key)
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

  private find(question: Question): LiveQuery {
    const shared = sharedKey(question)
    const personal = this.personal.has(shared)
    const key = personal ? personalKey(question) : shared
    let query = this.queries.get(key)
    if (query === undefined) {
      query = new LiveQuery(question)
      query.personal = personal
      this.queries.set(key, query)
    }
    return query
  }

  /** Runs a query and answers whether its subscribers have something to hear. */
  private rerun(query: LiveQuery): boolean {
    const { exit, reads } = this.options.run(query.question)
    query.stats.runs++
    this.unread.delete(query)
    query.reads = reads
    if (readsNothing(reads)) this.index.delete(query)
    else this.index.set(query, reads)
    const split = reads.identity && !query.personal && this.makePersonal(query)
    if (exit._tag === "Failure") {
      query.failure = exit
      return true
    }
    const json = (exit.value ?? null) as Schema.Json
    const text = JSON.stringify(json)
    const max = this.options.resultBytes
    if (text.length > max) {
      query.failure = failure(
        new CallError({ reason: new LimitExceeded({ limit: "resultBytes", max, actual: text.length }) })
      )
      return true
    }
    query.failure = undefined
    if (query.value?.text === text) {
      query.stats.vainRuns++
      return split
    }
    query.value = { json, text, hash: hashOf(text), version: this.currentVersion }
    return true
  }

  /**
   * The handler looked at who is asking for the first time. Each caller gets a query of its own; the one at hand stays
   * with the caller it was run for.
   */
  private makePersonal(query: LiveQuery): boolean {
    const shared = sharedKey(query.question)
    this.personal.add(shared)
    this.queries.delete(shared)
    query.personal = true
    this.queries.set(personalKey(query.question), query)
    let moved = false
    for (const subscription of query.subscriptions) {
      const identity = subscription.group.identity
      if (identity === query.question.identity) continue
      moved = true
      query.subscriptions.delete(subscription)
      const own = this.find({ ...query.question, identity })
      own.subscriptions.add(subscription)
      subscription.query = own
      if (own.reads === undefined) this.rerun(own)
      subscription.group.deliver()
    }
    return moved
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
