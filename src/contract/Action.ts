/**
 * Declares actions: rpcs that do I/O, outside of any transaction.
 * An action is an rpc of Effect with the middleware of its kind.
 */
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import type * as Schema from "effect/Schema"
import { ActionKind } from "./Kind.ts"
import type { Options, PayloadSchema } from "./Options.ts"

/** An rpc that does I/O. It runs in the Worker, not in the object, and is not a transaction. */
export type Action<
  Tag extends string,
  Payload extends Schema.Top,
  Success extends Schema.Top,
  Error extends Schema.Top,
  Stream extends boolean = false
> = Rpc.Rpc<
  Tag,
  Payload,
  Stream extends true ? RpcSchema.Stream<Success, Error> : Success,
  Stream extends true ? typeof Schema.Never : Error,
  typeof ActionKind
>

/**
 * Declares an action. With `stream: true` its handler returns a `Stream` of `success` values. The stream is interrupted
 * when its caller disconnects.
 */
export const make = <
  const Tag extends string,
  Payload extends Schema.Top | Schema.Struct.Fields = Schema.Void,
  Success extends Schema.Top = Schema.Void,
  Error extends Schema.Top = Schema.Never,
  const Stream extends boolean = false
>(
  tag: Tag,
  options?: Options<Payload, Success, Error> & { readonly stream?: Stream }
): Action<Tag, PayloadSchema<Payload>, Success, Error, Stream> => Rpc.make(tag, options).middleware(ActionKind)
