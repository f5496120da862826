import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import { type Storage, Table } from "effect-dormouse"
import { AuthorId, authors, Note, NoteId, notes } from "./schema.ts"

const author = AuthorId.make("a")
const note = NoteId.make("n")

// Compiles, with these types.

export const all: Effect.Effect<ReadonlyArray<Note>, Storage.StorageError, Storage.Storage> = notes.query()
export const some: Effect.Effect<ReadonlyArray<Note>, Storage.StorageError, Storage.Storage> = notes
  .query("byAuthor")
  .eq("author", author)
  .gte("stars", 3)
  .lt("stars", 5)
  .filter((row) => row.title !== "")
  .descending.take(10)
export const toTheKey = notes.query("byAuthor").eq("author", author).eq("stars", 3).eq("id", note)
export const first: Effect.Effect<Option.Option<Note>, Storage.StorageError, Storage.Storage> = notes.query(
  "byStars"
).first
export const rows: Stream.Stream<Note, Storage.StorageError, Storage.Storage> = notes.query("byStars").stream
export const one: Effect.Effect<Note, Storage.RowNotFound | Storage.StorageError, Storage.Storage> = notes.get(note)
export const inserted: Effect.Effect<Note, Storage.StorageError, Storage.StorageWriter> = notes.insert({
  author,
  title: "t",
  stars: 1
})
export const withKey = notes.insert({ id: note, author, title: "t", stars: 1 })
export const patched = notes.patch(note, { stars: 2 })
export const writtenAt: (row: Note) => DateTime.Utc = (row) => row.writtenAt

// A query fixes the columns of its index from the left.

// @ts-expect-error: '"stars"' is not assignable to parameter of type '"author"'
notes.query("byAuthor").eq("stars", 3)

// @ts-expect-error: '"id"' is not assignable to parameter of type '"stars"'
notes.query("byAuthor").eq("author", author).eq("id", note)

// @ts-expect-error: '"stars"' is not assignable to parameter of type '"author"'
notes.query("byAuthor").gte("stars", 3)

// @ts-expect-error: '"title"' is not assignable
notes.query("byStars").eq("title", "t")

// @ts-expect-error: is not assignable to parameter of type 'undefined'
notes.query("byStars").eq("stars", 3).eq("id", note).eq("stars", 3)

// A range comes last: one column has a range, the columns after it have none.

// @ts-expect-error: '"stars"' is not assignable to parameter of type 'undefined'
notes.query("byStars").gte("stars", 3).eq("stars", 3)

// @ts-expect-error: '"id"' is not assignable to parameter of type '"stars"'
notes.query("byStars").gte("stars", 3).lt("id", note)

// Values must have the type of their column.

// @ts-expect-error: 'string' is not assignable to parameter of type 'number'
notes.query("byStars").eq("stars", "three")

// @ts-expect-error: Type 'string' is not assignable to type 'Brand<"AuthorId">'
notes.query("byAuthor").eq("author", "a")

// @ts-expect-error: NoteId
notes.query("byAuthor").eq("author", note)

// @ts-expect-error: AuthorId
notes.get(author)

// @ts-expect-error: AuthorId
notes.delete(author)

// @ts-expect-error: Property 'subtitle' does not exist
notes.query().filter((row) => row.subtitle !== "")

// Names must be declared.

// @ts-expect-error: '"byTitle"' is not assignable to parameter of type '"byAuthor" | "byStars"'
notes.query("byTitle")

// @ts-expect-error: '"byStars"' is not assignable to parameter of type '"byName"'
authors.query("byStars")

// @ts-expect-error: '"serial"' is not assignable
Table.make("notes", Note, { key: "serial" })

// @ts-expect-error: '"subtitle"' is not assignable
Table.make("notes", Note, { key: "id", indexes: { bySubtitle: ["subtitle"] } })

class Shape extends Model.Class<Shape>("Shape")({
  id: Table.key(Schema.String),
  place: Schema.Struct({ x: Schema.Int }),
  words: Schema.optionalKey(Schema.Array(Schema.String)),
  size: Schema.optionalKey(Schema.Finite),
  color: Schema.NullOr(Schema.Literals(["red", "green"])),
  author: AuthorId,
  bytes: Schema.Uint8Array,
  at: Schema.DateTimeUtcFromMillis,
  day: Schema.Date
}) {}
export const shapes = Table.make("shapes", Shape, {
  key: "id",
  indexes: { byAll: ["size", "color", "author", "bytes", "at", "day"] }
})

// @ts-expect-error: '"place"' is not assignable
Table.make("shapes", Shape, { key: "id", indexes: { byPlace: ["place"] } })

// @ts-expect-error: '"words"' is not assignable
Table.make("shapes", Shape, { key: "id", indexes: { byWords: { columns: ["at", "words"], unique: true } } })

// @ts-expect-error: 'subtitle' does not exist
Table.make("notes", Note, { key: "id", references: { subtitle: { table: () => authors } } })

// @ts-expect-error: '"forget"' is not assignable
Table.make("notes", Note, { key: "id", references: { author: { table: () => authors, onDelete: "forget" } } })

// A generated key is text.
// @ts-expect-error: number
Table.key(Schema.Int)

// Rows follow the model; an author cannot give generated values.

// @ts-expect-error: Property 'stars' is missing
notes.insert({ author, title: "t" })

// @ts-expect-error: 'string' is not assignable to type 'number'
notes.insert({ author, title: "t", stars: "1" })

// @ts-expect-error: 'writtenAt' does not exist
notes.insert({ author, title: "t", stars: 1, writtenAt: 0 })

// @ts-expect-error: 'id' does not exist
notes.patch(note, { id: note })

// @ts-expect-error: 'writtenAt' does not exist
notes.patch(note, { writtenAt: 0 })

// A table needs a model.
// @ts-expect-error: is not assignable to parameter of type 'Any'
Table.make("plain", Schema.Struct({ id: Schema.String }), { key: "id" })
