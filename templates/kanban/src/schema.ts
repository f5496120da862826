import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"

export const BoardId = Schema.String.pipe(Schema.brand("BoardId"))
export type BoardId = typeof BoardId.Type

export const ColumnId = Schema.String.pipe(Schema.brand("ColumnId"))
export type ColumnId = typeof ColumnId.Type

export const CardId = Schema.String.pipe(Schema.brand("CardId"))
export type CardId = typeof CardId.Type

export const Title = Schema.String.check(Schema.isBetweenLength(1, 200))
/** Whoever a card is assigned to, by the name that they gave themselves. */
export const Person = Schema.String.check(Schema.isBetweenLength(1, 40))

export class Board extends Model.Class<Board>("app/Board")({
  id: Table.key(BoardId),
  title: Title,
  createdAt: Table.insertedAt
}) {}

export class Column extends Model.Class<Column>("app/Column")({
  id: Table.key(ColumnId),
  board: BoardId,
  title: Title,
  /** Its place among the columns of the board, see position.ts. */
  position: Schema.String
}) {}

export class Card extends Model.Class<Card>("app/Card")({
  id: Table.key(CardId),
  board: BoardId,
  column: ColumnId,
  title: Title,
  assignee: Schema.NullOr(Person),
  /** Its place among the cards of the column, see position.ts. */
  position: Schema.String,
  createdAt: Table.insertedAt
}) {}

export const boards = Table.make("boards", Board, { key: "id", indexes: { byAge: ["createdAt"] } })

export const columns = Table.make("columns", Column, {
  key: "id",
  indexes: { byBoard: ["board", "position"] },
  references: { board: { table: () => boards, onDelete: "cascade" } }
})

export const cards = Table.make("cards", Card, {
  key: "id",
  indexes: { byBoard: ["board", "position"], byColumn: ["column", "position"] },
  references: {
    board: { table: () => boards, onDelete: "cascade" },
    column: { table: () => columns, onDelete: "cascade" }
  }
})
