import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Api, App, Migration, Mutation, Query, Table } from "effect-dormouse"

/** Two versions of an app, for tests that deploy one after the other. Both have the same contract. */

export class VersionsApi extends Api.make(
  Mutation.make("add", { payload: { text: Schema.String, size: Schema.String } }),
  Mutation.make("addMany", { payload: { count: Schema.Int } }),
  Query.make("list", {
    payload: {},
    success: Schema.Array(Schema.Struct({ text: Schema.String, size: Schema.String }))
  }),
  Query.make("count", { payload: {}, success: Schema.Int })
) {}

class Before extends Model.Class<Before>("test/versions/Before")({
  id: Table.key(Schema.String),
  body: Schema.String,
  size: Schema.String
}) {}
const before = Table.make("items", Before, { key: "id", indexes: { bySize: ["size"] } })

export const versionOne = App.make({
  api: VersionsApi,
  tables: [before],
  handlers: VersionsApi.toLayer({
    add: ({ size, text }) => Effect.orDie(before.insert({ body: text, size })),
    addMany: ({ count }) =>
      Effect.orDie(before.insertMany(Array.from({ length: count }, (_, i) => ({ body: `item ${i}`, size: `${i}` })))),
    list: () =>
      Effect.map(before.query(), (rows) => rows.map(({ body, size }) => ({ text: body, size }))).pipe(Effect.orDie),
    count: () => Effect.orDie(before.query().count)
  })
})

class After extends Model.Class<After>("test/versions/After")({
  id: Table.key(Schema.String),
  text: Schema.String,
  size: Schema.Int
}) {}
const after = Table.make("notes", After, {
  key: "id",
  indexes: { bySize: ["size"] },
  renamedFrom: { table: "items", columns: { text: "body" } }
})

class SizeUnknown extends Schema.TaggedError<SizeUnknown>("test/versions/SizeUnknown")("SizeUnknown", {
  size: Schema.String
}) {}

const parse = Migration.make("parse-size", {
  table: after,
  from: { size: Schema.String },
  fills: ["size"],
  rowsPerStep: 10,
  row: ({ size }) =>
    Number.isInteger(Number(size)) ? Effect.succeed({ size: Number(size) }) : Effect.fail(new SizeUnknown({ size }))
})

export const versionTwo = App.make({
  api: VersionsApi,
  tables: [after],
  migrations: [parse],
  handlers: VersionsApi.toLayer({
    add: ({ size, text }) => Effect.orDie(after.insert({ text, size: Number(size) })),
    addMany: ({ count }) =>
      Effect.orDie(after.insertMany(Array.from({ length: count }, (_, i) => ({ text: `item ${i}`, size: i })))),
    list: () =>
      Effect.map(after.query(), (rows) => rows.map(({ size, text }) => ({ text, size: `number ${size}` }))).pipe(
        Effect.orDie
      ),
    count: () => Effect.orDie(after.query().count)
  })
})
