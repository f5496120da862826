import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type * as Api from "../contract/Api.ts"
import type { Database } from "../services/Database.ts"
import { runToEnd } from "../services/Synchronous.ts"
import * as Live from "./Live.ts"
import type { LiveQueries, Subscription } from "./LiveQueries.ts"
import type { Queries } from "./Queries.ts"

/** What is done when the result of a query changes. */
export interface Reactor {
  /** By which the database remembers the last result that was reacted to. No two of an app are the same. */
  readonly name: string
  readonly query: string
  readonly queryPayload: unknown
  readonly mutation: string
  /** The mutation's payload for a result, or `undefined` when there is nothing to do. */
  readonly mutationPayload: (result: any) => unknown
}

/**
 * Runs a mutation when the result of a query changes, once for each change: the result that was reacted to is written
 * down in the mutation's own transaction. Several commits between two flushes are one change.
 */
export const react = <Rpcs extends Rpc.Any, Q extends Api.TagOf<Rpcs, "query">, M extends Api.TagOf<Rpcs, "mutation">>(
  _api: Api.Declared<Rpcs>,
  options: {
    readonly name: string
    readonly query: Q
    readonly queryPayload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Q>>
    readonly mutation: M
    readonly mutationPayload: (
      result: Rpc.Success<Rpc.ExtractTag<Rpcs, Q>>
    ) => Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, M>> | undefined
  }
): Reactor => options

export interface Options {
  readonly reactors: ReadonlyArray<Reactor>
  readonly database: Database["Service"]
  readonly queries: Queries
  readonly live: LiveQueries
  readonly rpcOf: (tag: string) => Rpc.AnyWithProps
  /** Runs a mutation of the contract; `alongside` runs in its transaction. */
  readonly mutate: (rpc: Rpc.AnyWithProps, payload: unknown, alongside: () => void) => Effect.Effect<unknown, unknown>
  readonly context: Context.Context<never>
}

/** How often one reactor may react to what reactors did, before somebody else has to do something. */
const longestChain = 10

/** The reactors of an object. They watch as long as the heap lives; what they missed they find when it is built anew. */
export class Reactors {
  private readonly options: Options
  /** Reactions since the last commit of somebody else, by reactor. */
  private readonly chains = new Map<string, number>()
  private isReacting = false

  constructor(options: Options) {
    this.options = options
    if (options.reactors.length === 0) return
    options.database.all(
      "CREATE TABLE IF NOT EXISTS _dormouse_reactors (name TEXT PRIMARY KEY NOT NULL, hash TEXT NOT NULL) WITHOUT ROWID",
      []
    )
    for (const reactor of options.reactors) {
      const rpc = options.rpcOf(reactor.query)
      const question = Live.questionOf(options.queries, rpc, reactor.queryPayload)
      if ("_tag" in question) throw new Error(`reactor ${reactor.name} asks what ${reactor.query} does not take`)
      const decode = Schema.decodeUnknownSync(Schema.toCodecJson(rpc.successSchema as Schema.Codec<unknown, unknown>))
      Live.watch(options.live, question, (subscription) => this.changed(reactor, decode, subscription))
    }
  }

  /** A commit that was not a reaction: chains begin anew. */
  committed(): void {
    if (!this.isReacting) this.chains.clear()
  }

  private changed(reactor: Reactor, decode: (json: unknown) => unknown, subscription: Subscription): void {
    const { failure, value } = subscription.query
    if (failure !== undefined || value === undefined) {
      return this.log(`reactor ${reactor.name} watches ${reactor.query}, which fails`, failure)
    }
    const known = this.lastHash(reactor)
    if (known === value.hash) return
    const remember = () =>
      void this.options.database.all(
        "INSERT INTO _dormouse_reactors VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET hash = excluded.hash",
        [reactor.name, value.hash]
      )
    // The first result of all is what later ones are compared with.
    if (known === undefined) return remember()
    const payload = reactor.mutationPayload(decode(value.json))
    if (payload === undefined) return remember()
    const length = (this.chains.get(reactor.name) ?? 0) + 1
    this.chains.set(reactor.name, length)
    if (length > longestChain) {
      return this.log(`reactor ${reactor.name} reacted ${longestChain} times to what reactors did, and is stopped`)
    }
    this.isReacting = true
    try {
      const mutation = this.options.rpcOf(reactor.mutation)
      const exit = runToEnd(Effect.exit(this.options.mutate(mutation, payload, remember)), this.options.context)
      const result = Exit.isSuccess(exit) ? exit.value : exit
      // Nothing was written, the record of the result included: the next change of the query tries again.
      if (Exit.isFailure(result)) this.log(`reactor ${reactor.name} could not react`, result.cause)
    } finally {
      this.isReacting = false
    }
  }

  private lastHash({ name }: Reactor): string | undefined {
    return this.options.database.all("SELECT hash FROM _dormouse_reactors WHERE name = ?", [name]).rows[0]?.[0] as
      | string
      | undefined
  }

  private log(message: string, cause?: unknown): void {
    runToEnd(Effect.logError(message, Cause.isCause(cause) ? cause : (cause ?? "")), this.options.context)
  }
}
