/**
 * Declares queries: rpcs that read. Each is also a live stream.
 * A query is an rpc of Effect with the middleware of its kind.
 */
import * as Rpc from "effect/rpc/Rpc"
import type * as Schema from "effect/Schema"
import { QueryKind } from "./Kind.ts"
import type { Options, PayloadSchema } from "./Options.ts"

/** An rpc that reads. It is also a live stream under the tag `live:<tag>`. */
export type Query<
  Tag extends string,
  Payload extends Schema.Top,
  Success extends Schema.Top,
  Error extends Schema.Top
> = Rpc.Rpc<Tag, Payload, Success, Error, typeof QueryKind>

/** Declares a query. The payload is a schema or the fields of a struct; `success` is `Schema.Void` unless given. */
export const make = <
  const Tag extends string,
  Payload extends Schema.Top | Schema.Struct.Fields = Schema.Void,
  Success extends Schema.Top = Schema.Void,
  Error extends Schema.Top = Schema.Never
>(
  tag: Tag,
  options?: Options<Payload, Success, Error>
): Query<Tag, PayloadSchema<Payload>, Success, Error> => Rpc.make(tag, options).middleware(QueryKind)
