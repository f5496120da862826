import type { DatabaseSync } from "node:sqlite"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Rpc from "effect/rpc/Rpc"
import * as Scope from "effect/Scope"
import type { WebSocketLike } from "effect/socket/Socket"
import type { Actions } from "../engine/Actions.ts"
import type { App } from "../engine/App.ts"
import * as Backend from "../engine/Backend.ts"
import { fetch } from "../engine/Exchange.ts"
import type { Host, Session, Socket } from "../engine/Host.ts"
import * as MemoryDatabase from "../layers/memory/Database.ts"
import * as Limits from "../protocol/Limits.ts"
import { ping, pong } from "../protocol/Messages.ts"
import { Database } from "../services/Database.ts"
import { Network, type Wire } from "./Network.ts"

export interface Options<Rpcs extends Rpc.Any> {
  readonly app: App<Rpcs>
  readonly database: DatabaseSync
  readonly actions: Actions
  /** The context of the test: its clock, its randomness, its logger. */
  readonly context: Context.Context<never>
}

/**
 * A tenant's object in memory: the same engine over real SQLite, with sockets that outlive it and a heap that can be
 * taken away at any moment.
 */
export class MemoryObject<Rpcs extends Rpc.Any> {
  readonly network = new Network()
  /** The tenant's rows, to look at. What is written here by hand, nobody is told of. */
  readonly database: DatabaseSync
  /** How many times a heap was built: one more than the times it was taken away. */
  starts = 0
  private readonly options: Options<Rpcs>
  private readonly sockets = new Set<ServerSocket>()
  private running: Running | undefined

  constructor(options: Options<Rpcs>) {
    this.options = options
    this.database = options.database
  }

  /** The engine, built anew when the object was evicted. */
  async backend(): Promise<Backend.Backend> {
    this.running ??= this.start()
    return this.running.backend
  }

  /** Runs an event in the life of the heap that it is ready in: never in one that was taken away meanwhile. */
  private async event(body: (backend: Backend.Backend, running: Running) => void): Promise<void> {
    for (;;) {
      this.running ??= this.start()
      const { running } = this
      const backend = await running.backend
      if (running === this.running) return body(backend, running)
    }
  }

  async fetch(url: string, init: RequestInit): Promise<Response> {
    let answer: Promise<Response> | undefined
    let life: Running | undefined
    await this.event((backend, running) => {
      life = running
      answer = fetch(backend, new Request(url, init), this.options.app.limits, () => {
        throw new Error("sockets are opened with `connect`")
      })
      running.busy(answer)
    })
    const response = await answer!
    if (life !== this.running && !life!.isEvicted) throw new Error("the object was lost while it answered")
    return response
  }

  /** A client's end of a new socket. It opens when the network lets the handshake through and it is not refused. */
  connect(identify: () => Promise<Session | undefined>): WebSocketLike {
    const socket = new ServerSocket(
      (data) => void this.deliver(socket, data),
      () => void this.gone(socket)
    )
    const wire = this.network.open(socket, async () => {
      const session = await identify()
      if (session === undefined) return false
      await this.event(({ sockets }, running) => {
        this.sockets.add(socket)
        sockets.open(running.socket(socket), session)
      })
      return true
    })
    socket.wire = wire
    return wire.client
  }

  /**
   * Takes the heap away, as hibernation does: after what was under way, leaving the sockets and what they remember. The
   * next event builds it anew.
   */
  async evict(): Promise<void> {
    // Whatever came while it waited is waited for as well.
    while (this.running?.isBusy) await this.running.settle()
    if (this.running !== undefined) this.running.isEvicted = true
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
    const { running } = this
    this.running = undefined
    await running?.stop()
  }

  private async deliver(socket: ServerSocket, data: string): Promise<void> {
    // The platform answers pings by itself; they do not wake the object.
    if (data === ping) return socket.send(pong)
    await this.event(({ sockets }, running) => {
      // A crash may have taken the socket before its message was read.
      if (this.sockets.has(socket)) sockets.message(running.socket(socket), data)
    })
  }

