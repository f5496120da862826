import * as Schema from "effect/Schema"
import { Auth } from "effect-dormouse"
import { Policy } from "effect-dormouse/auth"
import { AuthorId, authors, notes } from "./schema.ts"

class Me extends Auth.Service<Me>()("types/Me", {
  claims: Schema.Struct({
    admin: Schema.Boolean,
    level: Schema.Int,
    author: Schema.String,
    teams: Schema.Array(Schema.String),
    of: Schema.Struct({ role: Schema.String, owner: Schema.optionalKey(Schema.Boolean) })
  })
}) {}

const { make } = Policy.for(Me)

// Conditions compare columns with literals of their type, with claims of it, and with the subject.

make(notes, {
  read: ({ me, row }) =>
    Policy.or(
      Policy.eq(row.author, me.subject),
      Policy.eq(row.author, me.claims.author),
      Policy.eq(row.author, AuthorId.make("a")),
      Policy.gte(row.stars, me.claims.level),
      Policy.in(row.title, me.claims.teams),
      Policy.in(row.stars, [1, 2]),
      Policy.eq(me.claims.of.role, "owner"),
      Policy.claim(me, "admin"),
      Policy.claim(me, "of", "owner"),
      Policy.exists(authors, { id: row.author, name: "ada" }),
      Policy.exists(authors, (author) => Policy.eq(author.id, row.author))
    ),
  insert: () => Policy.allow,
  fields: { title: { read: ({ me }) => Policy.claim(me, "admin"), write: () => Policy.deny, mask: "" } },
  set: { author: ({ me }) => me.subject, stars: ({ me }) => me.claims.level, title: () => "new" }
})

// Columns

// @ts-expect-error: Property 'colour' does not exist on type
make(notes, { read: ({ row }) => Policy.eq(row.colour, "red") })

// @ts-expect-error: Property 'colour' does not exist on type
Policy.make(notes, { read: ({ row }) => Policy.eq(row.colour, "red") })

// @ts-expect-error: 'colour' does not exist in type
make(notes, { fields: { colour: { read: () => Policy.deny } } })

// @ts-expect-error: 'colour' does not exist in type
make(notes, { set: { colour: () => "red" } })

// @ts-expect-error: 'colour' does not exist in type
make(notes, { read: () => Policy.exists(authors, { colour: "red" }) })

// @ts-expect-error: Property 'colour' does not exist on type
make(notes, { read: () => Policy.exists(authors, (author) => Policy.eq(author.colour, "red")) })

// Values

// @ts-expect-error: 'string' is not assignable to parameter of type
make(notes, { read: ({ row }) => Policy.eq(row.stars, "three") })

// @ts-expect-error: 'string' is not assignable to parameter of type
Policy.make(notes, { read: ({ row }) => Policy.lt(row.stars, "three") })

// @ts-expect-error: is not assignable to parameter of type
make(notes, { read: ({ row }) => Policy.eq(row.stars, row.title) })

// @ts-expect-error: Type 'string' is not assignable to type 'number'
make(notes, { read: ({ row }) => Policy.in(row.stars, [1, "two"]) })

// @ts-expect-error: Type 'number' is not assignable to type
make(notes, { read: ({ row }) => Policy.exists(authors, { id: row.author, name: 1 }) })

// @ts-expect-error: Type 'string' is not assignable to type 'number'
make(notes, { fields: { stars: { read: () => Policy.deny, mask: "none" } } })

// @ts-expect-error: Type 'string' is not assignable to type
make(notes, { set: { stars: () => "three" } })

// @ts-expect-error: is not assignable to type
make(notes, { set: { stars: ({ me }) => me.claims.of } })

// A condition is no boolean: it is evaluated by the database as well.

// @ts-expect-error: Type 'boolean' is not assignable to type 'Condition'
make(notes, { read: ({ me, row }) => row.author === me.subject })

// Claims

// @ts-expect-error: Property 'owner' does not exist on type
make(notes, { read: ({ me }) => Policy.eq(me.claims.owner, true) })

// @ts-expect-error: Property 'rank' does not exist on type
make(notes, { read: ({ me }) => Policy.eq(me.claims.of.rank, "owner") })

// @ts-expect-error: 'boolean' is not assignable to parameter of type
make(notes, { read: ({ me }) => Policy.eq(me.claims.level, true) })

// @ts-expect-error: is not assignable to parameter of type
make(notes, { read: ({ me, row }) => Policy.eq(row.stars, me.claims.author) })

// @ts-expect-error: is not assignable to parameter of type
make(notes, { read: ({ me, row }) => Policy.in(row.stars, me.claims.teams) })

// @ts-expect-error: '["owner"]' is not assignable to parameter of type 'readonly ["admin"] | readonly ["of", "owner"]'
make(notes, { read: ({ me }) => Policy.claim(me, "owner") })

// @ts-expect-error: '"rank"' is not assignable to
make(notes, { read: ({ me }) => Policy.claim(me, "of", "rank") })

// @ts-expect-error: '["level"]' is not assignable to parameter of type
make(notes, { read: ({ me }) => Policy.claim(me, "level") })

// Without an `Auth.Service` claims have any type.

Policy.make(notes, { read: ({ me }) => Policy.eq(me.claims.anything.at.all, true) })
Policy.make(notes, { read: ({ me }) => Policy.claim(me, "anything", "at", "all") })
