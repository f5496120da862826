/**
 * What one reader of a topic is sent, and when: at once while it acknowledges, and otherwise what fits its buffer.
 * A reader that is slow loses the oldest messages, is told how many, and slows nobody else.
 */
import type { Reader, ReaderHost } from "../../contract/Pubsub.ts"
import * as Limits from "../../protocol/Limits.ts"

/** Chunks that a reader is sent before it acknowledges one of them. */
export const chunksAhead = 16

/** Where a reader is listed while it may read. */
interface Listing {
  readonly join: () => void
  readonly leave: () => void
}

/** One reader of a topic. */
export class TopicReader implements Reader {
  private readonly host: ReaderHost
  private readonly buffer: number
  private readonly listing: Listing
  private queue: Array<string> = []
  /** Chunks that are not acknowledged. */
  private ahead = 0
  /** Messages that were dropped since the last one that was sent. */
  private missed = 0
  private told = 0

  constructor(host: ReaderHost, buffer: number, listing: Listing) {
    this.host = host
    this.buffer = buffer
    this.listing = listing
  }

  granted(): void {
    this.listing.join()
  }

  restored(missed: number): void {
    this.missed = missed
    this.told = missed
    this.granted()
  }

  callerChanged(): void {}

  acknowledged(): void {
    this.ahead = Math.max(0, this.ahead - 1)
    if (this.queue.length > 0) this.flush()
  }

  close(): void {
    this.queue = []
    this.listing.leave()
  }

  /** Adds the text of an item. */
  push(item: string): void {
    this.queue.push(item)
  }

  /** Sends what may be sent now. */
  flush(): void {
    while (this.queue.length > 0 && this.ahead < chunksAhead) {
      this.ahead++
      this.host.send(this.take())
    }
    const more = this.queue.length - this.buffer
    if (more > 0) {
      this.queue.splice(0, more)
      this.missed += more
    }
    const unsent = this.queue.length + this.missed
    if (unsent === this.told) return
    this.told = unsent
    this.host.progress(unsent)
  }

  /** As many items as a message of the socket takes. A character takes at most three bytes. */
  private take(): ReadonlyArray<string> {
    let count = 0
    for (let bytes = 0; count < this.queue.length; count++) {
      bytes += this.queue[count]!.length * 3
      if (count > 0 && bytes > Limits.socketMessageBytes) break
    }
    const [first = "", ...items] = this.queue.splice(0, count)
    if (this.missed === 0) return [first, ...items]
    const told = `${first.slice(0, -1)},"missed":${this.missed}}`
    this.missed = 0
    return [told, ...items]
  }
}
