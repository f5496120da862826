/**
 * A client seen without its contract: tags are text, payloads are `unknown`, results are `any`. Atoms, React and Pages
 * are written once for all contracts on this view; their public types give each tag its own types.
 */
import type * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Stream from "effect/Stream"
import * as RpcCodec from "../protocol/RpcCodec.ts"
import type { Client, LiveSnapshot, MutateOptions, Observed } from "./ClientTypes.ts"
import type { ConnectionState } from "./ConnectionState.ts"
import type { InitialValue } from "./Preloaded.ts"

/** `View` without its contract. */
export interface UntypedView {
  readonly update: (tag: string, payload: unknown, change: (value: any) => any) => void
  readonly updateEach: (tag: string, change: (value: any, payload: any) => any) => void
}

/** `MutateOptions` without its contract. */
export interface UntypedMutateOptions extends Omit<MutateOptions<never>, "optimistic"> {
  readonly optimistic?: (view: UntypedView) => void
}

/** `Client` without its contract. */
export interface UntypedClient {
  readonly query: (tag: string, payload: unknown) => Effect.Effect<any, any>
  readonly mutate: (tag: string, payload: unknown, options?: UntypedMutateOptions) => Effect.Effect<any, any>
  /** Returns an `Effect`, or a `Stream` for an action that streams. */
  readonly act: (tag: string, payload: unknown) => any
  readonly live: (tag: string, payload: unknown) => Stream.Stream<any, any>
  readonly watch: (tag: string, payload: unknown) => Stream.Stream<LiveSnapshot<any>, any>
  /** A live query that is not live yet begins with `initial`. */
  readonly observe: (
    tag: string,
    payload: unknown,
    onChange: () => void,
    initial?: InitialValue | undefined
  ) => Observed<any, any>
  readonly refresh: Effect.Effect<boolean>
  readonly connection: Stream.Stream<ConnectionState>
}

/** The same client, seen without its contract. */
export const untyped = <Rpcs extends Rpc.Any>(client: Client<Rpcs>): UntypedClient =>
  // Sound: `Client.make` builds every client as an `UntypedClient`, which looks up the tag and checks the payload.
  client as UntypedClient

/** The codecs of an rpc by its tag. Throws when the contract has no such rpc. */
export const codecOf = (group: { readonly requests: ReadonlyMap<string, Rpc.Any> }, tag: string): RpcCodec.RpcCodec => {
  const rpc = group.requests.get(tag)
  if (rpc === undefined) throw new Error(`the contract has no rpc ${tag}`)
  return RpcCodec.of(rpc)
}
