/**
 * Every limit a caller or an author can meet, its value, its unit and where the number comes from. An error that reports
 * a limit names the property below, so that a message can be looked up here.
 */
export interface Limits {
  /** Bytes of one HTTP body or one socket message from a client. The platform accepts 32 MiB; rows hold at most 2 MB. */
  readonly requestBytes: number
  /** Requests in one HTTP batch or socket message. More would keep the one thread of an object from everybody else. */
  readonly requestsPerBatch: number
  /**
   * Levels of arrays and objects in one HTTP body or socket message. What walks a value would overflow its stack at a few
   * thousand.
   */
  readonly requestDepth: number
  /** Bytes of one encoded result. Larger results belong on pages. */
  readonly resultBytes: number
  /** Rows that one query or mutation may read. */
  readonly rowsRead: number
  /** Rows that one mutation may write. */
  readonly rowsWritten: number
  /** Messages of one socket that may wait while a commit is on its way. */
  readonly queuedMessages: number
  /** Characters of all messages that may wait in one object. They are kept in its 128 MB of memory. */
  readonly queuedBytes: number
}

/** The defaults; `App.make({ limits })` changes them for one app. */
export const defaults: Limits = {
  requestBytes: 4 * 1024 * 1024,
  requestsPerBatch: 100,
  requestDepth: 256,
  resultBytes: 8 * 1024 * 1024,
  rowsRead: 50_000,
  rowsWritten: 10_000,
  queuedMessages: 1000,
  queuedBytes: 16 * 1024 * 1024
}

/** What SQLite in a Durable Object allows. The memory layer holds itself to the same numbers. */
export const sqlite = {
  /** Bound parameters of one statement. */
  boundParameters: 100,
  /** Bytes of one string, blob or row. */
  rowBytes: 2_000_000,
  /** Columns of one table. */
  columns: 100,
  /** Bytes of the text of one statement. */
  statementBytes: 100_000,
  /** Bytes of a LIKE or GLOB pattern. */
  likePatternBytes: 50
} as const

/** Bytes of one outgoing socket message; frames near 1 MB were seen to fail, so larger ones are split. */
export const socketMessageBytes = 900_000

/** Bytes of what one socket may remember across hibernation, the platform's own framing included. */
export const socketAttachmentBytes = 16_384

/** What a refusal says about a limit. */
export const describe = (limit: LimitName, max: number, actual?: number): string =>
  `limit ${limit} is ${max}${actual === undefined ? "" : `, got ${actual}`}`

const encoder = new TextEncoder()

/** The bytes of a text on the wire, in UTF-8, when they are more than `max`. */
export const bytesBeyond = (text: string, max: number): number | undefined => {
  // A unit of UTF-16 takes three bytes at most: the texts that are far from the limit need no counting.
  if (text.length * 3 <= max) return undefined
  const bytes = encoder.encode(text).length
  return bytes > max ? bytes : undefined
}

/** Bytes of the JSON of one caller's identity. It travels in a header and is remembered with each socket. */
export const identityBytes = 4096

export type LimitName =
  | keyof Limits
  | keyof typeof sqlite
  | "socketMessageBytes"
  | "socketAttachmentBytes"
  | "identityBytes"
