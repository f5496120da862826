/**
 * The topics of one object: their readers, their histories, change feeds and presence.
 * All of it is in the heap, but what `TopicLog` and `ChangeLog` store. After hibernation the readers come back from their sockets.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import { isKind, kindOf, QueryKind } from "../../contract/Kind.ts"
import { Marker } from "../../contract/Presence.ts"
import { Presences } from "../../contract/Presences.ts"
import { type Published, Publisher } from "../../contract/Publisher.ts"
import {
  type Asked,
  accessPrefix,
  type Changes,
  type From,
  type Opened,
  type PubsubHost,
  type PubsubRuntime,
  type Reader,
  type ReaderHost,
  type TopicSource
} from "../../contract/Pubsub.ts"
import { Settings, type TopicSettings } from "../../contract/Topic.ts"
import { type After, Histories } from "../../contract/TopicHistory.ts"
import type { Any, Transactional, Tx } from "../../contract/Transactional.ts"
import type { EncodedExit } from "../../protocol/Exit.ts"
import { withSchemas } from "../../protocol/RpcCodec.ts"
import type { Alarm } from "../Alarm.ts"
import { SharedAlarm } from "../SharedAlarm.ts"
import { HistoryReaders, newest } from "./HistoryReaders.ts"
import { PresenceList } from "./PresenceList.ts"
import * as TopicLog from "./TopicLog.ts"
import { keyOf, TopicReaders } from "./TopicReaders.ts"

/** The topics of one object. */
export class Topics implements PubsubRuntime {
  readonly transactional: ReadonlyArray<Any>
  readonly access: RpcGroup.RpcGroup<Rpc.Any>
  private readonly topics: ReadonlyArray<Rpc.AnyWithProps>
  private readonly settings = new Map<string, TopicSettings>()
  /** The tags of the queries of peers, by those of their streams. */
  private readonly lists = new Map<string, string>()
  private readonly readers = new TopicReaders(() => this.host?.deliverLater())
  private readonly histories: HistoryReaders
  /** The change feeds, and their tags of `access`. */
  private readonly feeds: TopicSource | undefined
  private readonly feedTags: ReadonlySet<string>
  private host: PubsubHost | undefined
  private readonly presence: PresenceList
  /** Milliseconds after which a client counts as lost that was not heard of. */
  private readonly timeout: number
  private alarm: SharedAlarm | undefined
  private isWatching = false

  constructor({ api: { declared }, guarded }: Opened, timeout: number, changes: Changes | undefined) {
    this.timeout = timeout
    this.presence = new PresenceList((key) => {
      this.host?.changed(presenceTable, key)
      this.watch()
    })
    const rpcs: Iterable<Rpc.Any> = declared.requests.values()
    this.topics = Array.from(rpcs)
      .filter((rpc) => kindOf(rpc) === "topic")
      .map(withSchemas)
    for (const { _tag, annotations } of this.topics)
      this.settings.set(accessPrefix + _tag, Context.getUnsafe(annotations, Settings))
    // The engine has started before anybody reads.
    const host = () => this.host!
    this.histories = new HistoryReaders(host)
    const feeds = this.topics.filter(({ annotations }) => Context.getUnsafe(annotations, Settings).isFeed)
    this.feedTags = new Set(feeds.map(({ _tag }) => accessPrefix + _tag))
    if (feeds.length > 0 && changes === undefined) throw new Error(withoutChanges)
    this.feeds = feeds.length > 0 ? changes?.open(feeds, host, guarded) : undefined
    const hasHistories = [...this.settings.values()].some(({ history }) => history !== undefined)
    for (const { _tag, annotations } of this.topics) {
      const list = Context.getOption(annotations, Marker)
      if (Option.isSome(list)) this.lists.set(accessPrefix + _tag, list.value)
    }
    this.access = RpcGroup.make(...this.topics.map(accessOf))
    this.transactional = [
      {
        tag: Publisher,
        tables: hasHistories ? [TopicLog.topicTable] : [],
        open: (tx) => ({ publish: (published) => Effect.sync(() => this.publishIn(tx, published)) })
      } satisfies Transactional<Publisher, Publisher["Service"]>,
      {
        tag: Histories,
        tables: this.feeds?.tables ?? [],
        recorder: this.feeds?.recorder,
        open: (tx) => ({
          newest: (topic, key) =>
            Effect.sync((): After => {
              if (this.feeds !== undefined && this.feedTags.has(accessPrefix + topic)) {
                for (const { name } of this.feeds.tables) tx.recordRead(name)
                return this.feeds.newest(tx)
              }
              const text = keyOf(topic, key)
              tx.recordRead(TopicLog.topicTable.name, text)
              return newest(TopicLog.headOf(tx.query, text))
            })
        })
      } satisfies Transactional<Histories, Histories["Service"]>,
      {
        tag: Presences,
        tables: [],
        open: (tx) => ({
          peers: (tag, key) =>
            Effect.sync(() => {
              const text = keyOf(tag, key)
              tx.recordRead(presenceTable, text)
              return this.presence.at(text)
            })
        })
      } satisfies Transactional<Presences, Presences["Service"]>
    ]
  }

