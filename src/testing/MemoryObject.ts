/**
 * A tenant's object in memory: the engine over real SQLite, with sockets that outlive the heap, and a heap that a test
 * can evict or crash at any moment. As in a Durable Object, a turn is one commit, and its messages are sent after the
 * commit.
 */
import type { DatabaseSync } from "node:sqlite"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import * as Scope from "effect/Scope"
import type { WebSocketLike } from "effect/socket/Socket"
import type { App } from "../contract/App.ts"
import type { TargetData } from "../contract/MigrationPlan.ts"
import { ActionHost } from "../engine/object/ActionRelay.ts"
import * as TenantEngine from "../engine/object/TenantEngine.ts"
import { describeTooMany } from "../engine/rpc/CallRates.ts"
import type { ObjectAnswer, ObjectStub } from "../engine/rpc/ObjectStub.ts"
import { objectUrl, type RequestSession, tokenHeaders } from "../engine/rpc/SessionHeader.ts"
import type { SessionOptions } from "../engine/rpc/SessionOptions.ts"
import type { ActionRunner } from "../engine/worker/ActionRunner.ts"
import { type Close, objectNotStarted } from "../engine/worker/Refusal.ts"
import { missingStatus } from "../engine/worker/Tenancy.ts"
import { MemoryAlarm } from "../layers/memory/Alarm.ts"
import { MemoryBackground } from "../layers/memory/Background.ts"
import * as MemoryDatabase from "../layers/memory/Database.ts"
import { MemorySockets } from "../layers/memory/SocketHost.ts"
import { ping, pong, type Request as RpcRequest } from "../protocol/Messages.ts"
import { Alarm, alarmAgain } from "../services/Alarm.ts"
import { Background } from "../services/Background.ts"
import { Database } from "../services/Database.ts"
import * as Migrations from "../services/Migrations.ts"
import { SocketHost } from "../services/SocketHost.ts"
import type { GateHost, TenantGate, TenantUpdate } from "../services/TenantGate.ts"
import { Network, ServerSocket, type SocketData } from "./Network.ts"

/** What an object in memory is made of. */
export interface MemoryObjectOptions<Rpcs extends Rpc.Any> {
  readonly tenant: string
  readonly app: App<Rpcs>
  /** The tenant's rows. They outlive every heap. */
  readonly database: DatabaseSync
  /** Runs the actions that clients call over a socket. */
  readonly actions: ActionRunner
  /** Has the gateway verify a new token of a socket, which is the token of the request. */
  readonly renew: (request: Request, session: RequestSession) => Promise<Response>
  readonly sessions: SessionOptions
  /** What the object knows of its tenant, if there is a registry of tenants. */
  readonly gate?: ((host: GateHost) => TenantGate) | undefined
  /** The context of the test: its clock, its randomness, its logger and tracer. */
  readonly context: Context.Context<never>
}

/** The answer to a handshake that the gateway lets through: the socket itself is opened with `MemoryObject.connect`. */
export class Accepted extends Response {
  readonly session: RequestSession

  constructor(session: RequestSession) {
    super()
    this.session = session
  }
}

/** One tenant's object. */
export class MemoryObject<Rpcs extends Rpc.Any> {
  /** The network between clients and this object. */
  readonly network = new Network()
  /** The tenant's rows, for tests to read. A write here is not seen by live queries, nor by reads of cached rows. */
  readonly database: DatabaseSync
  /** How often the object was started: once, and again after each eviction and crash. */
  starts = 0
  /** Wakes the object, also after an eviction or a crash. */
  readonly alarm: MemoryAlarm
  private readonly options: MemoryObjectOptions<Rpcs>
  private readonly sockets = new Set<ServerSocket>()
  private heap: Heap | undefined
  private failCommits = 0
  private isClosed = false

  constructor(options: MemoryObjectOptions<Rpcs>) {
    this.options = options
    this.database = options.database
    this.alarm = new MemoryAlarm(options.context, () => void this.ring())
  }

  /** The engine. Starts the object if it is not in memory. */
  engine(): Promise<TenantEngine.TenantEngine> {
    return this.event((engine) => engine)
  }

