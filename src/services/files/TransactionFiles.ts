/**
 * Files in one transaction: their rows, the URLs that handlers give out, and how uploads go on.
 * Every key is in a row before anything is stored under it, so that no bytes are forgotten, whatever crashes (FI2).
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { BucketSettings } from "../../contract/Bucket.ts"
import { bytesOfPart, checksumOf, countParts } from "../../contract/FileParts.ts"
import {
  FileInfo,
  type FileRef,
  type NewFile,
  NoSuchFile,
  type Upload,
  type UploadStatus,
  type UrlSettings
} from "../../contract/FileServices.ts"
import type { Place } from "../../contract/Files.ts"
import type { Tx } from "../../contract/Transactional.ts"
import type { StoredPart } from "../Blobs.ts"
import { refusalOf } from "./FileDecisions.ts"
import { randomName, type Signed } from "./FileSignatures.ts"
import { blobTable, type FileRow, fileColumns, fileEnds, fileTable, toRow } from "./FileTables.ts"
import { FileUrls } from "./FileUrls.ts"
import { type FileQuota, FileUsage } from "./FileUsage.ts"
import { type PartRow, PartRows } from "./PartRows.ts"

/** What the files of an object are made with. */
export interface FileSettings {
  readonly buckets: ReadonlyMap<string, BucketSettings>
  readonly quota: FileQuota
  readonly place: () => Place
  /** The buckets whose files belong to rows of the app. */
  readonly owned: ReadonlySet<string>
  /** Has bytes deleted after the commit. */
  readonly removeBlobs: (tx: Tx, removal: BlobRemoval) => void
}

/** A key, and the name of the upload in parts that may be under way there. */
export interface BlobKey {
  readonly key: string
  readonly upload: string | null
}

/** Bytes that are to be deleted, and what is forgotten then: their keys, or the file as well. Keys under which bytes may still come are kept. */
export interface BlobRemoval {
  readonly file: FileRef
  readonly blobs: ReadonlyArray<BlobKey>
  readonly forget: "nothing" | "keys" | "file"
}

/** The signature of a URL of an upload. */
export interface UploadUrl {
  readonly file: FileRef
  readonly expires: number
  readonly signature: string
}

/** Where the bytes of a part are to be stored. */
export interface Admitted extends BlobKey {
  readonly bytes: number
  /** Whether this part is the whole file, which is stored at once. */
  readonly isWhole: boolean
}

/** Where a client may store a part itself. */
export interface Presignable {
  readonly key: string
  /** Null when the upload has to be begun. */
  readonly upload: string | null
  readonly bytes: number
  /** The end of the upload. Milliseconds since the epoch. */
  readonly expires: number
}

/** How far an upload is, and the parts that make it complete, once all are there. */
export interface Progress {
  readonly status: UploadStatus
  readonly complete: (BlobKey & { readonly parts: ReadonlyArray<StoredPart>; readonly bytes: number }) | null
  /** Whether the parts do not have the checksum that was declared. They were forgotten. */
  readonly isWrong: boolean
}

/** What a download needs to know. */
export interface Located {
  readonly key: string
  readonly name: string
  readonly type: string
  readonly bytes: number
  readonly checksum: string
  readonly isPublic: boolean
  readonly disposition: "inline" | "attachment"
  /** When the URL ends, in milliseconds since the epoch; null for one that does not. */
  readonly expires: number | null
}

/** A request for a file is refused: the status, and why. */
export interface Refusal {
  readonly status: number
  readonly detail: string
}

/** Milliseconds after the end of an upload in which one of its requests may still be under way. */
const grace = 60 * 60 * 1000

/** Milliseconds after which bytes are deleted again whose deletion has not succeeded. */
const again = 24 * 60 * 60 * 1000

/** Requests that may store the bytes of one file at the same time, or were cut. */
const maxAttempts = 200

/** Files that one sweep looks at. */
const filesPerSweep = 50

const refused = (status: number, detail: string): Effect.Effect<never, Refusal> => Effect.fail({ status, detail })
const noFile = refused(404, "there is no such file")

/** The files of one transaction. */
export class TransactionFiles {
  private readonly tx: Tx
  private readonly settings: FileSettings
  private readonly urls: FileUrls
  private readonly usage: FileUsage
  private readonly parts: PartRows

  constructor(tx: Tx, settings: FileSettings) {
    this.tx = tx
    this.settings = settings
    this.urls = new FileUrls(tx, settings.place)
    this.usage = new FileUsage(tx, settings.quota)
    this.parts = new PartRows(tx)
  }

