/**
 * The client of one contract and one tenant: queries, mutations, actions and live queries, typed by the contract.
 * Connects the parts: transport, connection, live values, calls over the socket, mutations, optimistic changes.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import { RpcClientError } from "effect/rpc/RpcClientError"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Api from "../contract/Api.ts"
import { CallError, orOutdated, outdated, PayloadInvalid, Unavailable } from "../protocol/CallError.ts"
import { mutationHeader, mutationMargin, mutationRetention } from "../protocol/MutationId.ts"
import { ConnectionRefused, OutcomeUnknown } from "./ClientError.ts"
import type { Client, LiveSnapshot } from "./ClientTypes.ts"
import * as Connection from "./Connection.ts"
import { DeviceStatus } from "./DeviceStatus.ts"
import { type Listener, type LiveValue, LiveValues } from "./LiveValues.ts"
import * as Mutations from "./Mutations.ts"
import { OptimisticChanges } from "./Optimistic.ts"
import { isList, isServerMessage } from "./ServerMessage.ts"
import { requestIds, SocketRpcProtocol } from "./SocketRpcProtocol.ts"
import * as TokenRenewal from "./TokenRenewal.ts"
import * as Transport from "./Transport.ts"
import { codecOf, type UntypedClient } from "./UntypedClient.ts"

export type { Client, LiveSnapshot, MutateOptions, Observed } from "./ClientTypes.ts"

/** Which server, tenant and caller, and whether mutations outlive the page. */
export interface ClientOptions extends Transport.TransportOptions {
  /** Stores mutations before they are sent, so that they outlive the page. Without one they are kept in memory. */
  readonly outbox?: Mutations.Outbox
}

