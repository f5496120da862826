/**
 * How many bytes the files of a tenant have, and those that each caller has begun.
 * All anonymous callers are one.
 */
import { FileRefused } from "../../contract/FileServices.ts"
import type { Tx } from "../../contract/Transactional.ts"
import { usageTable } from "./FileTables.ts"

/** Bytes that files may have. */
export interface FileQuota {
  readonly tenant?: number
  readonly identity?: number
}

/** The row of all files. */
const all = "*"
const keyOf = (owner: string | null): string => JSON.stringify(owner)

/** The sizes of files, in one transaction. */
export class FileUsage {
  private readonly tx: Tx
  private readonly quota: FileQuota

  constructor(tx: Tx, quota: FileQuota) {
    this.tx = tx
    this.quota = quota
  }

  /** Why there is no room for so many bytes more, if there is none. */
  refusalOf(bytes: number, owner: string | null): FileRefused | undefined {
    const { identity, tenant } = this.quota
    const isBeyond = (quota: number | undefined, key: string) => quota !== undefined && this.used(key) + bytes > quota
    const refusal = (who: string, quota: number | undefined) =>
      new FileRefused({ reason: "quota", detail: `the files of ${who} have at most ${quota} bytes` })
    if (isBeyond(tenant, all)) return refusal("the tenant", tenant)
    return isBeyond(identity, keyOf(owner)) ? refusal("the caller", identity) : undefined
  }

  /** So many bytes more, or fewer. */
  count(owner: string | null, bytes: number): void {
    const sql =
      `INSERT INTO ${usageTable} (owner, bytes) VALUES (?, ?) ` +
      "ON CONFLICT (owner) DO UPDATE SET bytes = bytes + excluded.bytes"
    for (const key of [all, keyOf(owner)]) this.tx.query(sql, [key, bytes])
  }

  private used(key: string): number {
    const [row] = this.tx.query(`SELECT bytes FROM ${usageTable} WHERE owner = ?`, [key])
    return Number(row?.[0] ?? 0)
  }
}
