/**
 * Live queries for code that runs in the object itself, without a socket.
 * A stream lives in the heap: it ends when the object hibernates, and does not keep the object awake.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Headers from "effect/http/Headers"
import type * as Rpc from "effect/rpc/Rpc"
import * as Stream from "effect/Stream"
import type * as Api from "./Api.ts"

/** How a query is watched. */
export interface LiveOptions {
  /** The headers that the rpc's own middleware is shown. None unless given. */
  readonly headers?: Headers.Input | undefined
}

/** Watches queries inside the object. `Live.stream` adds the types of a contract. */
export class Live extends Context.Service<
  Live,
  {
    /** The value of a query, now and after every change. A slow consumer gets the latest value and skips older ones. */
    readonly stream: (tag: string, payload: unknown, options?: LiveOptions) => Stream.Stream<any, any>
  }
>()("effect-dormouse/Live") {}

/** The value of a query of this contract, now and after every change. Its caller is anonymous. */
export const stream = <Rpcs extends Rpc.Any, Tag extends Api.TagOf<Rpcs, "query">>(
  _api: Api.Declared<Rpcs>,
  tag: Tag,
  payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>,
  options?: LiveOptions
): Stream.Stream<Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>, Rpc.Error<Rpc.ExtractTag<Rpcs, Tag>>, Live> =>
  Stream.unwrap(Effect.map(Live, (live) => live.stream(tag, payload, options)))
