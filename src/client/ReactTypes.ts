/**
 * What the hooks of a contract take and return, as types. Components see no type of Effect in them.
 * `React.ts` implements them.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import type { Scope } from "effect/Scope"
import type { ReactNode } from "react"
import type { PublicTagOf } from "../contract/Api.ts"
import type * as Page from "../contract/Page.ts"
import type * as Client from "./Client.ts"
import type { ConnectionRefused, OutcomeUnknown } from "./ClientError.ts"
import type { ConnectionState } from "./ConnectionState.ts"
import type { View } from "./Optimistic.ts"
import type { OutcomePending } from "./OutcomePending.ts"
import type * as Pages from "./Pages.ts"
import type { Preloaded } from "./Preloaded.ts"

type Of<Rpcs extends Rpc.Any, Tag extends string> = Rpc.ExtractTag<Rpcs, Tag>
type Payload<Rpcs extends Rpc.Any, Tag extends string> = Rpc.PayloadConstructor<Of<Rpcs, Tag>>
type Success<Rpcs extends Rpc.Any, Tag extends string> = Rpc.Success<Of<Rpcs, Tag>>

/** How a call fails: with what its rpc declares, `CallError`, or `ConnectionRefused`. */
export type CallFailure<Rpcs extends Rpc.Any, Tag extends string> = Rpc.Error<Of<Rpcs, Tag>> | ConnectionRefused

/** The tags of the queries whose success is a `Page`. */
export type PageTagOf<Rpcs extends Rpc.Any> = Rpcs extends Rpc.Any
  ? Rpc.Success<Rpcs> extends Page.Of<any>
    ? PublicTagOf<Rpcs, "query">
    : never
  : never

/** Filters and size of a list of pages. The hook adds the cursors. */
export type PagesPayload<Rpcs extends Rpc.Any, Tag extends string> = Omit<
  Payload<Rpcs, Tag>,
  Exclude<keyof Page.Request, "size">
>

/** In the place of a payload: nothing is read now. A query whose payload is a text cannot be read with this text. */
export type Skip = "skip"

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

/** Props of `Preload`. */
export interface PreloadProps {
  /** What a server has read, by `effect-dormouse/react/server`. */
  readonly values: ReadonlyArray<Preloaded>
  readonly children?: ReactNode
}

/** How a query is read. */
export interface ReadOptions {
  /**
   * What a server has read: the value until the one that this client requests has arrived. Ignored if it is of another
   * tag or payload, does not fit the contract, or was shown before. Also found in a `Preload` above the component.
   */
  readonly initialValue?: Preloaded | undefined
  /** Throws typed errors to the nearest error boundary. Unless `true` they are returned. */
  readonly throwOnError?: boolean
}

/** A live query as a component sees it. */
export interface LiveState<out A, out E> {
  /** The latest value with the optimistic changes applied; `undefined` until the first value has arrived, and when skipped. */
  readonly value: A | undefined
  /** Whether the value contains optimistic changes. */
  readonly isOptimistic: boolean
  /** The state of the connection, which says how fresh the value is. */
  readonly connection: ConnectionState
  /** The failure of the query, if it failed. It has then ended: `retry` requests it again, and so does mounting. */
  readonly error: E | undefined
  /** Requests the query again after it has failed, for all components that read it. Otherwise does nothing. */
  readonly retry: () => void
}

/** A call of a query as a component sees it. */
export interface QueryState<out A, out E> {
  /** The value of the latest call that succeeded; `undefined` until there is one, and when skipped. */
  readonly value: A | undefined
  /** How the latest call failed, if it failed. */
  readonly error: E | undefined
  /** Whether a call has no outcome yet. */
  readonly isPending: boolean
  /** Calls the query again. The outcome of a call before that is still pending is ignored. */
  readonly refetch: () => void
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
  /** Requests the first page again after a failure, for all components that read these pages. Otherwise does nothing. */
  readonly retry: () => void
}

/** The outcome of a mutation or an action. */
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

/** What an action that streams sends; `never` for others. */
export type ItemOf<Rpcs extends Rpc.Any, Tag extends string> =
  Rpc.SuccessSchema<Of<Rpcs, Tag>> extends RpcSchema.Stream<infer A, infer _E> ? A["Type"] : never

/** How an action ends: with its value, or with the last item of its stream. */
export type ActionOutcome<Rpcs extends Rpc.Any, Tag extends string> =
  Rpc.SuccessSchema<Of<Rpcs, Tag>> extends RpcSchema.Stream<infer A, infer E>
    ? Outcome<A["Type"] | undefined, E["Type"] | CallFailure<Rpcs, Tag>>
    : Outcome<Success<Rpcs, Tag>, CallFailure<Rpcs, Tag>>

