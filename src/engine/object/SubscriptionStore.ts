/**
 * What a socket keeps while the object hibernates: its attachment, and rows of a table when it has too many subscriptions.
 * The rows have the progress of the subscriptions only when that does not fit the attachment either.
 * The attachment is written after frames and acknowledgements, so it is put together from texts that are kept; after a wake
 * it is read once, and decoded like anything from outside.
 */
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { InternalTable } from "../../contract/Transactional.ts"
import * as Limits from "../../protocol/Limits.ts"
import type { Database } from "../../services/Database.ts"
import { RequestSession } from "../rpc/SessionHeader.ts"
import type { AwaitedCommits } from "./FlowControl.ts"

const RequestId = Schema.Union([Schema.String, Schema.Finite])

/** The request that made a subscription. It does not change. */
const SubscriptionRequest = Schema.Struct({
  id: RequestId,
  tag: Schema.String,
  payload: Schema.Unknown,
  headers: Schema.Array(Schema.Tuple([Schema.String, Schema.String])),
  prompt: Schema.Boolean
})

/** How far the reader of a subscription is. */
const Progress = Schema.Tuple([
  RequestId,
  /** The hash of what was last sent. */
  Schema.NullOr(Schema.String),
  /** Messages that were not acknowledged. */
  Schema.Int,
  /** Whether there was a newer result that could not be sent yet. */
  Schema.Boolean
])

/** A row: a subscription, with its progress (as above, without the id) when that outgrew the attachment. */
const SubscriptionRow = Schema.Struct({
  ...SubscriptionRequest.fields,
  progress: Schema.optionalKey(Schema.Tuple([Schema.NullOr(Schema.String), Schema.Int, Schema.Boolean]))
})
/** A row: a subscription, with its progress when that outgrew the attachment. */
export type SubscriptionRow = typeof SubscriptionRow.Type

/** The part of an attachment that differs from socket to socket. */
const SocketState = Schema.Struct({
  id: Schema.String,
  version: Schema.Finite,
  /** The first and the last commit for which a `Delivered` message is still to be sent; 0 for none. */
  awaited: Schema.Tuple([Schema.Finite, Schema.Finite]),
  /** Calls that were under way and cannot be resumed. */
  calls: Schema.Array(RequestId),
  /** When the client was last heard of, in milliseconds since the epoch. Only sockets that read topics or are present have it. */
  seen: Schema.optionalKey(Schema.Finite),
  /** The progress of each subscription; `null` when that outgrew the attachment and is in the rows. */
  progress: Schema.NullOr(Schema.Array(Progress))
})

/** The part of an attachment that many sockets have in common. */
const SharedState = Schema.Struct({
  session: RequestSession,
  /** The subscriptions; `null` when they outgrew the attachment and are rows of a table. */
  subscriptions: Schema.NullOr(Schema.Array(SubscriptionRequest))
})

/** What a socket keeps while the object hibernates. */
export type Attachment = typeof SocketState.Type & typeof SharedState.Type

const decodeState = Schema.decodeUnknownOption(
  Schema.Struct({ ...SocketState.fields, session: Schema.Unknown, subscriptions: Schema.Unknown })
)
const decodeShared = Schema.decodeUnknownOption(SharedState)

/**
 * Decodes attachments; `None` for a value that is not an attachment. After a wake there may be thousands: what they have in
 * common is decoded once.
 */
export const attachmentDecoder = (): ((text: unknown) => Option.Option<Attachment>) => {
  const known = new Map<string, Option.Option<typeof SharedState.Type>>()
  return (text) =>
    Option.flatMap(decodeState(parse(text)), ({ session, subscriptions, ...state }) => {
      const key = JSON.stringify([session, subscriptions])
      let shared = known.get(key)
      if (shared === undefined) {
        shared = decodeShared({ session, subscriptions })
        known.set(key, shared)
      }
      return Option.map(shared, (shared) => ({ ...state, ...shared }))
    })
}

const parse = (text: unknown): unknown => {
  try {
    return JSON.parse(String(text))
  } catch {
    return undefined
  }
}

const decodeRow = Schema.decodeUnknownExit(Schema.fromJsonString(SubscriptionRow))
const decodeId = Schema.decodeUnknownExit(Schema.fromJsonString(RequestId))

/** The first part of a socket's attachment, which does not change. */
export const attachmentPrefix = (id: string, session: RequestSession): string =>
  `{"id":${JSON.stringify(id)},"session":${JSON.stringify(session)}`

/** A subscription, with the texts of what does not change. */
export interface SubscriptionEntry {
  readonly id: string | number
  /** The JSON of its id. */
  readonly idText: string
  /** The JSON of its `SubscriptionRequest`. */
  readonly requestText: string
  readonly sent: string | undefined
  readonly unacknowledged: number
  readonly waiting: boolean
}

