/**
 * A reader of something that is stored and numbered: it is served from there at its own pace, so that nothing waits for it in
 * memory. It continues from its position after hibernation, and is told how many entries were deleted before it came to them.
 */
import type { From, Reader, ReaderHost } from "../../contract/Pubsub.ts"
import { type EncodedExit, lost } from "../../protocol/Exit.ts"
import * as Limits from "../../protocol/Limits.ts"
import { KeyedSets } from "./KeyedSets.ts"
import { chunksAhead } from "./TopicReader.ts"

/** What was read of the source. */
export interface Items {
  /** How many entries were deleted before the first. */
  readonly missed: number
  /** JSON texts of objects. */
  readonly texts: ReadonlyArray<string>
  /** The number of the entry with which the reader goes on after the item at a place. */
  readonly after: (index: number) => number
  /** The number of the entry with which the reader goes on after all of them. */
  readonly next: number
}

/** Reads the items from an entry on; the exit with which the stream ends, or nothing if there is nothing more. */
export type Read = (from: number) => Items | EncodedExit | undefined

/** Where a reader begins. */
export interface Start {
  /** The number of the first entry, or why there is none. */
  readonly position: number | EncodedExit
  /** What it is sent first. */
  readonly greeting?: string | undefined
}

/** Where a reader is listed. */
interface Listing {
  /** It may read: it is to be told of what is added. */
  readonly join: () => void
  readonly leave: () => void
  /** It may have something to send at the end of the turn, when all commits have reached live queries. */
  readonly serveLater: () => void
}

/** One reader of something stored. */
export class LogReader implements Reader {
  private readonly host: ReaderHost
  private readonly listing: Listing
  private readonly read: Read
  private readonly greeting: string | undefined
  /** Why it is refused once it may read. */
  private readonly refusal: EncodedExit | undefined
  /** The number of the next entry. */
  private position: number
  /** Chunks that are not acknowledged. */
  private ahead = 0
  private isClosed = false

  constructor(host: ReaderHost, listing: Listing, read: Read, { greeting, position }: Start) {
    this.host = host
    this.listing = listing
    this.read = read
    this.greeting = greeting
    this.refusal = typeof position === "number" ? undefined : position
    this.position = typeof position === "number" ? position : 0
  }

  granted(): void {
    // Who may not read does not learn which cursors exist.
    if (this.refusal !== undefined) return this.host.end(this.refusal)
    if (this.greeting !== undefined) this.sendChunk([this.greeting])
    this.restored()
  }

  restored(): void {
    if (this.refusal !== undefined) return this.host.end(this.refusal)
    this.listing.join()
    this.listing.serveLater()
  }

  callerChanged(): void {}

  acknowledged(): void {
    this.ahead = Math.max(0, this.ahead - 1)
    this.listing.serveLater()
  }

  close(): void {
    this.isClosed = true
    this.listing.leave()
  }

  /** Sends what may be sent now. */
  serve(): void {
    const before = this.position
    while (!this.isClosed && this.ahead < chunksAhead) {
      const items = this.read(this.position)
      if (items === undefined) break
      if ("_tag" in items) return this.host.end(items)
      this.send(items)
    }
    if (this.position !== before) this.host.progress(this.position)
  }

  private send({ after, missed, next, texts }: Items): void {
    // As many as a message of the socket takes. A character takes at most three bytes.
    let count = 0
    for (let bytes = 0; count < texts.length; count++) {
      bytes += texts[count]!.length * 3
      if (count > 0 && bytes > Limits.socketMessageBytes) break
    }
    this.position = count < texts.length ? after(count - 1) : next
    const [text, ...more] = texts.slice(0, count)
    if (text !== undefined) this.sendChunk([missed === 0 ? text : `${text.slice(0, -1)},"missed":${missed}}`, ...more])
  }

  private sendChunk(texts: ReadonlyArray<string>): void {
    this.host.send(texts)
    this.ahead++
  }
}

/** All readers of one kind of source in an object, by what they read. */
export class LogReaders {
  private readonly byKey = new KeyedSets<LogReader>()
  private due = new Set<LogReader>()

  /** Somebody reads. `onLeft` is called when nobody reads this any more. */
  open(host: ReaderHost, key: string, read: Read, start: Start, onLeft: () => void = () => {}): Reader {
    const listing: Listing = {
      join: () => this.byKey.add(key, reader),
      leave: () => {
        this.due.delete(reader)
        if (this.byKey.remove(key, reader)) onLeft()
      },
      serveLater: () => void this.due.add(reader)
    }
    const reader: LogReader = new LogReader(host, listing, read, start)
    return reader
  }

  /** Whether somebody reads. */
  has(key: string): boolean {
    return this.byKey.has(key)
  }

  /** Something was added for these readers. */
  wake(key: string): void {
    for (const reader of this.byKey.of(key)) this.due.add(reader)
  }

  /** Serves the readers that are due. Returns whether there was one. */
  deliver(): boolean {
    if (this.due.size === 0) return false
    const { due } = this
    this.due = new Set()
    for (const reader of due) reader.serve()
    return true
  }
}

/**
 * Where a reader begins: at the position that it saved, or where its request says. That is saved at once: the object may
 * hibernate before it is known whether it may read.
 */
export const startOf = (
  host: ReaderHost,
  { after = "start", progress }: From,
  first: (after: string) => Start
): Start => {
  // A position that was not saved: its client begins again with its cursor.
  if (progress !== undefined) return { position: progress || lost }
  const start = first(after)
  if (typeof start.position === "number") host.progress(start.position)
  return start
}
