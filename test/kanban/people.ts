/** The kanban in memory, and people who use it. It is without its accounts: callers have tokens of `Auth.layerTest`. */
import * as Effect from "effect/Effect"
import { App } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { TestApp } from "effect-dormouse/testing"
import { KanbanApi } from "../../examples/kanban/api.ts"
import { KanbanHandlers } from "../../examples/kanban/handlers.ts"
import { Me } from "../../examples/kanban/me.ts"
import { KanbanPolicies } from "../../examples/kanban/policies.ts"
import { recordProgress } from "../../examples/kanban/reactors.ts"
import { CardId, type ColumnId, PersonId, tables } from "../../examples/kanban/schema.ts"

const app = App.make({
  api: KanbanApi,
  tables,
  policies: KanbanPolicies,
  handlers: KanbanHandlers,
  reactors: [recordProgress],
  identity: Me
})

/** The kanban. */
export const backend = TestApp.layer(app, {
  auth: Auth.layerFirst(Auth.layerTest, Auth.layerAnonymous),
  open: ["main"]
})

/** Somebody who has opened the page. */
export const person = Effect.fnUntraced(function* (name: string) {
  const id = PersonId.make(name.toLowerCase())
  const client = yield* TestApp.client(KanbanApi, { as: { subject: id, claims: {} } })
  yield* client.mutate("people.rename", { name })
  return { ...client, id }
})

/** Somebody's client. */
export type Person = Effect.Success<ReturnType<typeof person>>

/** A new board with its three columns. */
export const newBoard = Effect.fnUntraced(function* (client: Person, name = "Garden") {
  const { id: board } = yield* client.mutate("boards.create", { name })
  const [todo, doing, done] = yield* client.query("columns.list", { board })
  return { board, todo: todo!.id, doing: doing!.id, done: done!.id }
})

/** The id of the card with this number. */
export const cardId = (number: number) => CardId.make(`00000000-0000-4000-8000-${String(number).padStart(12, "0")}`)

/** Adds a card with a title. */
export const addCard = (client: Person, column: ColumnId, title: string, number: number) =>
  client.mutate("cards.add", { id: cardId(number), column, title })
