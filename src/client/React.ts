/**
 * React hooks over a client, typed by its contract: live queries, pages, mutations, the connection.
 * What components share is in `ReactStore`; this file binds it to React.
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import type { Scope } from "effect/Scope"
import {
  createContext,
  createElement,
  type ReactNode,
  use,
  useCallback,
  useContext,
  useEffect,
  useInsertionEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore
} from "react"
import type { Declared, PublicTagOf } from "../contract/Api.ts"
import type * as Page from "../contract/Page.ts"
import * as Client from "./Client.ts"
import type { ConnectionRefused, OutcomeUnknown } from "./ClientError.ts"
import { ConnectionState } from "./ConnectionState.ts"
import { keyOf } from "./LiveValues.ts"
import { LoadedPages } from "./LoadedPages.ts"
import type { View } from "./Optimistic.ts"
import type { OutcomePending } from "./OutcomePending.ts"
import type * as Pages from "./Pages.ts"
import { type Query, Store } from "./ReactStore.ts"
import { codecOf, type UntypedView, untyped } from "./UntypedClient.ts"

type Of<Rpcs extends Rpc.Any, Tag extends string> = Rpc.ExtractTag<Rpcs, Tag>
type Payload<Rpcs extends Rpc.Any, Tag extends string> = Rpc.PayloadConstructor<Of<Rpcs, Tag>>
type CallFailure<Rpcs extends Rpc.Any, Tag extends string> = Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused

/** The tags of the queries whose success is a `Page`. */
export type PageTagOf<Rpcs extends Rpc.Any> = Rpcs extends Rpc.Any
  ? Rpc.Success<Rpcs> extends Page.Of<any>
    ? PublicTagOf<Rpcs, "query">
    : never
  : never

/** Props of a provider that makes its client: which server, tenant and caller. */
export interface ServerProps {
  /** The base URL of the Worker, without `/rpc`. */
  readonly url: string
  /** The tenant. `main` unless given. */
  readonly tenant?: string
  /**
   * The caller's bearer token. A new text is sent over the open socket, and live queries that depend on the caller show
   * the result for the new one. A function is called for each connection and for each call over HTTP; a new function is
   * used from then on. A new token does not make a new client, but a token where there was none does.
   */
  readonly token?: string | (() => string | Promise<string>)
  readonly client?: undefined
  readonly children?: ReactNode
}

/** Props of a provider whose client is made elsewhere. */
export interface ClientProps<Rpcs extends Rpc.Any> {
  /** A client, or the effect that makes it. Must be the same object in every render: another one is another client. */
  readonly client: Client.Client<Rpcs> | Effect.Effect<Client.Client<Rpcs>, never, Scope>
  readonly children?: ReactNode
}

/** A live query as a component sees it. */
export interface LiveState<out A, out E> {
  /** The latest value with the optimistic changes applied; `undefined` until the first value has arrived. */
  readonly value: A | undefined
  /** Whether the value contains optimistic changes. */
  readonly isOptimistic: boolean
  /** The state of the connection, which says how fresh the value is. */
  readonly connection: ConnectionState
  /** The failure of the query, if it failed. It is retried when a component that reads it is mounted again. */
  readonly error: E | undefined
}

/** The loaded pages of a query as a component sees them. */
export interface PagesState<out A, out E> {
  /** The items of all loaded pages, in order, without gap or overlap. */
  readonly items: ReadonlyArray<A>
  /** Whether another page can be loaded. */
  readonly hasMore: boolean
  /** Whether a requested page, including the first, has no value yet. */
  readonly isLoading: boolean
  /** Requests the next page. Does nothing while a page is loading, or when there is none. */
  readonly loadMore: () => void
  /** The state of the connection, which says how fresh the items are. */
  readonly connection: ConnectionState
  /** The failure of a page, if one failed. */
  readonly error: E | undefined
}

/** The outcome of a mutation. */
export type Outcome<A, E> =
  | { readonly _tag: "Success"; readonly value: A }
  | { readonly _tag: "Failure"; readonly error: E }

/** How `useMutation` calls its mutation. The options of the latest render apply. */
export interface MutationOptions<Rpcs extends Rpc.Any, Tag extends string> {
  /** Changes live values at once, until the server's values contain the mutation, or it fails. */
  readonly optimistic?: (view: View<Rpcs>, payload: Payload<Rpcs, Tag>) => void
  /**
   * How long to keep trying when no answer arrives. A minute unless given, and at most a day. With an outbox, a day
   * unless given.
   */
  readonly timeout?: Duration.Input
}