/**
 * Makes a client, which lives as long as the scope. A socket is open only while a query is live, an action streams, or
 * a mutation that was sent over the socket has no answer.
 */
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

  // --- one socket for all live queries, and for the calls made while it is open

  const calls = new SocketRpcProtocol({
    onSend: (mutation) => deliveries.get(mutation)?.() !== false,
    onAnswered: (mutation, isSuccess) => {
      if (isSuccess) optimistic.succeeded(mutation, live.session)
    },
    onCommitted: (mutation, version) => optimistic.committed(mutation, version),
    onChange: () => updateWanted()
  })
  const httpClient: UntypedRpcClient = yield* RpcClient.make(group, { flatten: true }).pipe(
    Effect.provideService(RpcClient.Protocol, transport.protocol)
  )
  const socketClient: UntypedRpcClient = yield* RpcClient.make(group, {
    flatten: true,
    generateRequestId: requestIds()
  }).pipe(Effect.provideService(RpcClient.Protocol, yield* calls.protocol))

  const updateWanted = () => connection.setWanted(live.size > 0 || streams > 0 || calls.isWaiting)
  const live: LiveValues = new LiveValues({
    onFirst: () => updateWanted(),
    onStarted: (live) => optimistic.resume(live),
    onLast: () => {
      optimistic.unwatched()
      updateWanted()
    },
    onCurrent: (isCurrent) => {
      connection.setCurrent(isCurrent)
      if (isCurrent) optimistic.shown(live.session)
    },
    contains: (mutation, session, version) => optimistic.contains(mutation, session, version),
    onDelivered: (version, session) => optimistic.delivered(version, session),
    onProtocolError: () => connection.reset()
  })

  const { socketToken, token } = transport
  const renewal = token && (yield* TokenRenewal.make(token, socketToken))
  const connection: Connection.Connection = yield* Connection.make({
    socket: transport.socket,
    hasFreshTokens: token !== undefined,
    onOpen: (send) => {
      // Mutations first: the server then answers them before it sends the values that contain them.
      calls.opened(send)
      live.opened(send)
      renewal?.opened(send)
    },
    onClose: () => {
      renewal?.closed()
      live.closed()
      calls.closed()
    },
    onMessage: (message) => {
      const messages = isList(message) ? message : [message]
      if (!messages.every(isServerMessage)) return false
      for (const message of messages) if (renewal?.owns(message)) renewal.receive(message)
      // Answers first: when the values of the same message are applied, the outcomes of their mutations are known.
      if (!messages.every((message) => live.owns(message) || calls.receive(message))) return false
      live.publish(live.receive(messages.filter((message) => live.owns(message))))
      live.reportCurrent()
      return true
    },
    onRefused: (reason) => live.failAll(Cause.fail(new ConnectionRefused({ reason }))),
    onTooLarge: (reason) => {
      const max = /^limit requestBytes is (\d+)/.exec(reason)
      if (max === null) return
      calls.limit(Number(max[1]))
      live.limit(Number(max[1]))
    }
  })

  // --- calls

  /** Fails, before anything is sent, when the payload does not fit its schema. */
  const makePayload = (tag: string, payload: unknown): Effect.Effect<unknown, CallError> =>
    Effect.catchDefect(
      Effect.sync(() => codecOf(group, tag).makePayload(payload)),
      (issue) => Effect.fail(new CallError({ reason: new PayloadInvalid({ issue: `${issue}` }) }))
    )

  /** Retries when no answer came. Not `Effect.retry`: its schedules would add 1 % to the bundle. */
  const call = (tag: string, payload: unknown, retries = 0): Effect.Effect<any, any> =>
    Effect.flatMap(makePayload(tag, payload), (made) => {
      const attempt = (number: number): Effect.Effect<any, any> =>
        Effect.catch((calls.isOpen ? socketClient : httpClient)(tag, made), (error) =>
          number < retries && isTransient(error) && !Transport.isRefused(error)
            ? Effect.andThen(
                backoff(number),
                Effect.suspend(() => attempt(number + 1))
              )
            : Effect.fail(error)
        )
      return unavailable(attempt(0))
    })

  /** What is called before each sending of a mutation without an answer, by id. Returns whether it may be sent. */
  const deliveries = new Map<string, () => boolean>()

  /** Sends a mutation, again after each lost connection, until it has an answer or its time is over. */
  const deliver: Mutations.MutationsOptions["deliver"] = (tag, payload, mutation, timeout, stored) =>
    Effect.suspend(() => {
      const headers = { ...stored?.headers, [mutationHeader]: mutation }
      const unknown = Effect.fail(new OutcomeUnknown({ tag }))
      /** Fails when the mutation is too old to be sent again. */
      const expired = Deferred.makeUnsafe<never, OutcomeUnknown>()
      /** Whether it was sent, so that the server may have run it. */
      let isSent = stored?.isSent ?? false
      let isRepeated = false
      let sentAt: number | undefined
      // After the server has deleted its outcome it would run again; timers do not guard against that, because they stop
      // while a device sleeps. The server itself refuses the mutations of an outbox, which say when they were first sent.
      const send = () => {
        const now = clock.currentTimeMillisUnsafe()
        sentAt ??= now
        if (!stored && now - sentAt >= mutationRetention - mutationMargin) {
          Deferred.doneUnsafe(expired, unknown)
          return false
        }
        isRepeated = isSent
        isSent = true
        return true
      }
      deliveries.set(mutation, send)
      let attempts = 0
      const byHttp: Effect.Effect<any, any> = Effect.suspend(() => {
        const isFirst = !isSent
        if (!send()) return Effect.never
        const answer: Effect.Effect<any, any> = httpClient(tag, payload, { headers })
        return Effect.catch(answer, (error): Effect.Effect<any, any> => {
          if (Transport.isRefused(error)) {
            return stored?.onRefused(error, isFirst) ?? (isFirst ? unavailable(Effect.fail(error)) : unknown)
          }
          if (!isTransient(error)) return Effect.fail(error)
          return Effect.andThen(backoff(attempts++), attempt)
        })
      })
      // A server that refuses the socket may accept the call over HTTP, or answer it with the reason.
      const refused = connection.state.until(({ _tag }) => _tag === "Refused")
      // While a query is live the answer must arrive over its socket, in order with the values that contain the
      // mutation.
      const attempt: Effect.Effect<any, any> = Effect.suspend(() =>
        live.size > 0 || calls.isOpen
          ? Effect.raceFirst(socketClient(tag, payload, { headers }), Effect.andThen(refused, byHttp))
          : byHttp
      )
      return Effect.raceFirst(attempt, Deferred.await(expired)).pipe(
        Effect.timeoutOrElse({
          duration: timeout,
          orElse: (): Effect.Effect<never, OutcomeUnknown | CallError> =>
            isSent ? unknown : Effect.fail(unavailableError("no connection: the mutation was not sent"))
        }),
        // The server answered something unreadable: it may have run the mutation.
        Effect.catchDefect((defect) => (Schema.isSchemaError(defect) ? unknown : Effect.die(defect))),
        // Its first copy may have run, as another caller or in another form of the contract.
        Effect.catch((failure) => {
          const error = orOutdated(failure)
          const reason = error instanceof CallError && error.reason._tag
          const isOfAnotherCopy =
            reason === "Outdated" ||
            reason === "MutationMismatch" ||
            (reason === "TooManyRequests" && stored === undefined)
          return reason === "OutcomeUnreadable" || (isRepeated && isOfAnotherCopy) ? unknown : Effect.fail(error)
        }),
        Effect.ensuring(Effect.sync(() => deliveries.delete(mutation)))
      )
    })

  /**
   * Waits until the live values contain a mutation that has succeeded. If it was answered over HTTP, before the socket
   * was open, it is sent once more over the socket: the server repeats its outcome, in order with the values.
   */
  const shown = (tag: string, payload: unknown, mutation: string) =>
    Effect.suspend(() => {
      if (live.size === 0 || !optimistic.isPending(mutation)) return Effect.void
      const isShown = optimistic.whenShown(mutation)
      if (optimistic.hasSucceeded(mutation)) return isShown
      const repeated: Effect.Effect<unknown> = socketClient(tag, payload, { headers: { [mutationHeader]: mutation } })
      return Effect.raceFirst(isShown, Effect.andThen(Effect.ignoreCause(repeated), Effect.never))
    })

  const mutations = yield* Mutations.make({
    ...options,
    clientId,
    device: yield* DeviceStatus,
    deliver,
    // The changes of a mutation that succeeded are kept until the server's values contain it.
    ended: (mutation) => {
      if (live.size === 0 || !optimistic.hasSucceeded(mutation)) live.publish(optimistic.remove(mutation))
    },
    rpcOf: (tag) => (group.requests.has(tag) ? codecOf(group, tag) : undefined)
  })

  const mutate: UntypedClient["mutate"] = (tag, payload, mutateOptions = {}) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(makePayload(tag, payload), (made) => {
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
        const mutation = mutations.nextId()
        optimistic.begin(mutation)
        for (const [value, change] of changes) optimistic.add(mutation, value, change)
        live.publish(new Set(changes.map(([value]) => value)))
        const timeout = mutateOptions.timeout ?? Mutations.defaultTimeout
        return restore(mutations.run(tag, made, mutation, mutateOptions.timeout)).pipe(
          Effect.tap(() => restore(Effect.timeoutOption(shown(tag, made, mutation), timeout))),
          Effect.ensuring(Effect.sync(() => mutations.ended(mutation)))
        )
      })
    )

  const act: UntypedClient["act"] = (tag, payload) => {
    if (!RpcSchema.isStreamSchema(codecOf(group, tag).rpc.successSchema)) return call(tag, payload)
    const wanted = Effect.acquireRelease(
      Effect.sync(() => {
        streams++
        updateWanted()
      }),
      () =>
        Effect.sync(() => {
          streams--
          updateWanted()
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

  const observe: UntypedClient["observe"] = (tag, payload, onChange, initial) => {
    const rpc = codecOf(group, tag)
    let failure: Option.Option<Cause.Cause<any>> = Option.none()
    const listener: Listener = (event) => {
      if (event._tag === "Failed") failure = Option.some(event.failure)
      onChange()
    }
    const watched = live.watch(rpc, rpc.encodePayload(payload), listener, initial)
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

  /** A stream of what `show` makes of each snapshot, but for `None`. */
  const changes = (tag: string, payload: unknown, show: (snapshot: LiveSnapshot<any>) => Option.Option<unknown>) =>
    Stream.callback<any, any>(
      (queue) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const observed = observe(tag, payload, () => update())
            const update = () => {
              const failure = observed.failure()
              if (Option.isSome(failure)) return Queue.failCauseUnsafe(queue, failure.value)
              const next = show(observed.live())
              if (Option.isSome(next)) Queue.offerUnsafe(queue, next.value)
            }
            update()
            return observed
          }),
          (observed) => Effect.sync(observed.end)
        ),
      { bufferSize: 1, strategy: "sliding" }
    )

  const client: UntypedClient = {
    query: (tag, payload) => call(tag, payload, 2),
    mutate,
    act,
    watch: (tag, payload) => changes(tag, payload, Option.some),
    observe,
    live: (tag, payload) =>
      Stream.changesWith(
        changes(tag, payload, ({ value }) => value),
        (one, other) => one === other
      ),
    connection: connection.state.changes,
    refresh: renewal?.refresh ?? Effect.succeed(false)
  }
  return client
})