/** What is written of a socket. */
export interface SocketSnapshot {
  readonly version: number
  readonly awaited: AwaitedCommits
  readonly calls: Iterable<string | number>
  readonly seen: number | undefined
  readonly subscriptions: ReadonlyArray<SubscriptionEntry>
  /** Whether the subscriptions are rows of a table already. */
  readonly overflowed: boolean
}

/** The text to attach, with as much of the subscriptions as fits. What does not fit belongs into rows. */
export const encodeAttachment = (
  prefix: string,
  { awaited, calls, overflowed, seen, subscriptions, version }: SocketSnapshot
): { readonly text: string; readonly overflowed: boolean; readonly hasProgress: boolean } => {
  const heard = seen === undefined ? "" : `,"seen":${seen}`
  const start = `${prefix},"version":${version},"awaited":[${awaited}],"calls":${JSON.stringify([...calls])}${heard}`
  const entries = subscriptions.map((entry) => `[${entry.idText},${progressText(entry)}]`)
  const progress = `"progress":[${entries.join(",")}]`
  if (!overflowed) {
    const requests = subscriptions.map(({ requestText }) => requestText).join(",")
    const text = `${start},"subscriptions":[${requests}],${progress}}`
    if (fits(text)) return { text, overflowed: false, hasProgress: true }
  }
  const text = `${start},"subscriptions":null,${progress}}`
  if (fits(text)) return { text, overflowed: true, hasProgress: true }
  return { text: `${start},"subscriptions":null,"progress":null}`, overflowed: true, hasProgress: false }
}

/** The text of a subscription's row, with its progress. */
export const rowWithProgress = (entry: SubscriptionEntry): string =>
  `${entry.requestText.slice(0, -1)},"progress":[${progressText(entry)}]}`

const progressText = ({ sent, unacknowledged, waiting }: SubscriptionEntry): string =>
  `${sent === undefined ? "null" : `"${sent}"`},${unacknowledged},${waiting}`

/** Whether a text can be attached. The platform counts two bytes a character, unless all are Latin-1, and a frame. */
export const fits = (text: string): boolean => text.length * 2 + 32 <= Limits.socketAttachmentBytes

/** The table of subscriptions that outgrew their socket's attachment. */
export const subscriptionTable: InternalTable = {
  name: "_dormouse_subscriptions",
  create:
    "CREATE TABLE _dormouse_subscriptions (socket TEXT NOT NULL, request TEXT NOT NULL, data TEXT NOT NULL, " +
    "PRIMARY KEY (socket, request)) WITHOUT ROWID"
}

/** What the rows of one socket contain. */
export interface StoredSubscriptions {
  readonly subscriptions: ReadonlyArray<SubscriptionRow>
  /** The ids of subscriptions whose rows cannot be read. */
  readonly lost: ReadonlyArray<string | number>
  /** The text of each row, by id. */
  readonly texts: Map<string | number, string>
}

/** The rows of sockets whose subscriptions outgrew the attachment. */
export class SubscriptionRows {
  private readonly database: Database["Service"]

  constructor(database: Database["Service"]) {
    this.database = database
  }

  /** The subscriptions of a socket, and the ids of those whose rows cannot be read. */
  load(socket: string): StoredSubscriptions {
    const { rows } = this.database.all("SELECT request, data FROM _dormouse_subscriptions WHERE socket = ?", [socket])
    const subscriptions: Array<SubscriptionRow> = []
    const lost: Array<string | number> = []
    const texts = new Map<string | number, string>()
    for (const [request, data] of rows) {
      const decoded = decodeRow(data)
      const id = Exit.isSuccess(decoded) ? Exit.succeed(decoded.value.id) : decodeId(request)
      if (Exit.isSuccess(id)) texts.set(id.value, String(data))
      if (Exit.isSuccess(decoded)) subscriptions.push(decoded.value)
      else if (Exit.isSuccess(id)) lost.push(id.value)
      else this.delete(socket, String(request))
    }
    return { subscriptions, lost, texts }
  }

  /** Writes the row of a subscription. */
  write(socket: string, idText: string, text: string): void {
    this.database.run("INSERT OR REPLACE INTO _dormouse_subscriptions VALUES (?, ?, ?)", [socket, idText, text])
  }

  delete(socket: string, idText: string): void {
    this.database.run("DELETE FROM _dormouse_subscriptions WHERE socket = ? AND request = ?", [socket, idText])
  }

  deleteAll(socket: string): void {
    this.database.run("DELETE FROM _dormouse_subscriptions WHERE socket = ?", [socket])
  }

  /** Deletes the rows of sockets that closed while the object was not in memory. */
  deleteOrphans(open: ReadonlySet<string>): void {
    if (this.database.isUnwritten?.() === true) return
    const { rows } = this.database.all("SELECT DISTINCT socket FROM _dormouse_subscriptions", [])
    for (const [socket] of rows) if (!open.has(String(socket))) this.deleteAll(String(socket))
  }
}
