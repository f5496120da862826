import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type { Scope } from "effect/Scope"
import { Database } from "../services/Database.ts"
import { TableStorage } from "../services/Storage.ts"
import * as TableSchema from "../services/TableSchema.ts"
import type { App } from "./App.ts"
import * as Dispatch from "./Dispatch.ts"
import * as Server from "./Server.ts"
import { Transactions } from "./Transaction.ts"

/** An app over a database: what answers its queries and mutations. */
export interface Backend {
  readonly server: Server.Server
}

/** Brings the tables up to date and builds the handlers of queries and mutations. */
export const make = Effect.fnUntraced(function* <Rpcs extends Rpc.Any>(app: App<Rpcs>) {
  const database = yield* Database
  yield* Effect.try({
    try: () => TableSchema.converge(database, app.tables),
    catch: (cause) => {
      if (cause instanceof TableSchema.SchemaMismatch) return cause
      throw cause
    }
  })
  const transactions = yield* Transactions.make(new TableStorage(database, app.tables, app.limits))
  const server = yield* serve(
    app,
    Layer.merge(
      app.transactions,
      Dispatch.transactions(transactions, () => {})
    )
  )
  return { server } satisfies Backend as Backend
})

/** Builds the handlers of actions. */
export const makeActions = <Rpcs extends Rpc.Any>(
  app: App<Rpcs>
): Effect.Effect<Server.Server, never, HttpClient.HttpClient | Scope> =>
  serve(app, Layer.merge(app.actions, Dispatch.actions))

const serve = <Rpcs extends Rpc.Any, R>(
  app: App<Rpcs>,
  handlers: Layer.Layer<any, never, R>
): Effect.Effect<Server.Server, never, R | Scope> =>
  Effect.flatMap(Layer.build(handlers), (services: Context.Context<any>) =>
    Effect.provideContext(Server.make(app.api as any), services)
  ) as Effect.Effect<Server.Server, never, R | Scope>