  /** Makes the next commit fail: the turn is rolled back, none of its messages are sent, and the heap is lost. */
  failNextCommit(): void {
    this.failCommits++
  }

  /**
   * Runs an event in the current heap, after its start. Starts over if the heap was lost meanwhile. A heap that could not
   * start is dropped, so that the next event starts another one; as on the platform, the sockets are closed.
   */
  private async event<A>(
    body: (engine: TenantEngine.TenantEngine, heap: Heap) => A,
    notStarted: (cause: unknown) => A = rethrow
  ): Promise<A> {
    for (;;) {
      if (this.isClosed) return notStarted(objectLost())
      this.heap ??= this.start()
      const { heap } = this
      let engine: TenantEngine.TenantEngine
      try {
        engine = await heap.engine
      } catch (cause) {
        if (heap === this.heap) await this.crash()
        return notStarted(cause)
      }
      // The commit of the start failed, before this object had the heap.
      if (heap.isLost && heap === this.heap) await this.crash()
      if (heap === this.heap) return body(engine, heap)
    }
  }

  /** The alarm goes off. As on the platform, it goes off again when the object does not start, or loses its turn. */
  private async ring(): Promise<void> {
    const again = await this.event<number | undefined>(
      (engine, heap) => {
        engine.alarm()
        return heap.isLost ? alarmRetry : undefined
      },
      (cause) => {
        this.logStart(cause)
        return alarmAgain
      }
    )
    if (again === undefined || this.alarm.at !== undefined) return
    this.alarm.service.set(Context.get(this.options.context, Clock.Clock).currentTimeMillisUnsafe() + again)
  }

  /** The object as the Worker sees it. */
  readonly stub: ObjectStub = {
    call: async (session, body, isRewritten) => {
      const { answer, heap } = await this.event((engine, heap) => {
        if (heap.gate?.admits(session.tenant) === false) return { answer: missing, heap }
        heap.gate?.used()
        const answer = engine.http.call(session, body, isRewritten)
        heap.background.service.waitUntil(answer)
        return { answer, heap }
      })
      return heap.whileAlive(answer)
    },
    readQuery: async (session, request) => {
      const { answer, heap } = await this.event((engine, heap) => {
        if (heap.gate?.admits(session.tenant) === false) return { answer: missing, heap }
        heap.gate?.used()
        const answer = engine.http.readQuery(session, request)
        heap.background.service.waitUntil(answer)
        return { answer, heap }
      })
      return heap.whileAlive(answer)
    },
    update: async (update) => {
      const isLost = await this.event((engine, heap) => {
        heap.update(engine, update)
        return heap.isLost
      })
      if (isLost) throw objectLost()
    },
    migrate: async () => {
      try {
        const { detail, state } = await this.event(({ migration }) => migration)
        return { state, detail }
      } catch (cause) {
        // As on the platform: an object that does not start says why.
        return { state: "failed", detail: cause instanceof Error ? cause.message : String(cause) }
      }
    },
    connect: async (session) => {
      if (this.options.gate === undefined) return new Accepted(session)
      const isAdmitted = await this.event((_engine, { gate }) => gate?.admits(session.tenant))
      return isAdmitted ? new Accepted(session) : new Response(null, { status: missingStatus })
    },
    explain: () => this.event((engine) => engine.live.explain()),
    plan: async (target) => this.plan(target)
  }

  /** What a start of the app, or to a target, changes in the database. Changes nothing, and does not start the object. */
  plan(target?: TargetData): Migrations.Plan {
    return Migrations.planFor(MemoryDatabase.make(this.database), () => this.options.app, target)
  }

  /**
   * Opens a socket over this object's network and returns the client's end. It opens once the handshake has arrived; a
   * refused socket is then closed. `objectOf` finds the object that takes it, which is this one unless given.
   */
  connect(
    identify: () => Promise<RequestSession | Close | undefined>,
    objectOf: (session: RequestSession) => MemoryObject<any> = () => this
  ): WebSocketLike {
    let object: MemoryObject<any> = this
    const socket = new ServerSocket(
      (data) => void object.deliver(socket, data),
      () => void object.closed(socket)
    )
    const wire = this.network.open(socket, async () => {
      const session = await identify()
      if (session === undefined || "code" in session) return session
      object = objectOf(session)
      return object.accept(socket, session)
    })
    socket.wire = wire
    return wire.client
  }