  // --- what handlers do

  readonly find = (bucket: string, file: FileRef): Effect.Effect<Option.Option<FileInfo>> =>
    Effect.sync(() => Option.fromUndefinedOr(this.row(file, bucket)).pipe(Option.map(toInfo)))

  readonly url = (bucket: string, file: FileRef, { disposition, lifetime }: UrlSettings) =>
    Effect.suspend(() => {
      const row = this.row(file, bucket)
      if (row?.state !== "ready") return Effect.fail(new NoSuchFile({ file }))
      const urlUntil = (expires?: number) => this.urls.ofDownload(file, row.name, disposition, expires)
      if (this.bucket(bucket).isPublic) return Effect.succeed(urlUntil())
      if (!(lifetime > 0 && Number.isFinite(lifetime))) throw new Error("expires must be a time that ends")
      return Effect.map(
        Effect.clockWith(({ currentTimeMillis }) => currentTimeMillis),
        (now) => urlUntil(Math.ceil((Math.ceil(now / lifetime) + 1) * lifetime))
      )
    })

  readonly begin = (bucket: string, file: NewFile, owner: string | null) =>
    Effect.suspend(() => {
      const { tx } = this
      const settings = this.bucket(bucket)
      const refusal = refusalOf(settings, file) ?? this.usage.refusalOf(file.bytes, owner)
      if (refusal !== undefined) return Effect.fail(refusal)
      if (tx.readOnly) throw new Error("a query cannot begin an upload: make it a mutation")
      const id = randomName(16) as FileRef
      const expires = tx.now + settings.uploadTimeout
      const { bytes, checksum, name, type } = file
      tx.query(
        `INSERT INTO ${fileTable} (id, bucket, name, type, bytes, checksum, owner, state, created, expires, ends, ` +
          "partBytes) VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?)",
        [id, bucket, name, type, bytes, checksum ?? null, owner, tx.now, expires, expires + grace, settings.partBytes]
      )
      this.wrote(id, true)
      this.usage.count(owner, bytes)
      const url = this.urls.ofUpload(id, expires)
      return Effect.succeed<Upload>({ file: id, url, bytes, partBytes: settings.partBytes, expires })
    })

  readonly remove = (bucket: string, file: FileRef): Effect.Effect<boolean> =>
    Effect.sync(() => {
      const row = this.row(file, bucket)
      if (row === undefined) return false
      this.delete(row)
      return true
    })

  /** So many rows more, or fewer, name a file. It is deleted with the last of them. Returns whether there is such a file. */
  use(bucket: string, file: FileRef, by: number): boolean {
    const row = this.row(file, bucket)
    if (row === undefined) return false
    if (by === 0) return true
    const uses = row.uses + by
    if (uses <= 0 && by < 0) this.delete(row)
    else this.tx.query(`UPDATE ${fileTable} SET uses = ? WHERE id = ?`, [uses, file])
    return true
  }

  // --- what the Worker does

  /** The file that a URL is for. */
  readonly locate = (
    file: FileRef,
    signed: { readonly use: "inline" | "attachment"; readonly expires: number; readonly signature: string } | undefined,
    disposition: "inline" | "attachment"
  ): Effect.Effect<Located, Refusal> =>
    Effect.suspend(() => {
      if (signed !== undefined) {
        const problem = this.problemOf({ ...signed, file }, signed.signature)
        if (problem !== undefined) return problem
      }
      const row = this.row(file)
      if (row === undefined || row.state !== "ready" || row.key === null || row.checksum === null) return noFile
      const isPublic = this.settings.buckets.get(row.bucket)?.isPublic === true
      // Whoever has no signature does not learn which files there are.
      if (signed === undefined && !isPublic) return noFile
      const { bytes, checksum, key, name, type } = row
      const how = signed?.use ?? disposition
      const expires = signed?.expires ?? null
      return Effect.succeed({ key, name, type, bytes, checksum, isPublic, disposition: how, expires })
    })

  /** How far an upload is. */
  readonly status = (url: UploadUrl): Effect.Effect<UploadStatus, Refusal> =>
    Effect.suspend(
      () => this.uploadProblem(url) ?? this.withUpload(url.file, (row) => Effect.succeed(this.statusOf(row)))
    )

