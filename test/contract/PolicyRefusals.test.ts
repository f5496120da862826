import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Api, App, Query, Table } from "effect-dormouse"
import { Policy } from "effect-dormouse/auth"
import { Database, Storage } from "effect-dormouse/storage"
import { describe, expect, it } from "vitest"
import type { Policy as AnyPolicy } from "../../src/contract/Policy.ts"

/** Policies that cannot be enforced, and when their author is told. */

class Member extends Model.Class<Member>("refusals/Member")({
  id: Schema.String,
  channel: Schema.String,
  user: Schema.String,
  level: Schema.Int
}) {}
const members = Table.make("members", Member, { key: "id", indexes: { byChannel: ["channel", "user"] } })

class Letter extends Model.Class<Letter>("refusals/Letter")({
  id: Schema.String,
  channel: Schema.String,
  author: Schema.String,
  stars: Schema.Int,
  note: Schema.NullOr(Schema.String),
  place: Schema.Struct({ x: Schema.Int })
}) {}
const letters = Table.make("letters", Letter, { key: "id" })

type Options = Parameters<typeof Policy.make<typeof letters>>[1]

/** Options that the types refuse. */
const untyped = (options: object): Options => options
const reading = (read: (subject: any) => Policy.Condition): Options => ({ read })

let escaped: any
const neither = "neither its key nor an index finds it: the first columns of an index must be compared by eq"

const refusals: ReadonlyArray<readonly [title: string, options: () => Options, message: string]> = [
  [
    "`exists` without `eq`",
    () => reading(() => Policy.exists(members, (member) => Policy.gt(member.level, 1))),
    `a policy asks whether a row of table members exists, and ${neither} (none is compared by eq); add an index to ` +
      "table members"
  ],
  [
    "`exists` on columns without an index",
    () => reading(({ me }) => Policy.exists(members, { user: me.subject, level: 1 })),
    `${neither} (compared by eq: user, level); add an index to table members`
  ],
  [
    "`exists` inside of `exists` on columns without an index",
    () =>
      reading(({ row }) =>
        Policy.exists(members, (member) =>
          Policy.and(Policy.eq(member.channel, row.channel), Policy.exists(letters, { author: member.user }))
        )
      ),
    `a policy asks whether a row of table letters exists, and ${neither} (compared by eq: author)`
  ],
  [
    "`exists` on a column that the other table does not have",
    () => reading(() => Policy.exists<any>(members, { room: "a" })),
    "a policy asks for column room, which table members does not have"
  ],
  [
    "a row of another rule",
    () =>
      reading(({ row }) =>
        Policy.and(
          Policy.exists(members, (member) => {
            escaped = member.user
            return Policy.eq(member.channel, row.channel)
          }),
          Policy.eq(row.author, escaped)
        )
      ),
    "a policy compares members.user outside of the rule that it belongs to"
  ],
  [
    "columns of different types",
    () => reading(({ row }) => Policy.eq(row.author, row.stars)),
    "a policy compares letters.author (text) with letters.stars (integer); nested values and values of different types"
  ],
  [
    "a column with nested values",
    () => reading(({ row }) => Policy.eq(row.place, { x: 1 })),
    "a policy compares letters.place (json) with a value; nested values and values of different types have no order"
  ],
  [
    "a literal that does not fit its column",
    () => reading(({ row }) => Policy.gt(row.stars, 1.5)),
    "a policy has a value that does not fit table letters: column stars: "
  ],
  [
    "a literal of a list that does not fit its column",
    () => reading(({ row }) => Policy.in(row.stars, [1, "two"])),
    "a policy has a value that does not fit table letters: column stars: "
  ],
  [
    "a list that is a column",
    () => reading(({ row }) => Policy.in(row.author, row.channel)),
    "a policy compares with a list that is no claim"
  ],
  [
    "a claim compared with literals of different types",
    () => reading(({ me }) => Policy.in(me.claims.role, ["admin", 1])),
    "a policy compares a claim with values of different types"
  ],
  [
    "a claim compared with a nested value",
    () => reading(({ me }) => Policy.eq(me.claims.role, { of: "admin" })),
    "a policy compares a claim with a value that is no text, number or boolean"
  ],
  [
    "a field that the table does not have",
    () => untyped({ fields: { colour: { read: () => Policy.deny } } }),
    "policy of table letters: the table has no field colour"
  ],
  [
    "a hidden key",
    () => ({ fields: { id: { read: () => Policy.deny, mask: "x" } } }),
    "policy of table letters: the key id cannot be hidden; use `read` of the row"
  ],
  [
    "a hidden field without a mask, which can be neither missing nor null",
    () => ({ fields: { stars: { read: () => Policy.deny } } }),
    "policy of table letters: field stars can be neither missing nor null, so hiding it needs `mask`, the value that is " +
      "read in its place"
  ],
  [
    "a mask that does not fit its field",
    () => untyped({ fields: { stars: { read: () => Policy.deny, mask: "none" } } }),
    "a policy has a value that does not fit table letters: column stars: "
  ],
  [
    "a value for a field that the table does not have",
    () => untyped({ set: { colour: () => "red" } }),
    "policy of table letters: the table has no field colour"
  ],
  [
    "a value from the server that is a column",
    () => ({
      fields: {
        note: {
          read: ({ row }) => {
            escaped = row.channel
            return Policy.allow
          }
        }
      },
      set: { author: () => escaped }
    }),
    "policy of table letters: set.author is a column"
  ],
  [
    "a value from the server that does not fit its field",
    () => ({ set: { stars: () => 1.5 } }),
    "a policy has a value that does not fit table letters: column stars: "
  ]
]

