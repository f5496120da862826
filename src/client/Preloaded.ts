/**
 * What a server has read of a query for the first render of a page, and how a live query begins with it.
 * It is plain JSON: frameworks send it with their page. The module `Preload.ts` makes it.
 */
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type { RpcCodec } from "../protocol/RpcCodec.ts"
import type { LiveValue } from "./LiveValues.ts"

/** The value of a query, as a server has read it. */
export interface Preloaded<out Tag extends string = string> {
  /** The tag of the query. */
  readonly tag: Tag
  /** The encoded payload. */
  readonly payload: Schema.Json
  /** The encoded value. */
  readonly value: Schema.Json
  /** The version of the value: a commit number. */
  readonly version: number
  /** The server's hash of the value: with it, a value that is still current is not sent again. */
  readonly hash: string
}

/** What a live query has before its first frame has arrived. */
export type InitialValue = Pick<LiveValue, "json" | "base" | "hash" | "version" | "shown">

/** A live query that begins with a preloaded value. `undefined` for a value that does not fit the contract. */
export const toInitialValue = (rpc: RpcCodec, { hash, value, version }: Preloaded): InitialValue | undefined => {
  try {
    const base = Option.some(rpc.decodeValue(value))
    return { json: value, base, hash, version, shown: { value: base, version, isOptimistic: false } }
  } catch {
    // The page was made with another version of the contract: the value is requested as if there were none.
    return undefined
  }
}
