/**
 * Who may be in a channel, and see who is: whoever has an account and can see the channel. Both are asked again after each
 * change, so that who is removed from a channel is gone at once.
 */
import * as Effect from "effect/Effect"
import { Me } from "../me.ts"
import { nameOf } from "../people.ts"
import { existing } from "../posting.ts"
import type { ChannelId } from "../schema.ts"
import { Here, PresenceApi } from "./api.ts"

export const PresenceHandlers = PresenceApi.toLayer({
  "here.join": ({ key }) => requireVisible(key.channel),

  "people.here": Effect.fnUntraced(function* ({ channel }) {
    yield* requireVisible(channel)
    const typing = new Map<string, boolean>()
    for (const { state, subject } of yield* Here.peers({ channel })) {
      // Nobody is here without an account.
      if (subject !== null) typing.set(subject, state.isTyping || typing.get(subject) === true)
    }
    return yield* Effect.forEach(typing, ([id, isTyping]) => Effect.map(nameOf(id), (name) => ({ id, name, isTyping })))
  })
})

const requireVisible = (channel: ChannelId) => Effect.asVoid(Effect.andThen(Me, existing(channel)))
