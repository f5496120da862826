import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Client } from "effect-dormouse/client"
import { ChatApi } from "./api.ts"
import type { Channel, Message } from "./schema.ts"

/** The last values that one watcher received, and the number of changes. */
interface Watcher {
  readonly channel: Channel
  shown: ReadonlyArray<Message>
  channels: ReadonlyArray<Channel>
  changes: number
}

/** The number of newest messages that each watcher reads. */
const limit = 50

/** Starts watchers: each has a socket, and two live queries, the channels and the newest messages of one channel. */
export const watch = Effect.fnUntraced(function* (url: string, channels: ReadonlyArray<Channel>, count: number) {
  const watchers = Array.from(
    { length: count },
    (_, i): Watcher => ({ channel: channels[i % channels.length]!, shown: [], channels: [], changes: 0 })
  )
  yield* Effect.forEach(
    watchers,
    Effect.fnUntraced(function* (watcher) {
      const chat = yield* Client.make(ChatApi, { url })
      yield* Effect.forkScoped(
        Stream.runForEach(chat.live("messages.list", { channel: watcher.channel.id, limit }), (shown) =>
          Effect.sync(() => {
            watcher.shown = shown
            watcher.changes++
          })
        )
      )
      yield* Effect.forkScoped(
        Stream.runForEach(chat.live("channels.list", {}), (channels) =>
          Effect.sync(() => {
            watcher.channels = channels
          })
        )
      )
      // Wait for the first value, so that no message is sent before all watchers are live.
      yield* Effect.suspend(() => (watcher.channels.length === 0 ? Effect.fail("not yet") : Effect.void)).pipe(
        Effect.retry(Schedule.spaced("20 millis"))
      )
    }),
    { concurrency: 16, discard: true }
  )
  return watchers
})

/** The watchers whose values differ from the database. Retries for a minute: the last changes may be in flight. */
export const checkWatchers = Effect.fnUntraced(function* (url: string, watchers: ReadonlyArray<Watcher>) {
  const chat = yield* Client.make(ChatApi, { url })
  const channels = yield* chat.query("channels.list", {})
  const held = new Map<string, ReadonlyArray<Message>>()
  for (const { channel } of watchers) {
    if (!held.has(channel.id)) held.set(channel.id, yield* chat.query("messages.list", { channel: channel.id, limit }))
  }
  const wrong = Effect.sync(() =>
    watchers.flatMap((watcher, i) => {
      const isRight =
        Equal.equals(watcher.shown, held.get(watcher.channel.id)) && Equal.equals(watcher.channels, channels)
      return isRight ? [] : [`watcher ${i + 1} of ${watcher.channel.name} shows values that differ from the database`]
    })
  )
  return yield* wrong.pipe(
    Effect.repeat({
      schedule: Schedule.spaced("100 millis"),
      until: (problems: ReadonlyArray<string>) => problems.length === 0
    }),
    Effect.timeoutOrElse({ duration: Duration.minutes(1), orElse: () => wrong })
  )
})