  private accept(socket: ServerSocket, session: RequestSession): Promise<"accepted" | Close | undefined> {
    return this.event<"accepted" | Close | undefined>(
      ({ refusal, sockets }, heap) => {
        if (heap.gate?.admits(session.tenant) === false) return { code: 4404, reason: "no such tenant" }
        if (refusal !== undefined) return { code: 1013, reason: refusal }
        const refused = sockets.refusal(session)
        if (refused !== undefined) return { code: 1013, reason: describeTooMany(refused) }
        this.sockets.add(socket)
        // The object may close it at once: a client then sees it open and close.
        socket.wire?.opened()
        sockets.open(heap.sockets.of(socket), session)
        return "accepted"
      },
      (cause) => {
        this.logStart(cause)
        // As the Worker closes it.
        return this.isClosed ? undefined : { code: 1013, reason: objectNotStarted }
      }
    )
  }

  /**
   * Evicts the heap, as hibernation does: after pending work, and without closing the sockets, which keep their
   * attachments. The next event starts the object again.
   */
  async evict(): Promise<void> {
    // Pending work may add more work.
    while (this.heap?.background.isBusy) await this.heap.background.idle()
    if (this.heap !== undefined) this.heap.isEvicted = true
    await this.stop()
  }

  /** Drops the heap and all sockets at once, as a machine failure does. The database stays. */
  async crash(): Promise<void> {
    const stopped = this.stop()
    const sockets = [...this.sockets]
    // Before they close: that does not wake the object.
    this.sockets.clear()
    for (const socket of sockets) socket.wire?.cut()
    await stopped
  }

  /** Ends the object: what arrives later reaches nothing. */
  async close(): Promise<void> {
    this.isClosed = true
    this.alarm.stop()
    await this.crash()
  }

  private async stop(): Promise<void> {
    const { heap } = this
    this.heap = undefined
    await heap?.stop()
  }

  private async deliver(socket: ServerSocket, data: SocketData): Promise<void> {
    // A socket that was refused reaches no object.
    if (!this.sockets.has(socket)) return
    // The platform answers pings itself, without waking the object.
    if (data === ping) {
      socket.pingedAt = Context.get(this.options.context, Clock.Clock).currentTimeMillisUnsafe()
      return socket.send(pong)
    }
    await this.event(({ sockets }, heap) => {
      // A crash may have closed the socket before its message was handled.
      if (!this.sockets.has(socket) || heap.gate?.isOpen() === false) return
      heap.gate?.used()
      sockets.message(heap.sockets.of(socket), typeof data === "string" ? data : data.slice().buffer)
    }, this.logStart)
  }

  private async closed(socket: ServerSocket): Promise<void> {
    if (!this.sockets.delete(socket)) return
    const { heap } = this
    const engine = await heap?.engine.catch(() => undefined)
    // As on the platform, it wakes an object that was evicted: who was present by the socket is seen to go.
    if (heap === undefined || heap.isEvicted)
      return this.event(({ sockets }, heap) => sockets.closed(heap.sockets.of(socket)), this.logStart)
    if (heap === this.heap) engine?.sockets.closed(heap.sockets.of(socket))
  }

  /** Logs why an event that nobody waits for found no engine. */
  private readonly logStart = (cause: unknown): void => {
    if (!this.isClosed) Effect.runForkWith(this.options.context)(Effect.logError("the object could not start", cause))
  }

  private start(): Heap {
    this.starts++
    return new Heap(this.options, {
      sockets: () => this.sockets,
      generation: this.starts,
      stub: this.stub,
      alarm: this.alarm.service,
      shouldFail: () => this.failCommits > 0 && this.failCommits-- > 0,
      onCommitFailed: () => void this.crash()
    })
  }
}

