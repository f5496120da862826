/**
 * Declares mutations: rpcs that read and write in one transaction.
 * A mutation is an rpc of Effect with the middleware of its kind.
 */
import * as Rpc from "effect/rpc/Rpc"
import type * as Schema from "effect/Schema"
import { MutationKind } from "./Kind.ts"
import type { Options, PayloadSchema } from "./Options.ts"

/** An rpc that reads and writes in one transaction. */
export type Mutation<
  Tag extends string,
  Payload extends Schema.Top,
  Success extends Schema.Top,
  Error extends Schema.Top
> = Rpc.Rpc<Tag, Payload, Success, Error, typeof MutationKind>

/** Declares a mutation. The payload is a schema or the fields of a struct; `success` is `Schema.Void` unless given. */
export const make = <
  const Tag extends string,
  Payload extends Schema.Top | Schema.Struct.Fields = Schema.Void,
  Success extends Schema.Top = Schema.Void,
  Error extends Schema.Top = Schema.Never
>(
  tag: Tag,
  options?: Options<Payload, Success, Error>
): Mutation<Tag, PayloadSchema<Payload>, Success, Error> => Rpc.make(tag, options).middleware(MutationKind)