  /**
   * Lets a part be stored by the Worker, or refuses it. `isDirect` says that clients may store parts themselves: no longer this one,
   * since nobody could tell then which bytes were stored last.
   */
  readonly admit = (
    url: UploadUrl,
    part: number,
    length: number | null,
    isDirect: boolean
  ): Effect.Effect<Admitted, Refusal> =>
    this.withPart(url, part, (row, bytes) => {
      if (length !== null && length !== bytes)
        return refused(length > bytes ? 413 : 400, `part ${part} has ${bytes} bytes, got ${length}`)
      const isWhole = bytes === row.bytes
      return Effect.map(this.keyOf(row, isWhole), (blob) => {
        if (isDirect && !isWhole) this.parts.claim(blob.key, part)
        return { ...blob, bytes, isWhole }
      })
    })

  /** Lets a client store a part itself, with the bytes of this checksum and no others. */
  readonly presign = (url: UploadUrl, part: number, checksum: string): Effect.Effect<Presignable, Refusal> =>
    this.withPart(url, part, (row, bytes) => {
      if (bytes === row.bytes) return refused(409, "a file of one part is sent here")
      return Effect.flatMap(this.keyOf(row, false), (blob) => {
        const known = this.parts.find(blob.key, part)
        if (known !== undefined && (known.etag !== "" || known.checksum !== checksum))
          return refused(409, "the part was sent before, or with other bytes: send it here")
        this.parts.promise(blob.key, part, checksum)
        return Effect.succeed({ ...blob, bytes, expires: row.expires })
      })
    })

  /** A client has stored a part itself. The store does not complete the upload unless this is its etag. */
  readonly sent = (url: UploadUrl, part: number, etag: string): Effect.Effect<Progress, Refusal> =>
    this.withPart(url, part, (row) => {
      const [blob] = this.blobsOf(row.id)
      const known = blob && this.parts.find(blob.key, part)
      if (blob === undefined || known === undefined || known.checksum === "")
        return refused(409, "the part was not to be sent to the store")
      if (known.etag === "") this.parts.set(blob.key, { ...known, etag })
      return Effect.succeed(this.progressOf(row))
    })

  /** An upload in parts has begun. Returns the one that holds, which another request may have begun before. */
  readonly started = (key: string, upload: string): Effect.Effect<string, Refusal> =>
    Effect.suspend(() => {
      this.tx.query(`UPDATE ${blobTable} SET upload = ? WHERE key = ? AND upload IS NULL`, [upload, key])
      const [row] = this.tx.query(`SELECT upload FROM ${blobTable} WHERE key = ?`, [key])
      return row === undefined ? noFile : Effect.succeed(String(row[0]))
    })

  /** A part was stored. */
  readonly stored = (file: FileRef, key: string, { checksum, etag, part }: PartRow): Effect.Effect<Progress, Refusal> =>
    Effect.suspend(() =>
      this.withUpload(file, (row) => {
        const isKnown = this.blobsOf(file).some((blob) => blob.key === key)
        if (row.state === "ready" || !isKnown) return refused(409, "the file is complete")
        if (countParts(row.bytes, row.partBytes) === 1) {
          if (row.checksum !== null && row.checksum !== checksum)
            return Effect.succeed({ status: this.statusOf(row), complete: null, isWrong: true })
          this.becomeReady(row, key, checksum)
          return Effect.succeed({ status: ready, complete: null, isWrong: false })
        }
        this.parts.set(key, { part, etag, checksum })
        return Effect.succeed(this.progressOf(row))
      })
    )

  /** What is left to do of an upload. */
  readonly progress = (url: UploadUrl): Effect.Effect<Progress, Refusal> =>
    Effect.suspend(
      () => this.uploadProblem(url) ?? this.withUpload(url.file, (row) => Effect.succeed(this.progressOf(row)))
    )

  /** All parts are one blob now. */
  readonly completed = (file: FileRef, key: string): Effect.Effect<UploadStatus, Refusal> =>
    Effect.suspend(() =>
      this.withUpload(file, (row) => {
        if (row.state === "ready") return row.key === key ? Effect.succeed(ready) : refused(409, "the file is complete")
        const { checksums, isComplete } = this.storedParts(row)
        if (!isComplete) return refused(409, "a part is missing")
        this.becomeReady(row, key, checksumOf(checksums))
        return Effect.succeed(ready)
      })
    )