  withAccess(handlers: Context.Context<never>): Context.Context<never> {
    const all = new Map(handlers.mapUnsafe)
    // The handler of a topic is that of the query which decides who may read it.
    for (const [i, topic] of this.topics.entries()) {
      const access = withSchemas([...this.access.requests.values()][i]!)
      all.set(access.key, handlers.mapUnsafe.get(topic.key))
    }
    return Context.makeUnsafe(all)
  }

  start(host: PubsubHost): void {
    this.host = host
  }

  asked(tag: string, payload: unknown): Asked | EncodedExit {
    if (this.feeds !== undefined && this.feedTags.has(tag)) return this.feeds.asked(payload)
    return this.settings.get(tag)?.history === undefined ? { payload } : HistoryReaders.asked(payload)
  }

  open(host: ReaderHost, tag: string, payload: unknown, from: From): Reader {
    const list = this.lists.get(tag)
    if (list !== undefined) {
      const { key, state } = decodeJoin(payload)
      return this.presence.reader(host, keyOf(list, key), state)
    }
    if (this.feeds !== undefined && this.feedTags.has(tag)) {
      return this.feeds.open(host, tag.slice(accessPrefix.length), from)
    }
    const { buffer, history } = this.settings.get(tag)!
    if (history !== undefined) {
      const { key } = decodeReading(payload)
      return this.histories.open(host, keyOf(tag.slice(accessPrefix.length), key), from)
    }
    return this.readers.open(host, keyOf(tag.slice(accessPrefix.length), payload), buffer)
  }

  share(alarm: Alarm["Service"]): Alarm["Service"] {
    this.alarm = new SharedAlarm(alarm)
    return this.alarm.other
  }

  wake(): void {
    this.alarm?.wentOff()
    this.isWatching = false
    const now = this.host?.time() ?? 0
    for (const host of [...this.presence.hosts()]) {
      const seen = host.seenAt()
      if (seen !== undefined && seen < now - this.timeout) host.drop()
    }
    this.watch()
  }

  /** Looks again in a while whether the clients of those that are here were heard of. */
  private watch(): void {
    if (this.isWatching || this.presence.isEmpty || this.host === undefined) return
    this.isWatching = true
    // A multiple of the period: a start that sets it again does not postpone it.
    const period = this.timeout / 2
    this.alarm?.set((Math.floor(this.host.time() / period) + 1) * period)
  }

  /** Publishes as a part of a transaction. */
  private publishIn(tx: Tx, published: Published): void {
    if (tx.readOnly) throw new Error("a query cannot publish: make it a mutation")
    const { key, messages, topic } = published
    const { history } = this.settings.get(accessPrefix + topic) ?? {}
    const text = keyOf(topic, key)
    if (history === undefined) return tx.afterCommit(Effect.sync(() => this.readers.publish(text, messages)))
    const { epoch, first } = TopicLog.write(tx, text, messages, history)
    tx.recordWrite(TopicLog.topicTable.name, text)
    tx.afterCommit(Effect.sync(() => this.histories.published(text, epoch, { first, messages })))
  }

  deliver(): boolean {
    return [this.histories, this.feeds, this.readers].filter((source) => source?.deliver()).length > 0
  }
}

/** The payload of a presence's stream. The query before has decoded it with the schemas of the contract. */
const decodeJoin = Schema.decodeUnknownSync(Schema.Struct({ key: Schema.Json, state: Schema.Json }))

/** The payload of the query that decides who may read a history, which has decoded it. */
const decodeReading = Schema.decodeUnknownSync(Schema.Struct({ key: Schema.Json }))

const withoutChanges =
  "the contract has a change feed: give the app Pubsub.make({ changes: ChangeLog.make() }) of effect-dormouse/changes"

/** Under which name queries read who is here. */
const presenceTable = "_dormouse_presence"

/** The query that decides who may read a topic: with its key, its errors and its middleware. */
const accessOf = (topic: Rpc.AnyWithProps): Rpc.Any => {
  const { _tag, annotations, middlewares, payloadSchema, successSchema } = topic
  const error = RpcSchema.isStreamSchema(successSchema) ? successSchema.error : Schema.Never
  let access: Rpc.Rpc<any, any, any, any, any, any> = Rpc.make(accessPrefix + _tag, { payload: payloadSchema, error })
  for (const middleware of middlewares) if (!isKind(middleware)) access = access.middleware(middleware)
  return access.middleware(QueryKind).annotateMerge(annotations)
}
