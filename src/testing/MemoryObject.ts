/**
 * A tenant's object in memory: the same engine over real SQLite, with sockets that outlive it and a heap that can be taken
 * away at any moment. What a turn writes is one commit, and what it sends leaves after that, as in a Durable Object.
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
import { ActionHost } from "../engine/object/ActionRelay.ts"
import * as TenantEngine from "../engine/object/TenantEngine.ts"
import type { ObjectAnswer, ObjectStub } from "../engine/rpc/ObjectStub.ts"
import type { RequestSession } from "../engine/rpc/SessionHeader.ts"
import type { ActionRunner } from "../engine/worker/ActionRunner.ts"
import { MemoryBackground } from "../layers/memory/Background.ts"
import * as MemoryDatabase from "../layers/memory/Database.ts"
import { type MemorySocket, MemorySockets } from "../layers/memory/SocketHost.ts"
import { ping, pong, type Request as RpcRequest } from "../protocol/Messages.ts"
import { Background } from "../services/Background.ts"
import { Database } from "../services/Database.ts"
import { SocketHost } from "../services/SocketHost.ts"
import { Network, type Wire } from "./Network.ts"

export interface MemoryObjectOptions<Rpcs extends Rpc.Any> {
  readonly tenant: string
  readonly app: App<Rpcs>
  readonly database: DatabaseSync
  readonly actions: ActionRunner
  /** The context of the test: its clock, its randomness, its logger and tracer. */
  readonly context: Context.Context<never>
}

/** One tenant's object. */
export class MemoryObject<Rpcs extends Rpc.Any> {
  readonly network = new Network()
  /** The tenant's rows, to be read by tests. Live queries are not told of what a test writes here. */
  readonly database: DatabaseSync
  /** How often a heap was built: one more than the times it was taken away. */
  starts = 0
  private readonly options: MemoryObjectOptions<Rpcs>
  private readonly sockets = new Set<ServerSocket>()
  private heap: Heap | undefined
  private failCommits = 0

  constructor(options: MemoryObjectOptions<Rpcs>) {
    this.options = options
    this.database = options.database
  }

  /** The engine. It is built again when the object was evicted. */
  async engine(): Promise<TenantEngine.TenantEngine> {
    this.heap ??= this.start()
    return this.heap.engine
  }

  /** The next commit of a turn fails: what the turn wrote is lost with the heap, and nothing that it sent leaves. */
  failNextCommit(): void {
    this.failCommits++
  }

  /** Runs an event in the heap that is ready for it, never in one that was taken away meanwhile. */
  private async event<A>(body: (engine: TenantEngine.TenantEngine, heap: Heap) => A): Promise<A> {
    for (;;) {
      this.heap ??= this.start()
      const { heap } = this
      const engine = await heap.engine
      if (heap === this.heap) return body(engine, heap)
    }
  }

  /** The object as the Worker sees it. */
  readonly stub: ObjectStub = {
    call: async (session, body) => {
      const { answer, heap } = await this.event((engine, heap) => {
        const answer = engine.http.call(session, body)
        heap.background.service.waitUntil(answer)
        return { answer, heap }
      })
      return heap.whileAlive(answer)
    },
    connect: () => Promise.reject(new Error("sockets are opened with `connect`")),
    explain: () => this.event((engine) => engine.live.explain())
  }

  /** A client's end of a new socket. It opens when the network lets the handshake through and it is not refused. */
  connect(identify: () => Promise<RequestSession | undefined>): WebSocketLike {
    const socket = new ServerSocket(
      (data) => void this.deliver(socket, data),
      () => void this.gone(socket)
    )
    const wire = this.network.open(socket, async () => {
      const session = await identify()
      if (session === undefined) return false
      await this.event(({ sockets }, heap) => {
        this.sockets.add(socket)
        sockets.open(heap.sockets.of(socket), session)
      })
      return true
    })
    socket.wire = wire
    return wire.client
  }

  /**
   * Takes the heap away, as hibernation does: after what was under way, leaving the sockets and what is attached to them. The
   * next event builds it again.
   */
  async evict(): Promise<void> {
    // Work that comes while it waits is waited for as well.
    while (this.heap?.background.isBusy) await this.heap.background.idle()
    if (this.heap !== undefined) this.heap.isEvicted = true
    await this.stop()
  }

  /** Takes the heap away at once, and the sockets with it, as a lost machine does. The database stays. */
  async crash(): Promise<void> {
    const stopped = this.stop()
    for (const socket of this.sockets) socket.wire?.cut()
    this.sockets.clear()
    await stopped
  }

  private async stop(): Promise<void> {
    const { heap } = this
    this.heap = undefined
    await heap?.stop()
  }

  private async deliver(socket: ServerSocket, data: string): Promise<void> {
    // The platform answers pings by itself; they do not wake the object.
    if (data === ping) return socket.send(pong)
    await this.event(({ sockets }, heap) => {
      // A crash may have taken the socket before its message was read.
      if (this.sockets.has(socket)) sockets.message(heap.sockets.of(socket), data)
    })
  }

  private async gone(socket: ServerSocket): Promise<void> {
    if (!this.sockets.delete(socket) || this.heap === undefined) return
    const { heap } = this
    const { sockets } = await heap.engine
    // The next heap of an object that was not in memory finds the socket missing.
    if (heap === this.heap) sockets.closed(heap.sockets.of(socket))
  }

