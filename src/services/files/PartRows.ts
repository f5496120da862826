/**
 * The rows of the parts of uploads, in one transaction.
 * Which parts are stored, which a client may store itself, and which come through the Worker: see `parts` in `FileTables.ts`.
 */
import type { FileRef } from "../../contract/FileServices.ts"
import type { Tx } from "../../contract/Transactional.ts"
import type { StoredPart } from "../Blobs.ts"
import { blobTable, partTable } from "./FileTables.ts"

/** A part, as its row says. */
export interface PartRow extends StoredPart {
  readonly checksum: string
}

/** The parts of uploads. */
export class PartRows {
  private readonly tx: Tx

  constructor(tx: Tx) {
    this.tx = tx
  }

  /** What is known of a part. */
  find(key: string, part: number): PartRow | undefined {
    const sql = `SELECT etag, checksum FROM ${partTable} WHERE key = ? AND part = ?`
    const [row] = this.tx.query(sql, [key, part])
    return row && { part, etag: String(row[0]), checksum: String(row[1]) }
  }

  /** The parts of a file that are stored, in their order. */
  storedOf(file: FileRef): ReadonlyArray<PartRow> {
    const sql =
      `SELECT p.part, p.etag, p.checksum FROM ${blobTable} AS b JOIN ${partTable} AS p ON p.key = b.key ` +
      "WHERE b.file = ? AND p.etag <> '' ORDER BY p.part"
    return this.tx
      .query(sql, [file])
      .map(([part, etag, checksum]) => ({ part: Number(part), etag: String(etag), checksum: String(checksum) }))
  }

  set(key: string, { checksum, etag, part }: PartRow): void {
    const sql = `INSERT OR REPLACE INTO ${partTable} (key, part, etag, checksum) VALUES (?, ?, ?, ?)`
    this.tx.query(sql, [key, part, etag, checksum])
  }

  /** A client may store these bytes itself. */
  promise(key: string, part: number, checksum: string): void {
    this.set(key, { part, etag: "", checksum })
  }

  /** A part that is not stored comes through the Worker now. */
  claim(key: string, part: number): void {
    if (!this.find(key, part)?.etag) this.set(key, { part, etag: "", checksum: "" })
  }

  /** All parts are sent again. Their bytes are still there, and clients may still store the same: they come through the Worker now. */
  restart(key: string): void {
    this.tx.query(`UPDATE ${partTable} SET etag = '', checksum = '' WHERE key = ?`, [key])
  }

  /** Nothing is left of the parts. */
  remove(key: string): void {
    this.tx.query(`DELETE FROM ${partTable} WHERE key = ?`, [key])
  }
}
