/**
 * The readers of topics with a history: what was just published reaches those that are up to date from memory, and the others
 * read the table.
 */
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type { Asked, From, PubsubHost, Reader, ReaderHost } from "../../contract/Pubsub.ts"
import { After } from "../../contract/TopicHistory.ts"
import { PayloadInvalid } from "../../protocol/CallError.ts"
import { type EncodedExit, failed } from "../../protocol/Exit.ts"
import { type Items, LogReaders, startOf } from "./LogReader.ts"
import { type Head, headOf, type Run, read, type Stretch } from "./TopicLog.ts"

/** The messages of a key, as items from a number on. */
interface Stored {
  readonly first: number
  readonly texts: ReadonlyArray<string>
}

/** The readers of all histories of one object. */
export class HistoryReaders {
  private readonly host: () => Pick<PubsubHost, "rows" | "deliverLater">
  private readonly readers = new LogReaders()
  /** How far the histories are that somebody reads. */
  private readonly heads = new Map<string, Head>()
  /** What was published since the last delivery, where somebody reads it. */
  private readonly recent = new Map<string, Stored>()
  /** What was read in this delivery, by the number from which on: many readers are at the same place. */
  private readonly known = new Map<string, Map<number, Stored | undefined>>()

  constructor(host: () => Pick<PubsubHost, "rows" | "deliverLater">) {
    this.host = host
  }

  /** Divides the payload of a request, or returns the exit that refuses it. */
  static asked(payload: unknown): Asked | EncodedExit {
    const decoded = decodeAfter(payload)
    if (Exit.isFailure(decoded)) return failed(new PayloadInvalid({ issue: "`after` is start, now, or a cursor" }))
    const { after, key } = decoded.value
    return { payload: { key }, after }
  }

  /** Somebody reads the history of a key. */
  open(host: ReaderHost, topic: string, from: From): Reader {
    const start = startOf(host, from, (after) => ({ position: startAfter(after, headOf(this.rows, topic)) }))
    return this.readers.open(
      host,
      topic,
      (from) => itemsFrom(this.read(topic, from), from),
      start,
      () => this.heads.delete(topic)
    )
  }

  /** Messages whose transaction has committed. */
  published(topic: string, epoch: string, { first, messages }: Stretch): void {
    if (!this.readers.has(topic)) return
    this.heads.set(topic, { epoch, next: Math.max(first + messages.length, this.heads.get(topic)?.next ?? 0) })
    const texts = messages.map((message, i) => itemOf(message, epoch, first + i))
    const before = this.recent.get(topic)
    const isNext = before !== undefined && before.first + before.texts.length === first
    this.recent.set(topic, isNext ? { first: before.first, texts: [...before.texts, ...texts] } : { first, texts })
    this.readers.wake(topic)
    this.host().deliverLater()
  }

  /** Serves the readers that are due. Returns whether there was one. */
  deliver(): boolean {
    const hasServed = this.readers.deliver()
    this.recent.clear()
    this.known.clear()
    return hasServed
  }

  private readonly rows: Run = (sql, params) => this.host().rows(sql, params)

  private read(topic: string, from: number): Stored | undefined {
    const head = this.heads.get(topic) ?? headOf(this.rows, topic)
    if (head === undefined || from >= head.next) return undefined
    this.heads.set(topic, head)
    const recent = this.recent.get(topic)
    const skipped = from - (recent?.first ?? from)
    // The table can have more already: what follows a commit runs later than the commit.
    if (recent !== undefined && skipped >= 0 && skipped < recent.texts.length) {
      return skipped === 0 ? recent : { first: from, texts: recent.texts.slice(skipped) }
    }
    const known = this.known.get(topic) ?? new Map<number, Stored | undefined>()
    this.known.set(topic, known)
    if (!known.has(from)) known.set(from, storedOf(read(this.rows, topic, from), head))
    return known.get(from)
  }
}

/** The cursor of the newest message of a history. */
export const newest = (head: Head | undefined): After =>
  head === undefined ? "start" : cursorOf(head.epoch, head.next - 1)

const cursorOf = (epoch: string, number: number): string => `${epoch}.${number}`

const itemOf = (message: string, epoch: string, number: number): string =>
  `{"message":${message},"cursor":"${cursorOf(epoch, number)}"}`

const storedOf = (stretch: Stretch | undefined, { epoch }: Head): Stored | undefined =>
  stretch && {
    first: stretch.first,
    texts: stretch.messages.map((message, i) => itemOf(message, epoch, stretch.first + i))
  }

const itemsFrom = (stored: Stored | undefined, from: number): Items | undefined =>
  stored && {
    missed: stored.first - from,
    texts: stored.texts,
    after: (index) => stored.first + index + 1,
    next: stored.first + stored.texts.length
  }

/** The number of the message with which a reader begins, or the exit that refuses its cursor. */
const startAfter = (after: string, head: Head | undefined): number | EncodedExit => {
  if (after === "start") return 1
  if (after === "now") return head?.next ?? 1
  const [epoch, number] = after.split(".")
  const next = Number(number) + 1
  return epoch === head?.epoch && head !== undefined && next <= head.next ? next : notOfThisHistory
}

const notOfThisHistory = failed(
  new PayloadInvalid({ issue: "the cursor is not one of this history: begin at the start" })
)

const decodeAfter = Schema.decodeUnknownExit(Schema.Struct({ key: Schema.Unknown, after: Schema.optionalKey(After) }))
