/**
 * The tables: boards, their columns and cards, comments, people, and the history of each board's progress.
 * Columns and cards are ordered by a fractional index, so that a move writes one row.
 */
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"

export const BoardId = Schema.String.pipe(Schema.brand("BoardId"))
export type BoardId = typeof BoardId.Type

export const ColumnId = Schema.String.pipe(Schema.brand("ColumnId"))
export type ColumnId = typeof ColumnId.Type

/** Pages choose it, so that a card that was added offline can be moved and edited offline. */
export const CardId = Schema.String.check(Schema.isUUID()).pipe(Schema.brand("CardId"))
export type CardId = typeof CardId.Type

/** Pages choose it, as that of a card. */
export const CommentId = Schema.String.check(Schema.isUUID()).pipe(Schema.brand("CommentId"))
export type CommentId = typeof CommentId.Type

/** The id of an account. */
export const PersonId = Schema.String.pipe(Schema.brand("PersonId"))
export type PersonId = typeof PersonId.Type

/** The name of a board, a column or a person. */
export const Name = Schema.NonEmptyString.check(Schema.isMaxLength(60))
/** The title of a card. */
export const Title = Schema.NonEmptyString.check(Schema.isMaxLength(200))
/** What else there is to say about a card. */
export const Notes = Schema.String.check(Schema.isMaxLength(10_000))
/** The text of a comment. */
export const Body = Schema.NonEmptyString.check(Schema.isMaxLength(4000))

export class Board extends Model.Class<Board>("kanban/Board")({
  id: Table.key(BoardId),
  name: Name,
  createdAt: Table.insertedAt
}) {}

export class Column extends Model.Class<Column>("kanban/Column")({
  id: Table.key(ColumnId),
  board: BoardId,
  name: Name,
  /** Its place among the columns of the board: see `position.ts`. */
  position: Schema.String,
  /** Whether the cards in it are finished. */
  isDone: Schema.Boolean
}) {}

export class Card extends Model.Class<Card>("kanban/Card")({
  id: CardId,
  /** That of its column, so that one index has all cards of a board. */
  board: BoardId,
  column: ColumnId,
  /** Its place among the cards of the column. */
  position: Schema.String,
  title: Title,
  notes: Notes,
  author: PersonId,
  assignee: Schema.NullOr(PersonId),
  /** Whether its column is one of finished cards. */
  isDone: Schema.Boolean,
  /** How many comments it has. */
  comments: Schema.Int,
  createdAt: Table.insertedAt
}) {}

export class Comment extends Model.Class<Comment>("kanban/Comment")({
  id: CommentId,
  card: CardId,
  author: PersonId,
  body: Body,
  writtenAt: Table.insertedAt
}) {}

/** Somebody who has opened the app. */
export class Person extends Model.Class<Person>("kanban/Person")({
  id: PersonId,
  name: Name
}) {}

/** How many cards of a board were open and done from a time on. A reactor writes it. */
export class Progress extends Model.Class<Progress>("kanban/Progress")({
  id: Table.key(Schema.String),
  board: BoardId,
  /** Counts the entries of the board: two can have the same time. */
  step: Schema.Int,
  open: Schema.Int,
  done: Schema.Int,
  since: Table.insertedAt
}) {}

export const boards = Table.make("boards", Board, {
  key: "id",
  indexes: { byName: { columns: ["name"], unique: true } }
})

export const columns = Table.make("columns", Column, {
  key: "id",
  indexes: { byBoard: { columns: ["board", "position"], unique: true } },
  references: { board: { table: () => boards, onDelete: "cascade" } }
})

export const cards = Table.make("cards", Card, {
  key: "id",
  indexes: {
    byBoard: ["board", "isDone"],
    byColumn: { columns: ["column", "position"], unique: true },
    byAssignee: ["assignee", "isDone"]
  },
  references: {
    board: { table: () => boards, onDelete: "cascade" },
    column: { table: () => columns, onDelete: "cascade" }
  }
})

export const comments = Table.make("comments", Comment, {
  key: "id",
  indexes: { byCard: ["card", "writtenAt"] },
  references: { card: { table: () => cards, onDelete: "cascade" } }
})

export const people = Table.make("people", Person, { key: "id" })

export const progress = Table.make("progress", Progress, {
  key: "id",
  indexes: { byBoard: { columns: ["board", "step"], unique: true } },
  references: { board: { table: () => boards, onDelete: "cascade" } }
})

export const tables = [boards, columns, cards, comments, people, progress]
