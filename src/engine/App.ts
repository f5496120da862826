import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Api from "../contract/Api.ts"
import type * as Table from "../contract/Table.ts"
import * as Limits from "../protocol/Limits.ts"
import type { Reactor } from "./Reactor.ts"
import * as Sensitive from "./Sensitive.ts"

export { react } from "./Reactor.ts"

/**
 * A whole backend, not yet on any platform: `Cloudflare.serve(app)` deploys it, `TestApp.layer(app)` runs it in memory.
 */
export interface App<in out Rpcs extends Rpc.Any> {
  readonly api: Api.Api<Rpcs>
  readonly tables: ReadonlyArray<Table.Any>
  readonly limits: Limits.Limits
  /** The handlers with what queries and mutations need; built where the tables are. */
  readonly transactions: Layer.Layer<Rpc.ToHandler<Rpcs>>
  /** The handlers with what actions need; built where I/O is done. */
  readonly actions: Layer.Layer<Rpc.ToHandler<Rpcs>>
  readonly reactors: ReadonlyArray<Reactor>
}

type Given<Name extends string, Services> = [Services] extends [never]
  ? { readonly [K in Name]?: Layer.Layer<never> }
  : { readonly [K in Name]: Layer.Layer<NoInfer<Services>> }

/**
 * Puts an app together. `services` is what the handlers of queries and mutations ask for beside Dormouse's own;
 * `actionServices` is what the handlers of actions ask for. Each is required as soon as a handler asks for something.
 */
export const make = <Rpcs extends Rpc.Any, Transactions, Actions>(
  options: {
    readonly api: Api.Declared<Rpcs>
    readonly tables: ReadonlyArray<Table.Any>
    readonly handlers: Api.Handlers<Rpcs, Transactions, Actions>
    readonly limits?: Partial<Limits.Limits>
    /** What is done when the result of a query changes; see `react`. */
    readonly reactors?: ReadonlyArray<Reactor>
  } & Given<"services", Transactions> &
    Given<"actionServices", Actions>
): App<Rpcs> => {
  const names = new Set<string>()
  for (const table of options.tables) {
    if (names.has(table.name)) throw new Error(`two tables are named ${table.name}`)
    if (/^(sqlite|_)/i.test(table.name)) throw new Error(`the table name ${table.name} is reserved`)
    names.add(table.name)
  }
  Sensitive.check(options.api.declared.requests.values(), options.tables)
  // The types hold the services of both kinds together; a kind's handlers are only called where theirs are provided.
  const provide = (services: Layer.Layer<any> | undefined) =>
    Layer.provide(options.handlers, services ?? Layer.empty) as Layer.Layer<Rpc.ToHandler<Rpcs>>
  return {
    // Every contract is made by `Api`, which makes it both.
    api: options.api as Api.Api<Rpcs>,
    tables: options.tables,
    limits: { ...Limits.defaults, ...options.limits },
    transactions: provide(options.services as Layer.Layer<any> | undefined),
    actions: provide(options.actionServices as Layer.Layer<any> | undefined),
    reactors: options.reactors ?? []
  }
}
