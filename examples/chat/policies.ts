import { Policy } from "effect-dormouse/auth"
import { attachments } from "./attachments/schema.ts"
import { teams } from "./digest/schema.ts"
import { imports } from "./imports/schema.ts"
import { Me } from "./me.ts"
import { readMarks } from "./reading/schema.ts"
import { scheduled } from "./scheduled/schema.ts"
import { channels, members, messages, people } from "./schema.ts"

const { make } = Policy.for(Me)

/** The caller is a member of a channel. */
const isMember = (channel: Policy.Expression<string>, me: Policy.Me) =>
  Policy.exists(members, { channel, person: me.subject })

/** The caller created a channel. */
const isOwner = (channel: Policy.Expression<string>, me: Policy.Me) =>
  Policy.exists(channels, { id: channel, owner: me.subject })

/** The caller can see a channel: it is public, or the caller created it or is a member. */
const isVisible = (channel: Policy.Expression<string>, me: Policy.Me) =>
  Policy.or(Policy.exists(channels, { id: channel, access: "public" }), isOwner(channel, me), isMember(channel, me))

/** Who may see and do what. What no rule allows is denied: for example, no caller changes a channel. */
export const ChatPolicies = [
  make(channels, {
    read: ({ me, row }) =>
      Policy.or(Policy.eq(row.access, "public"), Policy.eq(row.owner, me.subject), isMember(row.id, me)),
    insert: ({ me, row }) => Policy.eq(row.owner, me.subject),
    set: { owner: ({ me }) => me.subject }
  }),
  make(members, {
    read: ({ me, row }) => Policy.or(isOwner(row.channel, me), isMember(row.channel, me)),
    insert: ({ me, row }) => Policy.or(isOwner(row.channel, me), isMember(row.channel, me)),
    delete: ({ me, row }) => Policy.or(Policy.eq(row.person, me.subject), isOwner(row.channel, me))
  }),
  make(messages, {
    read: ({ me, row }) => isVisible(row.channel, me),
    insert: ({ me, row }) => Policy.and(Policy.eq(row.author, me.subject), isVisible(row.channel, me)),
    // What was imported stays as somebody else wrote it.
    update: ({ me, row }) => Policy.and(Policy.eq(row.author, me.subject), Policy.isNull(row.from)),
    delete: ({ me, row }) => Policy.eq(row.author, me.subject),
    set: { author: ({ me }) => me.subject, name: ({ me }) => me.claims.name }
  }),
  // Jobs of the system: messages disappear, and get previews.
  make(messages, {
    read: ({ me }) => Policy.isSystem(me),
    update: ({ me }) => Policy.isSystem(me),
    delete: ({ me }) => Policy.isSystem(me)
  }),
  make(attachments, {
    // Until it is sent, a file is there for its author alone.
    read: ({ me, row }) =>
      Policy.or(
        Policy.and(Policy.isNull(row.message), Policy.eq(row.author, me.subject)),
        Policy.and(Policy.not(Policy.isNull(row.message)), isVisible(row.channel, me))
      ),
    insert: ({ me, row }) => Policy.and(Policy.eq(row.author, me.subject), isVisible(row.channel, me)),
    update: ({ me, row }) => Policy.eq(row.author, me.subject),
    delete: ({ me, row }) => Policy.eq(row.author, me.subject),
    set: { author: ({ me }) => me.subject }
  }),
  // Messages disappear with their files, and what was not sent is deleted.
  make(attachments, { read: ({ me }) => Policy.isSystem(me), delete: ({ me }) => Policy.isSystem(me) }),
  make(scheduled, {
    read: ({ me, row }) => Policy.eq(row.author, me.subject),
    insert: ({ me, row }) => Policy.eq(row.author, me.subject),
    update: ({ me, row }) => Policy.eq(row.author, me.subject),
    delete: ({ me, row }) => Policy.eq(row.author, me.subject),
    set: { author: ({ me }) => me.subject }
  }),
  make(imports, {
    read: ({ me, row }) => Policy.eq(row.author, me.subject),
    insert: ({ me, row }) => Policy.and(Policy.eq(row.author, me.subject), isVisible(row.channel, me)),
    update: ({ me, row }) => Policy.eq(row.author, me.subject),
    delete: ({ me, row }) => Policy.eq(row.author, me.subject),
    set: { author: ({ me }) => me.subject }
  }),
  make(readMarks, {
    read: ({ me, row }) => isVisible(row.channel, me),
    insert: ({ me, row }) => Policy.and(Policy.eq(row.person, me.subject), isVisible(row.channel, me)),
    update: ({ me, row }) => Policy.eq(row.person, me.subject),
    delete: ({ me, row }) => Policy.or(Policy.eq(row.person, me.subject), isOwner(row.channel, me))
  }),
  make(teams, {
    read: () => Policy.allow,
    insert: ({ me, row }) => Policy.eq(row.owner, me.subject),
    update: ({ me, row }) => Policy.or(Policy.eq(row.owner, me.subject), Policy.isSystem(me))
  }),
  make(people, {
    read: () => Policy.allow,
    insert: ({ me, row }) => Policy.eq(row.id, me.subject),
    update: ({ me, row }) => Policy.eq(row.id, me.subject),
    set: { id: ({ me }) => me.subject, name: ({ me }) => me.claims.name }
  })
]
