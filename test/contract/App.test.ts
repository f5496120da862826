import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Api, App, Query, Table } from "effect-dormouse"
import { TestApp } from "effect-dormouse/testing"
import { expect, it } from "vitest"

/** Tables that cannot be, and when their author is told. */

class Tag extends Model.Class<Tag>("App/Tag")({ id: Schema.Int, name: Schema.String }) {}
class Note extends Model.Class<Note>("App/Note")({
  id: Table.key(Schema.String),
  tag: Schema.Int,
  place: Schema.Struct({ x: Schema.Int }),
  words: Schema.optionalKey(Schema.Array(Schema.String)),
  at: Schema.DateTimeUtcFromMillis
}) {}

const tags = Table.make("tags", Tag, { key: "id" })
const references = { tag: { table: () => tags } } as const

class CountApi extends Api.make(Query.make("count", { success: Schema.Int })) {}
const appOf = (...tables: ReadonlyArray<Table.Any>) =>
  App.make({ api: CountApi, tables, handlers: CountApi.toLayer({ count: () => Effect.succeed(0) }) })

it("ST21: App.make refuses a reference to a table that it was not given", () => {
  const notes = Table.make("notes", Note, { key: "id", references })
  expect(() => appOf(notes)).toThrow(
    "table notes, column tag: refers to table tags, which is not one of the app's; add it to App.make({ tables })"
  )
  appOf(notes, tags)
})

it("ST21: App.make refuses an index on nested values", () => {
  for (const column of ["place", "words"] as const) {
    // Where the types cannot see it.
    const byIt: any = ["at", column]
    const notes = Table.make("notes", Note, { key: "id", indexes: { byIt } })
    expect(() => appOf(notes)).toThrow(
      `table notes, column ${column}: index byIt needs an order, and nested values have none; index a plain field`
    )
  }
  appOf(Table.make("notes", Note, { key: "id", indexes: { byTime: ["at", "tag"] } }))
})

it("ST21: TestApp.layer fails when its tables cannot be implemented", async () => {
  // The type of the referring column differs from that of the key.
  const tags = Table.make("tags", Note, { key: "id" })
  const notes = Table.make("notes", Tag, { key: "id", references: { id: { table: () => tags } } })
  const client = TestApp.client(CountApi).pipe(Effect.provide(TestApp.layer(appOf(notes, tags))), Effect.scoped)
  await expect(Effect.runPromise(client)).rejects.toThrow("table notes, column id: is integer and refers to table tags")
})
