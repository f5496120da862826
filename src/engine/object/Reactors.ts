/**
 * Runs the reactors of an app: each watches a query and runs a mutation when the result changes.
 * They watch while the object is in memory. Later changes are found when it starts again, by the recorded hash.
 */

import type { Reactor } from "../../contract/Reactor.ts"
import type { InternalTable } from "../../contract/Transactional.ts"
import type { EncodedExit } from "../../protocol/Exit.ts"
import type { Database } from "../../services/Database.ts"
import type { Caller, Executor } from "./Executor.ts"
import { noHeaders } from "./Executor.ts"
import type { LiveQueries, Subscription } from "./LiveQueries.ts"
import { localKey, watch } from "./LocalLive.ts"
import type { ReadQueryKey } from "./SocketSession.ts"

/** The table of the results that were last reacted to. */
export const reactorTable: InternalTable = {
  name: "_dormouse_reactors",
  create: "CREATE TABLE _dormouse_reactors (name TEXT PRIMARY KEY NOT NULL, hash TEXT NOT NULL) WITHOUT ROWID"
}

/** What the reactors of an object work with. */
export interface ReactorsOptions {
  readonly reactors: ReadonlyArray<Reactor>
  readonly database: Database["Service"]
  readonly executor: Executor
  readonly live: LiveQueries
  readonly readQueryKey: ReadQueryKey
  /** The caller of the mutations. */
  readonly caller: Caller
  /** Logs that a reactor could not react. */
  readonly log: (message: string, failure?: EncodedExit) => void
}

/** How often one reactor may react to what reactors wrote, before something else has to commit. */
const longestChain = 10

/** The reactors of one object. */
export class Reactors {
  private readonly options: ReactorsOptions
  /** Reactions since the last commit of something else, by reactor. */
  private readonly chains = new Map<string, number>()
  private isReacting = false

  constructor(options: ReactorsOptions) {
    this.options = options
  }

  /** Starts to watch. A query whose result changed while the object was not in memory is reacted to now. */
  start(): void {
    const { executor, live, reactors, readQueryKey } = this.options
    for (const reactor of reactors) {
      const procedure = executor.procedure(reactor.query)
      if (procedure === undefined) throw new Error(`reactor ${reactor.name}: there is no query ${reactor.query}`)
      const key = localKey(procedure.codec, reactor.queryPayload, readQueryKey)
      if ("_tag" in key) throw new Error(`reactor ${reactor.name}: ${reactor.query} does not take its payload`)
      watch(live, key, (subscription) =>
        this.changed(reactor, procedure.codec.decodeValue.bind(procedure.codec), subscription)
      )
    }
  }

  /** After a commit that was not a reaction, chains are counted from zero. */
  committed(): void {
    if (!this.isReacting) this.chains.clear()
  }

  private changed(reactor: Reactor, decode: (json: any) => unknown, subscription: Subscription): void {
    const { failure, result } = subscription.query
    if (failure !== undefined || result === undefined) {
      return this.options.log(`reactor ${reactor.name} watches ${reactor.query}, which fails`, failure)
    }
    const { database } = this.options
    const remember = () =>
      database.run(
        "INSERT INTO _dormouse_reactors VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET hash = excluded.hash",
        [reactor.name, result.hash]
      )
    // The result of an empty database is recorded with the first write, whose changes it is compared with.
    if (database.isUnwritten?.() === true) return database.whenWritten?.(remember)
    const known = this.lastHash(reactor)
    if (known === result.hash) return
    // The very first result is what later ones are compared with.
    if (known === undefined) return remember()
    const payload = reactor.mutationPayload(decode(result.json()))
    if (payload === undefined) return remember()
    const length = (this.chains.get(reactor.name) ?? 0) + 1
    this.chains.set(reactor.name, length)
    if (length > longestChain) {
      return this.options.log(
        `reactor ${reactor.name} reacted ${longestChain} times in a row to what reactors wrote, and is stopped`
      )
    }
    this.react(reactor, payload, remember)
  }

  private react(reactor: Reactor, payload: unknown, remember: () => void): void {
    const { caller, executor, log } = this.options
    const procedure = executor.procedure(reactor.mutation)
    if (procedure === undefined) return log(`reactor ${reactor.name}: there is no mutation ${reactor.mutation}`)
    this.isReacting = true
    try {
      const { failure } = executor.execute({
        procedure,
        payload: procedure.codec.makePayload(payload),
        caller,
        headers: noHeaders,
        requestId: "reaction",
        alongside: remember
      })
      // Nothing was written, the record of the result included: the next change of the query tries again.
      if (failure !== undefined) log(`reactor ${reactor.name} could not react`, failure)
    } finally {
      this.isReacting = false
    }
  }

  private lastHash({ name }: Reactor): string | undefined {
    const { rows } = this.options.database.all("SELECT hash FROM _dormouse_reactors WHERE name = ?", [name])
    return rows[0] === undefined ? undefined : String(rows[0][0])
  }
}