  /** The store has other parts than those that are recorded: all are sent again. */
  readonly restart = (file: FileRef, key: string): Effect.Effect<UploadStatus, Refusal> =>
    Effect.suspend(() =>
      this.withUpload(file, (row) => {
        if (row.state === "ready") return Effect.succeed(ready)
        this.parts.restart(key)
        return Effect.succeed(pending([]))
      })
    )

  /** Gives an upload up. */
  readonly cancel = (url: UploadUrl): Effect.Effect<void, Refusal> =>
    Effect.suspend(
      () =>
        this.uploadProblem(url) ??
        this.withUpload(url.file, (row) => {
          if (row.state === "ready") return refused(409, "the file is complete")
          this.delete(row)
          return Effect.void
        })
    )

  /** Bytes are deleted: nothing is left under these keys. */
  readonly forget = (file: FileRef, keys: ReadonlyArray<string>, isFile: boolean): Effect.Effect<void> =>
    Effect.sync(() => {
      for (const key of keys) {
        this.parts.remove(key)
        this.tx.query(`DELETE FROM ${blobTable} WHERE key = ?`, [key])
      }
      if (!isFile) return
      this.tx.query(`DELETE FROM ${fileTable} WHERE id = ? AND state = 'deleted'`, [file])
      this.wrote(file, true)
    })

  /** Looks at files whose time has come: uploads that were given up, and bytes that can be deleted now. */
  sweep(): void {
    const { now } = this.tx
    const sql = `SELECT ${fileColumns} FROM ${fileTable} WHERE ends <= ? ORDER BY ends LIMIT ?`
    for (const row of this.tx.query(sql, [now, filesPerSweep]).map(toRow)) {
      // Its upload was given up, or no row has come to name it.
      if (row.state === "pending" || (row.state === "ready" && !this.isKept(row))) {
        this.delete(row)
        continue
      }
      const isReady = row.state === "ready"
      const blobs = this.blobsOf(row.id).filter(({ key }) => !isReady || key !== row.key)
      this.end(row.id, isReady ? null : now + again)
      if (isReady && blobs.length === 0) continue
      this.settings.removeBlobs(this.tx, { file: row.id, blobs, forget: isReady ? "keys" : "file" })
    }
  }

  // --- rows

  /** A file that is there. */
  private row(file: FileRef, bucket?: string): FileRow | undefined {
    this.tx.recordRead(fileTable, file)
    const [found] = this.tx.query(`SELECT ${fileColumns} FROM ${fileTable} WHERE id = ?`, [file])
    const row = found && toRow(found)
    return row === undefined || row.state === "deleted" || (bucket !== undefined && row.bucket !== bucket)
      ? undefined
      : row
  }

  private bucket(name: string): BucketSettings {
    const settings = this.settings.buckets.get(name)
    if (settings === undefined) throw new Error(`the app has no bucket ${name}: add it to Files.make({ buckets })`)
    return settings
  }

  private wrote(file: FileRef, hasEnd = false): void {
    this.tx.recordWrite(fileTable, file)
    if (hasEnd) this.tx.recordWrite(fileEnds)
  }

  /** Sets when a file must be looked at again. */
  private end(file: FileRef, ends: number | null): void {
    this.tx.query(`UPDATE ${fileTable} SET ends = ? WHERE id = ?`, [ends, file])
    this.wrote(file, true)
  }

  private blobsOf(file: FileRef): ReadonlyArray<BlobKey> {
    return this.tx
      .query(`SELECT key, upload FROM ${blobTable} WHERE file = ?`, [file])
      .map(([key, upload]) => ({ key: String(key), upload: upload === null ? null : String(upload) }))
  }

  private delete(row: FileRow): void {
    if (this.tx.readOnly) throw new Error("a query cannot delete a file: make it a mutation")
    const blobs = this.blobsOf(row.id)
    this.usage.count(row.owner, -row.bytes)
    if (blobs.length === 0) {
      this.tx.query(`DELETE FROM ${fileTable} WHERE id = ?`, [row.id])
      return this.wrote(row.id, true)
    }
    // Requests that began before may still store bytes under the other keys: they are deleted once more when none can.
    const isSettled = blobs.every(({ key }) => key === row.key) || this.tx.now >= row.expires + grace
    this.tx.query(`UPDATE ${fileTable} SET state = 'deleted' WHERE id = ?`, [row.id])
    this.end(row.id, isSettled ? this.tx.now + again : row.expires + grace)
    this.settings.removeBlobs(this.tx, { file: row.id, blobs, forget: isSettled ? "file" : "nothing" })
  }

