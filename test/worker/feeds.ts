import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as SqlClient from "effect/sql/SqlClient"
import { Api, App, Auth, Mutation, Query, Storage, Table } from "effect-dormouse"
import { Auth as AuthLayers, Policy } from "effect-dormouse/auth"
import { ChangeLog, Changes } from "effect-dormouse/changes"
import { EventStream, Pubsub } from "effect-dormouse/pubsub"

/** An app with change feeds: of notes, which policies guard, and of values that JSON cannot hold. */

export class Folder extends Model.Class<Folder>("test/feeds/Folder")({
  id: Table.key(Schema.String),
  name: Schema.String
}) {}
export const folders = Table.make("folders", Folder, { key: "id" })

export class Note extends Model.Class<Note>("test/feeds/Note")({
  id: Table.key(Schema.String),
  folder: Schema.NullOr(Schema.String),
  owner: Schema.String,
  isPublic: Schema.Boolean,
  body: Schema.String,
  /** Only its owner sees it. */
  rating: Schema.NullOr(Schema.Number),
  password: Model.Sensitive(Schema.String)
}) {}
export const notes = Table.make("notes", Note, {
  key: "id",
  references: { folder: { table: () => folders, onDelete: "cascade" } }
})

export class Value extends Model.Class<Value>("test/feeds/Value")({
  id: Schema.Int,
  real: Schema.Number,
  bytes: Schema.Uint8Array,
  big: Schema.BigInt,
  at: Schema.DateTimeUtcFromMillis,
  folder: Schema.NullOr(Schema.String)
}) {}
export const values = Table.make("values", Value, {
  key: "id",
  references: { folder: { table: () => folders, onDelete: "setNull" } }
})

class Me extends AuthLayers.Service<Me>()("test/feeds/Me", { claims: Schema.Struct({}) }) {}
const policies = [
  Policy.for(Me).make(notes, {
    read: ({ me, row }) => Policy.or(Policy.eq(row.owner, me.subject), Policy.eq(row.isPublic, true)),
    fields: { rating: { read: ({ me, row }) => Policy.eq(row.owner, me.subject) } }
  })
]

class Refused extends Schema.TaggedError<Refused>("test/feeds/Refused")("Refused", {}) {}

export const Feed = Changes.feed("changes", { tables: [notes, folders], error: Refused })
export const ValueFeed = Changes.feed("values.changes", { tables: [values] })

const Write = Schema.Union([
  Schema.Struct({ op: Schema.Literal("folder"), id: Schema.String, name: Schema.String }),
  Schema.Struct({ op: Schema.Literal("insert"), note: Note.insert }),
  Schema.Struct({ op: Schema.Literal("upsert"), note: Note.insert }),
  Schema.Struct({
    op: Schema.Literal("patch"),
    id: Schema.String,
    body: Schema.optionalKey(Schema.String),
    isPublic: Schema.optionalKey(Schema.Boolean)
  }),
  Schema.Struct({ op: Schema.Literals(["delete", "deleteFolder"]), id: Schema.String }),
  /** Writes and rolls back a part. */
  Schema.Struct({ op: Schema.Literal("undone"), note: Note.insert }),
  Schema.Struct({ op: Schema.Literal("value"), value: Value.insert })
])
export type Write = typeof Write.Encoded

const Everything = Schema.Struct({ after: Changes.After, rows: Schema.Array(Note.json) })

export class FeedsApi extends Api.make(
  Feed,
  ValueFeed,
  /** All writes of one transaction, which then may fail. */
  Mutation.make("write", {
    payload: { writes: Schema.Array(Write), fails: Schema.optionalKey(Schema.Boolean) },
    error: Refused
  }),
  Mutation.make("raw", { payload: { sql: Schema.String }, success: Schema.String }),
  /** What the caller may read, and the cursor after which a reader goes on. */
  Query.make("snapshot", { payload: {}, success: Everything }),
  Query.make("all", { payload: {}, success: Schema.Array(Note.json) })
) {}

const write = Effect.fnUntraced(function* (write: typeof Write.Type) {
  switch (write.op) {
    case "folder":
      return yield* folders.upsert({ id: write.id, name: write.name })
    case "insert":
      return yield* notes.insert(write.note)
    case "upsert":
      return yield* notes.upsert(write.note)
    case "patch": {
      const { id, op, ...changes } = write
      return yield* notes.patch(id, changes)
    }
    case "delete":
      return yield* notes.delete(write.id)
    case "deleteFolder":
      return yield* folders.delete(write.id)
    case "undone":
      return yield* Effect.ignore(
        Table.atomically(Effect.andThen(notes.upsert(write.note), Effect.fail("rolled back")))
      )
    case "value":
      return yield* values.upsert(write.value)
  }
})

const handlers = FeedsApi.toLayer({
  changes: () => Effect.flatMap(Auth.identity, ({ subject }) => (subject === "eve" ? new Refused() : Effect.void)),
  "values.changes": () => Effect.void,
  write: ({ fails, writes }) =>
    Storage.unrestricted(
      Effect.forEach(writes, (one) => Effect.catchTag(write(one), ["RowNotFound"], () => Effect.void), {
        discard: true
      })
    ).pipe(
      Effect.catchTag("StorageError", (error) =>
        error.reason._tag === "StorageLimit" ? Effect.fail(error) : Effect.void
      ),
      Effect.andThen(fails === true ? Effect.fail(new Refused()) : Effect.void)
    ),
  raw: ({ sql }) =>
    Storage.unrestricted(
      Effect.gen(function* () {
        const client = yield* SqlClient.SqlClient
        return yield* Effect.match(client.unsafe(sql), {
          onSuccess: () => "done",
          onFailure: ({ reason }) => String(reason.cause)
        })
      })
    ),
  snapshot: () => Effect.all({ after: Feed.newest, rows: notes.query() }),
  all: () => Storage.unrestricted(notes.query())
})

/** Few commits are kept. */
export const app = App.make({
  api: FeedsApi,
  tables: [notes, folders, values],
  policies,
  handlers,
  identity: Me,
  pubsub: Pubsub.make({
    changes: ChangeLog.make({ commits: 40, retention: "1 hour" }),
    events: EventStream.make()
  })
})

/** Callers are named by test tokens. */
export const options = {
  auth: AuthLayers.layerFirst(AuthLayers.layerTest, AuthLayers.layerAnonymous),
  enter: () => true
}

/** Whether a tenant, or an object, belongs to this app. */
export const isFeeds = (name: string | null | undefined): boolean => name?.startsWith("feeds-") === true
