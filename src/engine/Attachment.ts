import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Identity } from "../contract/Auth.ts"
import * as Limits from "../protocol/Limits.ts"
import type { Session } from "./Host.ts"

/**
 * What a socket remembers while the object sleeps, as JSON text. It is written after every frame and acknowledgement, so
 * it is put together from texts that are kept; it is read once after a sleep, and decoded like anything from outside.
 */

const RequestId = Schema.Union([Schema.String, Schema.Finite])

/** What a subscription asked for. It does not change. */
const Asked = Schema.Struct({
  id: RequestId,
  tag: Schema.String,
  payload: Schema.Unknown,
  headers: Schema.Array(Schema.Tuple([Schema.String, Schema.String])),
  prompt: Schema.Boolean
})
export type Asked = typeof Asked.Type

/** How far a subscription's reader is. */
const Progress = Schema.Tuple([
  RequestId,
  /** The hash of what was last sent. */
  Schema.NullOr(Schema.String),
  /** Messages that were not acknowledged. */
  Schema.Int,
  /** Whether there was a newer result that could not be sent yet. */
  Schema.Boolean
])
export type Progress = typeof Progress.Type

/** What differs from socket to socket. */
const Own = Schema.Struct({
  id: Schema.String,
  version: Schema.Finite,
  /** The first and the last commit whose sender waits to hear that everything up to it was delivered; 0 for none. */
  settling: Schema.Tuple([Schema.Finite, Schema.Finite]),
  /** Calls that were under way and cannot be resumed. */
  calls: Schema.Array(RequestId),
  /** The progress of each subscription; `null` when that outgrew the attachment. */
  progress: Schema.NullOr(Schema.Array(Progress))
})

/** What many sockets have in common. */
const Common = Schema.Struct({
  session: Schema.Struct({ tenant: Schema.String, identity: Identity }),
  /** The subscriptions; `null` when they outgrew the attachment and are rows of a table. */
  subscriptions: Schema.NullOr(Schema.Array(Asked))
})

export type Attachment = typeof Own.Type & typeof Common.Type

const decodeOwn = Schema.decodeUnknownOption(
  Schema.Struct({ ...Own.fields, session: Schema.Unknown, subscriptions: Schema.Unknown })
)
const decodeCommon = Schema.decodeUnknownOption(Common)

/**
 * Decodes attachments; `None` for what is none. After a sleep there may be thousands: what they have in common is decoded
 * once.
 */
export const decoder = (): ((text: unknown) => Option.Option<Attachment>) => {
  const known = new Map<string, Option.Option<typeof Common.Type>>()
  return (text) =>
    Option.flatMap(decodeOwn(parse(text)), ({ session, subscriptions, ...own }) => {
      const key = JSON.stringify([session, subscriptions])
      let common = known.get(key)
      if (common === undefined) {
        common = decodeCommon({ session, subscriptions })
        known.set(key, common)
      }
      return Option.map(common, (common) => ({ ...own, ...common }))
    })
}

const parse = (text: unknown): unknown => {
  try {
    return JSON.parse(String(text))
  } catch {
    return undefined
  }
}

export const decodeAsked = Schema.decodeUnknownExit(Schema.fromJsonString(Asked))

/** The first part of a socket's attachment, which does not change. */
export const head = (id: string, session: Session): string =>
  `{"id":${JSON.stringify(id)},"session":${JSON.stringify(session)}`

export const encodeAsked = (asked: Asked): string => JSON.stringify(asked)

/** A subscription, with the texts of what does not change. */
export interface Entry {
  /** The JSON of its id. */
  readonly key: string
  /** What `encodeAsked` made of it. */
  readonly asked: string
  readonly sent: string | undefined
  readonly unacknowledged: number
  readonly waiting: boolean
}

export interface State extends Pick<Attachment, "version" | "settling"> {
  readonly calls: Iterable<string | number>
  readonly entries: ReadonlyArray<Entry>
  /** Whether the subscriptions are rows of a table already. */
  readonly spilled: boolean
}

/** The text to attach, with as much of the subscriptions as fits. */
export const encode = (head: string, state: State): { readonly text: string; readonly spilled: boolean } => {
  const { calls, entries, settling, version } = state
  const start = `${head},"version":${version},"settling":[${settling}],"calls":${JSON.stringify([...calls])}`
  const progress = `"progress":[${entries.map(progressOf).join(",")}]`
  if (!state.spilled) {
    const text = `${start},"subscriptions":[${entries.map(({ asked }) => asked).join(",")}],${progress}}`
    if (fits(text)) return { text, spilled: false }
  }
  const text = `${start},"subscriptions":null,${progress}}`
  return { text: fits(text) ? text : `${start},"subscriptions":null,"progress":null}`, spilled: true }
}

const progressOf = ({ key, sent, unacknowledged, waiting }: Entry): string =>
  `[${key},${sent === undefined ? "null" : `"${sent}"`},${unacknowledged},${waiting}]`

/** The platform counts two bytes a character, unless all of them are Latin-1, and a frame around them. */
export const fits = (text: string): boolean => text.length * 2 + 32 <= Limits.socketAttachmentBytes