/** The hooks of one contract. Typed errors are returned as data; defects are thrown to the nearest error boundary. */
export interface Hooks<in out Rpcs extends Rpc.Any> {
  /** Provides a client to the components below it. The client is made when the first of them uses it. */
  readonly Provider: (props: ServerProps | ClientProps<Rpcs>) => ReactNode
  /** The latest value of a query, now and after every change. There is no value while a server renders. */
  readonly useLive: <Tag extends PublicTagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Payload<Rpcs, Tag>
  ) => LiveState<Rpc.Success<Of<Rpcs, Tag>>, CallFailure<Rpcs, Tag>>
  /**
   * Like `useLive`, but suspends until there is a value: the `Suspense` around the component shows its fallback, as it
   * always does while a server renders. A failure is thrown to the nearest error boundary.
   */
  readonly useLiveSuspense: <Tag extends PublicTagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Payload<Rpcs, Tag>
  ) => LiveState<Rpc.Success<Of<Rpcs, Tag>>, never> & { readonly value: Rpc.Success<Of<Rpcs, Tag>> }
  /** The pages of a query whose payload has `Page.Fields`, as one list that grows with `loadMore`. */
  readonly usePages: <Tag extends PageTagOf<Rpcs>>(
    tag: Tag,
    payload: Omit<Payload<Rpcs, Tag>, Exclude<keyof Page.Request, "size">>
  ) => PagesState<Pages.ItemOf<Of<Rpcs, Tag>>, CallFailure<Rpcs, Tag>>
  /**
   * A function that calls a mutation, the same function in every render, and whether one of its calls has no outcome
   * yet. Its promise resolves with the outcome, and rejects on a defect. Unmounting the component does not cancel a
   * call.
   */
  readonly useMutation: <Tag extends PublicTagOf<Rpcs, "mutation">>(
    tag: Tag,
    options?: MutationOptions<Rpcs, Tag>
  ) => readonly [
    call: (
      payload: Payload<Rpcs, Tag>
    ) => Promise<Outcome<Rpc.Success<Of<Rpcs, Tag>>, CallFailure<Rpcs, Tag> | OutcomeUnknown | OutcomePending>>,
    isPending: boolean
  ]
  /** The state of the client's connection: `Idle` while no query is live. */
  readonly useConnection: () => ConnectionState
  /**
   * Runs an effect with the client while the component is mounted, anew when `dependencies` change. Returns its failure, and
   * throws its defect.
   */
  readonly useClient: <E>(
    run: (client: Client.Client<Rpcs>) => Effect.Effect<void, E>,
    dependencies: ReadonlyArray<unknown>
  ) => E | undefined
}

