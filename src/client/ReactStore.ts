import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Rpc from "effect/rpc/Rpc"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Client } from "./Client.ts"
import { ConnectionState } from "./ConnectionState.ts"
import { Observable } from "./Observable.ts"

/** Something that changes as long as it is open. */
export interface Source<out S> {
  readonly read: () => S
  readonly end: () => void
}

/** How a source is opened: `onChange` is called in the turn of each change. */
export type Open<S> = (client: Client<any>, onChange: () => void) => Source<S>

/**
 * How long something stays open after the last component let go of it, in milliseconds. React lets go and takes hold
 * again when it mounts twice in development, and people go back and forth between views.
 */
const linger = 1000

/** What components share: one client, and one source for each key, however many components read it. */
export class Store<Rpcs extends Rpc.Any> {
  readonly connection = new Observable<ConnectionState>(ConnectionState.Idle())
  private readonly make: Effect.Effect<Client<Rpcs>, never, Scope.Scope>
  private readonly shared = new Map<string, Shared<any>>()
  private readonly providers = new Holders(() => this.close())
  private opened: Opened<Rpcs> | undefined

  constructor(make: Effect.Effect<Client<Rpcs>, never, Scope.Scope>) {
    this.make = make
  }

  /** Keeps the client open until the function that is returned is called. */
  readonly hold = (): (() => void) => this.providers.add()

  /** The client, made when it is first asked for. */
  get client(): Opened<Rpcs> {
    this.opened ??= new Opened(this.make, this.connection)
    return this.opened
  }

  /** What the source of a key has; `undefined` while nobody listens to it. */
  read<S>(key: string): S | undefined {
    return this.shared.get(key)?.state
  }

  /** Listens to the source of a key, which is opened for the first listener. */
  listen<S>(key: string, open: Open<S>, listener: () => void): () => void {
    let shared = this.shared.get(key)
    if (shared === undefined) {
      shared = new Shared(this.client, open, () => this.shared.delete(key))
      this.shared.set(key, shared)
    }
    return shared.listen(listener)
  }

  /** The source of a key, while somebody listens to it. */
  source<X extends Source<unknown>>(key: string): X | undefined {
    return this.shared.get(key)?.source
  }

  /** Resolves when a source has what a component waits for. Holds it open meanwhile: the component is not mounted. */
  first<S>(key: string, open: Open<S>, isReady: (state: S) => boolean): Promise<void> {
    const end = this.listen(key, open, () => {})
    const shared = this.shared.get(key)!
    shared.first ??= new Promise<void>((resolve) => {
      const look = () => {
        if (shared.state === undefined || !isReady(shared.state)) return
        endLook()
        resolve()
      }
      const endLook = shared.listen(look)
      look()
    })
    end()
    return shared.first
  }

  private close(): void {
    for (const shared of this.shared.values()) shared.close()
    this.opened?.close()
    this.opened = undefined
    this.connection.set(ConnectionState.Idle())
  }
}

/** A client that was made, or is being made. */
class Opened<Rpcs extends Rpc.Any> {
  private readonly scope = Scope.makeUnsafe()
  private readonly making: ReturnType<typeof Effect.runFork<Client<Rpcs>, never>>

  constructor(make: Effect.Effect<Client<Rpcs>, never, Scope.Scope>, connection: Observable<ConnectionState>) {
    const watched = Effect.tap(make, (client) =>
      Effect.forkScoped(Stream.runForEach(client.connection, (state) => Effect.sync(() => connection.set(state))))
    )
    this.making = Effect.runFork(Scope.provide(watched, this.scope))
  }

  /** Calls at once when the client is there, and when it is made otherwise. */
  use(f: (client: Client<Rpcs>) => void): void {
    this.making.addObserver((exit) => {
      if (Exit.isSuccess(exit)) f(exit.value)
    })
  }

  close(): void {
    Effect.runFork(Scope.close(this.scope, Exit.void))
  }
}

/** Counts who holds something, and lets it go when nobody has for a while. */
class Holders {
  private count = 0
  private timer: ReturnType<typeof setTimeout> | undefined
  private readonly onNone: () => void

  constructor(onNone: () => void) {
    this.onNone = onNone
  }

  add(): () => void {
    clearTimeout(this.timer)
    this.count++
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      if (--this.count === 0) this.timer = setTimeout(this.onNone, linger)
    }
  }

  end(): void {
    clearTimeout(this.timer)
    this.onNone()
  }
}

/** One source, open while somebody listens and for a while after. */
class Shared<S> {
  state: S | undefined
  source: Source<S> | undefined
  first: Promise<void> | undefined
  private readonly listeners = new Set<() => void>()
  private readonly holders: Holders
  private isClosed = false

  constructor(client: Opened<any>, open: Open<S>, onClose: () => void) {
    this.holders = new Holders(() => {
      this.isClosed = true
      this.source?.end()
      onClose()
    })
    client.use((client) => {
      if (this.isClosed) return
      this.source = open(client, () => this.update())
      this.update()
    })
  }

  listen(listener: () => void): () => void {
    const release = this.holders.add()
    this.listeners.add(listener)
    return () => {
      this.listeners.delete(listener)
      release()
    }
  }

  close(): void {
    this.holders.end()
  }

  private update(): void {
    if (this.source === undefined) return
    this.state = this.source.read()
    for (const listener of [...this.listeners]) listener()
  }
}
