import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Auth, Storage, Table } from "effect-dormouse"
import { Policy } from "effect-dormouse/auth"
import { describe, expect, it } from "vitest"
import { StorageHarness, type WithDatabase } from "./StorageHarness.ts"

/** Fields that everybody may read and not everybody may write. */

class Post extends Model.Class<Post>("fields/Post")({
  id: Schema.String,
  owner: Schema.String,
  title: Schema.String,
  state: Schema.String,
  stars: Schema.optionalKey(Schema.Int)
}) {}
const posts = Table.make("posts", Post, { key: "id" })

class Me extends Auth.Service<Me>()("fields/Me", { claims: Schema.Struct({ editor: Schema.Boolean }) }) {}

const policy = Policy.for(Me).make(posts, {
  read: () => Policy.allow,
  insert: ({ me, row }) => Policy.eq(row.owner, me.subject),
  update: ({ me, row }) => Policy.eq(row.owner, me.subject),
  fields: {
    state: { write: ({ me }) => Policy.claim(me, "editor") },
    // Neither to more than five stars nor from more than five.
    stars: { write: ({ row }) => Policy.or(Policy.isNull(row.stars), Policy.lte(row.stars, 5)) }
  }
})

const caller = (subject: string, editor: boolean): Auth.Identity => ({ subject, claims: { editor } })
const ada = caller("ada", false)
const editor = caller("ada", true)
const other = caller("bo", true)

const draft = { id: "p", owner: "ada", title: "one", state: "draft", stars: 1 }
const denied = (operation: string) => expect.objectContaining({ _tag: "PolicyDenied", table: "posts", operation })

/** What `fields.x.write` promises, over any database. */
export const suite = (name: string, withDatabase: WithDatabase) =>
  describe(name, () => {
    /** Runs a body over a database with one row. `as` says who is calling from then on. */
    const test = (title: string, body: (app: StorageHarness, as: (identity: Auth.Identity) => void) => void) =>
      it(title, () =>
        withDatabase((database) => {
          const app = new StorageHarness(database, [posts], {}, true, [policy])
          app.mutate(Storage.unrestricted(posts.insert(draft)))
          body(app, (identity) => {
            app.caller = identity
          })
        })
      )
    const stored = (app: StorageHarness) => app.query(posts.get("p"))

    test("P2: a patch of a field is denied to who may only change the row", (app, as) => {
      as(ada)
      expect(app.reason(posts.patch("p", { state: "public" }))).toEqual(denied("update"))
      expect(app.reason(posts.patch("p", { title: "two", state: "public" }))).toEqual(denied("update"))
      expect(stored(app)).toMatchObject(draft)
      // What it may: other fields, and the value that the field has.
      expect(app.mutate(posts.patch("p", { title: "two", state: "draft" }))).toMatchObject({ title: "two" })
      as(editor)
      expect(app.mutate(posts.patch("p", { state: "public" })).state).toBe("public")
    })

    test("P2: a replacement that changes a field is denied to who may only change the row", (app, as) => {
      as(ada)
      expect(app.reason(posts.replace("p", { ...draft, title: "two", state: "public" }))).toEqual(denied("update"))
      expect(stored(app)).toMatchObject(draft)
      expect(app.mutate(posts.replace("p", { ...draft, title: "two" })).title).toBe("two")
      as(editor)
      expect(app.mutate(posts.replace("p", { ...draft, state: "public" })).state).toBe("public")
    })

    test("P2: an upsert that changes a field is denied to who may only change the row", (app, as) => {
      as(ada)
      expect(app.reason(posts.upsert({ ...draft, title: "two", state: "public" }))).toEqual(denied("update"))
      expect(stored(app)).toMatchObject(draft)
      expect(app.mutate(posts.upsert({ ...draft, title: "two" })).title).toBe("two")
      as(editor)
      expect(app.mutate(posts.upsert({ ...draft, state: "public" })).state).toBe("public")
    })

    test("P2: an insert is no change of a field: `insert` alone decides", (app, as) => {
      as(ada)
      expect(app.mutate(posts.insert({ ...draft, id: "q", state: "public" })).state).toBe("public")
      expect(app.mutate(posts.upsert({ ...draft, id: "r", state: "public", stars: 9 })).state).toBe("public")
      as(other)
      expect(app.reason(posts.insert({ ...draft, id: "s" }))).toEqual(denied("insert"))
      expect(app.reason(posts.upsert({ ...draft, id: "s" }))).toEqual(denied("insert"))
    })

    test("P2: who may write a field may not write it in a row that it may not change", (app, as) => {
      as(other)
      expect(app.reason(posts.patch("p", { state: "public" }))).toEqual(denied("update"))
      expect(app.reason(posts.replace("p", { ...draft, state: "public" }))).toEqual(denied("update"))
      expect(app.reason(posts.upsert({ ...draft, state: "public" }))).toEqual(denied("update"))
      expect(stored(app)).toMatchObject(draft)
    })

    test("P2: the condition of a field holds before and after the change", (app, as) => {
      as(ada)
      expect(app.mutate(posts.patch("p", { stars: 5 })).stars).toBe(5)
      expect(app.reason(posts.patch("p", { stars: 6 }))).toEqual(denied("update"))
      app.mutate(Storage.unrestricted(posts.patch("p", { stars: 6 })))
      expect(app.reason(posts.patch("p", { stars: 5 }))).toEqual(denied("update"))
      // A replacement without the field removes it.
      const { stars: _, ...without } = draft
      expect(app.reason(posts.replace("p", without))).toEqual(denied("update"))
      expect(app.mutate(posts.patch("p", { title: "two" })).stars).toBe(6)
    })
  })
