import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import { RpcClientError } from "effect/rpc/RpcClientError"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSchema from "effect/rpc/RpcSchema"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Api from "../contract/Api.ts"
import { CallError, Unavailable } from "../protocol/CallError.ts"
import { mutationHeader } from "../protocol/MutationId.ts"
import { ConnectionRefused, type OutcomeUnknown } from "./ClientError.ts"
import * as Connection from "./Connection.ts"
import type { ConnectionState } from "./ConnectionState.ts"
import * as LiveRpc from "./LiveRpc.ts"
import { LiveValues } from "./LiveValues.ts"
import * as Mutations from "./Mutations.ts"
import { OptimisticChanges, type View } from "./Optimistic.ts"
import { Signals } from "./Signals.ts"
import { requestIds, SocketCalls } from "./SocketCalls.ts"
import * as Transport from "./Transport.ts"

export interface Options extends Transport.Options {
  /** Writes mutations down before they are sent, so that they outlive the page. */
  readonly outbox?: Mutations.OutboxOptions
}

/** A live value, and how fresh it is. */
export interface Live<A> {
  /** `None` until the first value has come. */
  readonly value: Option.Option<A>
  /** The server's version of the value, below the optimistic changes. */
  readonly version: number
  /** Whether the value contains changes that the server has not confirmed. */
  readonly isOptimistic: boolean
  readonly connection: ConnectionState
}

/** A live value that is being observed. */
export interface Observed<A, E> {
  readonly live: () => Live<A>
  /** How the query failed, if it did. It does not go on after that. */
  readonly failure: () => Option.Option<Cause.Cause<E>>
  readonly end: () => void
}

export interface MutateOptions<Rpcs extends Rpc.Any> {
  /** Changes live values at once, until the server's own contain the mutation or it fails. */
  readonly optimistic?: (view: View<Rpcs>) => void
  /** How long to go on when no answer comes. A minute unless given. */
  readonly giveUpAfter?: Duration.Input
}

type Of<Rpcs extends Rpc.Any, Tag extends string> = Rpc.ExtractTag<Rpcs, Tag>

/** A typed client of one contract and one tenant. */
export interface Client<in out Rpcs extends Rpc.Any> {
  readonly query: <Tag extends Api.TagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
  ) => Effect.Effect<Rpc.Success<Of<Rpcs, Tag>>, Rpc.Error<Of<Rpcs, Tag>>>
  /** Is done exactly once, however often it must be sent. */
  readonly mutate: <Tag extends Api.TagOf<Rpcs, "mutation">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>,
    options?: MutateOptions<Rpcs>
  ) => Effect.Effect<Rpc.Success<Of<Rpcs, Tag>>, Rpc.Error<Of<Rpcs, Tag>> | OutcomeUnknown>
  /** Is sent once. An action that streams gives a `Stream`, others an `Effect`. */
  readonly act: <Tag extends Api.TagOf<Rpcs, "action">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
  ) => Rpc.SuccessSchema<Of<Rpcs, Tag>> extends RpcSchema.Stream<infer A, infer E>
    ? Stream.Stream<A["Type"], E["Type"] | Rpc.Error<Of<Rpcs, Tag>>>
    : Effect.Effect<Rpc.Success<Of<Rpcs, Tag>>, Rpc.Error<Of<Rpcs, Tag>>>
  /**
   * The latest value of a query, now and after every change, for ever. A lost connection does not end it; it fails when
   * the query does or when the server refuses this client.
   */
  readonly live: <Tag extends Api.TagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
  ) => Stream.Stream<Rpc.Success<Of<Rpcs, Tag>>, Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused>
  /** The same with its freshness: emits also when only the connection changes. */
  readonly watch: <Tag extends Api.TagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
  ) => Stream.Stream<Live<Rpc.Success<Of<Rpcs, Tag>>>, Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused>
  /**
   * The same without streams, for bindings to other libraries: calls `onChange` in the turn of each change, until `end`.
   */
  readonly observe: <Tag extends Api.TagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>,
    onChange: () => void
  ) => Observed<Rpc.Success<Of<Rpcs, Tag>>, Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused>
  /** The connection, now and after every change. */
  readonly connection: Stream.Stream<ConnectionState>
}

