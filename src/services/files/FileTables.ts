/**
 * The tables of files: what each file is, under which keys its bytes may be stored, the parts of uploads, and how much there is.
 * `ends` is when a file must be looked at next: when its upload counts as given up, or when the last bytes can be deleted.
 */
import type { FileRef } from "../../contract/FileServices.ts"
import type { InternalTable, SqlValue } from "../../contract/Transactional.ts"

/** The name of the table of files. */
export const fileTable = "_dormouse_files"

/** The name by which a write of `ends` is recorded: the alarm is then computed anew. */
export const fileEnds = `${fileTable} ends`

/** The table of files. `state` is `pending`, `ready`, or `deleted` as long as there may be bytes of it. */
export const files: InternalTable = {
  name: fileTable,
  create:
    `CREATE TABLE ${fileTable} (id TEXT PRIMARY KEY NOT NULL, bucket TEXT NOT NULL, name TEXT NOT NULL, ` +
    "type TEXT NOT NULL, bytes INTEGER NOT NULL, checksum TEXT, owner TEXT, state TEXT NOT NULL, " +
    "created INTEGER NOT NULL, expires INTEGER NOT NULL, ends INTEGER, key TEXT, partBytes INTEGER NOT NULL, " +
    "uses INTEGER NOT NULL DEFAULT 0) " +
    "WITHOUT ROWID; " +
    `CREATE INDEX ${fileTable}_by_ends ON ${fileTable} (ends) WHERE ends IS NOT NULL`
}

/** The name of the table of keys. */
export const blobTable = "_dormouse_file_blobs"

/** The keys under which bytes of a file are, or may be. `upload` names an upload in parts. */
export const blobs: InternalTable = {
  name: blobTable,
  create:
    `CREATE TABLE ${blobTable} (key TEXT PRIMARY KEY NOT NULL, file TEXT NOT NULL, upload TEXT) WITHOUT ROWID; ` +
    `CREATE INDEX ${blobTable}_by_file ON ${blobTable} (file)`
}

/** The name of the table of parts. */
export const partTable = "_dormouse_file_parts"

/**
 * The parts of uploads. The etag is empty until a part is stored. Until then the checksum is that of the bytes which the client may send
 * to the store itself, and empty once they come through the Worker.
 */
export const parts: InternalTable = {
  name: partTable,
  create:
    `CREATE TABLE ${partTable} (key TEXT NOT NULL, part INTEGER NOT NULL, etag TEXT NOT NULL, checksum TEXT NOT NULL, ` +
    "PRIMARY KEY (key, part)) WITHOUT ROWID"
}

/** The name of the table of sizes. */
export const usageTable = "_dormouse_file_usage"

/** The bytes of all files, and of those of each owner. */
export const usage: InternalTable = {
  name: usageTable,
  create: `CREATE TABLE ${usageTable} (owner TEXT PRIMARY KEY NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID`
}

/** The name of the table of the secret. */
export const secretTable = "_dormouse_file_secret"

/** What URLs are signed with. */
export const secret: InternalTable = {
  name: secretTable,
  create: `CREATE TABLE ${secretTable} (id INTEGER PRIMARY KEY CHECK (id = 1), secret TEXT NOT NULL)`
}

/** A row of the table of files. */
export interface FileRow {
  readonly id: FileRef
  readonly bucket: string
  readonly name: string
  readonly type: string
  readonly bytes: number
  readonly checksum: string | null
  readonly owner: string | null
  readonly state: "pending" | "ready" | "deleted"
  readonly created: number
  /** The end of the upload. */
  readonly expires: number
  readonly ends: number | null
  /** Where the bytes of a file are that is ready. */
  readonly key: string | null
  /** Bytes of its parts: those of the bucket when its upload began. */
  readonly partBytes: number
  /** Rows of the app that name it in a column of its bucket. */
  readonly uses: number
}

/** The columns of `toRow`. */
export const fileColumns =
  "id, bucket, name, type, bytes, checksum, owner, state, created, expires, ends, key, partBytes, uses"

/** Reads a row. Only `TransactionFiles` writes them. */
export const toRow = (row: ReadonlyArray<SqlValue>): FileRow => {
  const [id, bucket, name, type, bytes, checksum, owner, state, created, expires, ends, key, partBytes, uses] =
    row as ReadonlyArray<any>
  return { id, bucket, name, type, bytes, checksum, owner, state, created, expires, ends, key, partBytes, uses }
}
