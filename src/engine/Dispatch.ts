import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { Auth } from "../contract/Auth.ts"
import { ActionKind, MutationKind, QueryKind } from "../contract/Kind.ts"
import { StorageError, StorageLimit } from "../contract/Storage.ts"
import { CallError, PayloadInvalid } from "../protocol/CallError.ts"
import * as Limits from "../protocol/Limits.ts"
import { type MutationId, mutationHeader, parseMutationId } from "../protocol/MutationId.ts"
import type { MutationLog } from "../services/MutationLog.ts"
import type { WriteRecorder } from "../services/ReadSet.ts"
import { toAnswer } from "./Answer.ts"
import { encoderOf } from "./ResultCodec.ts"
import { Caller, type Transactions } from "./Transaction.ts"

/**
 * Where a kind becomes behaviour: around each handler of a query or a mutation goes a transaction, around each handler
 * of an action the services to call and to do I/O with. The other kind's handlers are refused in each place.
 */

const refuse = (where: string) => () => Effect.die(new Error(`this rpc does not run ${where}`))

export interface Options {
  readonly transactions: Transactions
  readonly log: MutationLog
  readonly limits: Limits.Limits
  /** Hears of every commit before its answer is sent. */
  readonly onCommit: (writes: WriteRecorder) => void
}

/** For the place where the tables are. */
export const transactions = (options: Options): Layer.Layer<QueryKind | MutationKind | ActionKind> =>
  Layer.mergeAll(
    Layer.succeed(QueryKind, (handler, { rpc }) =>
      Effect.contextWith((context: Context.Context<any>) =>
        toAnswer(rpc, options.transactions.query(handler, context).exit)
      )
    ),
    Layer.succeed(MutationKind, (handler, { headers, rpc }) => {
      const header = headers[mutationHeader]
      if (header === undefined) return mutate(options, rpc, handler)
      const id = parseMutationId(header)
      // Who numbers a mutation relies on its being done once: it is not done under a number that is none.
      return id === undefined ? refuseId("this mutation id is none") : mutateOnce(options, rpc, handler, id)
    }),
    Layer.succeed(ActionKind, refuse("in the object"))
  )

/** A mutation as a transaction of its own. */
export const mutate = <A, E, R>(
  options: Options,
  rpc: Rpc.AnyWithProps,
  handler: Effect.Effect<A, E, R>
): Effect.Effect<A, E | CallError> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const commit = options.transactions.mutation(sendable(options, rpc, handler), context as Context.Context<any>)
    if (Exit.isSuccess(commit.exit)) options.onCommit(commit.writes)
    // A `StorageError` that the rpc did not declare does not come out of here.
    return toAnswer(rpc, commit.exit as Exit.Exit<A, E>)
  })

const refuseId = (issue: string) => Effect.fail(new CallError({ reason: new PayloadInvalid({ issue }) }))

/** T3: the outcome is written with the rows it belongs to; the same id is answered with it and does nothing again. */
const mutateOnce = <A, E, R>(
  options: Options,
  rpc: Rpc.AnyWithProps,
  handler: Effect.Effect<A, E, R>,
  id: MutationId
): Effect.Effect<A, E | CallError> =>
  Effect.suspend(() => {
    const { log } = options
    const codec = outcomes(rpc)
    const known = log.find(id)
    if (known !== undefined) {
      if (known.tag === rpc._tag) return codec.decode(known.outcome) as Exit.Exit<A, E>
      return refuseId("this mutation id was used for another call")
    }
    const record = (exit: Exit.Exit<A, E | CallError>): Effect.Effect<void, StorageError> =>
      Effect.clockWith((clock) => {
        const outcome = codec.encode(exit)
        const actual = Limits.bytesBeyond(outcome, recordBytes)
        if (actual !== undefined) {
          return Effect.fail(
            new StorageError({ reason: new StorageLimit({ limit: "rowBytes", max: recordBytes, actual }) })
          )
        }
        return Effect.sync(() => log.record(id, rpc._tag, outcome, clock.currentTimeMillisUnsafe()))
      })
    return mutate(
      options,
      rpc,
      // What `record` fails with is a limit, which `mutate` answers for whatever the rpc declares.
      Effect.tap(handler, (value) => record(Exit.succeed(value))) as Effect.Effect<A, E, R>
    ).pipe(
      // A failure has rolled everything back, so its record is a write of its own; one that is too large for it will be
      // the same again. What the server did wrong is not an outcome: it can be tried again.
      Effect.tapCause((cause) =>
        Cause.hasDies(cause) ? Effect.void : Effect.ignore(record(Exit.failCause<E | CallError>(cause)))
      )
    )
  })

/** Bytes of an outcome as it is written down; the id and the tag need some of the row. */
const recordBytes = Limits.sqlite.rowBytes - 10_000

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

/**
 * A result that does not fit its schema, or is too large, must fail before the commit: the caller could not be told what
 * was done.
 */
const sendable = <A, E, R>(
  { limits }: Options,
  rpc: Rpc.AnyWithProps,
  handler: Effect.Effect<A, E, R>
): Effect.Effect<A, E | StorageError, R> =>
  Effect.tap(handler, (value) => {
    const exit = encoderOf(rpc)(value)
    if (Exit.isFailure(exit)) return Effect.die(new Error(`the result does not fit: ${exit.cause}`))
    const actual = Limits.bytesBeyond(JSON.stringify(exit.value) ?? "", limits.resultBytes)
    if (actual === undefined) return Effect.void
    const reason = new StorageLimit({ limit: "resultBytes", max: limits.resultBytes, actual })
    return Effect.fail(new StorageError({ reason }))
  })

/** What is made once of each rpc. */
const memoize = <A>(make: (rpc: Rpc.AnyWithProps) => A): ((rpc: Rpc.AnyWithProps) => A) => {
  const made = new WeakMap<Rpc.AnyWithProps, A>()
  return (rpc) => {
    let value = made.get(rpc)
    if (value === undefined) {
      value = make(rpc)
      made.set(rpc, value)
    }
    return value
  }
}

const outcomes = memoize((rpc) => {
  const exit = Rpc.exitSchema(rpc as Rpc.Any) as unknown as Schema.Codec<Exit.Exit<unknown, unknown>, unknown>
  const codec = Schema.fromJsonString(Schema.toCodecJson(exit))
  return { encode: Schema.encodeSync(codec), decode: Schema.decodeSync(codec) }
})
