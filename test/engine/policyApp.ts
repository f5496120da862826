import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Api, App, Mutation, Page, Query, Storage } from "effect-dormouse"
import { Me, members, messages, notes, policies, tables } from "../contract/policyTables.ts"

/** The tables of `policyTables.ts` behind rpcs, with their policies. */
export class PolicyApi extends Api.make(
  Query.make("list", { payload: { channel: Schema.String }, success: Schema.Array(Schema.String) }),
  Query.make("page", {
    payload: { channel: Schema.String, ...Page.Fields },
    success: Page.Page(Schema.Struct({ id: Schema.String, secret: Schema.String }))
  }),
  Query.make("notes", { payload: {}, success: Schema.Array(Schema.String) }),
  Query.make("byIp", { payload: {}, success: Schema.Int }),
  Mutation.make("send", {
    payload: { id: Schema.String, channel: Schema.String, body: Schema.String },
    success: Schema.String
  }),
  Mutation.make("join", { payload: { id: Schema.String, channel: Schema.String, user: Schema.String } }),
  Mutation.make("leave", { payload: { id: Schema.String } })
) {}

export const policyApp = App.make({
  api: PolicyApi,
  tables,
  policies,
  identity: Me,
  handlers: PolicyApi.toLayer({
    list: ({ channel }) =>
      Effect.map(messages.query("byChannel").eq("channel", channel), (rows) => rows.map(({ body }) => body)),
    page: ({ channel, ...page }) => messages.query("byChannel").eq("channel", channel).page(page),
    notes: () => Effect.map(notes.query(), (rows) => rows.map(({ body }) => body)),
    byIp: () => messages.query("byIp").count,
    send: ({ body, channel, id }) =>
      Effect.map(messages.insert({ id, channel, body, author: "", slug: null, secret: "s" }), ({ author }) => author),
    join: (member) => Storage.unrestricted(Effect.asVoid(members.insert({ ...member, level: 1 }))),
    leave: ({ id }) => Storage.unrestricted(Effect.asVoid(members.delete(id)))
  })
})
