import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import { Action, Api, App, Auth, Calls, Mutation, Query, Table } from "effect-dormouse"
import { Admin } from "effect-dormouse/admin"
import { Auth as AuthLayers, Policy } from "effect-dormouse/auth"
import { ChangeLog, Changes } from "effect-dormouse/changes"
import { Pubsub } from "effect-dormouse/pubsub"

/** An app with columns of every kind, references of every shape, a policy and a change feed, which is operated by a key. */

const PersonId = Schema.String.pipe(Schema.brand("PersonId"))

export class Person extends Model.Class<Person>("test/admin/Person")({
  id: Table.key(PersonId),
  name: Schema.NonEmptyString,
  email: Schema.NullOr(Schema.String),
  /** Refers to its own table. */
  boss: Schema.NullOr(PersonId),
  role: Schema.Literals(["member", "admin"]).pipe(Schema.withConstructorDefault(Effect.succeed("member" as const))),
  createdAt: Table.insertedAt,
  changedAt: Table.updatedAt
}) {}
export const people = Table.make("people", Person, {
  key: "id",
  indexes: { byEmail: { columns: ["email"], unique: true }, byName: ["name"] },
  references: { boss: { table: (): Table.Any => people, onDelete: "setNull" } }
})

/** Every kind of column. */
export class Thing extends Model.Class<Thing>("test/admin/Thing")({
  id: Schema.Int,
  owner: Schema.NullOr(PersonId),
  text: Schema.String,
  flag: Schema.Boolean,
  real: Schema.Number,
  big: Schema.BigInt,
  bytes: Schema.Uint8Array,
  at: Schema.DateTimeUtcFromMillis,
  tags: Schema.Array(Schema.String),
  maybe: Schema.OptionFromNullOr(Schema.Int),
  note: Schema.optionalKey(Schema.String),
  either: Schema.optionalKey(Schema.NullOr(Schema.Int)),
  any: Schema.Json,
  secret: Model.Sensitive(Schema.String)
}) {}
export const things = Table.make("things", Thing, {
  key: "id",
  references: { owner: { table: () => people, onDelete: "cascade" } }
})

/** Two tables in a circle that no row can leave. */
export class Lock extends Model.Class<Lock>("test/admin/Lock")({ id: Schema.BigInt, key: Schema.Uint8Array }) {}
export const locks: Table.Any = Table.make("locks", Lock, {
  key: "id",
  references: { key: { table: () => keys, onDelete: "cascade" } }
})
export class Key extends Model.Class<Key>("test/admin/Key")({ id: Schema.Uint8Array, lock: Schema.BigInt }) {}
export const keys = Table.make("keys", Key, {
  key: "id",
  references: { lock: { table: () => locks, onDelete: "cascade" } }
})

/** Nobody may read or write it, but whoever operates the app. */
export class Secret extends Model.Class<Secret>("test/admin/Secret")({ id: Schema.String, text: Schema.String }) {}
export const secrets = Table.make("secrets", Secret, { key: "id" })

/** Has a change feed. */
export class Post extends Model.Class<Post>("test/admin/Post")({ id: Table.key(Schema.String), text: Schema.String }) {}
export const posts = Table.make("posts", Post, { key: "id" })

export const PostFeed = Changes.feed("posts.changes", { tables: [posts] })

class Me extends AuthLayers.Service<Me>()("test/admin/Me", { claims: Schema.Struct({ team: Schema.String }) }) {}

export class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {}

export class OperatedApi extends Api.make(
  Query.make("people.list", { payload: {}, success: Schema.Array(Person) }),
  Query.make("people.named", { payload: { name: Schema.String }, success: Schema.Array(Person) }),
  Mutation.make("people.add", { payload: { name: Schema.NonEmptyString }, success: Person, error: Refused }),
  Query.make("whoami", { payload: {}, success: Auth.Identity }),
  Query.make("secrets.list", { payload: {}, success: Schema.Array(Secret) }),
  Mutation.make("posts.add", { payload: { text: Schema.String }, success: Post }),
  Api.internal(Query.make("hidden", { payload: {}, success: Schema.String })),
  Action.make("act.add", { payload: { name: Schema.NonEmptyString }, success: Person, error: Refused }),
  Action.make("act.count", { payload: { to: Schema.Int }, success: Schema.Int, stream: true }),
  /** Calls any tag in the tenant, as an action can. */
  Action.make("act.call", { payload: { tag: Schema.String, payload: Schema.Json }, success: Schema.Json }),
  PostFeed
) {}

export const OperatedHandlers = OperatedApi.toLayer({
  "people.list": () => people.query("byName"),
  "people.named": ({ name }) => people.query("byName").eq("name", name),
  "people.add": ({ name }) =>
    name === "nobody" ? Effect.fail(new Refused({ why: "no name" })) : people.insert({ name, email: null, boss: null }),
  whoami: () => Auth.identity,
  "secrets.list": () => secrets.query(),
  "posts.add": ({ text }) => posts.insert({ text }),
  hidden: () => Effect.succeed("seen"),
  "act.add": Effect.fnUntraced(function* ({ name }) {
    const app = yield* Calls.of(OperatedApi)
    return yield* app.mutate("people.add", { name })
  }),
  "act.count": ({ to }) => Stream.range(1, to),
  "act.call": ({ payload, tag }) =>
    Effect.flatMap(Calls.Calls, ({ call }) => Effect.map(call(tag, payload), () => "answered")),
  "posts.changes": () => Effect.void
})

export const app = App.make({
  api: OperatedApi,
  tables: [things, people, locks, keys, secrets, posts],
  policies: [Policy.make(secrets, {})],
  handlers: OperatedHandlers,
  identity: Me,
  pubsub: Pubsub.make({ changes: ChangeLog.make({ retention: "1 hour" }) })
})

/** The key of the deployments under test. */
export const key = "0123456789-a-key-of-the-tests"

export const admin = Admin.make({ key: Config.succeed(Redacted.make(key)) })

/** Callers are named by test tokens. */
export const options = {
  auth: AuthLayers.layerFirst(AuthLayers.layerTest, AuthLayers.layerAnonymous),
  enter: () => true,
  tenants: (name: string) => !name.endsWith("-none"),
  admin
}

/** Whether a tenant, or an object, belongs to this app. */
export const isOperated = (name: string | null | undefined): boolean => name?.startsWith("adm-") === true

/** The paths of the admin rpcs. */
export const isAdminRequest = (url: string): boolean => new URL(url).pathname.startsWith("/admin/")
