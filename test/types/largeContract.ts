/** The source of a module: a contract of so many rpcs of all kinds, their handlers, and a typed call of each rpc. */
export const largeContract = (size: number): string => {
  const numbers = Array.from({ length: size }, (_, number) => number)
  const kinds = numbers.map((number) => (number % 5 === 4 ? "Action" : number % 5 < 2 ? "Query" : "Mutation"))
  const declarations = numbers.map(
    (number) =>
      `  ${kinds[number]}.make("items.call${number}", {
    payload: { id: ItemId, part${number}: Schema.String },
    success: ${kinds[number] === "Query" ? "Schema.Array(Item)" : kinds[number] === "Mutation" ? "Item" : "Schema.String"},
    error: Failed${number % 10}
  })`
  )
  const bodies = {
    Query: (number: number) => `
    if (part${number} === "") return yield* new Failed${number % 10}({ part: part${number} })
    return yield* items.query("byName").eq("name", part${number}).take(10)`,
    Mutation: (number: number) => `
    const { clean } = yield* Clean
    if (part${number} === "") return yield* new Failed${number % 10}({ part: part${number} })
    return yield* items.upsert({ id, name: yield* clean(part${number}) })`,
    Action: (number: number) => `
    const calls = yield* Calls.of(ItemsApi)
    if (part${number} === "") return yield* new Failed${number % 10}({ part: part${number} })
    const found = yield* Effect.orDie(calls.query("items.call0", { id, part0: part${number} }))
    return found.map((item) => item.name).join()`
  }
  const handlers = numbers.map(
    (number) =>
      `  "items.call${number}": Effect.fnUntraced(function* ({ id, part${number} }) {${bodies[kinds[number]!]!(number)}
  })`
  )
  const calls = numbers.map(
    (number) => `  call${number}: client["items.call${number}"]({ id, part${number}: "p" }).pipe(
    Effect.catchTag("Failed${number % 10}", (error) => Effect.succeed(error.part))
  )`
  )
  return `import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Action, Api, App, Calls, Mutation, Query, Table } from "effect-dormouse"

const ItemId = Schema.String.pipe(Schema.brand("ItemId"))
class Item extends Model.Class<Item>("large/Item")({ id: Table.key(ItemId), name: Schema.String }) {}
const items = Table.make("items", Item, { key: "id", indexes: { byName: ["name"] } })
class Clean extends Context.Service<Clean, { readonly clean: (text: string) => Effect.Effect<string> }>()("Clean") {}
${Array.from(
  { length: 10 },
  (_, number) =>
    `class Failed${number} extends Schema.TaggedError<Failed${number}>()("Failed${number}", { part: Schema.String }) {}`
).join("\n")}

class ItemsApi extends Api.make(
${declarations.join(",\n")}
) {}

const handlers = ItemsApi.toLayer({
${handlers.join(",\n")}
})

export const app = App.make({
  api: ItemsApi,
  tables: [items],
  handlers,
  ${size > 2 ? "services: Layer.succeed(Clean, { clean: Effect.succeed })" : "limits: {}"}
})

type Client = Effect.Success<ReturnType<typeof connect>>
const connect = () => RpcClient.make(ItemsApi.declared)

export const calls = (client: Client, id: typeof ItemId.Type) => ({
${calls.join(",\n")}
})
`
}
