/**
 * The readers of topics with a history: what was just published reaches those that are up to date from memory, and the others
 * read the table.
 */
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type { Asked, From, Reader, ReaderHost } from "../../contract/Pubsub.ts"
import { After } from "../../contract/TopicHistory.ts"
import { PayloadInvalid } from "../../protocol/CallError.ts"
import { type EncodedExit, failed, lost } from "../../protocol/Exit.ts"
import { type Items, LogReader } from "./LogReader.ts"
import { type Head, headOf, type Run, read, type Stretch } from "./TopicLog.ts"

/** What the readers need of their object. */
export interface HistoryHost {
  /** Runs a statement that reads. */
  readonly rows: Run
  /** Has `deliver` called at the end of a turn. */
  readonly deliverLater: () => void
}

/** The items of a key that are read in one delivery, by the number from which on. */
type ItemsByStart = Map<number, Items | undefined>

/** The readers of all histories of one object. */
export class HistoryReaders {
  private readonly host: HistoryHost
  private readonly readers = new Map<string, Set<LogReader>>()
  /** How far the histories are that somebody reads. */
  private readonly heads = new Map<string, Head>()
  /** What was published since the last delivery, where somebody reads it. */
  private readonly recent = new Map<string, Items>()
  private due = new Set<LogReader>()
  /** What was read in this delivery: many readers are at the same place. */
  private readonly known = new Map<string, ItemsByStart>()

  constructor(host: HistoryHost) {
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
  open(host: ReaderHost, topic: string, { after = "start", progress }: From): Reader {
    const start = progress === undefined ? startAfter(after, headOf(this.host.rows, topic)) : progress || unknown
    // It may hibernate before it is known whether it may read.
    if (progress === undefined && typeof start === "number") host.progress(start)
    const reader: LogReader = new LogReader(
      host,
      {
        read: (from) => this.read(topic, from),
        join: () => {
          const readers = this.readers.get(topic)
          if (readers === undefined) this.readers.set(topic, new Set([reader]))
          else readers.add(reader)
        },
        leave: () => {
          this.due.delete(reader)
          const readers = this.readers.get(topic)
          if (!readers?.delete(reader) || readers.size > 0) return
          this.readers.delete(topic)
          this.heads.delete(topic)
        },
        serveLater: () => void this.due.add(reader)
      },
      start
    )
    return reader
  }

  /** Messages whose transaction has committed. */
  published(topic: string, epoch: string, { first, messages }: Stretch): void {
    const readers = this.readers.get(topic)
    if (readers === undefined) return
    this.heads.set(topic, { epoch, next: Math.max(first + messages.length, this.heads.get(topic)?.next ?? 0) })
    const texts = messages.map((message, i) => itemOf(message, epoch, first + i))
    const before = this.recent.get(topic)
    const isNext = before !== undefined && before.first + before.texts.length === first
    this.recent.set(topic, isNext ? { first: before.first, texts: [...before.texts, ...texts] } : { first, texts })
    for (const reader of readers) this.due.add(reader)
    this.host.deliverLater()
  }

  /** Serves the readers that are due. Returns whether there was one. */
  deliver(): boolean {
    if (this.due.size === 0) return false
    const { due } = this
    this.due = new Set()
    for (const reader of due) reader.serve()
    this.recent.clear()
    this.known.clear()
    return true
  }

  private read(topic: string, from: number): Items | undefined {
    const head = this.heads.get(topic) ?? headOf(this.host.rows, topic)
    if (head === undefined || from >= head.next) return undefined
    this.heads.set(topic, head)
    const recent = this.recent.get(topic)
    const skipped = from - (recent?.first ?? from)
    // The table can have more already: what follows a commit runs later than the commit.
    if (recent !== undefined && skipped >= 0 && skipped < recent.texts.length) {
      return skipped === 0 ? recent : { first: from, texts: recent.texts.slice(skipped) }
    }
    const known: ItemsByStart = this.known.get(topic) ?? new Map()
    this.known.set(topic, known)
    if (!known.has(from)) known.set(from, itemsOf(read(this.host.rows, topic, from), head))
    return known.get(from)
  }
}

/** The cursor of the newest message of a history. */
export const newest = (head: Head | undefined): After =>
  head === undefined ? "start" : cursorOf(head.epoch, head.next - 1)

const cursorOf = (epoch: string, number: number): string => `${epoch}.${number}`

const itemOf = (message: string, epoch: string, number: number): string =>
  `{"message":${message},"cursor":"${cursorOf(epoch, number)}"}`

const itemsOf = (stretch: Stretch | undefined, { epoch }: Head): Items | undefined =>
  stretch && {
    first: stretch.first,
    texts: stretch.messages.map((message, i) => itemOf(message, epoch, stretch.first + i))
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

/** Its position was not saved. Its client begins again with its cursor. */
const unknown = lost

const decodeAfter = Schema.decodeUnknownExit(Schema.Struct({ key: Schema.Unknown, after: Schema.optionalKey(After) }))
