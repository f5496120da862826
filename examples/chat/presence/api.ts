/**
 * Who is in a channel now, and who is typing there. Nothing of it is stored: it goes with the connection.
 * Typing is a state and no message, so that whoever comes later sees it, and a closed tab does not type for ever.
 */
import * as Schema from "effect/Schema"
import { Api, Query } from "effect-dormouse"
import { Presence } from "effect-dormouse/pubsub"
import { ChannelNotFound } from "../errors.ts"
import { ChannelId } from "../schema.ts"

/** A tab that shows a channel. */
export const Here = Presence.make("here", {
  key: { channel: ChannelId },
  state: { isTyping: Schema.Boolean },
  error: ChannelNotFound
})

/** Somebody who is in a channel, with any number of tabs. */
export const PersonHere = Schema.Struct({ id: Schema.String, name: Schema.String, isTyping: Schema.Boolean })
export type PersonHere = typeof PersonHere.Type

// The tabs themselves are not for the page: `people.here` shows their people.
const [, join] = Here.rpcs

export class PresenceApi extends Api.make(
  join,
  Query.make("people.here", {
    payload: { channel: ChannelId },
    success: Schema.Array(PersonHere),
    error: ChannelNotFound
  })
) {}
