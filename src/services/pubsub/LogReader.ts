/**
 * A reader of something that is stored and numbered: it is served from there at its own pace, so that nothing waits for it in
 * memory. It continues from its position after hibernation, and is told how many entries were deleted before it came to them.
 */
import type { Reader, ReaderHost } from "../../contract/Pubsub.ts"
import type { EncodedExit } from "../../protocol/Exit.ts"
import * as Limits from "../../protocol/Limits.ts"
import { chunksAhead } from "./TopicReader.ts"

/** Consecutive items, as JSON texts of objects. */
export interface Items {
  /** The number of the first. */
  readonly first: number
  readonly texts: ReadonlyArray<string>
}

/** What is read. */
export interface Source {
  /** The items from a number on, or from the first that is kept; nothing if there is none. */
  readonly read: (from: number) => Items | undefined
  /** It may be read: it is to be told of what is added. */
  readonly join: () => void
  readonly leave: () => void
  /** It may have something to send at the end of the turn, when all commits have reached live queries. */
  readonly serveLater: () => void
}

/** One reader of something stored. */
export class LogReader implements Reader {
  private readonly host: ReaderHost
  private readonly source: Source
  /** The number of the next item. */
  private position: number
  /** Chunks that are not acknowledged. */
  private ahead = 0
  /** Why it is refused once it may read. */
  private readonly refusal: EncodedExit | undefined
  private isClosed = false

  constructor(host: ReaderHost, source: Source, start: number | EncodedExit) {
    this.host = host
    this.source = source
    this.refusal = typeof start === "number" ? undefined : start
    this.position = typeof start === "number" ? start : 0
  }

  granted(): void {
    // Who may not read does not learn which cursors exist.
    if (this.refusal !== undefined) return this.host.end(this.refusal)
    this.source.join()
    this.source.serveLater()
  }

  restored(): void {
    this.granted()
  }

  callerChanged(): void {}

  acknowledged(): void {
    this.ahead = Math.max(0, this.ahead - 1)
    this.source.serveLater()
  }

  close(): void {
    this.isClosed = true
    this.source.leave()
  }

  /** Sends what may be sent now. */
  serve(): void {
    const before = this.position
    while (!this.isClosed && this.ahead < chunksAhead) {
      const items = this.source.read(this.position)
      if (items === undefined) break
      this.send(items)
    }
    if (this.position !== before) this.host.progress(this.position)
  }

  private send({ first, texts }: Items): void {
    // As many as a message of the socket takes. A character takes at most three bytes.
    let count = 0
    for (let bytes = 0; count < texts.length; count++) {
      bytes += texts[count]!.length * 3
      if (count > 0 && bytes > Limits.socketMessageBytes) break
    }
    const missed = first - this.position
    const [text = "", ...more] = texts.slice(0, count)
    this.host.send([missed === 0 ? text : `${text.slice(0, -1)},"missed":${missed}}`, ...more])
    this.position = first + count
    this.ahead++
  }
}
