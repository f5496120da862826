import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Action, Api, App, Mutation, Query, Table } from "effect-dormouse"
import { TestApp } from "effect-dormouse/testing"
import { leaks } from "../../src/contract/SensitiveFields.ts"

class User extends Model.Class<User>("sensitive/User")({
  id: Table.key(Schema.String),
  name: Schema.String,
  password: Model.Sensitive(Schema.String),
  note: Model.FieldOnly(["select", "insert", "update"])(Schema.optionalKey(Schema.String))
}) {}
class Post extends Model.Class<Post>("sensitive/Post")({ id: Table.key(Schema.String), body: Schema.String }) {}
const users = Table.make("users", User, { key: "id" })
const posts = Table.make("posts", Post, { key: "id" })

class Refused extends Schema.TaggedError<Refused>()("Refused", { by: Schema.Array(User) }) {}
class Admin extends User.extend<Admin>("sensitive/Admin")({ level: Schema.Int }) {}

const found = (options: Parameters<typeof Query.make>[1]) =>
  leaks([Query.make("users.list", options)], [posts, users]).map(({ part, table }) => `${part} ${table}`)

describe("ST24 a contract that would send a sensitive field is found", () => {
  const { insert, update } = User
  const { select } = User as unknown as { readonly select: Schema.Top }
  const cases: Record<string, Schema.Top> = {
    "the model": User,
    "its select variant": select,
    "its insert variant": insert,
    "its update variant": update,
    "a class that extends it": Admin,
    "a struct of its fields": Schema.Struct(User.fields),
    "an annotated one": User.annotate({ description: "a user" }),
    "a checked one": User.check(Schema.makeFilter(() => true)),
    "a branded one": User.pipe(Schema.brand("Known")),
    "an array": Schema.Array(User),
    "a tuple": Schema.Tuple([Schema.Int, User]),
    "a record": Schema.Record(Schema.String, User),
    "a map": Schema.ReadonlyMap(Schema.String, User),
    "an option": Schema.Option(User),
    "an option that may be missing": Schema.OptionFromNullOr(User),
    "deep inside": Schema.Struct({
      page: Schema.optionalKey(Schema.NullOr(Schema.Struct({ items: Schema.Array(User) })))
    }),
    "a suspended one": Schema.suspend(() => User)
  }
  for (const [title, success] of Object.entries(cases)) {
    it(`as ${title}`, () => expect(found({ success })).toEqual(["success users"]))
  }

  it("as error, and as items and errors of a stream", () => {
    expect(found({ error: Refused })).toEqual(["error users"])
    const stream = Action.make("users.watch", { success: User, error: Refused, stream: true })
    expect(leaks([stream], [users]).map(({ part }) => part)).toEqual(["success", "error"])
  })
})

describe("ST24 no other contract is found", () => {
  interface Tree {
    readonly value: typeof User.json.Type
    readonly children: ReadonlyArray<Tree>
  }
  const Tree = Schema.Struct({
    value: User.json,
    children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree as never))
  })
  const cases: Record<string, Schema.Top> = {
    "the json variant": User.json,
    "an array of it": Schema.Array(User.json),
    "something recursive": Tree,
    "a table without sensitive fields": Post,
    "one field, on purpose": Schema.Struct({ password: Schema.String }),
    "what the row is transformed into": User.pipe(
      Schema.encodeTo(Schema.Struct({ id: Schema.String }), {
        decode: (() => {}) as never,
        encode: (() => {}) as never
      })
    )
  }
  for (const [title, success] of Object.entries(cases)) {
    it(title, () => expect(found({ success, payload: User })).toEqual([]))
  }
})

it("ST24 App.make throws for the contract, and names rpc, table and fields", () => {
  const api = Api.make(
    Query.make("users.list", { success: Schema.Array(User) }),
    Mutation.make("users.add", { payload: User.jsonCreate, success: User.json, error: Refused })
  )
  const handlers = api.toLayer({
    "users.list": () => users.query(),
    "users.add": ({ name }) => users.insert({ name, password: "p" })
  })
  expect(() => App.make({ api, tables: [users], handlers })).toThrow(
    "rpc users.list: its success is a whole row of table users, and would send the sensitive password, note; " +
      "use the model's json variant\n" +
      "rpc users.add: its error is a whole row of table users, and would send the sensitive password, note; " +
      "use the model's json variant"
  )
  expect(() => App.make({ api, tables: [posts], handlers })).not.toThrow()
})

it.effect("ST24 a handler that returns whole rows sends only the fields of the json variant", () => {
  const api = Api.make(
    Query.make("users.list", { success: Schema.Array(User.json) }),
    Mutation.make("users.add", { payload: { name: Schema.String }, success: User.json })
  )
  const handlers = api.toLayer({
    "users.list": () => users.query(),
    "users.add": ({ name }) => users.insert({ name, password: "hunter2", note: "odd" })
  })
  const app = App.make({ api, tables: [users], handlers })
  return Effect.gen(function* () {
    const rpc = yield* TestApp.rpc(api)
    const { id } = yield* rpc("users.add", { name: "ann" })
    const { transport, url } = yield* TestApp
    const call = { _tag: "Request", id: "1", tag: "users.list", payload: null, headers: [] }
    const response = yield* HttpClient.post(`${url}/rpc`, { body: HttpBody.jsonUnsafe(call) }).pipe(
      Effect.provide(transport)
    )
    const text = yield* response.text
    expect(text).toContain(`[{"id":"${id}","name":"ann"}]`)
    expect(text).not.toContain("hunter2")
  }).pipe(Effect.provide(TestApp.layer(app)))
})