  private async gone(socket: ServerSocket): Promise<void> {
    if (!this.sockets.delete(socket) || this.running === undefined) return
    const { running } = this
    const { sockets } = await running.backend
    // When the object was gone already, its next life finds the socket missing.
    if (running === this.running) sockets.closed(running.socket(socket))
  }

  private start(): Running {
    this.starts++
    return new Running(this.options, () => this.sockets, this.starts)
  }
}

/** One life of the heap. What it sends after it was taken away is lost. */
class Running {
  readonly backend: Promise<Backend.Backend>
  private readonly scope = Scope.makeUnsafe()
  private readonly handles = new Map<ServerSocket, Socket>()
  private readonly tasks = new Set<Promise<void>>()
  private alive = true
  /** Whether it was taken away when nothing was under way. */
  isEvicted = false

  constructor(options: Options<any>, sockets: () => Iterable<ServerSocket>, life: number) {
    const clock = Context.get(options.context, Clock.Clock)
    const host: Host = {
      sockets: () => Array.from(sockets(), (socket) => this.socket(socket)),
      afterCommit: (task) => this.later(task),
      soon: (task) => this.later(task),
      act: (request, session, signal) => this.act(options, request, session, signal),
      // To start takes a moment, also where a test's clock stands still: versions never go back.
      now: () => clock.currentTimeMillisUnsafe() + life * 1000,
      socketId: () => crypto.randomUUID()
    }
    this.backend = Effect.runPromiseWith(options.context)(
      Backend.make(options.app, host).pipe(
        Effect.provideService(Database, MemoryDatabase.make(options.database)),
        Scope.provide(this.scope),
        Effect.orDie
      ) as Effect.Effect<Backend.Backend>
    )
  }

  private later(task: () => void): void {
    this.busy(
      Promise.resolve().then(() => {
        if (this.alive) task()
      })
    )
  }

  socket(socket: ServerSocket): Socket {
    let handle = this.handles.get(socket)
    if (handle === undefined) {
      handle = {
        send: (text) => {
          if (this.alive) socket.send(text)
        },
        close: (code, reason) => {
          if (this.alive) socket.wire?.close(code, reason)
        },
        attachment: () => socket.attachment,
        attach: (value) => socket.attach(value)
      }
      this.handles.set(socket, handle)
    }
    return handle
  }

  /** What keeps the object awake until it ends. */
  busy(task: Promise<unknown>): void {
    const ended: Promise<void> = task.then(
      () => void this.tasks.delete(ended),
      () => void this.tasks.delete(ended)
    )
    this.tasks.add(ended)
  }

  /** Waits for what keeps a real object awake: flushes that were promised, and calls over HTTP. */
  async settle(): Promise<void> {
    while (this.isBusy) await Promise.all(this.tasks)
  }

  get isBusy(): boolean {
    return this.tasks.size > 0
  }

  async stop(): Promise<void> {
    this.alive = false
    await Effect.runPromise(Scope.close(this.scope, Exit.void))
  }

  private async *act(options: Options<any>, request: any, session: Session, signal: AbortSignal) {
    const messages: Array<any> = []
    let wake: (() => void) | undefined
    let done = false
    const run = options.actions.run({
      requests: [request],
      session,
      object: async (url, init) => {
        const backend = await this.backend
        return fetch(backend, new Request(url, init), options.app.limits, () => new Response(null, { status: 426 }))
      },
      onMessage: (message) => {
        messages.push(message)
        wake?.()
      }
    })
    const finished = Effect.runPromiseWith(options.context)(run, { signal }).finally(() => {
      done = true
      wake?.()
    })
    finished.catch(() => {})
    while (true) {
      while (messages.length > 0) yield messages.shift()
      if (done) return
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
}

/** The object's end of a socket: what the platform keeps of it. */
export class ServerSocket {
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

  attach(value: unknown): void {
    const bytes = JSON.stringify(value).length
    if (bytes > Limits.socketAttachmentBytes)
      throw new Error(`an attachment holds ${Limits.socketAttachmentBytes} bytes`)
    this.attachment = structuredClone(value)
  }
}
