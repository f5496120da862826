/**
 * What the components below one provider share: one client, and one source for each query.
 * Both are opened when first needed and stay open for a moment after the last component has released them.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { ConnectionState } from "./ConnectionState.ts"
import { Observable } from "./Observable.ts"
import type { UntypedClient } from "./UntypedClient.ts"

/** An open live query or list of pages. */
export interface Source<out S> {
  /** The state now. */
  readonly read: () => S
  /** Whether it has failed and so will not change any more. */
  readonly isOver: () => boolean
  /** Closes it. */
  readonly end: () => void
}

/** How a source is opened. `onChange` must be called synchronously on each change. */
export interface Query<S> {
  /** Components with the same key share one source. */
  readonly key: string
  readonly open: (client: UntypedClient, onChange: () => void) => Source<S>
}

/**
 * Milliseconds for which a client or a source stays open after its last component was unmounted. Within this time the
 * same query is often mounted again: by StrictMode, which mounts twice; by a suspended component, which is mounted only
 * after its value has arrived; by a user who goes back to the previous view.
 */
const releaseDelay = 1000

/**
 * One client, and one source for each key. Constructing a store has no effect: the client is made when it is first
 * used, which does not happen while a server renders.
 */
export class Store {
  /** The state of the client's connection; `Idle` while there is no client. */
  readonly connection = new Observable<ConnectionState>(ConnectionState.Idle())
  /** Counts the providers, sources and calls that use the client. */
  private readonly refs = new RefCount(() => this.close())
  private readonly shared = new Map<string, Shared<any>>()
  private readonly make: Effect.Effect<UntypedClient, never, Scope.Scope>
  private readonly onOpened: (isOpen: boolean) => void
  private opened: OpenClient | undefined

  constructor(make: Effect.Effect<UntypedClient, never, Scope.Scope>, onOpened: (isOpen: boolean) => void) {
    this.make = make
    this.onOpened = onOpened
  }

  /** Keeps the client open until the returned function is called. */
  readonly retain = (): (() => void) => this.refs.add()

  /** Calls `f` with the client: synchronously when it exists, otherwise once it is made. Makes it if necessary. */
  use(f: (client: UntypedClient) => void): void {
    if (this.opened === undefined) {
      this.opened = new OpenClient(this.make, this.connection)
      this.onOpened(true)
    }
    this.opened.use(f)
  }

  /** Has the client, if there is one, send its token over the open socket. */
  refresh(): void {
    this.opened?.use(({ refresh }) => Effect.runFork(refresh))
  }

  /** The state and the source of a query, if it is open. */
  get<S>({ key }: Query<S>): { readonly state: S | undefined; readonly source: Source<S> | undefined } | undefined {
    return this.shared.get(key)
  }

  /** Adds a listener to the source of a query, and opens it for the first one. Returns the function that removes it. */
  listen<S>(query: Query<S>, listener: () => void): () => void {
    return this.share(query).listen(listener)
  }

  /**
   * Resolves when the state of a query is ready, for a suspended component, and after a second to look again. Keeps the
   * source open until then: a suspended component is not mounted, so it can neither listen nor say that it is gone.
   */
  first<S>(query: Query<S>, isReady: (state: S) => boolean): Promise<void> {
    const shared = this.share(query)
    shared.first ??= shared.until(isReady)
    return shared.first
  }

  /** The failure of a query was thrown to an error boundary, which unmounts the component. Rendering it again retries. */
  thrown<S>({ key }: Query<S>): void {
    const shared = this.shared.get(key)
    // Later, because React renders a component that throws a second time before it looks for a boundary.
    setTimeout(() => shared?.closeFailed())
  }

  private share<S>(query: Query<S>): Shared<S> {
    let shared: Shared<S> | undefined = this.shared.get(query.key)
    if (shared === undefined) {
      const release = this.retain()
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

/** A client that exists or is being made. */
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
      // No component awaits this failure: report it as an uncaught error of the page.
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

/** Counts users. Calls `onUnused` when there has been none for `releaseDelay`. */
class RefCount {
  count = 0
  private readonly onUnused: () => void
  private timer: ReturnType<typeof setTimeout> | undefined

  constructor(onUnused: () => void) {
    this.onUnused = onUnused
  }

  /** Adds a user. Returns the function that removes it. */
  add(): () => void {
    if (this.timer !== undefined) clearTimeout(this.timer)
    this.count++
    let isAdded = true
    return () => {
      if (!isAdded) return
      isAdded = false
      if (--this.count === 0) this.timer = setTimeout(this.onUnused, releaseDelay)
    }
  }
}

/** One source, and its listeners. */
class Shared<S> {
  state: S | undefined
  source: Source<S> | undefined
  first: Promise<void> | undefined
  private readonly listeners = new Set<() => void>()
  private readonly refs = new RefCount(() => this.close())
  private readonly onClosed: () => void
  private isClosed = false

  constructor(store: Store, query: Query<S>, onClosed: () => void) {
    this.onClosed = onClosed
    store.use((client) => {
      if (this.isClosed) return
      this.source = query.open(client, () => this.update())
      this.update()
    })
  }

  /** Adds a listener. Returns the function that removes it. */
  listen(listener: () => void): () => void {
    const remove = this.add(listener)
    return () => {
      remove()
      this.closeFailed()
    }
  }

  /** Resolves when the state is ready, at the latest after `releaseDelay`. */
  until(isReady: (state: S) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        remove()
        this.first = undefined
        resolve()
      }
      const check = () => {
        if (this.state !== undefined && isReady(this.state)) end()
      }
      const remove = this.add(check)
      const timer = setTimeout(end, releaseDelay)
      check()
    })
  }

  /** Closes a failed source that has no listeners: mounting a component again opens it again. */
  closeFailed(): void {
    if (this.listeners.size === 0 && this.source?.isOver()) this.close()
  }

  private add(listener: () => void): () => void {
    const release = this.refs.add()
    this.listeners.add(listener)
    return () => {
      this.listeners.delete(listener)
      release()
    }
  }

  private close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.source?.end()
    this.onClosed()
  }

  private update(): void {
    // A source may call `onChange` before `open` has returned it.
    if (this.source === undefined) return
    this.state = this.source.read()
    for (const listener of [...this.listeners]) listener()
  }
}