/** Makes the hooks of a contract. Call it once, outside of components. */
export const createHooks = <Rpcs extends Rpc.Any>(api: Declared<Rpcs>): Hooks<Rpcs> => {
  const Current = createContext<Store | undefined>(undefined)
  const stores = new Stores(api)

  const useStore = (): Store => {
    const store = useContext(Current)
    if (store === undefined) throw new Error("there is no Provider of these hooks above this component")
    return store
  }

  /** The key of a query: the same for the same tag and an equal payload. */
  const keyFor = (tag: string, payload: unknown): string =>
    keyOf(tag, codecOf(api.declared, tag).encodePayload(payload))

  /** The state of a query, which is open while the component is mounted; `undefined` before it is open. */
  const useQuery = <S>(store: Store, query: Query<SourceState<S>>): SourceState<S> | undefined => {
    // biome-ignore lint/correctness/useExhaustiveDependencies: queries with the same key are the same query
    const listen = useCallback((listener: () => void) => store.listen(query, listener), [store, query.key])
    const read = () => store.get(query)?.state
    return useSyncExternalStore(listen, read, () => undefined)
  }

  const liveQuery = (tag: string, payload: unknown): Query<SourceState<LiveState<any, any>>> => ({
    key: keyFor(tag, payload),
    open: (client, onChange) => {
      const observed = client.observe(tag, payload, onChange)
      return {
        read: () => {
          const { connection, isOptimistic, value } = observed.live()
          const { error, thrown } = failureOf(observed.failure())
          const state = { value: Option.getOrUndefined(value), isOptimistic, connection, error }
          return { state, thrown, isReady: Option.isSome(value) || Option.isSome(observed.failure()) }
        },
        isOver: () => Option.isSome(observed.failure()),
        end: observed.end
      }
    }
  })

  const pagesQuery = (
    tag: string,
    { size, ...payload }: { readonly size: number }
  ): Query<SourceState<PagesState<any, any>>> => ({
    key: `pages ${keyFor(tag, { ...payload, size, after: null, until: null })}`,
    open: (client, onChange) => {
      const pages = new LoadedPages(client, tag, { size, payload: (page) => ({ ...payload, ...page }) })
      const unlisten = pages.listen(onChange)
      return {
        read: () => {
          const { connection, failure, hasMore, isLoading, items } = pages.state()
          const { error, thrown } = failureOf(failure)
          const state = { items, hasMore, isLoading, loadMore: pages.loadMore, connection, error }
          return { state, thrown, isReady: !isLoading }
        },
        isOver: () => Option.isSome(pages.state().failure),
        end: () => {
          unlisten()
          pages.end()
        }
      }
    }
  })

  const Provider = (props: ServerProps | ClientProps<Rpcs>) => {
    const { client } = props
    const { tenant, token, url } = props.client === undefined ? props : noServer
    // biome-ignore lint/correctness/useExhaustiveDependencies: another token does not make another client
    const open = useMemo(
      () => (client === undefined ? stores.at(url!, tenant, token) : stores.of(client)),
      [client, url, tenant, token === undefined]
    )
    useInsertionEffect(() => {
      const isNew = typeof token === "string" && token !== open.token
      open.token = token
      if (isNew) open.store.refresh()
    })
    useEffect(() => open.store.retain(), [open])
    return createElement(Current.Provider, { value: open.store }, props.children)
  }

  const useLive = (tag: string, payload: unknown) => {
    const store = useStore()
    const shown = useQuery(store, liveQuery(tag, payload))
    return shown === undefined
      ? { value: undefined, isOptimistic: false, connection: store.connection.value, error: undefined }
      : stateOf(shown)
  }

  const useLiveSuspense = (tag: string, payload: unknown) => {
    const store = useStore()
    const query = liveQuery(tag, payload)
    let shown = useQuery(store, query)
    // A server must not wait for a socket: with this error React sends the fallback, and the browser renders the value.
    if (useSyncExternalStore(never, no, yes)) throw new Error(`${tag} is not read while a server renders`)
    // React requires `use` of every render that follows one that was suspended by it.
    do {
      use(shown?.isReady ? noWait : store.first(query, isReady))
      shown = store.get(query)?.state
    } while (!shown?.isReady)
    try {
      const state = stateOf(shown)
      if (!hasNoError(state)) throw state.error
      return state
    } catch (error) {
      store.thrown(query)
      throw error
    }
  }

  const usePages = (tag: string, payload: unknown) => {
    const store = useStore()
    if (!hasSize(payload)) throw new Error(`the payload of ${tag} has no size`)
    const shown = useQuery(store, pagesQuery(tag, payload))
    return shown === undefined ? { ...noPages, connection: store.connection.value } : stateOf(shown)
  }

  const useMutation = (tag: string, options?: UntypedMutationOptions) => {
    const store = useStore()
    const latest = useRef(options)
    const [pending, setPending] = useState(0)
    useInsertionEffect(() => {
      latest.current = options
    })
    const call = useCallback(
      (payload: unknown) => {
        const { timeout, optimistic } = latest.current ?? {}
        const release = store.retain()
        setPending((pending) => pending + 1)
        return new Promise<Exit.Exit<unknown, unknown>>((resolve) =>
          store.use((client) => {
            const mutation = client.mutate(tag, payload, {
              ...(timeout === undefined ? {} : { timeout }),
              ...(optimistic === undefined ? {} : { optimistic: (view) => optimistic(view, payload) })
            })
            Effect.runFork(mutation).addObserver(resolve)
          })
        )
          .then(outcomeOf)
          .finally(() => {
            release()
            setPending((pending) => pending - 1)
          })
      },
      [store, tag]
    )
    return [call, pending > 0] as const
  }

  const useConnection = () => {
    const { connection } = useStore()
    const listen = useCallback((listener: () => void) => connection.listen(listener), [connection])
    return useSyncExternalStore(listen, () => connection.value, idle)
  }

  const useClient = (run: (client: any) => Effect.Effect<void, any>, dependencies: ReadonlyArray<unknown>) => {
    const store = useStore()
    const [failure, setFailure] = useState<Cause.Cause<any>>()
    // biome-ignore lint/correctness/useExhaustiveDependencies: the caller says on what the effect depends
    useEffect(() => {
      setFailure(undefined)
      const release = store.retain()
      const end = new AbortController()
      store.use((client) => {
        if (end.signal.aborted) return
        Effect.runFork(run(client), { signal: end.signal }).addObserver((exit) => {
          if (!end.signal.aborted && Exit.isFailure(exit)) setFailure(exit.cause)
        })
      })
      return () => {
        end.abort()
        release()
      }
    }, [store, ...dependencies])
    const { error, thrown } = failureOf(Option.fromUndefinedOr(failure))
    if (thrown !== undefined) throw thrown.defect
    return error
  }

  // The functions above work for any contract; the type `Hooks` gives each tag the types of its rpc.
  return { Provider, useLive, useLiveSuspense, usePages, useMutation, useConnection, useClient }
}

