import * as Effect from "effect/Effect"
import { AppApi, CardNotFound, ColumnNotFound } from "./api.ts"
import { between, placeAfter } from "./position.ts"
import { boards, type CardId, type ColumnId, cards, columns } from "./schema.ts"

const columnOf = (column: ColumnId) =>
  columns.get(column).pipe(Effect.catchTag("RowNotFound", () => Effect.fail(new ColumnNotFound({ column }))))

const cardOf = (card: CardId) =>
  cards.get(card).pipe(Effect.catchTag("RowNotFound", () => Effect.fail(new CardNotFound({ card }))))

/** Each handler runs as one transaction of the tenant's database. A query is live: it runs again when its rows change. */
export const AppHandlers = AppApi.toLayer({
  "boards.list": () => boards.query("byAge").take(100),

  "boards.create": Effect.fnUntraced(function* ({ title }) {
    const board = yield* boards.insert({ title })
    let position: string | null = null
    for (const title of ["To do", "Doing", "Done"]) {
      position = between(position, null)
      yield* columns.insert({ board: board.id, title, position })
    }
    return board
  }),

  "columns.list": ({ board }) => columns.query("byBoard").eq("board", board).take(100),

  "cards.list": ({ board }) => cards.query("byBoard").eq("board", board).take(1000),

  "cards.add": Effect.fnUntraced(function* ({ column, title }) {
    const { board } = yield* columnOf(column)
    const last = yield* cards.query("byColumn").eq("column", column).descending.take(1)
    const position = between(last[0]?.position ?? null, null)
    return yield* cards.insert({ board, column, title, assignee: null, position })
  }),

  // Two people may move cards at once: the key is chosen here, where one move comes after the other.
  "cards.move": Effect.fnUntraced(function* ({ after, card, column }) {
    const { id } = yield* cardOf(card)
    const { board } = yield* columnOf(column)
    const list = yield* cards.query("byColumn").eq("column", column)
    return yield* cards
      .patch(id, { board, column, position: placeAfter(list, id, after) })
      .pipe(Effect.catchTag("RowNotFound", () => Effect.fail(new CardNotFound({ card }))))
  }),

  "cards.assign": Effect.fnUntraced(function* ({ assignee, card }) {
    return yield* cards
      .patch(card, { assignee })
      .pipe(Effect.catchTag("RowNotFound", () => Effect.fail(new CardNotFound({ card }))))
  }),

  "cards.remove": ({ card }) => Effect.asVoid(cards.delete(card))
})
