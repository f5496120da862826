import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse/storage"

export class Note extends Model.Class<Note>("embed/Note")({
  id: Table.key(Schema.String),
  text: Schema.NonEmptyString,
  at: Table.insertedAt
}) {}

export const notes = Table.make("notes", Note, { key: "id", indexes: { byTime: ["at"] } })