/** A layer of a client, under a service tag of the application. `Service` makes tag and layer together. */
export const layer = <Self, Rpcs extends Rpc.Any>(
  tag: Context.Service<Self, Client<Rpcs>>,
  api: Api.Declared<Rpcs>,
  options: ClientOptions
): Layer.Layer<Self> => Layer.effect(tag, make(api, options))

/**
 * A service class for the client of a contract: `class Chat extends Client.Service<Chat>()("app/Chat", ChatApi) {}`.
 * Its `layer` makes the client.
 */
export const Service =
  <Self>() =>
  <const Id extends string, Rpcs extends Rpc.Any>(id: Id, api: Api.Declared<Rpcs>) => {
    const tag = Context.Service<Self, Client<Rpcs>>()(id)
    return Object.assign(tag, {
      layer: (options: ClientOptions): Layer.Layer<Self> => Layer.effect(tag, make(api, options))
    })
  }

/** Calls an rpc by its tag. Returns an `Effect`, or a `Stream` when the rpc streams. */
type UntypedRpcClient = (tag: string, payload: unknown, options?: { readonly headers: Record<string, string> }) => any

/** The delay before a retry. Clients that lost the server at the same time come back at different times. */
const backoff = (attempt: number): Effect.Effect<void> =>
  Effect.flatMap(Random.nextBetween(0.75, 1), (jitter) =>
    Effect.sleep(Math.round(Math.min(16_000, 250 * 2 ** attempt) * jitter))
  )

/** Whether a query or a mutation must be sent again: the server did not receive it, or did not report its outcome. */
const isTransient = (error: unknown): boolean =>
  error instanceof RpcClientError || (error instanceof CallError && error.isRetryable && !isLimited(error))

/** Whether the caller made too many calls: it decides itself whether it waits for so long. */
const isLimited = (error: CallError): boolean => error.reason._tag === "TooManyRequests"

/** Turns failures of the transport, and answers that cannot be decoded, into `CallError`s. */
export const unavailable = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | CallError | ConnectionRefused> =>
  effect.pipe(
    Effect.catch((error) =>
      Effect.fail(
        error instanceof RpcClientError
          ? (Transport.failureOf(error) ?? unavailableError(error.reason.message))
          : orOutdated(error)
      )
    ),
    Effect.catchDefect((defect) =>
      Schema.isSchemaError(defect) ? Effect.fail(outdated(`${defect}`)) : Effect.die(defect)
    )
  )

const unavailableError = (detail: string) => new CallError({ reason: new Unavailable({ detail }) })