/** Makes a client. It lives as long as the scope; a socket is open while something is live. */
export const make: <Rpcs extends Rpc.Any>(
  api: Api.Declared<Rpcs>,
  options: Options
) => Effect.Effect<Client<Rpcs>, never, Scope> = Effect.fnUntraced(function* <Rpcs extends Rpc.Any>(
  api: Api.Declared<Rpcs>,
  options: Options
) {
  const group = api.declared as RpcGroup.RpcGroup<any>
  const transport = yield* Transport.make(options)
  const clientId = yield* Effect.sync(() => crypto.randomUUID())
  const optimistic = new OptimisticChanges()
  let streams = 0

  // --- one socket for all that is live, and for the calls that are made meanwhile

  const calls = new SocketCalls({
    onCommitted: (mutation, version) => optimistic.committed(mutation, version),
    onChange: () => want()
  })
  const httpClient: any = yield* RpcClient.make(group, { flatten: true }).pipe(
    Effect.provideService(RpcClient.Protocol, transport.protocol)
  )
  const socketClient: any = yield* RpcClient.make(group, { flatten: true, generateRequestId: requestIds() }).pipe(
    Effect.provideService(RpcClient.Protocol, yield* calls.protocol)
  )

  const want = () => connection.want(live.size > 0 || streams > 0 || calls.isWaiting)
  const live: LiveValues = new LiveValues({
    onFirst: () => want(),
    onLast: () => want(),
    contains: (mutation, session) => optimistic.contains(mutation, session),
    onDistrust: () => connection.reset()
  })

  const connection: Connection.Connection = yield* Connection.make({
    socket: transport.socket,
    onOpen: (send) => {
      // Mutations first: their outcomes are then known before the values that contain them come.
      calls.opened(send)
      live.opened(send)
    },
    onClose: () => {
      live.closed()
      calls.closed()
    },
    onMessage: (message) => {
      const messages: ReadonlyArray<unknown> = Array.isArray(message) ? message : [message]
      if (!messages.every(isMessage)) return false
      const changed = live.receive(messages.filter(({ requestId }) => live.owns(requestId)))
      for (const message of messages) {
        if (message._tag === "Settled") {
          for (const value of optimistic.settled(Number(message["version"]), live.session)) changed.add(value)
        } else if (!live.owns(message.requestId)) calls.receive(message)
      }
      live.publish(changed)
      return true
    },
    onRefused: (reason) => live.failAll(Cause.fail(new ConnectionRefused({ reason })))
  })

  // --- calls

  const call = (tag: string, payload: unknown): Effect.Effect<any, any> =>
    Effect.suspend(() => (calls.isOpen ? socketClient : httpClient)(tag, payload))

  const liveRpcs = new Map<string, LiveRpc.LiveRpc>()
  const liveRpc = (rpc: Rpc.AnyWithProps) => {
    let found = liveRpcs.get(rpc._tag)
    if (found === undefined) {
      found = LiveRpc.make(rpc)
      liveRpcs.set(rpc._tag, found)
    }
    return found
  }

  const rpcOf = (tag: string) => group.requests.get(tag) as Rpc.AnyWithProps

  /** Sends a mutation until an answer comes. */
  const deliver = (tag: string, payload: unknown, mutation: string): Effect.Effect<any, any> => {
    const headers = { [mutationHeader]: mutation }
    let attempts = 0
    // While something is live the answer must come by its socket, in one order with the values that contain it.
    const attempt: Effect.Effect<any, any> = Effect.suspend(() =>
      live.size > 0 || calls.isOpen
        ? socketClient(tag, payload, { headers })
        : Effect.catchIf(
            httpClient(tag, payload, { headers }) as Effect.Effect<any, any>,
            (error) => error instanceof RpcClientError,
            () => Effect.andThen(Effect.sleep(Duration.millis(Math.min(16_000, 250 * 2 ** attempts++))), attempt)
          )
    )
    return attempt
  }

  const mutations = yield* Mutations.make({
    clientId,
    server: `${options.url} ${options.tenant ?? "main"}`,
    outbox: options.outbox,
    signals: yield* Signals,
    deliver,
    rpcOf: (tag) => (group.requests.has(tag) ? liveRpc(rpcOf(tag)) : undefined)
  })

  const mutate = (tag: string, payload: unknown, mutateOptions: MutateOptions<Rpcs> = {}) =>
    Effect.suspend(() => {
      const mutation = mutations.nextId()
      const changes: Array<() => void> = []
      mutateOptions.optimistic?.({
        update: (tag, payload, change) => {
          const value = live.find(tag, liveRpc(rpcOf(tag)).encodePayload(payload))
          if (value !== undefined) changes.push(() => optimistic.add(mutation, value, change as any))
        },
        updateEach: (tag, change) => {
          for (const value of live.all()) {
            if (value.rpc.tag !== tag) continue
            changes.push(() =>
              optimistic.add(mutation, value, (current) => change(current as any, value.payload as any))
            )
          }
        }
      })
      for (const change of changes) change()
      live.publish(live.all())
      return Effect.onExit(mutations.run(tag, payload, mutation, mutateOptions.giveUpAfter), (exit) =>
        Effect.sync(() => {
          // A success stays shown until the server's own value has it.
          if (Exit.isSuccess(exit)) optimistic.succeeded(mutation, live.session)
          else live.publish(optimistic.remove(mutation))
        })
      )
    })

  const act = (tag: string, payload: unknown) => {
    if (!RpcSchema.isStreamSchema(rpcOf(tag).successSchema)) return unavailable(call(tag, payload))
    const wanted = Effect.acquireRelease(
      Effect.sync(() => {
        streams++
        want()
      }),
      () =>
        Effect.sync(() => {
          streams--
          want()
        })
    )
    const opened = connection.state.until(({ _tag }) => _tag === "Live")
    return Stream.unwrap(
      Effect.andThen(
        Effect.andThen(wanted, opened),
        Effect.sync(() => socketClient(tag, payload) as Stream.Stream<any, any>)
      )
    )
  }

  // --- live values

  const observe = (tag: string, payload: unknown, onChange: () => void): Observed<any, any> => {
    const rpc = liveRpc(rpcOf(tag))
    let failure: Option.Option<Cause.Cause<any>> = Option.none()
    const watched = live.watch(rpc, rpc.encodePayload(payload), (event) => {
      if (event._tag === "Failed") failure = Option.some(event.failure)
      onChange()
    })
    const endState = connection.state.listen(onChange)
    return {
      live: () => ({ ...watched.live.shown, connection: connection.state.value }),
      failure: () => failure,
      end() {
        endState()
        watched.end()
      }
    }
  }

  const watch = (tag: string, payload: unknown): Stream.Stream<Live<any>, any> =>
    Stream.callback<Live<any>, any>(
      (queue) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const observed = observe(tag, payload, () => show())
            const show = () => {
              const failure = observed.failure()
              if (Option.isSome(failure)) Queue.failCauseUnsafe(queue, failure.value)
              else Queue.offerUnsafe(queue, observed.live())
            }
            show()
            return observed
          }),
          (observed) => Effect.sync(observed.end)
        ),
      { bufferSize: 1, strategy: "sliding" }
    )

  return {
    query: (tag: string, payload: unknown) =>
      Effect.retry(unavailable(call(tag, payload)), { times: 2, while: isUnavailable }),
    mutate,
    act,
    watch,
    observe,
    live: (tag: string, payload: unknown) =>
      watch(tag, payload).pipe(
        Stream.filter(({ value }) => Option.isSome(value)),
        Stream.map(({ value }) => Option.getOrThrow(value)),
        Stream.changesWith((a, b) => a === b)
      ),
    connection: connection.state.changes
  } as unknown as Client<Rpcs>
})

