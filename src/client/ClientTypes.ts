/**
 * What a client of a contract offers, as types: calls, live queries and their snapshots.
 * `Client` implements them; `UntypedClient` is the same without the contract.
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import type * as Stream from "effect/Stream"
import type * as Api from "../contract/Api.ts"
import type { ConnectionRefused, OutcomeUnknown } from "./ClientError.ts"
import type { ConnectionState } from "./ConnectionState.ts"
import type { View } from "./Optimistic.ts"
import type { OutcomePending } from "./OutcomePending.ts"

/** The value of a live query at one moment, and how fresh it is. */
export interface LiveSnapshot<A> {
  /** The latest value with the optimistic changes applied. `None` until the first value has arrived. */
  readonly value: Option.Option<A>
  /** The version of the server's value, without the optimistic changes: a commit number, which only grows. */
  readonly version: number
  /** Whether the value contains optimistic changes. */
  readonly isOptimistic: boolean
  /** The state of the connection. Only when it is `Live` is the value known to be the server's current one. */
  readonly connection: ConnectionState
}

/** A live query that calls a listener, until it is ended. */
export interface Observed<A, E> {
  /** The value now. Its `value` is the same object until it changes. */
  readonly live: () => LiveSnapshot<A>
  /** The failure of the query, if it failed. A failed query does not change any more. */
  readonly failure: () => Option.Option<Cause.Cause<E>>
  /** Stops listening. */
  readonly end: () => void
}

/** How one mutation is called. */
export interface MutateOptions<Rpcs extends Rpc.Any> {
  /** Changes live values at once, until the server's values contain the mutation, or it fails. */
  readonly optimistic?: (view: View<Rpcs>) => void
  /**
   * How long to keep trying when no answer arrives. A minute unless given, and at most a day, which is how long the
   * server keeps outcomes. With an outbox, how long the caller waits: then it gets `OutcomePending`, and the mutation is
   * still sent. It waits for the outcome unless given.
   */
  readonly timeout?: Duration.Input
}

type Of<Rpcs extends Rpc.Any, Tag extends string> = Rpc.ExtractTag<Rpcs, Tag>

/** A client of one contract and one tenant. Every call can also fail with `CallError`, which is part of `Rpc.Error`. */
export interface Client<in out Rpcs extends Rpc.Any> {
  /** Runs a query once. When the server is unavailable it is retried twice. */
  readonly query: <Tag extends Api.PublicTagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
  ) => Effect.Effect<Rpc.Success<Of<Rpcs, Tag>>, Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused>
  /**
   * Runs a mutation. It is sent until it is answered, and the server runs it once, however often it is sent. Succeeds
   * when the live values of this client contain it, so a caller that reads after it reads its effect. Fails with
   * `OutcomeUnknown` when it was sent and no readable answer arrived in time, and with an outbox with `OutcomePending` when
   * `timeout` has passed. An interruption does not take it back.
   */
  readonly mutate: <Tag extends Api.PublicTagOf<Rpcs, "mutation">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>,
    options?: MutateOptions<Rpcs>
  ) => Effect.Effect<
    Rpc.Success<Of<Rpcs, Tag>>,
    Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused | OutcomeUnknown | OutcomePending
  >
  /**
   * Runs an action. It is sent once and never retried. An action that streams returns a `Stream`, others an `Effect`.
   */
  readonly act: <Tag extends Api.PublicTagOf<Rpcs, "action">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
  ) => Rpc.SuccessSchema<Of<Rpcs, Tag>> extends RpcSchema.Stream<infer A, infer E>
    ? Stream.Stream<A["Type"], E["Type"] | Rpc.Error<Of<Rpcs, Tag>>>
    : Effect.Effect<Rpc.Success<Of<Rpcs, Tag>>, Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused>
  /**
   * The value of a query, now and after every change. It never ends by itself, and a lost connection does not fail it.
   * It fails when the query fails, when the server refuses this client, and when a value does not fit the contract.
   */
  readonly live: <Tag extends Api.PublicTagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
  ) => Stream.Stream<Rpc.Success<Of<Rpcs, Tag>>, Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused>
  /** Like `live`, with the freshness of the value. Also emits when only the connection changes. */
  readonly watch: <Tag extends Api.PublicTagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
  ) => Stream.Stream<LiveSnapshot<Rpc.Success<Of<Rpcs, Tag>>>, Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused>
  /** Like `watch`, without streams, for bindings to other libraries: calls `onChange` synchronously on each change. */
  readonly observe: <Tag extends Api.PublicTagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>,
    onChange: () => void
  ) => Observed<Rpc.Success<Of<Rpcs, Tag>>, Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused>
  /**
   * Has the server take the present token of `token`, an effect, over the open socket: after the user has signed in or out.
   * Succeeds with whether the server accepted it; `true` when no socket is open, because the next connection asks for it.
   */
  readonly refresh: Effect.Effect<boolean>
  /** The state of the connection, now and after every change. */
  readonly connection: Stream.Stream<ConnectionState>
}
