/**
 * The engine of one tenant's object: puts the app, the database and the host together, and owns the turns.
 * A host calls `http`, `sockets` and `local`; everything that happens in the object starts there.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import { type App, handlersOf, partsOf } from "../../contract/App.ts"
import { anonymous, CurrentIdentity, Identity } from "../../contract/Auth.ts"
import { isInternal } from "../../contract/Internal.ts"
import type { JobsRuntime } from "../../contract/Jobs.ts"
import { type Kind, kindOf } from "../../contract/Kind.ts"
import type { Live } from "../../contract/Live.ts"
import type { PubsubRuntime } from "../../contract/Pubsub.ts"
import type { Expiring } from "../../contract/Transactional.ts"
import type { CallerLimits } from "../../protocol/CallerLimits.ts"
import { unknownRpc } from "../../protocol/Exit.ts"
import { livePrefix } from "../../protocol/Frame.ts"
import { canonical } from "../../protocol/JsonCodec.ts"
import { Alarm } from "../../services/Alarm.ts"
import { Background } from "../../services/Background.ts"
import type { Database } from "../../services/Database.ts"
import type { MigrationProgress, MigrationRunner } from "../../services/MigrationRunner.ts"
import { SharedAlarm } from "../../services/SharedAlarm.ts"
import { SocketHost } from "../../services/SocketHost.ts"
import { open, type SchemaMismatch } from "../../services/Storage.ts"
import { readsOfNothing, WriteRecorder } from "../../services/storage/ReadSet.ts"
import { keyIndex } from "../../services/storage/TableInfo.ts"
import type { TransactionRunner } from "../../services/TransactionRunner.ts"
import * as Transactor from "../../services/Transactor.ts"
import { CallRates, configured } from "../rpc/CallRates.ts"
import { requireMiddleware } from "../rpc/KindMiddleware.ts"
import { isTraced } from "../rpc/RequestSpan.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import type { SessionOptions } from "../rpc/SessionOptions.ts"
import { ActionHost } from "./ActionRelay.ts"
import { type Call, type Caller, Executor, noHeaders } from "./Executor.ts"
import { jobCalls } from "./JobsHost.ts"
import { LiveQueries, type QueryKey, type QueryRun } from "./LiveQueries.ts"
import { makeLocalLive } from "./LocalLive.ts"
import * as Metrics from "./Metrics.ts"
import { atStart, Migrating } from "./Migrating.ts"
import { MutationLog, mutationIndex, mutationTable } from "./MutationLog.ts"
import { ObjectHttp } from "./ObjectHttp.ts"
import { Reactors, reactorTable } from "./Reactors.ts"
import { revocations, SessionEnds } from "./SessionEnds.ts"
import { SocketHub } from "./SocketHub.ts"
import type { ReadQueryKey } from "./SocketSession.ts"
import { SubscriptionRows, subscriptionTable } from "./SubscriptionStore.ts"
import { TurnQueue } from "./TurnQueue.ts"

/** What the host of an object drives. */
export interface TenantEngine {
  readonly http: ObjectHttp
  readonly sockets: SocketHub
  readonly live: LiveQueries
  readonly executor: Executor
  /** Live queries for code that runs in the object. */
  readonly local: Live["Service"]
  /** Transactions for code that runs in the object. */
  readonly transactor: Transactor.Transactor["Service"]
  /** Runs a body as a turn: what it commits is flushed at its end. */
  readonly turn: (body: () => void) => void
  /** The alarm went off, or the tenant may be used again: delivers what is due. */
  readonly alarm: () => void
  /** Why no call is answered now: migrations of rows have not ended. A caller may try again later. */
  readonly refusal: string | undefined
  /** How far the migrations of rows are. */
  readonly migration: MigrationProgress
}

/** How a platform runs an engine. */
export interface TenantEngineOptions {
  /** The tenant, for log lines and spans. */
  readonly tenant?: string | undefined
  /** Milliseconds, for versions. Each start of an object must find a later time than the start before. */
  readonly now: () => number
  /**
   * Runs a turn. What it commits is one commit to disk, and what it sends leaves after that. A platform that does this by
   * itself, as a Durable Object does, just runs it.
   */
  readonly commitTurn?: (turn: () => void) => void
  /**
   * Subscriptions up to which a flush follows the answers in the same turn. A larger one has the next turn for itself, so
   * that the answers do not wait for it. 50 unless given: that many are notified in less than a millisecond.
   */
  readonly smallFlush?: number
  /** Queries that a flush runs in one turn; calls are handled between the turns. 100 unless given. */
  readonly queriesPerSlice?: number
  /** What happens to sessions whose tokens have ended. */
  readonly sessions?: SessionOptions
  /** The tenant, as its callers name it, and its object. Unless given, both are `tenant`. */
  readonly session?: (() => Pick<RequestSession, "tenant" | "object">) | undefined
  /** Whether jobs may run now: not for a tenant that is suspended. Always unless given. */
  readonly isOpen?: (() => boolean) | undefined
  /** Called when the migrations of rows have ended, or failed. */
  readonly onMigrated?: (() => void) | undefined
}

