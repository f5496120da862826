/**
 * The readers of the topics of one object or process, and what was published and not sent yet.
 * What is published for a key that nobody reads is dropped.
 */
import type { ReaderHost } from "../../contract/Pubsub.ts"
import { canonical } from "../../protocol/JsonCodec.ts"
import { KeyedSets } from "./KeyedSets.ts"
import { TopicReader } from "./TopicReader.ts"

/** Names a key of a topic or of a presence. */
export const keyOf = (tag: string, key: unknown): string => `${tag} ${JSON.stringify(canonical(key))}`

/** The readers of topics without a history. */
export class TopicReaders {
  private readonly readers = new KeyedSets<TopicReader>()
  private readonly deliverLater: () => void
  /** What is sent with the next delivery, in its order. */
  private pending: Array<{ readonly key: string; readonly messages: ReadonlyArray<string> }> = []

  /** `deliverLater` has `deliver` called soon. */
  constructor(deliverLater: () => void) {
    this.deliverLater = deliverLater
  }

  /** Somebody reads a key, once it is granted. */
  open(host: ReaderHost, key: string, buffer: number): TopicReader {
    const reader: TopicReader = new TopicReader(host, buffer, {
      join: () => this.readers.add(key, reader),
      leave: () => void this.readers.remove(key, reader)
    })
    return reader
  }

  /** Sends the JSON texts of messages with the next delivery. */
  publish(key: string, messages: ReadonlyArray<string>): void {
    if (!this.readers.has(key)) return
    this.pending.push({ key, messages })
    if (this.pending.length === 1) this.deliverLater()
  }

  /** Sends what was published. Returns whether there was something. */
  deliver(): boolean {
    if (this.pending.length === 0) return false
    const touched = new Set<TopicReader>()
    for (const { key, messages } of this.pending) {
      const items = messages.map((message) => `{"message":${message}}`)
      for (const reader of this.readers.of(key)) {
        for (const item of items) reader.push(item)
        touched.add(reader)
      }
    }
    this.pending = []
    for (const reader of touched) reader.flush()
    return true
  }
}
