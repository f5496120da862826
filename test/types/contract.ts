import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import { Action, Api, Mutation, Query } from "effect-dormouse"
import type { Client } from "effect-dormouse/client"
import { Scheduler } from "effect-dormouse/jobs"
import { AuthorId, Note, NoteId } from "./schema.ts"

export class NoteNotFound extends Schema.TaggedError<NoteNotFound>()("NoteNotFound", { id: NoteId }) {}
export class TooManyStars extends Schema.TaggedError<TooManyStars>()("TooManyStars", { stars: Schema.Int }) {}

export const list = Query.make("notes.list", { payload: { author: AuthorId }, success: Schema.Array(Note) })
export const count = Query.make("notes.count", { success: Schema.Int })
export const write = Mutation.make("notes.write", {
  payload: { author: AuthorId, title: Schema.String },
  success: Note
})
export const rate = Mutation.make("notes.rate", {
  payload: { id: NoteId, stars: Schema.Int },
  error: Schema.Union([NoteNotFound, TooManyStars])
})
export const fetchTitle = Action.make("notes.fetchTitle", { payload: { url: Schema.String }, success: Schema.String })
export const words = Action.make("notes.words", { payload: { id: NoteId }, success: Schema.String, stream: true })

// Every rpc of a contract has a kind.
// @ts-expect-error: "declare this rpc with Query.make, Mutation.make, Action.make or Topic.make"
Api.make(list, Rpc.make("plain"))

Api.fromGroup(RpcGroup.make(list, write))
Api.fromGroup(Api.make(list).declared.add(count))

// @ts-expect-error: "declare this rpc with Query.make, Mutation.make, Action.make or Topic.make": "plain"
Api.fromGroup(RpcGroup.make(list, Rpc.make("plain")))

// A client does not see internal rpcs, and jobs do.
class HiddenApi extends Api.make(list, Api.internal(rate)) {}
declare const hidden: Client.Client<Api.RpcsOf<typeof HiddenApi>>
hidden.query("notes.list", { author: AuthorId.make("a") })
Scheduler.after(0, HiddenApi, "notes.rate", { id: NoteId.make("n"), stars: 1 })
// @ts-expect-error: not assignable to parameter of type 'never'
hidden.mutate("notes.rate", { id: NoteId.make("n"), stars: 1 })