/** The tenant, as its callers name it, and its object. */
const placeOf = ({ session, tenant = "" }: TenantEngineOptions) => session ?? (() => ({ tenant }))

/** Flushes of one turn: a reaction may commit, which needs another flush. */
const flushesPerTurn = 20

const decodeIdentity = Schema.decodeUnknownSync(Schema.fromJsonString(Identity))

/** The services that an engine is made of. */
export type EngineServices = Database | Background | SocketHost | ActionHost | Alarm

/** Brings the tables up to date, builds the handlers of queries and mutations, and restores the sockets' sessions. */
export const make = <Rpcs extends Rpc.Any>(
  app: App<Rpcs>,
  options: TenantEngineOptions
): Effect.Effect<TenantEngine, SchemaMismatch, EngineServices | Scope> =>
  Effect.gen(function* () {
    const background = yield* Background
    const services: Context.Context<any> = yield* Effect.context<any>()
    const pubsub = app.pubsub?.open({
      api: app.api,
      guarded: new Set(app.policies.map(({ table }) => table.name))
    })
    const files = app.files?.open(app.tables, placeOf(options))
    const { migrations, runner } = yield* open({
      tables: app.tables,
      migrations: app.migrations,
      droppedTables: app.droppedTables,
      policies: app.policies,
      limits: app.limits,
      transactional: [
        ...(app.jobs?.transactional ?? []),
        ...(pubsub?.transactional ?? []),
        ...(files?.transactional ?? []),
        ...app.transactional
      ],
      // Anybody may read a tenant that does not exist: that must not make a database.
      createOnWrite: true,
      internalTables: [
        mutationTable,
        mutationIndex,
        subscriptionTable,
        revocations,
        ...(app.reactors.length > 0 ? [reactorTable] : [])
      ],
      afterCommit: (effects) => background.defer(() => runAfterCommit(background, services, effects))
    })
    atStart(migrations)
    let layers = handlersOf(app.layers, app.layers.services)
    for (const { handlers } of partsOf(app)) layers = Layer.merge(layers, handlers)
    const handlers = yield* Layer.build(layers)
    const callerLimits = yield* configured(app.limits)
    yield* requireMiddleware(app.api.declared.requests.values(), handlers)
    const engine = new Engine(app, options, {
      database: runner.storage.database,
      background,
      sockets: yield* SocketHost,
      actions: yield* ActionHost,
      alarm: yield* Alarm,
      runner,
      migrations,
      pubsub,
      expiring: [...app.transactional.flatMap(({ expiring }) => expiring ?? []), ...(files?.expiring ?? [])],
      callerLimits,
      services,
      context: Context.merge(services, pubsub?.withAccess(handlers) ?? handlers)
    })
    engine.start()
    return engine
  })

/** Runs the effects that services deferred until after a commit. The object stays awake until they end. */
const runAfterCommit = (
  background: Background["Service"],
  services: Context.Context<any>,
  effects: ReadonlyArray<Effect.Effect<void>>
): void => {
  for (const effect of effects) {
    const fiber = Effect.runForkWith(services)(Effect.ignoreCause(effect, { log: "Error" }))
    background.waitUntil(new Promise<void>((resolve) => fiber.addObserver(() => resolve())))
  }
}

interface Parts {
  readonly database: Database["Service"]
  readonly background: Background["Service"]
  readonly sockets: SocketHost["Service"]
  readonly actions: ActionHost["Service"]
  readonly alarm: Alarm["Service"]
  readonly runner: TransactionRunner
  readonly migrations: MigrationRunner
  readonly pubsub: PubsubRuntime | undefined
  /** Rows that the alarm deletes when they have ended. */
  readonly expiring: ReadonlyArray<Expiring>
  /** Those of the app, with what the environment overrides. */
  readonly callerLimits: CallerLimits
  readonly services: Context.Context<any>
  /** The services, the handlers and the middleware. */
  readonly context: Context.Context<any>
}

