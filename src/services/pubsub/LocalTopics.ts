/**
 * The topics and the presence of one process: its readers, who take what they are sent, and its connections.
 * A reader counts as slow as one over a socket does: it acknowledges a chunk when it asks for the next.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Published } from "../../contract/Publisher.ts"
import type { Reader, ReaderHost } from "../../contract/Pubsub.ts"
import { KeyedSets } from "./KeyedSets.ts"
import { PresenceList } from "./PresenceList.ts"
import { keyOf, TopicReaders } from "./TopicReaders.ts"

/** Somebody who is here. */
export interface LocalConnection {
  readonly say: (state: Schema.Json) => void
  readonly leave: () => void
}

/** The topics of one process. */
export class LocalTopics {
  /** Messages leave in a microtask, with what else is published until then. */
  private readonly readers = new TopicReaders(() => queueMicrotask(() => void this.readers.deliver()))
  private readonly watchers = new KeyedSets<() => void>()
  private readonly presence = new PresenceList((key) => {
    for (const changed of this.watchers.of(key)) changed()
  })
  private connections = 0

  /** Sends messages to those who read their topic now. */
  publish({ key, messages, topic }: Published): void {
    this.readers.publish(keyOf(topic, key), messages)
  }

  /** The texts of a topic's items, from when the stream runs. */
  read(topic: string, key: Schema.Json, buffer: number): Stream.Stream<string> {
    return Stream.unwrap(
      Effect.gen({ self: this }, function* () {
        const chunks = yield* Queue.unbounded<ReadonlyArray<string>>()
        const host = hostOf("", null, (items) => Queue.offerUnsafe(chunks, items))
        const reader = this.readers.open(host, keyOf(topic, key), buffer)
        yield* Effect.acquireRelease(
          Effect.sync(() => reader.granted()),
          () => Effect.sync(() => reader.close())
        )
        const next = Effect.suspend(() => {
          reader.acknowledged()
          return Queue.take(chunks)
        })
        return Stream.flattenIterable(Stream.fromEffectRepeat(next))
      })
    )
  }

  /** Somebody comes, who is here when a state was said. */
  join(presence: string, key: Schema.Json, subject: string | null): LocalConnection {
    const host = hostOf(`${++this.connections}`, subject, () => {})
    let current: Reader | undefined
    return {
      say: (state) => {
        const before = current
        current = this.presence.reader(host, keyOf(presence, key), state)
        current.granted()
        before?.close()
      },
      leave: () => current?.close()
    }
  }

  /** Who is here, as JSON. */
  peers(presence: string, key: Schema.Json): ReadonlyArray<Schema.Json> {
    return this.presence.at(keyOf(presence, key))
  }

  /** Emits now and after each change of who is here. */
  changes(presence: string, key: Schema.Json): Stream.Stream<void> {
    const name = keyOf(presence, key)
    return Stream.callback<void>(
      (queue) => {
        const changed = () => void Queue.offerUnsafe(queue, undefined)
        return Effect.acquireRelease(
          Effect.sync(() => {
            this.watchers.add(name, changed)
            changed()
          }),
          () => Effect.sync(() => this.watchers.remove(name, changed))
        )
      },
      { bufferSize: 1, strategy: "sliding" }
    )
  }
}

/** What a reader needs of a socket, without one. */
const hostOf = (id: string, subject: string | null, send: ReaderHost["send"]): ReaderHost => ({
  id,
  send,
  identity: () => ({ subject, claims: {} }),
  progress: () => {},
  end: () => {},
  seenAt: () => undefined,
  drop: () => {}
})
