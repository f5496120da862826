/**
 * React hooks over a client, typed by its contract: live queries, single calls, pages, mutations, actions, the connection.
 * What components share is in `ReactStore`; this file binds it to React.
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import * as Stream from "effect/Stream"
import {
  createContext,
  createElement,
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
import type { Declared } from "../contract/Api.ts"
import { ConnectionState } from "./ConnectionState.ts"
import { Stores } from "./ReactProviders.ts"
import { failureOf, noCall, noLive, noPages, nothing, type Preloads, preloadKey, Queries } from "./ReactQueries.ts"
import type { Query, Store } from "./ReactStore.ts"
import type {
  ActionOptions,
  ClientProps,
  Hooks,
  LiveState,
  Outcome,
  PagesState,
  PreloadProps,
  QueryState,
  ReadOptions,
  ServerProps
} from "./ReactTypes.ts"
import { noWait, useIsServer } from "./Suspense.ts"
import type { UntypedClient, UntypedView } from "./UntypedClient.ts"

/** Makes the hooks of a contract. Call it once, outside of components. */
export const createHooks = <Rpcs extends Rpc.Any>(api: Declared<Rpcs>): Hooks<Rpcs> => {
  const Current = createContext<Store | undefined>(undefined)
  const CurrentPreloads = createContext<Preloads>(new Map())
  const stores = new Stores(api)
  const queries = new Queries(api)

  const useStore = (): Store => {
    const store = useContext(Current)
    if (store === undefined) throw new Error("these hooks have no Provider above them")
    return store
  }

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

  const Preload = ({ children, values }: PreloadProps) => {
    const above = useContext(CurrentPreloads)
    const value = useMemo(
      () => new Map([...above, ...values.map((preloaded) => [preloadKey(preloaded), preloaded] as const)]),
      [above, values]
    )
    return createElement(CurrentPreloads.Provider, { value }, children)
  }

  /**
   * Reads what `make` makes of tag and payload, while the component is mounted. `none` is the state before the first one. With
   * `suspends` the component suspends until there is a value, and typed errors are thrown.
   */
  const useRead = <P, S extends { readonly error: unknown }>(
    make: (tag: string, payload: P, find: Parameters<Queries["live"]>[2]) => Query<S>,
    none: S,
    suspends: boolean,
    tag: string,
    payload: P | "skip",
    { initialValue, throwOnError = suspends }: ReadOptions = {}
  ): S => {
    const store = useStore()
    const preloads = useContext(CurrentPreloads)
    const find = (key: string) =>
      initialValue !== undefined && preloadKey(initialValue) === key ? initialValue : preloads.get(key)
    const query = payload === "skip" ? undefined : make(tag, payload, find)
    // biome-ignore lint/correctness/useExhaustiveDependencies: queries with the same key are the same query
    const listen = useCallback(
      (listener: () => void) => (query === undefined ? nothing : store.listen(query, listener, throwOnError)),
      [store, query?.key, throwOnError]
    )
    const read = () => query && store.read(query, throwOnError)
    let shown = useSyncExternalStore(listen, read, () => query && store.initial(query))
    const isServer = useIsServer()
    if (query === undefined || (!suspends && shown === undefined)) {
      // React requires `use` of every render that follows one that was suspended by it.
      if (suspends) use(noWait)
      const isRead = query !== undefined
      return {
        ...none,
        ...("connection" in none && { connection: store.connection.value }),
        ...("isPending" in none && { isPending: isRead }),
        ...("isLoading" in none && { isLoading: isRead })
      }
    }
    if (suspends) {
      if (shown?.isReady) use(store.waited(query) ?? noWait)
      // A server must not wait for a socket: with this error React sends the fallback, and the browser renders the value.
      else if (isServer) throw new Error(`${tag} is not read on a server`)
      while (!shown?.isReady) {
        use(store.share(query).first())
        shown = read()
      }
    }
    const { state, thrown } = shown!
    if (!thrown && (!throwOnError || state.error === undefined)) return state
    store.thrown(query)
    throw thrown ? thrown.defect : state.error
  }

  const useLive = (tag: string, payload: unknown, options?: ReadOptions) =>
    useRead(queries.live, noLive, false, tag, payload, options)
  // What suspends throws errors and does not return them.
  const useLiveSuspense = (tag: string, payload: unknown, options?: ReadOptions) =>
    useRead(queries.live, noLive, true, tag, payload, options) as LiveState<any, never>

  const useQuery = (tag: string, payload: unknown, options?: ReadOptions) =>
    useRead(queries.call, noCall, false, tag, payload, options)
  const useQuerySuspense = (tag: string, payload: unknown, options?: ReadOptions) =>
    useRead(queries.call, noCall, true, tag, payload, options) as QueryState<any, never>

  const usePages = (tag: string, payload: any, options?: ReadOptions) =>
    useRead(queries.pages, noPages, false, tag, payload, options)
  const usePagesSuspense = (tag: string, payload: any, options?: ReadOptions) =>
    useRead(queries.pages, noPages, true, tag, payload, options) as PagesState<any, never>

  /** Runs calls, which outlive the component, and says whether one of them has no outcome yet. */
  const useCalls = () => {
    const store = useStore()
    const [pending, setPending] = useState(0)
    const run = useCallback(
      (make: (client: UntypedClient) => Effect.Effect<unknown, unknown>, signal?: AbortSignal) => {
        const release = store.retain()
        setPending((pending) => pending + 1)
        return new Promise<Exit.Exit<unknown, unknown>>((resolve) =>
          store.use((client) => {
            const call = Effect.suspend(() => make(client))
            Effect.runFork(call, signal && { signal }).addObserver(resolve)
          })
        )
          .then((exit) => {
            if (signal?.aborted) throw signal.reason
            return outcomeOf(exit)
          })
          .finally(() => {
            release()
            setPending((pending) => pending - 1)
          })
      },
      [store]
    )
    return [run, pending > 0] as const
  }

  const useMutation = (tag: string, options: UntypedMutationOptions = {}) => {
    const [run, isPending] = useCalls()
    const latest = useRef(options)
    useInsertionEffect(() => {
      latest.current = options
    })
    const call = useCallback(
      (payload: unknown) => {
        const { optimistic, timeout } = latest.current
        return run((client) =>
          client.mutate(tag, payload, {
            ...(timeout === undefined ? {} : { timeout }),
            ...(optimistic === undefined ? {} : { optimistic: (view) => optimistic(view, payload) })
          })
        )
      },
      [run, tag]
    )
    return [call, isPending] as const
  }

  const useAction = (tag: string) => {
    const [run, isPending] = useCalls()
    const [progress, setProgress] = useState<any>()
    const calls = useRef(0)
    const call = useCallback(
      (payload: unknown, { onItem, signal }: ActionOptions<any> = {}): Promise<any> => {
        const number = ++calls.current
        setProgress(undefined)
        return run((client) => {
          const acting: Effect.Effect<unknown, unknown> | Stream.Stream<unknown, unknown> = client.act(tag, payload)
          if (Effect.isEffect(acting)) return acting
          let last: unknown
          const each = (item: unknown) =>
            Effect.sync(() => {
              last = item
              onItem?.(item)
              // A function, because an item may be one that React would call.
              if (number === calls.current) setProgress(() => item)
            })
          return Effect.map(Stream.runForEach(acting, each), () => last)
        }, signal)
      },
      [run, tag]
    )
    return [call, isPending, progress] as const
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
  return {
    Provider,
    Preload,
    useLive,
    useLiveSuspense,
    useQuery,
    useQuerySuspense,
    usePages,
    usePagesSuspense,
    useMutation,
    useAction,
    useConnection,
    useClient
  }
}

/** `MutationOptions` without its contract. */
interface UntypedMutationOptions {
  readonly optimistic?: (view: UntypedView, payload: any) => void
  readonly timeout?: Duration.Input
}

const outcomeOf = (exit: Exit.Exit<unknown, unknown>): Outcome<any, any> => {
  if (Exit.isSuccess(exit)) return { _tag: "Success", value: exit.value }
  const { error, thrown } = failureOf(Option.some(exit.cause))
  if (thrown !== undefined) throw thrown.defect
  return { _tag: "Failure", error }
}

const noServer: { readonly [Key in "url" | "tenant" | "token"]?: undefined } = {}

const idle = (() => {
  const state = ConnectionState.Idle()
  return () => state
})()