class Engine implements TenantEngine {
  readonly http: ObjectHttp
  readonly sockets: SocketHub
  readonly live: LiveQueries
  readonly executor: Executor
  readonly local: Live["Service"]
  readonly transactor: Transactor.Transactor["Service"]
  private readonly parts: Parts
  private readonly smallFlush: number
  /** The object itself, as a caller. */
  private readonly self: Caller
  private readonly turns: TurnQueue
  private readonly reactors: Reactors
  private readonly ends: SessionEnds
  private readonly jobs: JobsRuntime | undefined
  private readonly kinds = new Map<string, Kind>()
  private readonly migrating: Migrating
  private readonly isTraced: boolean
  /** The calls of live queries: what is the same for each of their runs. */
  private readonly queryCalls = new WeakMap<QueryKey, Call>()
  /** The spans of the transactions that the next flush is about. */
  private committedSpans: Array<Tracer.AnySpan> = []
  /** What a large flush waits for: the next turn, as the next slice of one does, or a pause. */
  private flushWaitsFor: "turn" | "pause" | undefined

  constructor(app: App<any>, options: TenantEngineOptions, parts: Parts) {
    const { background, database, runner } = parts
    const { commitTurn = run, now, queriesPerSlice, smallFlush = 50, tenant } = options
    const { limits, reactors } = app
    const { callerLimits } = parts
    const rates = new CallRates(callerLimits)
    const declared: RpcGroup.RpcGroup<any> = app.api.declared
    const more = partsOf(app).map(({ api }) => api.declared)
    const group = declared.merge(...more, ...(parts.pubsub === undefined ? [] : [parts.pubsub.access]))
    this.parts = parts
    this.smallFlush = smallFlush
    this.self = { identity: anonymous, client: new Rpc.ServerClient(-1), annotations: { tenant, subject: null } }
    this.isTraced = isTraced(parts.services)
    for (const rpc of group.requests.values()) {
      const kind = kindOf(rpc)
      // To a socket an action or a topic that is not for clients is unknown. The others are refused when they are called.
      const isHidden = (kind === "action" || kind === "topic") && isInternal(rpc)
      if (kind !== undefined && !isHidden) this.kinds.set(rpc._tag, kind)
    }
    const isMutation = (tag: string) => this.kinds.get(tag) === "mutation"
    const isAction = (tag: string) => this.kinds.get(tag) === "action"
    const isTopic = (tag: string) => this.kinds.get(tag) === "topic"
    this.turns = new TurnQueue({ defer: background.defer, endTurn: () => this.endTurn(), commitTurn, limits })
    const turn = (body: () => void) => this.turns.run(body)
    this.live = new LiveQueries({
      run: (key, parent) => this.runQuery(key, parent),
      defer: (task) => background.defer(() => turn(task)),
      ...(this.isTraced && { delivery: (notify, parent) => this.traceDelivery(notify, parent) }),
      now,
      queriesPerSlice
    })
    const { live, readQueryKey, turns } = this
    runner.storage.version = () => live.currentVersion
    this.executor = new Executor({
      group,
      context: parts.context,
      runner,
      log: new MutationLog(database),
      limits,
      version: () => live.currentVersion,
      onCommitted: (span) => this.committedSpans.push(span)
    })
    const { executor } = this
    const clock = Context.get(parts.services, Clock.Clock)
    const ends = new SessionEnds({ ...options.sessions, database, time: () => clock.currentTimeMillisUnsafe() })
    this.ends = ends
    const readOwnKey: ReadQueryKey = (tag, request) => readQueryKey(tag, { ...request, isTrusted: true })
    this.reactors = new Reactors({
      reactors,
      database,
      executor,
      live,
      readQueryKey: readOwnKey,
      caller: this.self,
      log: (message, failure) => this.log(message, failure)
    })
    this.sockets = new SocketHub({
      host: parts.sockets,
      turns,
      defer: background.defer,
      whenIdle: background.whenIdle,
      after: background.after,
      now,
      isMutation,
      isAction,
      isTopic,
      pubsub: parts.pubsub,
      executor,
      live,
      readQueryKey,
      actions: parts.actions,
      ends,
      rows: new SubscriptionRows(database),
      limits,
      rates,
      callerLimits,
      log: (message, cause) => this.log(message, cause)
    })
    this.http = new ObjectHttp({
      executor,
      live,
      readQueryKey,
      runQuery: (key) => this.runQuery(key, undefined),
      ends,
      turns,
      limits,
      rates,
      now,
      isMutation,
      refusal: () => this.refusal
    })
    const time = () => clock.currentTimeMillisUnsafe()
    const { isOpen = () => true, onMigrated = () => {} } = options
    const session = placeOf(options)
    const shared = parts.migrations.isRunning ? new SharedAlarm(parts.alarm) : undefined
    this.migrating = new Migrating({
      migrations: parts.migrations,
      alarm: shared,
      time,
      later: (task) => background.defer(() => turn(task)),
      onOpen: () => this.open(),
      onEnd: onMigrated
    })
    const ownAlarm = shared?.other ?? parts.alarm
    const alarm = parts.pubsub?.share(ownAlarm) ?? ownAlarm
    this.jobs = app.jobs?.open({
      ...jobCalls({ executor, actions: parts.actions, session, time }),
      rows: (sql, params) => database.all(sql, params).rows,
      isUnwritten: () => database.isUnwritten?.() === true,
      whenWritten: (task) => database.whenWritten?.(task),
      transaction: (body) => runner.writeNow(body, parts.services),
      expiring: parts.expiring,
      alarm,
      session,
      defer: background.defer,
      after: background.after,
      waitUntil: background.waitUntil,
      // That of transactions: what one of them adds for now is due now, also when the machine's clock was set back.
      time: () => runner.time(parts.services),
      turn,
      isOpen: () => this.refusal === undefined && isOpen(),
      log: (message, detail) => this.log(message, detail)
    })
    const deliverLater = () => background.defer(() => turn(() => {}))
    parts.pubsub?.start({
      deliverLater,
      changed: (table, key) => {
        const writes = new WriteRecorder()
        writes.key(table, keyIndex, [key])
        // Later: after a wake, the queries come back with the sockets.
        background.defer(() => turn(() => live.committed(writes)))
      },
      time: () => runner.time(parts.services),
      rows: (sql, params) => (database.isUnwritten?.() === true ? [] : database.all(sql, params).rows),
      read: (identity, effect) =>
        runner.read(effect, Context.add(parts.services, CurrentIdentity, identity), false).exit,
      isGuarded: app.policies.length > 0,
      log: (message, cause) => this.log(message, cause)
    })
    this.local = makeLocalLive({ group, live, readQueryKey: readOwnKey, turn })
    this.transactor = Transactor.make(runner)
    runner.onCommit((writes) => this.committed(writes))
  }

