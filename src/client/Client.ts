import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import { RpcClientError } from "effect/rpc/RpcClientError"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Api from "../contract/Api.ts"
import { CallError, Unavailable } from "../protocol/CallError.ts"
import { mutationHeader, mutationRetention } from "../protocol/MutationId.ts"
import { ConnectionRefused, OutcomeUnknown } from "./ClientError.ts"
import * as Connection from "./Connection.ts"
import type { ConnectionState } from "./ConnectionState.ts"
import { DeviceStatus } from "./DeviceStatus.ts"
import { type LiveValue, LiveValues } from "./LiveValues.ts"
import * as Mutations from "./Mutations.ts"
import { OptimisticChanges, type View } from "./Optimistic.ts"
import type { Outbox } from "./Outbox.ts"
import { isList, isServerMessage } from "./ServerMessage.ts"
import { requestIds, SocketRpcProtocol } from "./SocketRpcProtocol.ts"
import * as Transport from "./Transport.ts"
import { codecOf, type UntypedClient } from "./UntypedClient.ts"

export interface ClientOptions extends Transport.TransportOptions {
  /** Writes mutations down before they are sent, so that they outlive the page. */
  readonly outbox?: Outbox
}

/** A live value, and how fresh it is. */
export interface LiveSnapshot<A> {
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
  readonly live: () => LiveSnapshot<A>
  /** How the query failed, if it did. It does not go on after that. */
  readonly failure: () => Option.Option<Cause.Cause<E>>
  readonly end: () => void
}