interface HeapOptions {
  readonly sockets: () => Iterable<ServerSocket>
  /** The number of this heap, counted from 1. */
  readonly generation: number
  readonly stub: ObjectStub
  /** The object's alarm, which outlives the heap. */
  readonly alarm: Alarm["Service"]
  /** Whether the commit of the current turn is to fail. */
  readonly shouldFail: () => boolean
  /** Called after a commit failed. The heap is lost then. */
  readonly onCommitFailed: () => void
}

/** Milliseconds after which a platform repeats an alarm that failed. */
const alarmRetry = 2000

/** What an object answers that is not the object of the tenant that a call names. */
const missing: Promise<ObjectAnswer> = Promise.resolve({ status: missingStatus, body: "" })

const rethrow = (cause: unknown): never => {
  throw cause
}

const commitFailed = Symbol("commit failed")
const objectLost = () => new Error("the object was lost while it handled the call")

/** One heap of an object. Messages that it sends after its end are dropped. */
class Heap {
  readonly engine: Promise<TenantEngine.TenantEngine>
  readonly background: MemoryBackground
  readonly sockets: MemorySockets
  readonly gate: TenantGate | undefined
  private readonly database: Database["Service"]
  private readonly scope = Scope.makeUnsafe()
  private readonly lost = Promise.withResolvers<never>()
  private readonly ended = new AbortController()
  /** The messages of the current turn, which are sent after its commit. */
  private output: Array<() => void> | undefined
  /** What the current turn does with the alarm, which is durable with its commit. */
  private alarms: Array<() => void> | undefined
  private isAlive = true
  /** Whether the commit of a turn failed. */
  isLost = false
  /** Whether the heap was evicted, with no work pending. */
  isEvicted = false

  constructor(
    options: MemoryObjectOptions<any>,
    { alarm, generation, onCommitFailed, shouldFail, sockets, stub }: HeapOptions
  ) {
    const clock = Context.get(options.context, Clock.Clock)
    this.background = new MemoryBackground(options.context)
    const database = MemoryDatabase.make(options.database)
    this.database = database
    this.gate = options.gate?.({
      object: options.tenant,
      database,
      bytes: () =>
        Number(database.all("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", []).rows[0]?.[0]),
      now: () => clock.currentTimeMillisUnsafe(),
      later: (work) => this.background.service.defer(() => this.background.service.waitUntil(work())),
      run: (effect) => Effect.runPromiseWith(options.context)(effect)
    })
    this.lost.promise.catch(() => {})
    this.sockets = new MemorySockets(sockets, (send) => {
      if (this.output !== undefined) this.output.push(send)
      else if (this.isAlive) send()
    })
    const commitTurn = (turn: () => void) => {
      // A heap that was lost does nothing more.
      if (!this.isAlive) return
      const output: Array<() => void> = []
      let failed: { readonly cause: unknown } | undefined
      const alarms: Array<() => void> = []
      this.output = output
      this.alarms = alarms
      try {
        database.transaction(() => {
          try {
            turn()
          } catch (cause) {
            // A failed event does not roll back the transactions that it completed.
            failed = { cause }
          }
          if (shouldFail()) throw commitFailed
        })
      } catch (cause) {
        this.output = undefined
        this.alarms = undefined
        if (cause !== commitFailed) throw cause
        // The turn was rolled back: send none of its messages, and drop the heap, whose state includes the turn.
        this.isAlive = false
        this.isLost = true
        this.lost.reject(objectLost())
        return onCommitFailed()
      }
      this.output = undefined
      this.alarms = undefined
      for (const set of alarms) set()
      if (this.isAlive) for (const send of output) send()
      if (failed !== undefined) throw failed.cause
    }
    const inTurn = (body: () => void) => {
      if (this.alarms !== undefined) this.alarms.push(body)
      else if (this.isAlive) body()
    }
    const host = Layer.mergeAll(
      Layer.succeed(Database, this.gate?.guard(database) ?? database),
      Layer.succeed(Background, this.background.service),
      Layer.succeed(SocketHost, this.sockets.service),
      Layer.succeed(Alarm, {
        set: (at) => inTurn(() => alarm.set(at)),
        confirm: (at) => inTurn(() => alarm.confirm(at))
      }),
      Layer.succeed(ActionHost, {
        runAction: (request, session, signal) => runAction(options, stub, request, session, signal, this.ended.signal),
        renewSession: (token, session, signal) =>
          options.renew(new Request(objectUrl, { method: "POST", headers: tokenHeaders(token), signal }), session)
      })
    )
    const { gate } = this
    const boot = TenantEngine.make(options.app, {
      tenant: options.tenant,
      // A start takes time even under a clock that stands still, so that versions never go back.
      now: () => clock.currentTimeMillisUnsafe() + generation * 1000,
      commitTurn,
      sessions: options.sessions,
      onMigrated: () => void this.engine.then(({ migration }) => gate?.migrated(migration)),
      ...(gate && { session: () => ({ tenant: gate.name(), object: options.tenant }), isOpen: gate.isOpen })
    })
    this.engine = Effect.runPromiseWith(options.context)(
      boot.pipe(
        Effect.provide(host),
        Scope.provide(this.scope),
        Effect.tap(({ migration }) => Effect.sync(() => gate?.migrated(migration))),
        Effect.tapError(({ message }) => Effect.sync(() => gate?.migrated({ state: "failed", detail: message }))),
        Effect.orDie
      )
    )
  }