  /** Starts, or goes on with migrations first. Sockets are closed then: their clients connect again later. */
  start(): void {
    this.migrating.start()
    const { refusal } = this
    if (refusal === undefined) return
    for (const socket of this.parts.sockets.sockets()) socket.close(1013, closeReason(refusal))
  }

  get refusal(): string | undefined {
    return this.migrating.refusal
  }

  get migration(): MigrationProgress {
    return this.migrating.progress
  }

  /** Restores the sockets' sessions and starts the reactors and jobs. */
  private open(): void {
    this.turn(() => this.sockets.restoreAll())
    this.turn(() => this.reactors.start())
    this.turn(() => this.jobs?.start())
  }

  turn(body: () => void): void {
    this.turns.run(body)
  }

  alarm(): void {
    this.migrating.wake()
    if (this.refusal !== undefined) return
    this.parts.pubsub?.wake()
    this.jobs?.wake()
  }

  private committed(writes: WriteRecorder): void {
    // What runs for commits has not started: the commit is that of a migration.
    if (this.refusal !== undefined) return this.turns.committed()
    this.jobs?.committed((table) => writes.wroteTable(table))
    this.turns.committed()
    this.reactors.committed()
    this.ends.committed(writes)
    this.live.committed(writes)
    if (this.turns.isInTurn) return
    // A commit of code that runs beside the calls is a turn of its own. Only the alarm is set with the commit.
    this.jobs?.endTurn()
    this.parts.background.defer(() => this.turn(() => {}))
  }

  /** The end of a turn: answers are sent, then what was committed reaches live queries. */
  private endTurn(): void {
    const { live, sockets } = this
    if (this.refusal !== undefined) return
    this.jobs?.endTurn()
    this.endSessions()
    sockets.flushOutput()
    for (let i = 0; live.needsFlush && this.flushWaitsFor === undefined && i < flushesPerTurn; i++) {
      if (live.isFlushing || live.subscriptionsToNotify > this.smallFlush) return this.scheduleFlush()
      this.flush()
      this.endSessions()
      sockets.flushOutput()
    }
    // A chain of reactions that has not ended continues in a later turn.
    if (live.needsFlush) return this.scheduleFlush()
    this.committedSpans = []
    // After the flush: who may not read a topic any more does not.
    if (this.parts.pubsub?.deliver()) sockets.flushOutput()
  }

  /** Ends the sessions that a commit of this turn has revoked, before a frame leaves. */
  private endSessions(): void {
    if (this.ends.takeChanged()) this.sockets.endSessions()
  }

