import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import { Action, Api, App, Calls, Mutation, Query, Table } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"

/** An app whose answers say for whom they were computed, and whose mutations revoke tokens. */

export class Me extends Auth.Service<Me>()("test/sessions/Me", { claims: Schema.Struct({}) }) {}

export class Entry extends Model.Class<Entry>("test/Entry")({
  id: Table.key(Schema.String),
  by: Schema.NullOr(Schema.String)
}) {}

export const entries = Table.make("entries", Entry, { key: "id" })

export class SessionsApi extends Api.make(
  /** For whom it was computed, and how many entries there are. */
  Query.make("who", {
    payload: {},
    success: Schema.Struct({ subject: Schema.NullOr(Schema.String), entries: Schema.Int })
  }),
  /** How many entries there are: the same for all callers. */
  Query.make("count", { payload: {}, success: Schema.Int }),
  /** Fails for callers who are not signed in. */
  Query.make("member", { payload: {}, success: Schema.String }),
  Mutation.make("enter", { payload: {}, success: Schema.NullOr(Schema.String) }),
  Mutation.make("revoke", {
    payload: {
      subject: Schema.String,
      session: Schema.optionalKey(Schema.String),
      before: Schema.optionalKey(Schema.Number),
      fails: Schema.optionalKey(Schema.Boolean)
    },
    error: Schema.String
  }),
  /** Streams for whom it runs, without an end. */
  Action.make("act.who", { payload: {}, success: Schema.NullOr(Schema.String), stream: true }),
  /** For whom a query runs that an action calls. */
  Action.make("act.call", { payload: {}, success: Schema.NullOr(Schema.String) })
) {}

const subject = Effect.map(Auth.identity, ({ subject }) => subject)

export const SessionsHandlers = SessionsApi.toLayer({
  who: Effect.fnUntraced(function* () {
    return { subject: yield* subject, entries: yield* entries.query().count }
  }),
  count: () => entries.query().count,
  member: () => Effect.map(Me, ({ subject }) => subject),
  enter: Effect.fnUntraced(function* () {
    const by = yield* subject
    yield* entries.insert({ by })
    return by
  }),
  revoke: Effect.fnUntraced(function* ({ fails, ...revocation }) {
    yield* Auth.revoke(revocation)
    if (fails === true) return yield* Effect.fail("as asked")
  }),
  "act.who": () => Stream.mapEffect(Stream.forever(Stream.succeed(0)), () => subject),
  "act.call": Effect.fnUntraced(function* () {
    const calls = yield* Calls.of(SessionsApi)
    return (yield* calls.query("who", {})).subject
  })
})

export const app = App.make({ api: SessionsApi, tables: [entries], handlers: SessionsHandlers })

const none = Effect.succeed(Option.none())
/** Tokens that are not verified in time. What waits for nothing that can happen, workerd ends at once. */
const unanswered = new Map<string | undefined, Effect.Effect<Option.Option<never>>>([
  ["hang", Effect.never],
  ["slow", Effect.delay(none, "1 minute")]
])

/** Accepts the tokens of tests. The tokens `hang` and `slow` are not answered. */
export const authOr = <R>(other: Layer.Layer<Auth.Authenticator, never, R>) =>
  Auth.layerFirst(
    Auth.layer(({ token }) => unanswered.get(token) ?? none),
    Auth.layerTest,
    other
  )

/** Who may enter: everybody but mallory, who may enter no tenant of members. */
export const enter = ({ identity, tenant }: { readonly identity: Auth.Identity; readonly tenant: string }) =>
  !(tenant.startsWith("members") && identity.subject === "mallory")
