/**
 * The live queries and mutations of a client as atoms of `effect/reactivity`.
 * A query is live while its atom is mounted; each registry has a client of its own.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as AsyncResult from "effect/reactivity/AsyncResult"
import * as Atom from "effect/reactivity/Atom"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import type { PublicTagOf } from "../contract/Api.ts"
import type { ConnectionRefused, OutcomeUnknown } from "./ClientError.ts"
import type { Client, LiveSnapshot, MutateOptions } from "./ClientTypes.ts"
import { ConnectionState } from "./ConnectionState.ts"
import { LoadedPages } from "./LoadedPages.ts"
import type { OutcomePending } from "./OutcomePending.ts"
import type * as Pages from "./Pages.ts"
import type { PagesPayload, PageTagOf } from "./ReactTypes.ts"
import { type UntypedMutateOptions, untyped } from "./UntypedClient.ts"

type Of<Rpcs extends Rpc.Any, Tag extends string> = Rpc.ExtractTag<Rpcs, Tag>

/** What is written to the atom of a mutation to call it. */
export interface Call<Rpcs extends Rpc.Any, Tag extends string> extends MutateOptions<Rpcs> {
  /** The payload of the mutation. */
  readonly payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
}

/** `Call` without its contract. */
interface UntypedCall extends UntypedMutateOptions {
  readonly payload: unknown
}

/** The value of an action: for one that streams, the latest item. */
export type ActionValue<Rpcs extends Rpc.Any, Tag extends string> =
  Rpc.SuccessSchema<Of<Rpcs, Tag>> extends RpcSchema.Stream<infer A, infer _E> ? A["Type"] : Rpc.Success<Of<Rpcs, Tag>>

/** How an action fails. `NoSuchElementError` is that of a stream without an item. */
export type ActionFailure<Rpcs extends Rpc.Any, Tag extends string> =
  | (Rpc.SuccessSchema<Of<Rpcs, Tag>> extends RpcSchema.Stream<infer _A, infer E>
      ? E["Type"] | Cause.NoSuchElementError
      : never)
  | Rpc.Error<Of<Rpcs, Tag>>
  | ConnectionRefused

/** The loaded pages of a query. */
export interface LoadedItems<out A> {
  /** The items of all loaded pages, in order, without gap or overlap. */
  readonly items: ReadonlyArray<A>
  /** Whether another page can be loaded. */
  readonly hasMore: boolean
}

/** The atoms of one contract. Each registry that they are used in makes a client of its own. */
export interface Atoms<in out Rpcs extends Rpc.Any, out E = never> {
  /** The client. It is made when the first atom needs it, and closed when the registry is disposed of. */
  readonly client: Atom.Atom<AsyncResult.AsyncResult<Client<Rpcs>, E>>
  /**
   * The latest value of a query; `waiting` while the connection is not `Live`. The same tag and an equal payload return
   * the same atom. The query is live while the atom is mounted. After a failure the last value is `previousSuccess`.
   */
  readonly live: <Tag extends PublicTagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
  ) => Atom.Atom<AsyncResult.AsyncResult<Rpc.Success<Of<Rpcs, Tag>>, Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused | E>>
  /** Like `live`, with the freshness of the value. Also changes when only the connection does. */
  readonly watch: <Tag extends PublicTagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
  ) => Atom.Atom<
    AsyncResult.AsyncResult<LiveSnapshot<Rpc.Success<Of<Rpcs, Tag>>>, Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused | E>
  >
  /**
   * A mutation. Write a `Call` to the atom to call it; its value is the outcome of the latest call. Earlier calls, and
   * calls whose atom was unmounted, still run to their end.
   */
  readonly mutation: <Tag extends PublicTagOf<Rpcs, "mutation">>(
    tag: Tag
  ) => Atom.AtomResultFn<
    Call<Rpcs, Tag>,
    Rpc.Success<Of<Rpcs, Tag>>,
    Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused | OutcomeUnknown | OutcomePending | E
  >
  /**
   * An action. Write its payload to the atom to call it; its value is that of the latest call, and while a stream of it
   * continues its latest item, `waiting`. A call is interrupted by a later one, by `Atom.Interrupt`, and when the atom is
   * unmounted.
   */
  readonly action: <Tag extends PublicTagOf<Rpcs, "action">>(
    tag: Tag
  ) => Atom.AtomResultFn<Rpc.PayloadConstructor<Of<Rpcs, Tag>>, ActionValue<Rpcs, Tag>, ActionFailure<Rpcs, Tag> | E>
  /**
   * The pages of a query whose payload has `Page.Fields`, as one list: give it the filters and the `size`. Write to the atom
   * to request the next page. `waiting` while a page has no value yet, and while the connection is not `Live`. The same tag
   * and an equal payload return the same atom.
   */
  readonly pages: <Tag extends PageTagOf<Rpcs>>(
    tag: Tag,
    payload: PagesPayload<Rpcs, Tag> & { readonly size: number }
  ) => Atom.Writable<
    AsyncResult.AsyncResult<LoadedItems<Pages.ItemOf<Of<Rpcs, Tag>>>, Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused | E>,
    void
  >
  /** The state of the connection; `Idle` until the client is made. */
  readonly connection: Atom.Atom<ConnectionState>
}