  private start(): Heap {
    this.starts++
    return new Heap(this.options, {
      sockets: () => this.sockets,
      generation: this.starts,
      stub: this.stub,
      shouldFail: () => this.failCommits > 0 && this.failCommits-- > 0,
      onCommitFailed: () => void this.crash()
    })
  }
}

interface HeapOptions {
  readonly sockets: () => Iterable<ServerSocket>
  /** How many heaps there were, this one included. */
  readonly generation: number
  readonly stub: ObjectStub
  /** Whether the commit of a turn fails. */
  readonly shouldFail: () => boolean
  readonly onCommitFailed: () => void
}

const commitFailed = Symbol("commit failed")

/** One heap of an object. What it sends after it was taken away is dropped. */
class Heap {
  readonly engine: Promise<TenantEngine.TenantEngine>
  readonly background = new MemoryBackground()
  readonly sockets: MemorySockets
  private readonly scope = Scope.makeUnsafe()
  private readonly lost = Promise.withResolvers<never>()
  /** What the turn under way sends; it leaves after the turn's commit. */
  private output: Array<() => void> | undefined
  private isAlive = true
  /** Whether the commit of a turn failed. */
  private isLost = false
  /** Whether it was taken away when nothing was under way. */
  isEvicted = false

  constructor(
    options: MemoryObjectOptions<any>,
    { generation, onCommitFailed, shouldFail, sockets, stub }: HeapOptions
  ) {
    const clock = Context.get(options.context, Clock.Clock)
    const database = MemoryDatabase.make(options.database)
    this.lost.promise.catch(() => {})
    this.sockets = new MemorySockets(sockets, (send) => {
      if (this.output !== undefined) this.output.push(send)
      else if (this.isAlive) send()
    })
    const commitTurn = (turn: () => void) => {
      // A heap that was taken away does nothing more.
      if (!this.isAlive) return
      const output: Array<() => void> = []
      let failed: { readonly cause: unknown } | undefined
      this.output = output
      try {
        database.transaction(() => {
          try {
            turn()
          } catch (cause) {
            // An event that fails does not undo what its transactions committed.
            failed = { cause }
          }
          if (shouldFail()) throw commitFailed
        })
      } catch (cause) {
        this.output = undefined
        if (cause !== commitFailed) throw cause
        // Nothing of the turn is on disk: nobody may hear of it, and the heap knows what is not so.
        this.isAlive = false
        this.isLost = true
        this.lost.reject(new Error("the object was lost while it answered"))
        return onCommitFailed()
      }
      this.output = undefined
      if (this.isAlive) for (const send of output) send()
      if (failed !== undefined) throw failed.cause
    }
    const host = Layer.mergeAll(
      Layer.succeed(Database, database),
      Layer.succeed(Background, this.background.service),
      Layer.succeed(SocketHost, this.sockets.service),
      Layer.succeed(ActionHost, {
        runAction: (request, session, signal) => runAction(options, stub, request, session, signal)
      })
    )
    const boot = TenantEngine.make(options.app, {
      tenant: options.tenant,
      // A start takes a moment, also where a test's clock stands still: versions never go back.
      now: () => clock.currentTimeMillisUnsafe() + generation * 1000,
      commitTurn
    })
    this.engine = Effect.runPromiseWith(options.context)(
      boot.pipe(Effect.provide(host), Scope.provide(this.scope), Effect.orDie)
    )
  }

  /** The answer, unless the heap is lost before it is there. */
  whileAlive(answer: Promise<ObjectAnswer>): Promise<ObjectAnswer> {
    // A turn whose commit failed had its answers ready.
    const committed = answer.then((answer) => (this.isLost ? this.lost.promise : answer))
    return Promise.race([this.lost.promise, committed])
  }

  async stop(): Promise<void> {
    this.isAlive = false
    this.background.stop()
    if (!this.isEvicted) this.lost.reject(new Error("the object was lost while it answered"))
    await Effect.runPromise(Scope.close(this.scope, Exit.void))
  }
}

/** Runs an action as the Worker does, and gives its messages as they come. */
async function* runAction(
  options: MemoryObjectOptions<any>,
  object: ObjectStub,
  request: RpcRequest,
  session: RequestSession,
  signal: AbortSignal
): AsyncGenerator<FromServerEncoded> {
  const messages: Array<FromServerEncoded> = []
  let wake: (() => void) | undefined
  let isDone = false
  const run = options.actions.run({
    requests: [request],
    session,
    object,
    onMessage: (message) => {
      messages.push(message)
      wake?.()
    }
  })
  const finished = Effect.runPromiseWith(options.context)(run, { signal }).finally(() => {
    isDone = true
    wake?.()
  })
  finished.catch(() => {})
  while (true) {
    for (let message = messages.shift(); message !== undefined; message = messages.shift()) yield message
    if (isDone) return
    await new Promise<void>((resolve) => {
      wake = resolve
    })
  }
}

/** The object's end of a socket: what the platform keeps of it. */
export class ServerSocket implements MemorySocket {
  wire: Wire | undefined
  attachment: unknown = null
  readonly receive: (data: string) => void
  readonly gone: () => void

  constructor(receive: (data: string) => void, gone: () => void) {
    this.receive = receive
    this.gone = gone
  }

  send(text: string): void {
    this.wire?.send("toClient", text)
  }

  close(code: number, reason: string): void {
    this.wire?.close(code, reason)
  }
}
