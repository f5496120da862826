import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type { RequestId } from "effect/rpc/RpcMessage"
import * as Schema from "effect/Schema"
import { Auth } from "../contract/Auth.ts"
import { ActionKind, MutationKind, QueryKind } from "../contract/Kind.ts"
import type { WriteRecorder } from "../services/ReadSet.ts"
import { toAnswer } from "./Answer.ts"
import { Caller, type Transactions } from "./Transaction.ts"

/**
 * Where a kind becomes behaviour: around each handler of a query or a mutation goes a transaction, around each handler
 * of an action the services to call and to do I/O with. The other kind's handlers are refused in each place.
 */

const refuse = (where: string) => () => Effect.die(new Error(`this rpc does not run ${where}`))

/** For the place where the tables are. `onCommit` hears of every commit before its answer is sent. */
export const transactions = (
  transactions: Transactions,
  onCommit: (writes: WriteRecorder, requestId: RequestId) => void
): Layer.Layer<QueryKind | MutationKind | ActionKind> =>
  Layer.mergeAll(
    Layer.succeed(QueryKind, (handler, { rpc }) =>
      Effect.contextWith((context: Context.Context<any>) => toAnswer(rpc, transactions.query(handler, context).exit))
    ),
    Layer.succeed(MutationKind, (handler, { requestId, rpc }) =>
      Effect.contextWith((context: Context.Context<any>) => {
        const commit = transactions.mutation(encodable(rpc, handler), context)
        if (Exit.isSuccess(commit.exit)) onCommit(commit.writes, requestId)
        return toAnswer(rpc, commit.exit)
      })
    ),
    Layer.succeed(ActionKind, refuse("in the object"))
  )

/** For the place where I/O is done. `Calls` is the caller's own and comes with each message. */
export const actions: Layer.Layer<QueryKind | MutationKind | ActionKind, never, HttpClient.HttpClient> = Layer.mergeAll(
  Layer.effect(
    ActionKind,
    Effect.map(
      HttpClient.HttpClient,
      (http) =>
        (handler, { rpc }) =>
          handler.pipe(
            // The context of the message has the calls; the types of a middleware cannot say so.
            Effect.provideService(HttpClient.HttpClient, http),
            Effect.provideServiceEffect(
              Auth,
              Effect.map(Caller, (caller) => ({ identity: Effect.succeed(caller) }))
            ) as (self: unknown) => Effect.Effect<any, any>,
            Effect.exit,
            Effect.flatMap((exit) => toAnswer(rpc, exit))
          )
    )
  ),
  Layer.succeed(QueryKind, refuse("outside the object")),
  Layer.succeed(MutationKind, refuse("outside the object"))
)

/** A result that does not fit its schema must fail before the commit: the caller could not be told what was done. */
const encodable = <A, E, R>(rpc: Rpc.AnyWithProps, handler: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  let encode = encoders.get(rpc)
  if (encode === undefined) {
    encode = Schema.encodeUnknownExit(Schema.toCodecJson(rpc.successSchema as Schema.Codec<unknown, unknown>))
    encoders.set(rpc, encode)
  }
  const check = encode
  return Effect.tap(handler, (value) => {
    const exit = check(value)
    return Exit.isSuccess(exit) ? Effect.void : Effect.die(new Error(`the result does not fit: ${exit.cause}`))
  })
}
const encoders = new WeakMap<Rpc.AnyWithProps, (value: unknown) => Exit.Exit<unknown, Schema.SchemaError>>()
