import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Headers from "effect/http/Headers"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import { RequestId, type ResponseExitEncoded } from "effect/rpc/RpcMessage"
import * as Schema from "effect/Schema"
import { Identity } from "../contract/Auth.ts"
import { kindOf, MutationKind, QueryKind } from "../contract/Kind.ts"
import type { ReadSet } from "../services/ReadSet.ts"
import { runToEnd } from "../services/Synchronous.ts"
import { toAnswer } from "./Answer.ts"
import type { Answer, Question } from "./LiveQueries.ts"
import { refusal } from "./Server.ts"
import { Caller, type Transactions } from "./Transaction.ts"

/** A query of the contract, ready to be run for whoever watches it. */
interface Runner {
  readonly rpc: Rpc.AnyWithProps
  readonly handler: Rpc.Handler<string>
  readonly decodePayload: (input: unknown) => Exit.Exit<unknown, unknown>
  readonly encodePayload: (payload: unknown) => unknown
  readonly encodeExit: (exit: Exit.Exit<unknown, unknown>) => ResponseExitEncoded["exit"]
  /** Middleware of the author's own, outermost last. */
  readonly middlewares: ReadonlyArray<Context.Key<any, any>>
}

const readsOfNothing: ReadSet = {
  everything: false,
  tables: new Set(),
  ranges: new Map(),
  identity: false,
  clock: false
}
const client = new Rpc.ServerClient(-1)
const decodeIdentity = Schema.decodeUnknownSync(Schema.fromJsonString(Identity))

/** Runs queries outside of any request: for live subscriptions. */
export class Queries {
  private readonly runners = new Map<string, Runner>()
  private readonly transactions: Transactions
  private readonly context: Context.Context<any>
  private readonly group: RpcGroup.RpcGroup<any>

  constructor(group: RpcGroup.RpcGroup<any>, transactions: Transactions, context: Context.Context<any>) {
    this.group = group
    this.transactions = transactions
    this.context = context
    for (const rpc of group.requests.values() as Iterable<Rpc.AnyWithProps>) {
      if (kindOf(rpc) !== "query") continue
      const payload = Schema.toCodecJson(rpc.payloadSchema as Schema.Codec<unknown, unknown>)
      this.runners.set(rpc._tag, {
        rpc,
        // The handlers' layer has put it there under the rpc's key.
        handler: Context.getUnsafe(context, { key: rpc.key } as any) as Rpc.Handler<string>,
        decodePayload: Schema.decodeUnknownExit(payload),
        encodePayload: Schema.encodeUnknownSync(payload),
        encodeExit: Schema.encodeUnknownSync(
          Schema.toCodecJson(Rpc.exitSchema(rpc as any) as unknown as Schema.Codec<unknown, unknown>)
        ) as Runner["encodeExit"],
        middlewares: [...rpc.middlewares].filter(({ key }) => key !== QueryKind.key && key !== MutationKind.key)
      })
    }
  }

  /** The question that a request asks, or the exit that refuses it. */
  question(
    tag: string,
    request: {
      readonly payload: unknown
      readonly headers: ReadonlyArray<readonly [string, string]>
      readonly identity: string
    }
  ): Question | ResponseExitEncoded["exit"] {
    const runner = this.runners.get(tag)
    if (runner === undefined) return refusal(this.group, { tag: `live:${tag}`, payload: request.payload })!
    const payload = runner.decodePayload(request.payload)
    if (Exit.isFailure(payload)) return refusal(this.group, { tag, payload: request.payload })!
    return {
      tag,
      payload: runner.encodePayload(payload.value),
      identity: request.identity,
      headers: runner.middlewares.length === 0 ? [] : request.headers
    }
  }

  run(question: Question): Answer {
    const { decodePayload, encodeExit, handler, middlewares, rpc } = this.runners.get(question.tag)!
    let reads = readsOfNothing
    const payload = decodePayload(question.payload)
    if (Exit.isFailure(payload)) return { exit: refusal(this.group, question)!, reads }
    const options = {
      client,
      requestId: RequestId(""),
      headers: Headers.fromInput(question.headers),
      rpc,
      payload: payload.value
    }
    const context = Context.merge(handler.context, this.context).pipe(
      Context.add(Caller, decodeIdentity(question.identity))
    )
    let effect: Effect.Effect<unknown, unknown, any> = Effect.contextWith((context: Context.Context<any>) =>
      Effect.suspend(() => {
        const run = this.transactions.query(
          Effect.suspend(() => handler.handler(payload.value, options) as Effect.Effect<unknown, unknown, any>),
          context
        )
        reads = run.reads
        return toAnswer(rpc, run.exit)
      })
    )
    for (const middleware of middlewares) effect = Context.getUnsafe(context, middleware)(effect, options)
    const answer = runToEnd(
      Effect.flatMap(Effect.exit(effect), (exit) => toAnswer(rpc, exit)),
      context
    )
    try {
      return { exit: encodeExit(answer), reads }
    } catch (cause) {
      return { exit: encodeExit(runToEnd(toAnswer(rpc, Exit.die(cause)), context)), reads }
    }
  }
}
