import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { ConnectionState } from "./ConnectionState.ts"
import { Observable } from "./Observable.ts"
import type { UntypedClient } from "./UntypedClient.ts"

/** Something that changes as long as it is open. */
export interface Source<out S> {
  readonly read: () => S
  /** Whether it will not change any more. */
  readonly isOver: () => boolean
  readonly end: () => void
}

/** How the source of a key is opened: `onChange` is called in the turn of each change. */
export interface Query<S> {
  readonly key: string
  readonly open: (client: UntypedClient, onChange: () => void) => Source<S>
}

/**
 * How long something stays open after the last component let go of it, in milliseconds. React lets go and takes hold
 * again when it mounts twice in development, a component that waited is mounted a moment after what it waited for has
 * come, and people go back and forth between views.
 */
const releaseDelay = 1000

/**
 * What components share: one client, and one source for each key, however many read it. Making one does nothing; the
 * client is made when it is first asked for, which a server that renders never does.
 */
export class Store {
  readonly connection = new Observable<ConnectionState>(ConnectionState.Idle())
  /** Those who need the client: providers, sources and calls. */
  private readonly refs = new RefCount(() => this.close())
  private readonly shared = new Map<string, Shared<any>>()
  private readonly make: Effect.Effect<UntypedClient, never, Scope.Scope>
  private readonly onOpened: (isOpen: boolean) => void
  private opened: OpenClient | undefined

  constructor(make: Effect.Effect<UntypedClient, never, Scope.Scope>, onOpened: (isOpen: boolean) => void) {
    this.make = make
    this.onOpened = onOpened
  }

  /** Keeps the client open until the function that is returned is called. */
  readonly hold = (): (() => void) => this.refs.add()

  /** Calls with the client: at once when there is one, and else when it is made. */
  use(f: (client: UntypedClient) => void): void {
    if (this.opened === undefined) {
      this.opened = new OpenClient(this.make, this.connection)
      this.onOpened(true)
    }
    this.opened.use(f)
  }

  /** The source of a key, while it is open. */
  get<S>({ key }: Query<S>): { readonly state: S | undefined; readonly source: Source<S> | undefined } | undefined {
    return this.shared.get(key)
  }

  /** Listens to the source of a key, which is opened for the first listener. */
  listen<S>(query: Query<S>, listener: () => void): () => void {
    return this.share(query).listen(listener)
  }

  /** Resolves when a source has what a component waits for; it is kept open meanwhile, though nothing is mounted. */
  first<S>(query: Query<S>, isReady: (state: S) => boolean): Promise<void> {
    const shared = this.share(query)
    shared.first ??= new Promise<void>((resolve) => {
      const look = () => {
        if (shared.state === undefined || !isReady(shared.state)) return
        end()
        resolve()
      }
      const end = shared.listen(look)
      look()
    })
    return shared.first
  }

  private share<S>(query: Query<S>): Shared<S> {
    let shared: Shared<S> | undefined = this.shared.get(query.key)
    // Who comes to what has failed, and is alone, wants it tried again.
    if (shared === undefined || shared.isForgotten) {
      const release = this.hold()
      const made: Shared<S> = new Shared(this, query, () => {
        if (this.shared.get(query.key) === made) this.shared.delete(query.key)
        release()
      })
      shared = made
      this.shared.set(query.key, made)
    }
    return shared
  }

  private close(): void {
    if (this.opened === undefined) return
    this.opened.close()
    this.opened = undefined
    this.connection.set(ConnectionState.Idle())
    this.onOpened(false)
  }
}

/** A client that was made or is being made. */
class OpenClient {
  private readonly scope = Scope.makeUnsafe()
  private readonly making: Fiber.Fiber<UntypedClient>

  constructor(make: Effect.Effect<UntypedClient, never, Scope.Scope>, connection: Observable<ConnectionState>) {
    const watched = Effect.tap(make, (client) =>
      Effect.forkScoped(Stream.runForEach(client.connection, (state) => Effect.sync(() => connection.set(state))))
    )
    this.making = Effect.runFork(Scope.provide(watched, this.scope))
    this.making.addObserver((exit) => {
      if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return
      // No component waits for this that could be told; the page hears of it as of any uncaught error.
      queueMicrotask(() => {
        throw Cause.squash(exit.cause)
      })
    })
  }

  use(f: (client: UntypedClient) => void): void {
    this.making.addObserver((exit) => {
      if (Exit.isSuccess(exit)) f(exit.value)
    })
  }

  close(): void {
    Effect.runFork(Scope.close(this.scope, Exit.void))
  }
}

/** Who holds something. Tells when nobody has for a while. */
class RefCount {
  count = 0
  private readonly onNone: () => void
  private timer: ReturnType<typeof setTimeout> | undefined

  constructor(onNone: () => void) {
    this.onNone = onNone
  }

  add(): () => void {
    if (this.timer !== undefined) clearTimeout(this.timer)
    this.count++
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      if (--this.count === 0) this.timer = setTimeout(this.onNone, releaseDelay)
    }
  }
}

/** One source, open while somebody listens and for a while after. */
class Shared<S> {
  state: S | undefined
  source: Source<S> | undefined
  first: Promise<void> | undefined
  private readonly listeners = new Set<() => void>()
  private readonly refs: RefCount
  private isClosed = false

  constructor(store: Store, query: Query<S>, onClosed: () => void) {
    this.refs = new RefCount(() => {
      this.isClosed = true
      this.source?.end()
      onClosed()
    })
    store.use((client) => {
      if (this.isClosed) return
      this.source = query.open(client, () => this.update())
      this.update()
    })
  }

  get isForgotten(): boolean {
    return this.refs.count === 0 && this.source?.isOver() === true
  }

  listen(listener: () => void): () => void {
    const release = this.refs.add()
    this.listeners.add(listener)
    return () => {
      this.listeners.delete(listener)
      release()
    }
  }

  private update(): void {
    // A source may change while it is being opened.
    if (this.source === undefined) return
    this.state = this.source.read()
    for (const listener of [...this.listeners]) listener()
  }
}