  /**
   * A flush of many subscriptions has a turn for itself: the answers of this one do not wait for it. While many calls come
   * in, it waits for a pause, and then does for all of them together what it would do after each turn. Once it has begun, its
   * slices follow each other: frames wait for the last.
   */
  private scheduleFlush(): void {
    if (this.flushWaitsFor === "turn") return
    const { background } = this.parts
    if (this.turns.isBusy && !this.live.isFlushing) {
      this.flushWaitsFor = "pause"
      background.whenIdle(this.flushInPause)
    } else if (this.flushWaitsFor === undefined || this.live.isFlushing) {
      this.flushWaitsFor = "turn"
      background.defer(this.flushInTurn)
    }
  }

  private readonly flushInPause = (): void => {
    if (this.flushWaitsFor === "pause") this.flushInTurn()
  }

  private readonly flushInTurn = (): void =>
    this.turn(() => {
      try {
        this.flush()
      } finally {
        this.flushWaitsFor = undefined
      }
    })

  private flush(): void {
    const spans = this.committedSpans
    this.committedSpans = []
    const { live } = this
    if (this.isTraced) {
      const links = spans.slice(1).map((span) => ({ span, attributes: {} }))
      this.span("flush", { ...(spans[0] && { parent: spans[0] }), links }, (span) => {
        const before = live.totals
        live.flush(span)
        const { runs, unchangedRuns } = live.totals
        span.attribute("dormouse.live.runs", runs - before.runs)
        span.attribute("dormouse.live.unchangedRuns", unchangedRuns - before.unchangedRuns)
      })
      // The next slices belong to the same transactions.
      if (live.isFlushing) this.committedSpans.unshift(...spans)
    } else live.flush()
    Metrics.count(live.takeTotals(), this.parts.services)
  }

  /** A span around the notification of subscribers. After a large flush there are several. */
  private traceDelivery(notify: () => void, parent: Tracer.AnySpan | undefined): void {
    // Without a flush the frames answer a subscription or an acknowledgement: they are no delivery.
    if (parent === undefined) return notify()
    this.span("delivery", { parent }, (span) => {
      const before = this.live.totals
      notify()
      const { bytes, frames } = this.live.totals
      span.attribute("dormouse.live.frames", frames - before.frames)
      span.attribute("dormouse.live.bytes", bytes - before.bytes)
    })
  }

  private span(name: string, options: Tracer.SpanOptionsNoTrace, body: (span: Tracer.Span) => void): void {
    const { tenant } = this.self.annotations
    const attributes = tenant === undefined ? {} : { "dormouse.tenant": tenant }
    Effect.runSyncWith(this.parts.services)(
      Effect.useSpan(`dormouse.${name}`, { ...options, attributes }, (span) => Effect.sync(() => body(span)))
    )
  }

  /** Reads the key of a live query, or returns the exit that refuses it. */
  private readonly readQueryKey: ReadQueryKey = (tag, request) => {
    const procedure = this.executor.procedure(tag)
    if (procedure?.kind !== "query" || (procedure.isInternal && request.isTrusted !== true)) {
      return unknownRpc(`${livePrefix}${tag}`)
    }
    const decoded = this.executor.decode(tag, request.payload, true)
    if ("_tag" in decoded) return decoded
    return {
      tag,
      payload: canonical(procedure.codec.normalizePayload(decoded.payload)),
      identity: request.identity,
      headers: procedure.middlewares.length === 0 ? [] : request.headers
    }
  }

  private runQuery(key: QueryKey, parent: Tracer.AnySpan | undefined): QueryRun {
    let call = this.queryCalls.get(key)
    if (call === undefined) {
      const decoded = this.executor.decode(key.tag, key.payload, true)
      if ("_tag" in decoded) return { result: undefined, failure: decoded, reads: readsOfNothing }
      const identity = decodeIdentity(key.identity)
      const { annotations, client } = this.self
      call = {
        ...decoded,
        caller: { identity, client, annotations: { ...annotations, subject: identity.subject } },
        headers: key.headers.length === 0 ? noHeaders : Headers.fromInput(key.headers),
        requestId: "live"
      }
      this.queryCalls.set(key, call)
    }
    return this.executor.execute(parent === undefined ? call : { ...call, parent }, true)
  }

  private log(message: string, cause: unknown): void {
    const logged = cause === undefined ? Effect.logError(message) : Effect.logError(message, cause)
    Effect.runSyncWith(this.parts.services)(logged)
  }
}

/** A close reason has at most 123 bytes. */
const closeReason = (reason: string): string =>
  new TextDecoder().decode(new TextEncoder().encode(reason).slice(0, 123)).replace(/\ufffd$/, "")

const run = (turn: () => void): void => turn()
