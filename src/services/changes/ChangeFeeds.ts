/**
 * The change feeds of one object: what is recorded of its transactions, and who reads it.
 * Each reader is served from the log at its own pace, as the reader of a history is.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { ChangesExpired, FeedTables, Following } from "../../contract/Changes.ts"
import type { Asked, From, PubsubHost, Reader, ReaderHost, TopicSource } from "../../contract/Pubsub.ts"
import type { After } from "../../contract/TopicHistory.ts"
import type { ChangeRecorder, InternalTable, Tx } from "../../contract/Transactional.ts"
import { PayloadInvalid } from "../../protocol/CallError.ts"
import { type EncodedExit, failed, unavailable } from "../../protocol/Exit.ts"
import { type Items, LogReaders, type Start, startOf } from "../pubsub/LogReader.ts"
import { CurrentStorage } from "../storage/RawSql.ts"
import {
  ChangeLog,
  changeTable,
  entriesAtOnce,
  firstOf,
  nameOf,
  newestOf,
  part,
  type Retention,
  type Run,
  read
} from "./ChangeLog.ts"
import { view } from "./ChangeView.ts"

/** The feeds of one object. */
export class ChangeFeeds implements TopicSource {
  readonly tables: ReadonlyArray<InternalTable> = [changeTable]
  readonly recorder: ChangeRecorder
  private readonly feeds = new Map<string, ReadonlySet<string>>()
  private readonly shape: string
  private readonly host: () => PubsubHost
  private readonly readers = new LogReaders()
  /** What was read in this delivery, by feed, caller and position: many readers are at the same place. */
  private readonly known = new Map<string, Items | EncodedExit | undefined>()

  constructor(
    feeds: ReadonlyArray<Rpc.AnyWithProps>,
    host: () => PubsubHost,
    retention: Retention,
    guarded: ReadonlySet<string>
  ) {
    this.host = host
    const columns = new Map<string, ReadonlyArray<string>>()
    for (const { _tag, annotations } of feeds) {
      const tables = Context.getUnsafe(annotations, FeedTables)
      this.feeds.set(_tag, new Set(tables.map(({ name }) => name)))
      for (const { model, name } of tables) columns.set(name, Object.keys(model.fields))
    }
    const names = [...columns.keys()].sort()
    // Of a table with policies, the rows before updates are stored as well.
    this.shape = JSON.stringify(names.map((name) => [name, guarded.has(name), columns.get(name)]))
    const log = new ChangeLog(this.shape, retention, (table) => guarded.has(table))
    this.recorder = {
      reason: "a change feed",
      tables: new Set(names),
      record: (tx, changes) => {
        log.write(tx, changes)
        if (this.readers.has(anyFeed)) tx.afterCommit(this.committed)
      }
    }
  }

  private readonly committed = Effect.sync(() => {
    this.readers.wake(anyFeed)
    this.host().deliverLater()
  })

  asked(payload: unknown): Asked | EncodedExit {
    const decoded = decodeFollowing(payload)
    if (Exit.isFailure(decoded)) return failed(new PayloadInvalid({ issue: "`after` is start, now, or a cursor" }))
    return { payload: everybody, after: decoded.value.after }
  }

  newest({ query }: Tx): After {
    const name = nameOf(query, this.shape)
    return name === undefined ? "start" : cursorOf(name.epoch, newestOf(query))
  }

  open(host: ReaderHost, feed: string, from: From): Reader {
    const tables = this.feeds.get(feed)!
    const read = (from: number) => {
      const identity = this.host().isGuarded ? JSON.stringify(host.identity()) : ""
      const key = JSON.stringify([feed, identity, from])
      if (!this.known.has(key)) this.known.set(key, this.read(tables, host, from))
      return this.known.get(key)
    }
    return this.readers.open(
      host,
      anyFeed,
      read,
      startOf(host, from, (after) => this.startAfter(after))
    )
  }

  deliver(): boolean {
    const hasServed = this.readers.deliver()
    this.known.clear()
    return hasServed
  }

  private readonly run: Run = (sql, params) => this.host().rows(sql, params)

  private startAfter(after: string): Start {
    const name = nameOf(this.run, this.shape)
    if (name === undefined) {
      const isFirst = after === "start" || after === "now"
      return isFirst ? { position: 1, greeting: itemOf("start", []) } : { position: expired("0", 0) }
    }
    const newest = newestOf(this.run)
    const [epoch, number] = after.split(".")
    const last = after === "now" ? newest : after === "start" ? 0 : epoch === name.epoch ? Number(number) : -1
    const first = firstOf(this.run, name)
    if (last + 1 < first || last > newest) return { position: expired(name.epoch, first - 1) }
    return { position: last + 1, greeting: itemOf(cursorOf(name.epoch, last), []) }
  }

  /** The items from an entry on, as the caller of a reader sees them. */
  private read(tables: ReadonlySet<string>, host: ReaderHost, from: number): Items | EncodedExit | undefined {
    const name = nameOf(this.run, this.shape)
    if (name === undefined) return undefined
    const entries = read(this.run, from)
    const [first] = entries
    if (from <= name.before || (first !== undefined && first.sequence > from)) {
      return expired(name.epoch, firstOf(this.run, name) - 1)
    }
    if (first === undefined) return undefined
    const viewed = this.host().read(
      host.identity(),
      Effect.map(CurrentStorage, ({ guard, storage }) =>
        entries.map(({ changes }) =>
          view({ guard, tableNamed: (name) => storage.runtime.tableNamed(name) }, tables, changes)
        )
      )
    )
    if (Exit.isFailure(viewed)) {
      this.host().log("a change could not be sent", Cause.squash(viewed.cause))
      return unavailable("a change could not be read; the cause is in the log of the server")
    }
    const texts: Array<string> = []
    const nexts: Array<number> = []
    for (const [i, { part: at, sequence }] of entries.entries()) {
      const changes = viewed.value[i]!
      // A reader that may see little still learns from time to time where it is, and that a commit is complete.
      const isAwaited = at === part.last || sequence % entriesAtOnce === 0
      if (changes.length === 0 && !isAwaited) continue
      texts.push(itemOf(cursorOf(name.epoch, sequence), changes, at === part.more))
      nexts.push(sequence + 1)
    }
    return { missed: 0, texts, after: (index) => nexts[index]!, next: entries.at(-1)!.sequence + 1 }
  }
}

/** All feeds of an object read one log. */
const anyFeed = ""

/** The payload of the query that decides who may read: it is the same for all. */
const everybody = { after: "now" }

const cursorOf = (epoch: string, sequence: number): string => `${epoch}.${sequence}`

const itemOf = (cursor: string, changes: ReadonlyArray<string>, isPartial = false): string =>
  `{"cursor":"${cursor}","changes":[${changes.join(",")}]${isPartial ? ',"partial":true' : ""}}`

const encodeExpired = Schema.encodeSync(ChangesExpired)

const expired = (epoch: string, sequence: number): EncodedExit => ({
  _tag: "Failure",
  cause: [{ _tag: "Fail", error: encodeExpired(new ChangesExpired({ earliest: cursorOf(epoch, sequence) })) }]
})

const decodeFollowing = Schema.decodeUnknownExit(Following)
