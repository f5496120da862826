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
import { encoderOf } from "./ResultCodec.ts"
import { refusal } from "./Server.ts"
import { Caller, type Run, type Transactions } from "./Transaction.ts"

/** A query of the contract, ready to be run for whoever watches it. */
interface Runner {
  readonly rpc: Rpc.AnyWithProps
  readonly handler: Rpc.Handler<string>
  readonly decodePayload: (input: unknown) => Exit.Exit<unknown, unknown>
  readonly encodePayload: (payload: unknown) => unknown
  readonly encodeSuccess: (value: unknown) => Exit.Exit<unknown, unknown>
  readonly encodeExit: (exit: Exit.Exit<unknown, unknown>) => ResponseExitEncoded["exit"]
  /** What the handler and its middlewares may use, but for what belongs to one question. */
  readonly context: Context.Context<any>
  /** Middleware of the author's own, outermost last. */
  readonly middlewares: ReadonlyArray<Context.Key<any, any>>
}

/** What is the same for every run of a question. */
interface Prepared {
  readonly runner: Runner
  readonly options: {
    readonly client: Rpc.ServerClient
    readonly requestId: RequestId
    readonly headers: Headers.Headers
    readonly rpc: Rpc.AnyWithProps
    readonly payload: unknown
  }
  readonly context: Context.Context<any>
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
  private readonly prepared = new WeakMap<Question, Prepared>()
  private readonly transactions: Transactions
  private readonly group: RpcGroup.RpcGroup<any>

  constructor(group: RpcGroup.RpcGroup<any>, transactions: Transactions, context: Context.Context<any>) {
    this.group = group
    this.transactions = transactions
    for (const rpc of group.requests.values() as Iterable<Rpc.AnyWithProps>) {
      if (kindOf(rpc) !== "query") continue
      const payload = Schema.toCodecJson(rpc.payloadSchema as Schema.Codec<unknown, unknown>)
      // The handlers' layer has put it there under the rpc's key.
      const handler = Context.getUnsafe(context, { key: rpc.key } as any) as Rpc.Handler<string>
      this.runners.set(rpc._tag, {
        rpc,
        handler,
        context: Context.merge(handler.context, context),
        decodePayload: Schema.decodeUnknownExit(payload),
        encodePayload: Schema.encodeUnknownSync(payload),
        encodeSuccess: encoderOf(rpc),
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
    const prepared = this.prepare(question)
    if (prepared === undefined) return { exit: refusal(this.group, question)!, reads: readsOfNothing }
    const { runner } = prepared
    const { exit, reads } = this.exitOf(prepared)
    const answer = (exit: Exit.Exit<unknown, unknown>) =>
      runner.encodeExit(runToEnd(toAnswer(runner.rpc, exit), prepared.context))
    if (Exit.isFailure(exit)) return { exit: answer(exit), reads }
    const encoded = runner.encodeSuccess(exit.value)
    if (Exit.isFailure(encoded))
      return { exit: answer(Exit.die(new Error(`the result does not fit: ${encoded.cause}`))), reads }
    return { exit: { _tag: "Success", value: encoded.value }, reads }
  }

  /** How the handler ends, with its middlewares around it. */
  private exitOf({ context, options, runner }: Prepared): Run<unknown, unknown> {
    const { handler, middlewares, rpc } = runner
    const handle = Effect.suspend(
      () => handler.handler(options.payload, options) as Effect.Effect<unknown, unknown, any>
    )
    if (middlewares.length === 0) return this.transactions.query(handle, context)
    let reads = readsOfNothing
    let effect: Effect.Effect<unknown, unknown, any> = Effect.contextWith((context: Context.Context<any>) =>
      Effect.suspend(() => {
        const run = this.transactions.query(handle, context)
        reads = run.reads
        return toAnswer(rpc, run.exit)
      })
    )
    for (const middleware of middlewares) effect = Context.getUnsafe(context, middleware)(effect, options)
    const exit = runToEnd(effect, context)
    return { exit, reads }
  }

  private prepare(question: Question): Prepared | undefined {
    let prepared = this.prepared.get(question)
    if (prepared !== undefined) return prepared
    const runner = this.runners.get(question.tag)!
    const payload = runner.decodePayload(question.payload)
    if (Exit.isFailure(payload)) return undefined
    prepared = {
      runner,
      options: {
        client,
        requestId: RequestId(""),
        headers: Headers.fromInput(question.headers),
        rpc: runner.rpc,
        payload: payload.value
      },
      context: Context.add(runner.context, Caller, decodeIdentity(question.identity))
    }
    this.prepared.set(question, prepared)
    return prepared
  }
}