/** How one action is called. */
export interface ActionOptions<in Item> {
  /** Cancels the call: the server interrupts the action, and the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Called with each item of an action that streams, in order. */
  readonly onItem?: (item: Item) => void
}

/** A state with a value, which it has unless the query is skipped. */
type WithValue<State, A, Payload> = State & {
  readonly value: A | ([Extract<Payload, Skip>] extends [never] ? never : undefined)
}

/** The hooks of one contract. Typed errors are returned as data; defects are thrown to the nearest error boundary. */
export interface Hooks<in out Rpcs extends Rpc.Any> {
  /** Provides a client to the components below it. The client is made when the first of them uses it. */
  readonly Provider: (props: ServerProps | ClientProps<Rpcs>) => ReactNode
  /** Provides what a server has read to the components below it, beside what a `Preload` above it provides. */
  readonly Preload: (props: PreloadProps) => ReactNode
  /** The latest value of a query, now and after every change. While a server renders, what was preloaded. */
  readonly useLive: <Tag extends PublicTagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Payload<Rpcs, Tag> | Skip,
    options?: ReadOptions
  ) => LiveState<Success<Rpcs, Tag>, CallFailure<Rpcs, Tag>>
  /**
   * Like `useLive`, but suspends until there is a value: the `Suspense` around the component shows its fallback, as it
   * always does while a server renders without a preloaded value. A failure is thrown to the nearest error boundary.
   */
  readonly useLiveSuspense: <Tag extends PublicTagOf<Rpcs, "query">, P extends Payload<Rpcs, Tag> | Skip>(
    tag: Tag,
    payload: P,
    options?: Pick<ReadOptions, "initialValue">
  ) => WithValue<LiveState<Success<Rpcs, Tag>, never>, Success<Rpcs, Tag>, P>
  /**
   * Calls a query once, without a subscription, when the component is mounted and when tag or payload change. A value
   * that a server has read is not requested again.
   */
  readonly useQuery: <Tag extends PublicTagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Payload<Rpcs, Tag> | Skip,
    options?: ReadOptions
  ) => QueryState<Success<Rpcs, Tag>, CallFailure<Rpcs, Tag>>
  /** Like `useQuery`, but suspends until there is a value. A failure is thrown to the nearest error boundary. */
  readonly useQuerySuspense: <Tag extends PublicTagOf<Rpcs, "query">, P extends Payload<Rpcs, Tag> | Skip>(
    tag: Tag,
    payload: P,
    options?: Pick<ReadOptions, "initialValue">
  ) => WithValue<QueryState<Success<Rpcs, Tag>, never>, Success<Rpcs, Tag>, P>
  /** The pages of a query whose payload has `Page.Fields`, as one list that grows with `loadMore`. */
  readonly usePages: <Tag extends PageTagOf<Rpcs>>(
    tag: Tag,
    payload: PagesPayload<Rpcs, Tag> | Skip,
    options?: ReadOptions
  ) => PagesState<Pages.ItemOf<Of<Rpcs, Tag>>, CallFailure<Rpcs, Tag>>
  /** Like `usePages`, but suspends until the first page is there. A failure is thrown to the nearest error boundary. */
  readonly usePagesSuspense: <Tag extends PageTagOf<Rpcs>>(
    tag: Tag,
    payload: PagesPayload<Rpcs, Tag> | Skip,
    options?: Pick<ReadOptions, "initialValue">
  ) => PagesState<Pages.ItemOf<Of<Rpcs, Tag>>, never>
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
    ) => Promise<Outcome<Success<Rpcs, Tag>, CallFailure<Rpcs, Tag> | OutcomeUnknown | OutcomePending>>,
    isPending: boolean
  ]
  /**
   * A function that calls an action, the same function in every render, whether one of its calls has no outcome yet, and
   * for an action that streams the latest item of the latest call. The promise resolves with the outcome, and rejects on a
   * defect. Unmounting the component does not cancel a call; a signal does.
   */
  readonly useAction: <Tag extends PublicTagOf<Rpcs, "action">>(
    tag: Tag
  ) => readonly [
    call: (
      payload: Payload<Rpcs, Tag>,
      options?: ActionOptions<ItemOf<Rpcs, Tag>>
    ) => Promise<ActionOutcome<Rpcs, Tag>>,
    isPending: boolean,
    progress: ItemOf<Rpcs, Tag> | undefined
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
