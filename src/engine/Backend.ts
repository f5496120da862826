import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import { kindOf } from "../contract/Kind.ts"
import { Database } from "../services/Database.ts"
import { MutationLog } from "../services/MutationLog.ts"
import { TableStorage } from "../services/Storage.ts"
import * as TableSchema from "../services/TableSchema.ts"
import type { App } from "./App.ts"
import * as Dispatch from "./Dispatch.ts"
import type { Host } from "./Host.ts"
import { LiveQueries } from "./LiveQueries.ts"
import { Queries } from "./Queries.ts"
import * as Server from "./Server.ts"
import { Sockets } from "./Sockets.ts"
import { Transactions } from "./Transaction.ts"

/** An app over a database: what answers its queries and mutations, and tells who watches. */
export interface Backend {
  readonly server: Server.Server
  readonly sockets: Sockets
  readonly live: LiveQueries
  readonly queries: Queries
}

/** Brings the tables up to date, builds the handlers of queries and mutations, and takes up the sockets' subscriptions. */
export const make = Effect.fnUntraced(function* <Rpcs extends Rpc.Any>(app: App<Rpcs>, host: Host) {
  const database = yield* Database
  yield* Effect.try({
    try: () => TableSchema.converge(database, app.tables),
    catch: (cause) => {
      if (cause instanceof TableSchema.SchemaMismatch) return cause
      throw cause
    }
  })
  const transactions = yield* Transactions.make(new TableStorage(database, app.tables, app.limits))
  const live: LiveQueries = new LiveQueries({
    run: (question) => queries.run(question),
    schedule: () => host.afterCommit(() => live.flush()),
    resultBytes: app.limits.resultBytes,
    now: host.now
  })
  const handlers = yield* Layer.build(
    Layer.merge(
      app.transactions,
      Dispatch.transactions({
        transactions,
        log: new MutationLog(database),
        limits: app.limits,
        onCommit: (writes) => live.committed(writes)
      })
    )
  )
  const group = app.api.declared
  const queries = new Queries(group, transactions, Context.merge(yield* Effect.context<never>(), handlers))
  const server = yield* Effect.provideContext(Server.make(group as RpcGroup.RpcGroup<any>), handlers as any)
  const sockets = new Sockets({
    host,
    server,
    live,
    queries,
    database,
    limits: app.limits,
    isAction: (tag) => isAction(app, tag)
  })
  return { server, sockets, live, queries } satisfies Backend as Backend
})

export const isAction = <Rpcs extends Rpc.Any>(app: App<Rpcs>, tag: string): boolean => {
  const rpc = app.api.requests.get(tag)
  return rpc !== undefined && kindOf(rpc) === "action"
}