  /** Takes an update of the tenant's name or state, in one turn. */
  update(engine: TenantEngine.TenantEngine, update: TenantUpdate): void {
    const { database, gate } = this
    const step = gate?.step(update) ?? "ignore"
    if (gate === undefined || step === "ignore") return
    engine.turn(() => {
      if (step !== "keep") engine.sockets.closeAll([4404, "no such tenant"])
      if (step === "delete") deleteAll(database)
      gate.keep(update)
    })
    if (update.state === "active") engine.alarm()
  }

  /** The answer. Rejects if the heap is lost first. */
  whileAlive<A extends ObjectAnswer>(answer: Promise<A>): Promise<A> {
    // A turn whose commit failed had its answers ready.
    const committed = answer.then((answer): A | Promise<never> => (this.isLost ? this.lost.promise : answer))
    return Promise.race([this.lost.promise, committed])
  }

  /** Ends the heap. */
  async stop(): Promise<void> {
    this.isAlive = false
    this.ended.abort()
    this.background.stop()
    if (!this.isEvicted) this.lost.reject(objectLost())
    await Effect.runPromise(Scope.close(this.scope, Exit.void))
  }
}

/** Deletes all tables, as `deleteAll` of a Durable Object does. */
const deleteAll = (database: Database["Service"]): void => {
  database.run("PRAGMA defer_foreign_keys = ON", [])
  const tables = database.all("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'", [])
  for (const [name] of tables.rows) database.run(`DROP TABLE "${name}"`, [])
}

/**
 * Runs an action as the Worker does. Yields its messages as they are produced; the action waits until each is taken, as long
 * as somebody reads: until the iteration or the heap has ended.
 */
async function* runAction(
  options: MemoryObjectOptions<any>,
  object: ObjectStub,
  request: RpcRequest,
  session: RequestSession,
  signal: AbortSignal,
  heapEnded: AbortSignal
): AsyncGenerator<FromServerEncoded> {
  const messages: Array<FromServerEncoded> = []
  /** What tells the action that a message was taken, for each that was not, in their order. */
  const waiting: Array<() => void> = []
  let wake: (() => void) | undefined
  let isDone = false
  let isRead = true
  const stopReading = () => {
    isRead = false
    for (const taken of waiting.splice(0)) taken()
  }
  const run = options.actions.run({
    requests: [request],
    session,
    object,
    onMessage: (message) => {
      if (!isRead) return
      messages.push(message)
      wake?.()
      return new Promise<void>((taken) => void waiting.push(taken))
    }
  })
  const finished = Effect.runPromiseWith(options.context)(run, { signal }).finally(() => {
    isDone = true
    wake?.()
  })
  finished.catch(() => {})
  heapEnded.addEventListener("abort", stopReading)
  try {
    while (true) {
      for (let message = messages.shift(); message !== undefined; message = messages.shift()) {
        yield message
        waiting.shift()?.()
      }
      if (isDone) return
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  } finally {
    heapEnded.removeEventListener("abort", stopReading)
    stopReading()
  }
}
