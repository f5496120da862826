/** The contract. A page that is offline makes the same calls: they are stored and sent later. */
import * as Schema from "effect/Schema"
import { Api, Mutation, Query } from "effect-dormouse"
import {
  Board,
  BoardId,
  Body,
  Card,
  CardId,
  Column,
  ColumnId,
  Comment,
  CommentId,
  Name,
  Notes,
  Person,
  PersonId,
  Progress,
  Title
} from "./schema.ts"

export class BoardNotFound extends Schema.TaggedError<BoardNotFound>()("BoardNotFound", { board: BoardId }) {}
export class BoardExists extends Schema.TaggedError<BoardExists>()("BoardExists", { name: Schema.String }) {}
export class ColumnNotFound extends Schema.TaggedError<ColumnNotFound>()("ColumnNotFound", { column: ColumnId }) {}
export class CardNotFound extends Schema.TaggedError<CardNotFound>()("CardNotFound", { card: CardId }) {}
export class CardExists extends Schema.TaggedError<CardExists>()("CardExists", { card: CardId }) {}
export class PersonNotFound extends Schema.TaggedError<PersonNotFound>()("PersonNotFound", { person: PersonId }) {}

/** How many cards of a board are open, and how many are done. */
export const Totals = Schema.Struct({ board: BoardId, open: Schema.Int, done: Schema.Int })
export type Totals = typeof Totals.Type

export class KanbanApi extends Api.make(
  Query.make("people.me", { payload: {}, success: Schema.NullOr(Person) }),
  Query.make("people.list", { payload: {}, success: Schema.Array(Person) }),
  // Whoever opens the app can be assigned from then on.
  Mutation.make("people.enter", { payload: {} }),
  Mutation.make("people.rename", { payload: { name: Name }, success: Person }),

  Query.make("boards.list", { payload: {}, success: Schema.Array(Board) }),
  Mutation.make("boards.create", { payload: { name: Name }, success: Board, error: BoardExists }),

  Query.make("columns.list", { payload: { board: BoardId }, success: Schema.Array(Column) }),
  Mutation.make("columns.add", { payload: { board: BoardId, name: Name }, success: Column, error: BoardNotFound }),
  // Behind another column, or to the front.
  Mutation.make("columns.move", {
    payload: { column: ColumnId, after: Schema.NullOr(ColumnId) },
    error: ColumnNotFound
  }),

  // Those of each column are in its order.
  Query.make("cards.list", { payload: { board: BoardId }, success: Schema.Array(Card) }),
  // The open cards that are assigned to the caller, of all boards.
  Query.make("cards.mine", { payload: {}, success: Schema.Array(Card) }),
  // At the end of a column.
  Mutation.make("cards.add", {
    payload: { id: CardId, column: ColumnId, title: Title },
    success: Card,
    error: Schema.Union([ColumnNotFound, CardExists])
  }),
  // Behind another card, or to the front. If the other one has left the column, the card comes to the end.
  Mutation.make("cards.move", {
    payload: { card: CardId, column: ColumnId, after: Schema.NullOr(CardId) },
    error: Schema.Union([CardNotFound, ColumnNotFound])
  }),
  Mutation.make("cards.edit", {
    payload: { card: CardId, title: Schema.optionalKey(Title), notes: Schema.optionalKey(Notes) },
    error: CardNotFound
  }),
  Mutation.make("cards.assign", {
    payload: { card: CardId, assignee: Schema.NullOr(PersonId) },
    error: Schema.Union([CardNotFound, PersonNotFound])
  }),
  Mutation.make("cards.delete", { payload: { card: CardId } }),

  Query.make("comments.list", { payload: { card: CardId }, success: Schema.Array(Comment) }),
  Mutation.make("comments.add", {
    payload: { id: CommentId, card: CardId, body: Body },
    success: Comment,
    error: CardNotFound
  }),
  Mutation.make("comments.delete", { payload: { comment: CommentId } }),

  Query.make("progress.list", { payload: { board: BoardId }, success: Schema.Array(Progress) }),
  // For the reactor. No client can call them.
  Api.internal(Query.make("progress.totals", { payload: {}, success: Schema.Array(Totals) })),
  Api.internal(Mutation.make("progress.record", { payload: { totals: Schema.Array(Totals) } }))
) {}
