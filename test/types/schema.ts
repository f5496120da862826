import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"

/** Two tables, for the contracts in this folder. */

export const AuthorId = Schema.String.pipe(Schema.brand("AuthorId"))

export class Author extends Model.Class<Author>("types/Author")({
  id: Table.key(AuthorId),
  name: Schema.NonEmptyString
}) {}

export const NoteId = Schema.String.pipe(Schema.brand("NoteId"))

export class Note extends Model.Class<Note>("types/Note")({
  id: Table.key(NoteId),
  author: AuthorId,
  title: Schema.String,
  stars: Schema.Int,
  writtenAt: Table.insertedAt
}) {}

export const authors = Table.make("authors", Author, {
  key: "id",
  indexes: { byName: { columns: ["name"], unique: true } }
})

export const notes = Table.make("notes", Note, {
  key: "id",
  indexes: { byAuthor: ["author", "stars"], byStars: ["stars"] },
  references: { author: { table: () => authors, onDelete: "cascade" } }
})