export interface MutateOptions<Rpcs extends Rpc.Any> {
  /** Changes live values at once, until the server's own contain the mutation or it fails. */
  readonly optimistic?: (view: View<Rpcs>) => void
  /** How long to go on when no answer comes. A minute unless given. */
  readonly timeout?: Duration.Input
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
  ) => Stream.Stream<LiveSnapshot<Rpc.Success<Of<Rpcs, Tag>>>, Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused>
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
  options: ClientOptions
) => Effect.Effect<Client<Rpcs>, never, Scope> = Effect.fnUntraced(function* <Rpcs extends Rpc.Any>(
  api: Api.Declared<Rpcs>,
  options: ClientOptions
) {
  const group: RpcGroup.RpcGroup<any> = api.declared
  const clock = yield* Clock.Clock
  const transport = yield* Transport.make(options)
  const clientId = yield* Effect.sync(() => crypto.randomUUID())
  const optimistic = new OptimisticChanges()
  let streams = 0

  // --- one socket for all that is live, and for the calls that are made meanwhile

  const calls = new SocketRpcProtocol({
    onSend: (mutation) => deliveries.get(mutation)?.send() !== false,
    onAnswered: (mutation, isSuccess) => {
      if (isSuccess) optimistic.succeeded(mutation, live.session)
    },
    onCommitted: (mutation, version) => optimistic.committed(mutation, version),
    onChange: () => want()
  })
  const httpClient: UntypedRpcClient = yield* RpcClient.make(group, { flatten: true }).pipe(
    Effect.provideService(RpcClient.Protocol, transport.protocol)
  )
  const socketClient: UntypedRpcClient = yield* RpcClient.make(group, {
    flatten: true,
    generateRequestId: requestIds()
  }).pipe(Effect.provideService(RpcClient.Protocol, yield* calls.protocol))

  const want = () => connection.setWanted(live.size > 0 || streams > 0 || calls.isWaiting)
  const live: LiveValues = new LiveValues({
    onFirst: () => want(),
    onLast: () => {
      optimistic.unwatched()
      want()
    },
    onCurrent: (isCurrent) => {
      connection.setCurrent(isCurrent)
      if (isCurrent) optimistic.shown(live.session)
    },
    contains: (mutation, session, version) => optimistic.contains(mutation, session, version),
    onDelivered: (version, session) => optimistic.delivered(version, session),
    onProtocolError: () => connection.reset()
  })

  const connection: Connection.Connection = yield* Connection.make({
    socket: transport.socket,
    onOpen: (send) => {
      // Mutations first: their outcomes are then known before the values that contain them come.
      calls.opened(send)
      live.opened(send)
      live.reportCurrent()
    },
    onClose: () => {
      live.closed()
      calls.closed()
    },
    onMessage: (message) => {
      const messages = isList(message) ? message : [message]
      if (!messages.every(isServerMessage)) return false
      // Answers first: then what is known of a mutation is known when the values that contain it come.
      if (!messages.every((message) => live.owns(message) || calls.receive(message))) return false
      live.publish(live.receive(messages.filter((message) => live.owns(message))))
      live.reportCurrent()
      return true
    },
    onRefused: (reason) => live.failAll(Cause.fail(new ConnectionRefused({ reason }))),
    onTooLarge: (reason) => {
      const max = /^limit requestBytes is (\d+)/.exec(reason)
      if (max !== null) calls.limit(Number(max[1]))
    }
  })

  // --- calls

  /** Asks again when nobody was there. `Effect.retry` would bring schedules along, for 1 % of a small page. */
  const ask = (tag: string, payload: unknown, retries: number): Effect.Effect<any, any> =>
    Effect.catch(call(tag, payload), (error) =>
      retries > 0 && isUnavailable(error) ? ask(tag, payload, retries - 1) : Effect.fail(error)
    )

  const call = (tag: string, payload: unknown): Effect.Effect<any, any> =>
    Effect.suspend(() => {
      const made = codecOf(group, tag).makePayload(payload)
      return unavailable((calls.isOpen ? socketClient : httpClient)(tag, made))
    })

  /** Mutations that have no answer yet. */
  const deliveries = new Map<string, Delivery>()

  /** Sends a mutation until an answer comes, or nobody can say any more what it would mean. */
  const deliver: Mutations.MutationsOptions["deliver"] = (tag, payload, mutation, { timeout, sentAt }) =>
    Effect.suspend(() => {
      const headers = { [mutationHeader]: mutation }
      const delivery = new Delivery(tag, clock, sentAt)
      deliveries.set(mutation, delivery)
      let attempts = 0
      const byHttp: Effect.Effect<any, any> = Effect.suspend(() => {
        const isFirst = !delivery.isSent
        if (!delivery.send()) return Effect.never
        const answer: Effect.Effect<any, any> = httpClient(tag, payload, { headers })
        return Effect.catch(answer, (error): Effect.Effect<any, any> => {
          if (Transport.isRefused(error)) return isFirst ? unavailable(Effect.fail(error)) : unknown
          if (!isTransient(error)) return Effect.fail(error)
          return Effect.andThen(Effect.sleep(Duration.millis(Math.min(16_000, 250 * 2 ** attempts++))), attempt)
        })
      })
      // A client that is refused a socket may still be heard, or be told why not.
      const refused = connection.state.until(({ _tag }) => _tag === "Refused")
      // While something is live the answer must come by its socket, in one order with the values that contain it.
      const attempt: Effect.Effect<any, any> = Effect.suspend(() =>
        live.size > 0 || calls.isOpen
          ? Effect.raceFirst(socketClient(tag, payload, { headers }), Effect.andThen(refused, byHttp))
          : byHttp
      )
      const unknown = Effect.fail(new OutcomeUnknown({ tag }))
      return Effect.raceFirst(attempt, delivery.expired).pipe(
        Effect.timeoutOrElse({
          duration: timeout,
          orElse: (): Effect.Effect<never, OutcomeUnknown | CallError> =>
            delivery.isSent ? unknown : Effect.fail(notSent())
        }),
        // What cannot be read may have been done.
        Effect.catchDefect((defect) => (Schema.isSchemaError(defect) ? unknown : Effect.die(defect))),
        Effect.ensuring(Effect.sync(() => deliveries.delete(mutation)))
      )
    })

  /**
   * Waits until the live values contain a mutation that has succeeded. One that was answered before they were there is
   * asked about once more: by the socket the answer comes in one order with them.
   */
  const shown = (tag: string, payload: unknown, mutation: string) =>
    Effect.suspend(() => {
      if (live.size === 0 || !optimistic.isPending(mutation)) return Effect.void
      const isShown = Effect.callback<void>((resume) => {
        const end = optimistic.whenShown(mutation, () => resume(Effect.void))
        return Effect.sync(end)
      })
      if (optimistic.hasSucceeded(mutation)) return isShown
      const asked: Effect.Effect<unknown> = socketClient(tag, payload, { headers: { [mutationHeader]: mutation } })
      return Effect.raceFirst(isShown, Effect.andThen(Effect.ignoreCause(asked), Effect.never))
    })

  const mutations = yield* Mutations.make({
    clientId,
    server: `${options.url} ${options.tenant ?? "main"}`,
    outbox: options.outbox,
    device: yield* DeviceStatus,
    deliver,
    rpcOf: (tag) => (group.requests.has(tag) ? codecOf(group, tag) : undefined)
  })

  const mutate: UntypedClient["mutate"] = (tag, payload, mutateOptions = {}) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        // A payload that is none is the caller's mistake, and nothing is sent.
        const made = codecOf(group, tag).makePayload(payload)
        const mutation = mutations.nextId()
        const changes: Array<readonly [LiveValue, (value: unknown) => unknown]> = []
        mutateOptions.optimistic?.({
          update: (tag, payload, change) => {
            const value = live.find(tag, codecOf(group, tag).encodePayload(payload))
            if (value !== undefined) changes.push([value, change])
          },
          updateEach: (tag, change) => {
            for (const value of live.all()) {
              if (value.rpc.tag !== tag) continue
              changes.push([value, (current) => change(current, value.payload)])
            }
          }
        })
        optimistic.begin(mutation)
        for (const [value, change] of changes) optimistic.add(mutation, value, change)
        live.publish(new Set(changes.map(([value]) => value)))
        const timeout = Duration.fromInputUnsafe(mutateOptions.timeout ?? "1 minute")
        return restore(mutations.run(tag, made, mutation, mutateOptions.timeout)).pipe(
          Effect.tap(() => restore(Effect.timeoutOption(shown(tag, made, mutation), timeout))),
          // What is known to have succeeded stays shown until the server's own values have it.
          Effect.onExit(() =>
            Effect.sync(() => {
              if (live.size === 0 || !optimistic.hasSucceeded(mutation)) live.publish(optimistic.remove(mutation))
            })
          )
        )
      })
    )

  const act: UntypedClient["act"] = (tag, payload) => {
    if (!RpcSchema.isStreamSchema(codecOf(group, tag).rpc.successSchema)) return call(tag, payload)
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
    const opened = connection.state.until(({ _tag }) => _tag === "Live" || _tag === "Refused")
    return Stream.unwrap(
      Effect.andThen(
        Effect.andThen(wanted, opened),
        Effect.sync((): Stream.Stream<any, any> => {
          const { value } = connection.state
          if (value._tag !== "Refused") return socketClient(tag, payload)
          return Stream.fail(unavailableError(`the server refused the connection: ${value.reason}`))
        })
      )
    )
  }

  // --- live values

  const observe: UntypedClient["observe"] = (tag, payload, onChange) => {
    const rpc = codecOf(group, tag)
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

  const watch: UntypedClient["watch"] = (tag, payload) =>
    Stream.callback<LiveSnapshot<any>, any>(
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

  const client: UntypedClient = {
    query: (tag, payload) => ask(tag, payload, 2),
    mutate,
    act,
    watch,
    observe,
    live: (tag, payload) =>
      watch(tag, payload).pipe(
        Stream.filter(({ value }) => Option.isSome(value)),
        Stream.map(({ value }) => Option.getOrThrow(value)),
        Stream.changesWith((a, b) => a === b)
      ),
    connection: connection.state.changes
  }
  return client
})