/** Makes the atoms of a client, or of an effect that makes one. The effect runs once in each registry. */
export const make = <Rpcs extends Rpc.Any, E = never>(
  from: Client<Rpcs> | Effect.Effect<Client<Rpcs>, E, Scope>
): Atoms<Rpcs, E> => {
  // No atom makes a client while a server renders.
  const client: Atom.Atom<AsyncResult.AsyncResult<Client<Rpcs>, E>> = Atom.withServerValueInitial(
    Atom.keepAlive(Atom.make(Effect.isEffect(from) ? from : Effect.succeed(from)))
  )

  /** The atoms of all queries. `show` makes the value of an atom from the snapshot; `None` while there is no value. */
  const query = (show: (live: LiveSnapshot<any>) => Option.Option<any>) =>
    Atom.family(({ payload, tag }: { readonly tag: string; readonly payload: unknown }) =>
      Atom.withServerValueInitial(
        Atom.readable((get: Atom.AtomContext): AsyncResult.AsyncResult<any, any> => {
          const made = get(client)
          if (!AsyncResult.isSuccess(made)) return unmade(made)
          const result = () => {
            const live = observed.live()
            return resultOf(show(live), observed.failure(), live.connection._tag !== "Live")
          }
          const observed = untyped(made.value).observe(tag, payload, () => get.setSelf(result()))
          get.addFinalizer(observed.end)
          return result()
        })
      )
    )
  const live = query(({ value }) => value)
  const watch = query((live) => (Option.isSome(live.value) ? Option.some(live) : Option.none()))

  const mutation = Atom.family((tag: string) =>
    Atom.fn<UntypedCall>()((call, get) =>
      Effect.gen(function* () {
        const made = untyped(yield* get.result(client))
        // Forked: unmounting the atom, or a later call, interrupts this fiber and must not interrupt the mutation.
        const sending = yield* Effect.forkDetach(made.mutate(tag, call.payload, call), {
          startImmediately: true
        })
        return yield* Fiber.join(sending)
      })
    )
  )

  const action = Atom.family((tag: string) =>
    Atom.fn(
      (payload: unknown, get: Atom.FnContext): Stream.Stream<any, any> =>
        Stream.unwrap(
          Effect.map(get.result(client), (made) => {
            const acting: Effect.Effect<any, any> | Stream.Stream<any, any> = untyped(made).act(tag, payload)
            return Effect.isEffect(acting) ? Stream.fromEffect(acting) : acting
          })
        )
    )
  )

  const pages = Atom.family(
    ({ payload, size, tag }: { readonly tag: string; readonly size: number; readonly payload: object }) => {
      /** Changes with each request for the next page. */
      const requests = Atom.setIdleTTL(Atom.make(0), 0)
      const read = (get: Atom.AtomContext): AsyncResult.AsyncResult<any, any> => {
        const made = get(client)
        if (!AsyncResult.isSuccess(made)) return unmade(made)
        const loaded = new LoadedPages(untyped(made.value), tag, { size, payload: (page) => ({ ...payload, ...page }) })
        const result = () => {
          const { connection, failure, hasMore, isLoading, items } = loaded.state()
          const value = isLoading && items.length === 0 ? Option.none() : Option.some({ items, hasMore })
          return resultOf(value, failure, isLoading || connection._tag !== "Live")
        }
        const unlisten = loaded.listen(() => get.setSelf(result()))
        get.subscribe(requests, loaded.loadMore)
        get.addFinalizer(() => {
          unlisten()
          loaded.end()
        })
        return result()
      }
      const write = (context: Atom.WriteContext<unknown>) => context.set(requests, context.get(requests) + 1)
      return Atom.withServerValueInitial(Atom.writable(read, write))
    }
  )

  const readConnection = (get: Atom.AtomContext): ConnectionState => {
    const made = get(client)
    if (!AsyncResult.isSuccess(made)) return ConnectionState.Idle()
    let state: ConnectionState = ConnectionState.Idle()
    const reading = Effect.runFork(
      Stream.runForEach(made.value.connection, (next) =>
        Effect.sync(() => {
          state = next
          get.setSelf(next)
        })
      )
    )
    get.addFinalizer(() => reading.interruptUnsafe())
    return state
  }
  const connection = Atom.withServerValue(Atom.readable(readConnection), () => idle)

  return {
    client,
    live: (tag, payload) => live({ tag, payload }),
    watch: (tag, payload) => watch({ tag, payload }),
    mutation,
    action,
    pages: (tag, { size, ...payload }) => pages({ tag, size, payload }),
    connection
  }
}

/** Makes the atoms of the client that a layer builds. The layer is built once in each registry. */
export const fromLayer = <Self, Rpcs extends Rpc.Any, E = never>(
  tag: Context.Service<Self, Client<Rpcs>>,
  layer: Layer.Layer<Self, E>
): Atoms<Rpcs, E> => make(Effect.map(Layer.build(layer), (context) => Context.get(context, tag)))

/** What an atom shows while there is no client. */
const unmade = (made: AsyncResult.AsyncResult<unknown, any>): AsyncResult.AsyncResult<never, any> =>
  AsyncResult.isFailure(made) ? AsyncResult.failure(made.cause) : waiting

/** What an atom shows of a value. After a failure the last value is `previousSuccess`. */
const resultOf = (
  value: Option.Option<any>,
  failure: Option.Option<Cause.Cause<any>>,
  isWaiting: boolean
): AsyncResult.AsyncResult<any, any> => {
  if (Option.isSome(failure)) {
    const previousSuccess = Option.map(value, (value) => AsyncResult.success<any, any>(value))
    return AsyncResult.failure<any, any>(failure.value, { previousSuccess })
  }
  return Option.isSome(value) ? AsyncResult.success<any, any>(value.value, { waiting: isWaiting }) : waiting
}

const idle = ConnectionState.Idle()
const waiting = AsyncResult.initial<never, never>(true)