/** A client as a service of an application. */
export const layer = <Self, Rpcs extends Rpc.Any>(
  tag: Context.Service<Self, Client<Rpcs>>,
  api: Api.Declared<Rpcs>,
  options: Options
): Layer.Layer<Self> => Layer.effect(tag, make(api, options))

/** The class of a client service, bound to a contract: `class Chat extends Client.Service<Chat>()("app/Chat", ChatApi) {}`. */
export const Service =
  <Self>() =>
  <const Id extends string, Rpcs extends Rpc.Any>(id: Id, api: Api.Declared<Rpcs>) => {
    const tag = Context.Service<Self, Client<Rpcs>>()(id)
    return Object.assign(tag, {
      layer: (options: Options): Layer.Layer<Self> => Layer.effect(tag, make(api, options))
    })
  }

const isUnavailable = (error: unknown): boolean => error instanceof CallError && error.reason._tag === "Unavailable"

/** What the transport has to say, in the words of every other failure of a call. */
const unavailable = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | CallError> =>
  Effect.catchIf(
    effect,
    (error) => error instanceof RpcClientError,
    (error) => Effect.fail(new CallError({ reason: new Unavailable({ detail: (error as RpcClientError).message }) }))
  )

const isMessage = (message: unknown): message is Record<string, unknown> & { readonly _tag: string } =>
  typeof message === "object" && message !== null && "_tag" in message && typeof message._tag === "string"
