/**
 * Live queries where the tables are, without a socket between: the tag and the typed stream.
 * A stream lives in the heap: an object that hibernates loses it, and hibernates no later for it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import * as Stream from "effect/Stream"
import type * as Api from "./Api.ts"

/** Gives live queries to code that runs in the object. `Live.stream` gives them the types of a contract. */
export class Live extends Context.Service<
  Live,
  {
    /** The latest value, now and after every change. A slow reader gets the newest value and misses those between. */
    readonly stream: (tag: string, payload: unknown) => Stream.Stream<any, any>
  }
>()("effect-dormouse/Live") {}

/** The live value of a query of this contract. The caller is anonymous. */
export const stream = <Rpcs extends Rpc.Any, Tag extends Api.TagOf<Rpcs, "query">>(
  _api: Api.Declared<Rpcs>,
  tag: Tag,
  payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>
): Stream.Stream<Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>, Rpc.Error<Rpc.ExtractTag<Rpcs, Tag>>, Live> =>
  Stream.unwrap(Effect.map(Live, (live) => live.stream(tag, payload)))
