import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import * as SqlClient from "effect/sql/SqlClient"
import { Auth } from "effect-dormouse"
import { Database, Policy, Storage, Table, Transactor } from "effect-dormouse/storage"

/** Storage with policies in a plain Effect program, which itself says who is calling. */

class Note extends Model.Class<Note>("embedded/Note")({
  id: Schema.String,
  owner: Schema.String,
  text: Schema.String
}) {}
const notes = Table.make("notes", Note, { key: "id" })

class Share extends Model.Class<Share>("embedded/Share")({
  id: Schema.String,
  note: Schema.String,
  user: Schema.String
}) {}
const shares = Table.make("shares", Share, { key: "id", indexes: { byNote: ["note", "user"] } })

const policies = [
  Policy.make(notes, {
    read: ({ me, row }) =>
      Policy.or(Policy.eq(row.owner, me.subject), Policy.exists(shares, { note: row.id, user: me.subject })),
    insert: ({ me, row }) => Policy.eq(row.owner, me.subject)
  })
]

const storage = (used: typeof policies) =>
  Storage.layer({ tables: [notes, shares], policies: used }).pipe(Layer.provide(Database.layerMemory()))

const as =
  (subject: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, Auth.CurrentIdentity, { subject, claims: {} })

const texts = Effect.map(notes.query(), (all) => all.map(({ text }) => text))
const insert = (owner: string) => notes.insert({ id: owner, owner, text: `of ${owner}` })
const count = SqlClient.SqlClient.use((sql) => sql.unsafe<{ n: number }>("SELECT count(*) AS n FROM notes"))

/** What three callers read and write, and whether raw SQL runs. */
const whatIsAllowed = Effect.gen(function* () {
  const { read, write } = yield* Transactor
  yield* write(Storage.unrestricted(Effect.all([insert("ada"), insert("bo")])))
  const tagOf = <A>(effect: Effect.Effect<A, Storage.StorageError>) =>
    Effect.map(Effect.result(effect), (result) => (result._tag === "Success" ? "written" : result.failure.reason._tag))
  return {
    ada: yield* as("ada")(read(texts)),
    bo: yield* as("bo")(read(texts)),
    nobody: yield* read(texts),
    unrestricted: yield* read(Storage.unrestricted(texts)),
    adaForBo: yield* as("ada")(tagOf(write(notes.insert({ id: "1", owner: "bo", text: "forged" })))),
    adaForAda: yield* as("ada")(tagOf(write(notes.insert({ id: "2", owner: "ada", text: "hers" })))),
    nobodyForAda: yield* tagOf(write(notes.insert({ id: "3", owner: "ada", text: "forged" }))),
    sql: (yield* Effect.exit(as("ada")(read(count))))._tag
  }
})

describe("embedded storage", () => {
  it.effect("P1, P2, P3, P5: enforces policies for the identity that the program gives, and for nobody otherwise", () =>
    Effect.gen(function* () {
      expect(yield* whatIsAllowed).toEqual({
        ada: ["of ada"],
        bo: ["of bo"],
        nobody: [],
        unrestricted: ["of ada", "of bo"],
        adaForBo: "PolicyDenied",
        adaForAda: "written",
        nobodyForAda: "PolicyDenied",
        sql: "Failure"
      })
    }).pipe(Effect.provide(storage(policies)))
  )

  it.effect("P3: the control: without policies everybody reads and writes everything", () =>
    Effect.gen(function* () {
      const both = ["of ada", "of bo"]
      expect(yield* whatIsAllowed).toEqual({
        ada: both,
        bo: both,
        nobody: both,
        unrestricted: both,
        adaForBo: "written",
        adaForAda: "written",
        nobodyForAda: "written",
        sql: "Success"
      })
    }).pipe(Effect.provide(storage([])))
  )

  it.effect("P4: a live result gains and loses rows with the permission of its caller", () =>
    Effect.gen(function* () {
      const { live, write } = yield* Transactor
      yield* write(Storage.unrestricted(Effect.all([insert("ada"), insert("bo")])))
      const seen: Array<ReadonlyArray<string>> = []
      const follow = (count: number) => Effect.promise(() => expect.poll(() => seen.length).toBe(count))
      const stream = Stream.runForEach(live(texts), (now) => Effect.sync(() => void seen.push(now)))
      const fiber = yield* Effect.forkChild(as("ada")(stream))
      yield* follow(1)
      yield* write(shares.insert({ id: "s", note: "bo", user: "ada" }))
      yield* follow(2)
      yield* write(shares.delete("s"))
      yield* follow(3)
      expect(seen).toEqual([["of ada"], ["of ada", "of bo"], ["of ada"]])
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(storage(policies)))
  )
})
