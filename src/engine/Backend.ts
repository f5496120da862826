import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import { ServerClient } from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import { RequestId } from "effect/rpc/RpcMessage"
import type * as Schema from "effect/Schema"
import { kindOf } from "../contract/Kind.ts"
import { Database } from "../services/Database.ts"
import { MutationLog } from "../services/MutationLog.ts"
import { TableStorage } from "../services/Storage.ts"
import * as TableSchema from "../services/TableSchema.ts"
import type { App } from "./App.ts"
import * as Dispatch from "./Dispatch.ts"
import type { Host } from "./Host.ts"
import * as Live from "./Live.ts"
import { LiveQueries } from "./LiveQueries.ts"
import * as Metrics from "./Metrics.ts"
import { Queries } from "./Queries.ts"
import { Reactors } from "./Reactor.ts"
import * as Server from "./Server.ts"
import { Sockets } from "./Sockets.ts"
import { Transactions } from "./Transaction.ts"

/** An app over a database: what answers its queries and mutations, and tells who watches. */
export interface Backend {
  readonly server: Server.Server
  readonly sockets: Sockets
  readonly live: LiveQueries
  readonly queries: Queries
  /** Live queries for code that runs beside the tables. */
  readonly local: Live.Live["Service"]
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
    schedule: () => host.afterCommit(() => flush()),
    soon: host.soon,
    resultBytes: app.limits.resultBytes,
    now: host.now
  })
  const services = yield* Effect.context<never>()
  const flush = () => Effect.runSyncWith(services)(Metrics.flush(live))
  const dispatch: Dispatch.Options = {
    transactions,
    log: new MutationLog(database),
    limits: app.limits,
    onCommit: (writes) => {
      reactors?.committed()
      live.committed(writes)
    }
  }
  const handlers = yield* Layer.build(Layer.merge(app.transactions, Dispatch.transactions(dispatch)))
  const group = app.api.declared
  const context = Context.merge(services, handlers)
  const queries = new Queries(group, transactions, context)
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
  // The handlers were checked against the contract when it was implemented.
  const rpcOf = (tag: string) => group.requests.get(tag) as unknown as Rpc.AnyWithProps
  const reactors: Reactors | undefined = new Reactors({
    reactors: app.reactors,
    database,
    queries,
    live,
    rpcOf,
    context: services,
    mutate: (rpc, payload, alongside) => {
      const { context: own, handler } = Context.getUnsafe(context, { key: rpc.key } as any) as Rpc.Handler<string>
      const schema = rpc.payloadSchema as Schema.Codec<unknown, unknown>
      const effect = Effect.suspend(
        () => handler(schema.make(payload), reaction(rpc)) as Effect.Effect<unknown, unknown, any>
      )
      return Effect.provideContext(
        Dispatch.mutate(
          dispatch,
          rpc,
          Effect.tap(effect, () => Effect.sync(alongside))
        ),
        Context.merge(own, services)
      )
    }
  })
  const local = Live.make(group as RpcGroup.RpcGroup<any>, queries, live)
  return { server, sockets, live, queries, local } satisfies Backend as Backend
})

/** What a handler may know of a call that no client made. */
const reaction = (rpc: Rpc.AnyWithProps) => ({
  client: new ServerClient(-1),
  requestId: RequestId("reaction"),
  headers: Headers.empty,
  rpc
})

export const isAction = <Rpcs extends Rpc.Any>(app: App<Rpcs>, tag: string): boolean => {
  const rpc = app.api.requests.get(tag)
  return rpc !== undefined && kindOf(rpc) === "action"
}
