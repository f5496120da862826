import * as Schema from "effect/Schema"
import { Api, Mutation, Query } from "effect-dormouse"
import { Board, BoardId, Card, CardId, Column, ColumnId, Person, Title } from "./schema.ts"

export class CardNotFound extends Schema.TaggedError<CardNotFound>()("CardNotFound", { card: CardId }) {}
export class ColumnNotFound extends Schema.TaggedError<ColumnNotFound>()("ColumnNotFound", { column: ColumnId }) {}

/** What clients may call. Server and page share it. */
export class AppApi extends Api.make(
  Query.make("boards.list", { payload: {}, success: Schema.Array(Board) }),
  /** A new board with three columns. */
  Mutation.make("boards.create", { payload: { title: Title }, success: Board }),
  Query.make("columns.list", { payload: { board: BoardId }, success: Schema.Array(Column) }),
  /** The cards of a board, in the order of their columns' lists. */
  Query.make("cards.list", { payload: { board: BoardId }, success: Schema.Array(Card) }),
  Mutation.make("cards.add", { payload: { column: ColumnId, title: Title }, success: Card, error: ColumnNotFound }),
  /** Moves a card to just after another one of the column, or to its front. */
  Mutation.make("cards.move", {
    payload: { card: CardId, column: ColumnId, after: Schema.NullOr(CardId) },
    success: Card,
    error: Schema.Union([CardNotFound, ColumnNotFound])
  }),
  Mutation.make("cards.assign", {
    payload: { card: CardId, assignee: Schema.NullOr(Person) },
    success: Card,
    error: CardNotFound
  }),
  Mutation.make("cards.remove", { payload: { card: CardId } })
) {}
