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
import type { Declared, TagOf } from "../contract/Api.ts"
import type * as Page from "../contract/Page.ts"
import * as Client from "./Client.ts"
import type { ConnectionRefused, OutcomeUnknown } from "./ClientError.ts"
import { ConnectionState } from "./ConnectionState.ts"
import { keyOf } from "./LiveValues.ts"
import { LoadedPages } from "./LoadedPages.ts"
import type { View } from "./Optimistic.ts"
import type * as Pages from "./Pages.ts"
import { type Query, Store } from "./ReactStore.ts"
import { codecOf, type UntypedView, untyped } from "./UntypedClient.ts"

type Of<Rpcs extends Rpc.Any, Tag extends string> = Rpc.ExtractTag<Rpcs, Tag>
type Payload<Rpcs extends Rpc.Any, Tag extends string> = Rpc.PayloadConstructor<Of<Rpcs, Tag>>
type QueryError<Rpcs extends Rpc.Any, Tag extends string> = Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused

/** The tags of the queries that give pages. */
export type PageTagOf<Rpcs extends Rpc.Any> = Rpcs extends Rpc.Any
  ? Rpc.Success<Rpcs> extends Page.Of<any>
    ? TagOf<Rpcs, "query">
    : never
  : never

/** Which server, tenant and caller: for a client that the provider makes. */
export interface ServerProps {
  /** Where the Worker is, without `/rpc`. */
  readonly url: string
  /** `main` unless given. */
  readonly tenant?: string
  /** Who is calling; a function is asked again for each connection. For another identity give the provider another `key`. */
  readonly token?: string | (() => string | Promise<string>)
  readonly client?: undefined
  readonly children?: ReactNode
}

/** A client that was made elsewhere, or the effect that makes it: a constant, because another one is another client. */
export interface ClientProps<Rpcs extends Rpc.Any> {
  readonly client: Client.Client<Rpcs> | Effect.Effect<Client.Client<Rpcs>, never, Scope>
  readonly children?: ReactNode
}

/** What a component sees of a live query. */
export interface LiveState<out A, out E> {
  /** The latest value, with optimistic changes applied; `undefined` until the first one has come. */
  readonly value: A | undefined
  /** Whether the value contains changes that the server has not confirmed. */
  readonly isOptimistic: boolean
  readonly connection: ConnectionState
  /** How the query failed, if it did. It stays so until it is mounted anew. */
  readonly error: E | undefined
}

/** What a component sees of the pages that were loaded. */
export interface PagesState<out A, out E> {
  /** The items of all pages in order, without gap or overlap. */
  readonly items: ReadonlyArray<A>
  /** Whether more can be loaded. */
  readonly hasMore: boolean
  /** Whether a page that was asked for is still to come, the first included. */
  readonly isLoading: boolean
  /** Asks for the next page. Nothing happens while one is loading, or when there is none. */
  readonly loadMore: () => void
  readonly connection: ConnectionState
  readonly error: E | undefined
}

/** How a mutation ended. */
export type Outcome<A, E> =
  | { readonly _tag: "Success"; readonly value: A }
  | { readonly _tag: "Failure"; readonly error: E }

export interface MutationOptions<Rpcs extends Rpc.Any, Tag extends string> {
  /** Changes live values at once, until the server's own contain the mutation or it fails. */
  readonly optimistic?: (view: View<Rpcs>, payload: Payload<Rpcs, Tag>) => void
  /** How long to go on when no answer comes. A minute unless given. */
  readonly timeout?: Duration.Input
}

/** The hooks of one contract. What its handlers fail with is data here; what is nobody's intention is thrown. */
export interface Hooks<in out Rpcs extends Rpc.Any> {
  /** Gives the components below it a client. It is made when the first one needs it. */
  readonly Provider: (props: ServerProps | ClientProps<Rpcs>) => ReactNode
  /** The latest value of a query, now and after every change. A server that renders sees no value. */
  readonly useLive: <Tag extends TagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Payload<Rpcs, Tag>
  ) => LiveState<Rpc.Success<Of<Rpcs, Tag>>, QueryError<Rpcs, Tag>>
  /**
   * The same for components that are shown when there is a value: until then the `Suspense` around them shows its
   * fallback, and on a server always. A failure is thrown, to the next error boundary.
   */
  readonly useLiveSuspense: <Tag extends TagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Payload<Rpcs, Tag>
  ) => LiveState<Rpc.Success<Of<Rpcs, Tag>>, never> & { readonly value: Rpc.Success<Of<Rpcs, Tag>> }
  /** The pages of a query whose payload has the fields of `Page`, as one list that grows with `loadMore`. */
  readonly usePages: <Tag extends PageTagOf<Rpcs>>(
    tag: Tag,
    payload: Omit<Payload<Rpcs, Tag>, Exclude<keyof Page.Request, "size">>
  ) => PagesState<Pages.ItemOf<Of<Rpcs, Tag>>, QueryError<Rpcs, Tag>>
  /**
   * A function that calls a mutation, the same one in every render, and whether a call of it has no outcome yet. A
   * component that is gone ends nothing.
   */
  readonly useMutation: <Tag extends TagOf<Rpcs, "mutation">>(
    tag: Tag,
    options?: MutationOptions<Rpcs, Tag>
  ) => readonly [
    call: (
      payload: Payload<Rpcs, Tag>
    ) => Promise<Outcome<Rpc.Success<Of<Rpcs, Tag>>, Rpc.Error<Of<Rpcs, Tag>> | OutcomeUnknown>>,
    isPending: boolean
  ]
  /** The connection of the client: `Idle` while nothing is live. */
  readonly useConnection: () => ConnectionState
}

