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
import { canonical } from "../../protocol/JsonCodec.ts"
import { PresenceList } from "./PresenceList.ts"
import { TopicReader } from "./TopicReader.ts"

/** Somebody who is here. */
export interface LocalConnection {
  readonly say: (state: Schema.Json) => void
  readonly leave: () => void
}

/** The topics of one process. */
export class LocalTopics {
  private readonly readers = new Map<string, Set<TopicReader>>()
  private readonly watchers = new Map<string, Set<() => void>>()
  private readonly presence = new PresenceList((key) => {
    for (const changed of this.watchers.get(key) ?? []) changed()
  })
  private pending: Array<Published> = []
  private connections = 0

  /** Sends a message to those who read its topic now: in a microtask, with what else is published until then. */
  publish(message: Published): void {
    if (!this.readers.has(keyOf(message.topic, message.key))) return
    this.pending.push(message)
    if (this.pending.length === 1) queueMicrotask(() => this.deliver())
  }

  /** The texts of a topic's items, from when the stream runs. */
  read(topic: string, key: Schema.Json, buffer: number): Stream.Stream<string> {
    const name = keyOf(topic, key)
    return Stream.unwrap(
      Effect.gen({ self: this }, function* () {
        const chunks = yield* Queue.unbounded<ReadonlyArray<string>>()
        const host = hostOf("", null, (items) => Queue.offerUnsafe(chunks, items))
        const reader: TopicReader = new TopicReader(
          host,
          buffer,
          listingOf(this.readers, name, () => reader)
        )
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
        const { join, leave } = listingOf(this.watchers, name, () => changed)
        return Effect.acquireRelease(
          Effect.sync(() => {
            join()
            changed()
          }),
          () => Effect.sync(leave)
        )
      },
      { bufferSize: 1, strategy: "sliding" }
    )
  }

  private deliver(): void {
    const touched = new Set<TopicReader>()
    for (const { key, messages, topic } of this.pending) {
      for (const reader of this.readers.get(keyOf(topic, key)) ?? []) {
        for (const message of messages) reader.push(`{"message":${message}}`)
        touched.add(reader)
      }
    }
    this.pending = []
    for (const reader of touched) reader.flush()
  }
}

const keyOf = (tag: string, key: Schema.Json): string => `${tag} ${JSON.stringify(canonical(key))}`

/** How something is listed under a name, and is not any more. */
const listingOf = <A>(lists: Map<string, Set<A>>, name: string, of: () => A) => ({
  join: () => {
    const list = lists.get(name)
    if (list === undefined) lists.set(name, new Set([of()]))
    else list.add(of())
  },
  leave: () => {
    const list = lists.get(name)
    if (list?.delete(of()) && list.size === 0) lists.delete(name)
  }
})

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