/** `MutationOptions` without its contract. */
interface UntypedMutationOptions {
  readonly optimistic?: (view: UntypedView, payload: any) => void
  readonly timeout?: Duration.Input
}

const hasNoError = (state: LiveState<any, any>): state is LiveState<any, never> => state.error === undefined

const hasSize = (payload: unknown): payload is { readonly size: number } =>
  typeof payload === "object" && payload !== null && "size" in payload && typeof payload.size === "number"

/** The state of a source. */
interface SourceState<S> {
  /** What the hook returns. */
  readonly state: S
  /** Whether there is a value or a failure, so that a suspended component can render. */
  readonly isReady: boolean
  /** A defect, which the hook throws instead of returning the state. */
  readonly thrown: { readonly defect: unknown } | undefined
}

const isReady = (shown: SourceState<unknown>): boolean => shown.isReady

const stateOf = <S>({ state, thrown }: SourceState<S>): S => {
  if (thrown !== undefined) throw thrown.defect
  return state
}

const failureOf = (failure: Option.Option<Cause.Cause<any>>) => {
  if (Option.isNone(failure)) return { error: undefined, thrown: undefined }
  const error = Cause.findErrorOption(failure.value)
  return Option.isSome(error)
    ? { error: error.value, thrown: undefined }
    : { error: undefined, thrown: { defect: Cause.squash(failure.value) } }
}

const outcomeOf = (exit: Exit.Exit<unknown, unknown>): Outcome<any, any> => {
  if (Exit.isSuccess(exit)) return { _tag: "Success", value: exit.value }
  const { error, thrown } = failureOf(Option.some(exit.cause))
  if (thrown !== undefined) throw thrown.defect
  return { _tag: "Failure", error }
}

const noPages = { items: [], hasMore: false, isLoading: true, loadMore: () => {}, error: undefined }
const noServer: { readonly [Key in "url" | "tenant" | "token"]?: undefined } = {}

/** A promise of which React knows that it is fulfilled. */
const noWait = Object.assign(Promise.resolve(), { status: "fulfilled" })

/** An external store that never changes. Its server snapshot differs: it shows whether a server renders or hydrates. */
const never = () => () => {}
const no = () => false
const yes = () => true
const idle = (() => {
  const state = ConnectionState.Idle()
  return () => state
})()

/** A store, and the token of the latest render, which its client uses for new connections. */
interface StoreEntry {
  readonly store: Store
  token: ServerProps["token"]
}

/**
 * The stores whose clients are open, by client or address. When a component below a provider suspends and no `Suspense`
 * is between them, React discards the state of the provider; its next render must find the same client here.
 */
class Stores<Rpcs extends Rpc.Any> {
  private readonly api: Declared<Rpcs>
  private readonly open = new Map<unknown, StoreEntry>()

  constructor(api: Declared<Rpcs>) {
    this.api = api
  }

  /** The store of a client that is made elsewhere. */
  of(client: NonNullable<ClientProps<Rpcs>["client"]>): StoreEntry {
    return this.get(client, undefined, () => (Effect.isEffect(client) ? client : Effect.succeed(client)))
  }

  /** The store of a client for this address. */
  at(url: string, tenant: string | undefined, token: ServerProps["token"]): StoreEntry {
    return this.get(JSON.stringify([url, tenant, token === undefined]), token, (entry) => {
      const current = Effect.promise(async () => (typeof entry.token === "function" ? entry.token() : entry.token!))
      return Client.make(this.api, {
        url,
        ...(tenant === undefined ? {} : { tenant }),
        ...(token === undefined ? {} : { token: current })
      })
    })
  }

  private get(
    key: unknown,
    token: ServerProps["token"],
    make: (entry: StoreEntry) => Effect.Effect<Client.Client<Rpcs>, never, Scope>
  ): StoreEntry {
    const found = this.open.get(key)
    if (found !== undefined) return found
    const store = new Store(
      Effect.suspend(() => Effect.map(make(entry), untyped)),
      (isOpen) => {
        if (isOpen) this.open.set(key, entry)
        else if (this.open.get(key) === entry) this.open.delete(key)
      }
    )
    const entry: StoreEntry = { store, token }
    return entry
  }
}
