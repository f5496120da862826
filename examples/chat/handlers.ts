import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Handlers } from "effect-dormouse"
import { TalkApi } from "./api.ts"
import { AttachmentsHandlers, attach } from "./attachments/handlers.ts"
import { DigestHandlers } from "./digest/handlers.ts"
import { teamId, teams } from "./digest/schema.ts"
import { ChannelExists, PersonNotFound } from "./errors.ts"
import { ImportsHandlers } from "./imports/handlers.ts"
import { Me } from "./me.ts"
import { shownName } from "./names.ts"
import { edit, existing, post } from "./posting.ts"
import { PresenceHandlers } from "./presence/handlers.ts"
import { PreviewsHandlers } from "./previews/handlers.ts"
import { ReadingHandlers } from "./reading/handlers.ts"
import { markOf, readMarks } from "./reading/schema.ts"
import { ScheduledHandlers } from "./scheduled/handlers.ts"
import { channels, members, messages, people } from "./schema.ts"

// What callers may see and do is decided by the policies: a channel that the caller may not see is as one that does not
// exist, and so are its messages and members.
const TalkHandlers = TalkApi.toLayer({
  "people.me": () =>
    Effect.map(
      Me.option,
      Option.match({
        onNone: () => null,
        onSome: ({ claims, subject }) => ({ id: subject, name: claims.name, isGuest: claims.isGuest })
      })
    ),

  "people.enter": Effect.fnUntraced(function* () {
    const { claims, subject } = yield* Me
    // The first who has a name in this tenant is the one who is invited by it.
    const known = yield* people.query("byName").eq("name", claims.name).exists
    if (known) return
    yield* people.upsert({ id: subject, name: claims.name })
  }),

  "channels.create": Effect.fnUntraced(function* ({ access, name }) {
    const { claims, subject } = yield* Me
    // Who makes the first channel owns the settings of the team.
    const isFirst = !(yield* teams.query().exists)
    if (isFirst)
      yield* teams.insert({ id: teamId, owner: subject, zone: "UTC", channel: null, since: yield* DateTime.now })
    const taken = yield* channels.query("byName").eq("name", name).exists
    if (taken) return yield* new ChannelExists({ name })
    const channel = yield* channels.insert({ name, access, owner: subject })
    if (access === "private") yield* members.insert({ channel: channel.id, person: subject, name: claims.name })
    return channel
  }),

  "channels.list": () => channels.query("byName"),

  "members.list": ({ channel }) => members.query("byChannel").eq("channel", channel),

  "members.invite": Effect.fnUntraced(function* ({ channel, name: typed }) {
    yield* existing(channel)
    const name = shownName(typed)
    const person = yield* people.query("byName").eq("name", name).first
    if (Option.isNone(person)) return yield* new PersonNotFound({ name })
    const { id } = person.value
    const before = yield* members.query("byChannel").eq("channel", channel).eq("person", id).first
    return Option.isSome(before) ? before.value : yield* members.insert({ channel, person: id, name })
  }),

  "members.remove": Effect.fnUntraced(function* ({ channel, person }) {
    const member = yield* members.query("byChannel").eq("channel", channel).eq("person", person).first
    if (Option.isNone(member)) return
    const mark = yield* markOf(channel, person)
    if (Option.isSome(mark)) yield* readMarks.delete(mark.value.id)
    yield* members.delete(member.value.id)
  }),

  "messages.send": Effect.fnUntraced(function* ({ files = [], ...draft }) {
    const message = yield* post(files.length === 0 ? draft : { ...draft, files: files.length })
    yield* attach(files, message)
    return message
  }),

  "messages.edit": edit,

  "messages.delete": ({ id }) => Effect.asVoid(messages.delete(id)),

  "messages.list": ({ channel, limit }) => messages.query("byChannel").eq("channel", channel).descending.take(limit),

  "messages.page": ({ channel, ...page }) => messages.query("byChannel").eq("channel", channel).descending.page(page)
})

export const ChatHandlers = Handlers.merge(
  TalkHandlers,
  AttachmentsHandlers,
  ScheduledHandlers,
  PreviewsHandlers,
  ImportsHandlers,
  DigestHandlers,
  PresenceHandlers,
  ReadingHandlers
)
