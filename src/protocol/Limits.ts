/**
 * All limits: their values, units and where the numbers come from.
 * An error that reports a limit names the property here.
 */

/** The limits that an app can change. */
export interface Limits {
  /** Bytes of one HTTP body or socket message from a client. The platform accepts 32 MiB; a row holds at most 2 MB. */
  readonly requestBytes: number
  /** Requests in one HTTP batch or socket message. More would block the object's one thread for other callers. */
  readonly requestsPerBatch: number
  /**
   * Nested arrays and objects in one HTTP body or socket message. Recursion overflows the stack at a few thousand
   * levels.
   */
  readonly requestDepth: number
  /** Bytes of one encoded result. Larger results need pages. */
  readonly resultBytes: number
  /** Rows that one query or mutation can read. */
  readonly rowsRead: number
  /** Rows that one mutation can write. */
  readonly rowsWritten: number
  /** Messages of one socket that can wait in the queue while a commit is pending. */
  readonly queuedMessages: number
  /** Bytes of all messages in the queue of one object. The queue is held in the object's 128 MB of memory. */
  readonly queuedBytes: number
}

/** The default limits. `App.make({ limits })` changes them for one app. */
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

/** The limits of SQLite in a Durable Object. The memory layer enforces the same numbers. */
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

/** Bytes of one value that fit into a row beside the other columns of a table of the engine's own. */
export const storedBytes = 1_990_000

/** Bytes of one outgoing socket message. Messages near 1 MB were seen to fail; larger frames are split. */
export const socketMessageBytes = 900_000

/** Bytes of the JSON of one message of a topic: what waits for slow readers is held in the object's memory. */
export const topicMessageBytes = 128 * 1024

/** Bytes of the JSON of one changed row in a change feed, before and after: several are one message of a socket. */
export const changeBytes = 400_000

/** Bytes of one socket's attachment, which survives hibernation, including the platform's own framing. */
export const socketAttachmentBytes = 16_384

/** The message of an error that reports a limit. */
export const describe = (limit: LimitName, max: number, actual?: number): string =>
  `limit ${limit} is ${max}${actual === undefined ? "" : `, got ${actual}`}`

const encoder = new TextEncoder()

/** The size of a text in bytes of UTF-8. */
export const bytesOf = (text: string): number => encoder.encode(text).length

/** The size of a text in bytes of UTF-8, if it is more than `max`. */
export const bytesBeyond = (text: string, max: number): number | undefined => {
  // A UTF-16 unit takes at most three bytes, so a text far below the limit needs no encoding.
  if (text.length * 3 <= max) return undefined
  const bytes = bytesOf(text)
  return bytes > max ? bytes : undefined
}

/** Bytes of the JSON of one caller's identity. It is sent in a header and stored with each socket. */
export const identityBytes = 4096

/** The names of all limits. */
export type LimitName =
  | keyof Limits
  | keyof typeof sqlite
  | "socketMessageBytes"
  | "socketAttachmentBytes"
  | "identityBytes"