/** A client as a service of an application. */
export const layer = <Self, Rpcs extends Rpc.Any>(
  tag: Context.Service<Self, Client<Rpcs>>,
  api: Api.Declared<Rpcs>,
  options: ClientOptions
): Layer.Layer<Self> => Layer.effect(tag, make(api, options))

/** The class of a client service, bound to a contract: `class Chat extends Client.Service<Chat>()("app/Chat", ChatApi) {}`. */
export const Service =
  <Self>() =>
  <const Id extends string, Rpcs extends Rpc.Any>(id: Id, api: Api.Declared<Rpcs>) => {
    const tag = Context.Service<Self, Client<Rpcs>>()(id)
    return Object.assign(tag, {
      layer: (options: ClientOptions): Layer.Layer<Self> => Layer.effect(tag, make(api, options))
    })
  }

/** Calls an rpc by its tag: gives an `Effect`, or a `Stream` when the rpc streams. */
type UntypedRpcClient = (tag: string, payload: unknown, options?: { readonly headers: Record<string, string> }) => any

/** A mutation on its way. */
class Delivery {
  /** Whether the server may have got it. */
  isSent: boolean
  /** Fails when it has become too old to be sent again. */
  readonly expired: Effect.Effect<never, OutcomeUnknown>
  private readonly clock: Clock.Clock
  private sentAt: number | undefined
  private isTooOld = false
  private expire: () => void = () => {}

  constructor(tag: string, clock: Clock.Clock, sentAt: number | undefined) {
    this.clock = clock
    this.sentAt = sentAt
    this.isSent = sentAt !== undefined
    this.expired = Effect.callback((resume) => {
      this.expire = () => resume(Effect.fail(new OutcomeUnknown({ tag })))
      if (this.isTooOld) this.expire()
    })
  }

  /**
   * It is about to be sent; answers whether it may be. A device can sleep for longer than the server keeps outcomes, and
   * no timer tells: sent again after that, the mutation would be done again.
   */
  send(): boolean {
    const now = this.clock.currentTimeMillisUnsafe()
    this.sentAt ??= now
    if (now - this.sentAt >= mutationRetention - maxTransit) {
      this.isTooOld = true
      this.expire()
      return false
    }
    this.isSent = true
    return true
  }
}

/** How long a message may be on its way. */
const maxTransit = 60_000

const isUnavailable = (error: unknown): boolean => error instanceof CallError && error.reason._tag === "Unavailable"

/** Whether the server did not get a mutation, or did not say what became of it. */
const isTransient = (error: unknown): boolean =>
  error instanceof RpcClientError || (error instanceof CallError && error.isRetryable)

/** What the transport has to say, and what cannot be read, in the words of every other failure of a call. */
const unavailable = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | CallError> =>
  effect.pipe(
    Effect.catch((error) =>
      Effect.fail(error instanceof RpcClientError ? unavailableError(error.reason.message) : error)
    ),
    Effect.catchDefect((defect) =>
      Schema.isSchemaError(defect) ? Effect.fail(unavailableError(unreadable)) : Effect.die(defect)
    )
  )

const unavailableError = (detail: string) => new CallError({ reason: new Unavailable({ detail }) })
const unreadable = "the server's answer does not fit the contract"
const notSent = () => unavailableError("there was no connection, and the mutation was not sent")
