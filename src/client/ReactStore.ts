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
import type { Preloaded } from "./Preloaded.ts"
import type { UntypedClient } from "./UntypedClient.ts"

/** The state of a source. */
export interface Shown<out S> {
  /** What the hook returns. */
  readonly state: S
  /** Whether there is a value or a failure, so that a suspended component can render. */
  readonly isReady: boolean
  /** A defect, which the hook throws instead of returning the state. */
  readonly thrown: { readonly defect: unknown } | undefined
  /** The least version of a preloaded value that may be shown after this one. */
  readonly version: number | undefined
}

/** An open live query, list of pages or call. */
export interface Source<out S> {
  /** The state now. */
  readonly read: () => Shown<S>
  /** Whether it has failed and so will not change any more. */
  readonly isOver: () => boolean
  /** Closes it. */
  readonly end: () => void
}

/** How a source is opened, and what to show before that. */
export interface Query<out S> {
  /** Components with the same key share one source. */
  readonly key: string
  /** What a server has read of it. */
  readonly preloaded: Preloaded | undefined
  /** The state that what was preloaded gives, if it fits the contract. */
  readonly initial: () => Shown<S> | undefined
  /**
   * Opens a source. `onChange` must be called synchronously on each change. `retry` opens another one in its place after it
   * has failed. It begins with what was preloaded if `isPreloaded`.
   */
  readonly open: (client: UntypedClient, onChange: () => void, retry: () => void, isPreloaded: boolean) => Source<S>
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
  /** What was preloaded, as it is shown, by the key of its query. */
  private readonly initials = new Map<string, { readonly hash: string; readonly shown: Shown<any> | undefined }>()
  /** The least version of a preloaded value that may be shown, by the key of its query: what is older was replaced. */
  readonly least = new Map<string, number>()
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

  /**
   * The state of a query: that of its source if it is open, and otherwise what was preloaded, if nothing newer was shown. For
   * a reader that throws failures there is none after one was thrown: it reads again.
   */
  read<S>(query: Query<S>, isThrowing: boolean): Shown<S> | undefined {
    const shared: Shared<S> | undefined = this.shared.get(query.key)
    if (shared) return isThrowing && shared.isThrown ? undefined : shared.shown
    return this.present(query)
  }

  /** What was preloaded of a query, as it is shown: the same object each time. A server and hydration render it. */
  initial<S>({ initial, key, preloaded }: Query<S>): Shown<S> | undefined {
    if (!preloaded) return undefined
    let cached = this.initials.get(key)
    if (cached?.hash !== preloaded.hash) {
      cached = { hash: preloaded.hash, shown: initial() }
      this.initials.set(key, cached)
    }
    return cached.shown
  }

  /** The source of a query, which is opened if necessary. */
  share<S>(query: Query<S>): Shared<S> {
    const { key } = query
    let shared: Shared<S> | undefined = this.shared.get(key)
    if (!shared) {
      const release = this.retain()
      const initial = this.present(query)
      const made: Shared<S> = new Shared(this, query, initial, () => {
        if (this.shared.get(key) === made) this.shared.delete(key)
        release()
      })
      shared = made
      this.shared.set(key, made)
    }
    return shared
  }

  /** Adds a listener to the source of a query, and opens it for the first one. Returns the function that removes it. */
  listen<S>(query: Query<S>, listener: () => void, isThrowing: boolean): () => void {
    const shared = this.share(query)
    if (isThrowing && shared.isThrown) shared.retry()
    return shared.listen(listener)
  }

  /** The promise for which a component waited last: React expects it again when the component is rendered. */
  waited<S>({ key }: Query<S>): Promise<void> | undefined {
    return this.shared.get(key)?.waited
  }

  /** The failure of a query was thrown to an error boundary, which unmounts the component. Rendering it again retries. */
  thrown<S>({ key }: Query<S>): void {
    const shared = this.shared.get(key)
    // Later, because React renders a component that throws a second time before it looks for a boundary.
    setTimeout(() => shared?.failureThrown())
  }

  /** What was preloaded of a query, if it is not older than what was shown. */
  private present<S>(query: Query<S>): Shown<S> | undefined {
    const { key, preloaded } = query
    // Not so before anything was shown.
    return preloaded && preloaded.version < this.least.get(key)! ? undefined : this.initial(query)
  }

  private close(): void {
    if (this.opened === undefined) return
    this.opened.close()
    this.opened = undefined
    this.initials.clear()
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
export class Shared<S> {
  shown: Shown<S> | undefined
  /** Its failure was thrown to an error boundary. A reader that throws does so no second time: it retries. */
  isThrown = false
  /** The latest promise of `first`. */
  waited: Promise<void> | undefined
  private isAwaited = false
  private source: Source<S> | undefined
  private readonly store: Store
  private readonly query: Query<S>
  private readonly listeners = new Set<() => void>()
  private readonly refs = new RefCount(() => this.close())
  private readonly onClosed: () => void
  private isClosed = false

  constructor(store: Store, query: Query<S>, initial: Shown<S> | undefined, onClosed: () => void) {
    this.store = store
    this.query = query
    this.shown = initial
    this.onClosed = onClosed
    this.open(initial !== undefined)
  }

  /** Adds a listener. Returns the function that removes it. */
  listen(listener: () => void): () => void {
    const remove = this.add(listener)
    return () => {
      remove()
      this.closeFailed()
    }
  }

  /**
   * Resolves when the state is ready, for a suspended component, and after a second to look again. Keeps the source open until
   * then: a suspended component is not mounted, so it can neither listen nor say that it is gone. Retries after a failure
   * that was thrown.
   */
  first(): Promise<void> {
    if (this.isAwaited && this.waited !== undefined) return this.waited
    this.isAwaited = true
    this.waited = this.isThrown
      ? Promise.resolve().then(() => {
          // Not while React renders: components that return the failure are told.
          this.retry()
          return this.until()
        })
      : this.until()
    return this.waited
  }

  private until(): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        remove()
        this.isAwaited = false
        resolve()
      }
      const check = () => {
        if (this.shown?.isReady) end()
      }
      const remove = this.add(check)
      const timer = setTimeout(end, releaseDelay)
      check()
    })
  }

  /** Opens another source after a failure. Otherwise does nothing. */
  readonly retry = (): void => {
    if (!this.source?.isOver()) return
    this.source.end()
    this.source = undefined
    this.shown = undefined
    this.isThrown = false
    this.open(false)
    this.notify()
  }

  /** Its failure was thrown to an error boundary. Without listeners it is closed, so that mounting opens it again. */
  failureThrown(): void {
    this.closeFailed()
    this.isThrown = this.source?.isOver() === true
  }

  /** Closes a failed source that has no listeners: mounting a component again opens it again. */
  private closeFailed(): void {
    if (this.listeners.size === 0 && this.source?.isOver()) this.close()
  }

  private open(isPreloaded: boolean): void {
    this.store.use((client) => {
      if (this.isClosed) return
      this.source = this.query.open(client, () => this.update(), this.retry, isPreloaded)
      this.update()
    })
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
    this.shown = this.source.read()
    if (this.shown.version) this.store.least.set(this.query.key, this.shown.version)
    this.notify()
  }

  private notify(): void {
    for (const listener of [...this.listeners]) listener()
  }
}