/** Makes the hooks of a contract. */
export const createHooks = <Rpcs extends Rpc.Any>(api: Declared<Rpcs>): Hooks<Rpcs> => {
  const Current = createContext<Store | undefined>(undefined)
  const stores = new Stores(api)

  const useStore = (): Store => {
    const store = useContext(Current)
    if (store === undefined) throw new Error("there is no Provider of these hooks above this component")
    return store
  }

  /** Queries are the same when tag and payload are. */
  const keyFor = (tag: string, payload: unknown): string =>
    keyOf(tag, codecOf(api.declared, tag).encodePayload(payload))

  /** What a source shows, which is open while the component is mounted; `undefined` before. */
  const useQuery = <S>(store: Store, query: Query<Shown<S>>): Shown<S> | undefined => {
    // biome-ignore lint/correctness/useExhaustiveDependencies: queries of one key are the same query
    const listen = useCallback((listener: () => void) => store.listen(query, listener), [store, query.key])
    const read = () => store.get(query)?.state
    return useSyncExternalStore(listen, read, () => undefined)
  }

  const liveQuery = (tag: string, payload: unknown): Query<Shown<LiveState<any, any>>> => ({
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
  ): Query<Shown<PagesState<any, any>>> => ({
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
    // biome-ignore lint/correctness/useExhaustiveDependencies: another token is no other client
    const open = useMemo(
      () => (client === undefined ? stores.at(url!, tenant, token) : stores.of(client)),
      [client, url, tenant]
    )
    useInsertionEffect(() => {
      open.token = token
    })
    useEffect(() => open.store.hold(), [open])
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
    // A server would wait for a socket; React shows the fallback instead, and asks again in the browser.
    if (useSyncExternalStore(never, no, yes)) throw new Error(`${tag} is not read while a server renders`)
    if (!shown?.isReady) {
      use(store.first(query, isReady))
      shown = store.get(query)!.state!
    }
    const state = stateOf(shown)
    if (!hasNoError(state)) throw state.error
    return state
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
        const release = store.hold()
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

  // The functions above know no contract; `Hooks` gives each tag the types of its rpc.
  return { Provider, useLive, useLiveSuspense, usePages, useMutation, useConnection }
}

/** `MutationOptions` without its contract. */
interface UntypedMutationOptions {
  readonly optimistic?: (view: UntypedView, payload: any) => void
  readonly timeout?: Duration.Input
}

const hasNoError = (state: LiveState<any, any>): state is LiveState<any, never> => state.error === undefined

const hasSize = (payload: unknown): payload is { readonly size: number } =>
  typeof payload === "object" && payload !== null && "size" in payload && typeof payload.size === "number"

/** What a component gets, or what is thrown in its stead. */
interface Shown<S> {
  readonly state: S
  /** Whether there is a value or a failure. */
  readonly isReady: boolean
  readonly thrown: { readonly defect: unknown } | undefined
}

const isReady = (shown: Shown<unknown>): boolean => shown.isReady

const stateOf = <S>({ state, thrown }: Shown<S>): S => {
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

/** Nothing to listen to: tells a server that renders, and a page that is hydrated, from one that is alive. */
const never = () => () => {}
const no = () => false
const yes = () => true
const idle = (() => {
  const state = ConnectionState.Idle()
  return () => state
})()

/** A store, and the token that its client uses from now on. */
interface StoreEntry {
  readonly store: Store
  token: ServerProps["token"]
}

/**
 * The stores whose clients are open. When something below a provider waits and nothing between catches that, React
 * forgets what the provider held; the next attempt must find the same client again.
 */
class Stores<Rpcs extends Rpc.Any> {
  private readonly api: Declared<Rpcs>
  private readonly open = new Map<unknown, StoreEntry>()

  constructor(api: Declared<Rpcs>) {
    this.api = api
  }

  of(client: NonNullable<ClientProps<Rpcs>["client"]>): StoreEntry {
    return this.get(client, undefined, () => (Effect.isEffect(client) ? client : Effect.succeed(client)))
  }

  at(url: string, tenant: string | undefined, token: ServerProps["token"]): StoreEntry {
    return this.get(JSON.stringify([url, tenant]), token, (entry) => {
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