  private becomeReady(row: FileRow, key: string, checksum: string): void {
    const sql = `UPDATE ${fileTable} SET state = 'ready', key = ?, checksum = ? WHERE id = ?`
    this.tx.query(sql, [key, checksum, row.id])
    if (this.isKept(row) && this.blobsOf(row.id).length === 1) this.end(row.id, null)
    else this.wrote(row.id)
  }

  /** Whether a file stays. One of a bucket whose files belong to rows, and that no row names, ends with the time of its upload. */
  private isKept({ bucket, uses }: FileRow): boolean {
    return !this.settings.owned.has(bucket) || uses > 0
  }

  // --- parts

  private withUpload<A>(file: FileRef, body: (row: FileRow) => Effect.Effect<A, Refusal>): Effect.Effect<A, Refusal> {
    const row = this.row(file)
    return row === undefined ? noFile : body(row)
  }

  /** What concerns a part of an upload that is not complete. */
  private withPart<A>(
    url: UploadUrl,
    part: number,
    body: (row: FileRow, bytes: number) => Effect.Effect<A, Refusal>
  ): Effect.Effect<A, Refusal> {
    return Effect.suspend(
      () =>
        this.uploadProblem(url) ??
        this.withUpload(url.file, (row) => {
          if (row.state === "ready") return refused(409, "the file is complete")
          const bytes = bytesOfPart(row.bytes, row.partBytes, part)
          if (bytes === undefined) return refused(400, `the file has ${countParts(row.bytes, row.partBytes)} parts`)
          return body(row, bytes)
        })
    )
  }

  /** The key of an upload. Each attempt to store a whole file has one of its own. */
  private keyOf(row: FileRow, isWhole: boolean): Effect.Effect<BlobKey, Refusal> {
    const blobs = this.blobsOf(row.id)
    const [known] = blobs
    if (!isWhole && known !== undefined) return Effect.succeed(known)
    if (blobs.length >= maxAttempts) return refused(429, "the file was sent too often")
    const { object, tenant } = this.settings.place()
    const key = `${object ?? tenant}/${row.id}/${randomName(9)}`
    this.tx.query(`INSERT INTO ${blobTable} (key, file) VALUES (?, ?)`, [key, row.id])
    return Effect.succeed({ key, upload: null })
  }

  private storedParts(row: FileRow) {
    const parts = this.parts.storedOf(row.id)
    return {
      parts: parts.map(({ etag, part }) => ({ part, etag })),
      checksums: parts.map(({ checksum }) => checksum),
      isComplete: parts.length === countParts(row.bytes, row.partBytes)
    }
  }

  private statusOf(row: FileRow): UploadStatus {
    return row.state === "ready" ? ready : pending(this.storedParts(row).parts)
  }

  private progressOf(row: FileRow): Progress {
    if (row.state === "ready") return { status: ready, complete: null, isWrong: false }
    const [blob] = this.blobsOf(row.id)
    const { checksums, isComplete, parts } = this.storedParts(row)
    const status = pending(parts)
    if (blob === undefined || !isComplete) return { status, complete: null, isWrong: false }
    if (row.checksum !== null && row.checksum !== checksumOf(checksums)) {
      this.parts.restart(blob.key)
      return { status: pending([]), complete: null, isWrong: true }
    }
    return { status, complete: { ...blob, parts, bytes: row.bytes }, isWrong: false }
  }

  // --- URLs

  /** Why a signed request is refused, if it is. */
  private problemOf(signed: Signed, signature: string): Effect.Effect<never, Refusal> | undefined {
    const problem = this.urls.problemOf(signed, signature)
    return problem === undefined ? undefined : refused(403, problem)
  }

  private uploadProblem({ signature, ...signed }: UploadUrl): Effect.Effect<never, Refusal> | undefined {
    return this.problemOf({ ...signed, use: "upload" }, signature)
  }
}

const ready: UploadStatus = { state: "ready", parts: [] }
const pending = (parts: ReadonlyArray<StoredPart>): UploadStatus => ({
  state: "pending",
  parts: parts.map(({ part }) => part)
})

const toInfo = ({ bucket, bytes, checksum, created, id, name, owner, state, type }: FileRow): FileInfo =>
  FileInfo.make({
    file: id,
    bucket,
    name,
    type,
    bytes,
    checksum: state === "ready" ? checksum : null,
    owner,
    state: state === "ready" ? "ready" : "pending",
    createdAt: DateTime.makeUnsafe(created)
  })