describe("Policy.make refuses", () => {
  for (const [title, options, message] of refusals) {
    it(`P7: ${title}`, () => {
      expect(() => Policy.make(letters, options())).toThrow(message)
    })
  }

  it("P7: the control: nothing of a declaration that can be enforced", () => {
    Policy.make(letters, {
      read: ({ me, row }) =>
        Policy.or(
          Policy.exists(members, { channel: row.channel, user: me.subject }),
          Policy.in(row.stars, [1, 2]),
          Policy.in(me.claims.role, ["admin", "owner"])
        ),
      fields: { stars: { read: () => Policy.deny, mask: 0 }, note: { read: () => Policy.deny } },
      set: { author: ({ me }) => me.subject, stars: () => 1 }
    })
  })
})

class CountApi extends Api.make(Query.make("count", { success: Schema.Int })) {}

/** What an app, and storage alone, say to policies; empty if both accept them. */
const refused = async (tables: ReadonlyArray<Table.Any>, policies: ReadonlyArray<AnyPolicy>) => {
  const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))
  const found: Array<string> = []
  try {
    App.make({ api: CountApi, tables, policies, handlers: CountApi.toLayer({ count: () => Effect.succeed(0) }) })
  } catch (error) {
    found.push(messageOf(error))
  }
  const layer = Storage.layer({ tables, policies }).pipe(Layer.provide(Database.layerMemory()))
  const exit = await Effect.runPromiseExit(Effect.scoped(Layer.build(layer)))
  if (Exit.isFailure(exit)) found.push(messageOf(Cause.squash(exit.cause)))
  return found
}

describe("App.make and Storage.layer refuse", () => {
  const open = Policy.make(letters, { read: () => Policy.allow })
  const looking = Policy.make(letters, { read: ({ row }) => Policy.exists(members, { channel: row.channel }) })

  it("P7: a policy of a table that is not of the app", async () => {
    expect(await refused([members], [open])).toEqual([
      "a policy of table letters uses table letters, which is not one of the app's; add it to App.make({ tables })",
      "table letters is not one of the app's tables"
    ])
  })

  it("P7: a policy that looks at a table that is not of the app", async () => {
    expect(await refused([letters], [looking])).toEqual([
      "a policy of table letters uses table members, which is not one of the app's; add it to App.make({ tables })",
      "table members is not one of the app's tables"
    ])
  })

  it("P7: a policy of another table with the name of one of the app", async () => {
    const other = Table.make("letters", Member, { key: "id" })
    expect(await refused([other], [open])).toEqual([
      "a policy of table letters uses table letters, which is not one of the app's; add it to App.make({ tables })",
      "table letters is not one of the app's tables"
    ])
  })

  it("P7: two policies that set the same field", async () => {
    const setting = Policy.make(letters, { set: { author: ({ me }) => me.subject } })
    const message = "two policies of table letters set the field author"
    expect(await refused([letters], [open, setting, setting])).toEqual([message, message])
    expect(await refused([letters], [open, setting])).toEqual([])
  })

  it("P7: a policy that `Policy.make` did not make, also after one that it did", async () => {
    const forged = { ...open }
    expect(await refused([letters], [forged])).toContain("a policy was not made by Policy.make")
    expect(await refused([letters], [open, forged])).toContain("a policy was not made by Policy.make")
  })

  it("P7: the control: nothing of several policies of one table", async () => {
    expect(await refused([letters, members], [open, looking])).toEqual([])
  })
})
