/**
 * The URLs of files in one transaction: their paths, and signatures with the secret of the object.
 * The first upload makes the secret, so that an object without files has no row for it.
 */
import type { FileRef } from "../../contract/FileServices.ts"
import { filesPath, type Place } from "../../contract/Files.ts"
import type { Tx } from "../../contract/Transactional.ts"
import { isSigned, randomName, type Signed, sign } from "./FileSignatures.ts"
import { secretTable } from "./FileTables.ts"

/** The URLs of files. */
export class FileUrls {
  private readonly tx: Tx
  private readonly place: () => Place

  constructor(tx: Tx, place: () => Place) {
    this.tx = tx
    this.place = place
  }

  /** Where an upload is sent to. */
  ofUpload(file: FileRef, expires: number): string {
    if (this.secret() === undefined)
      this.tx.query(`INSERT INTO ${secretTable} (id, secret) VALUES (1, ?)`, [randomName(32)])
    return this.signed(this.pathOf(file), { use: "upload", file, expires })
  }

  /** The URL of a file, until some time if one is given. */
  ofDownload(file: FileRef, name: string, use: "inline" | "attachment", expires: number | undefined): string {
    const path = this.pathOf(file, name)
    if (expires !== undefined) return this.signed(path, { use, file, expires })
    return use === "inline" ? path : withParameters(path, { disposition: use })
  }

  /** Why a signature is not accepted, if it is not. */
  problemOf(signed: Signed, signature: string): string | undefined {
    const secret = this.secret()
    if (secret === undefined || !isSigned(secret, signed, signature)) return "the URL is not signed"
    return signed.expires <= this.tx.now ? "the URL has expired" : undefined
  }

  private secret(): string | undefined {
    const [row] = this.tx.query(`SELECT secret FROM ${secretTable}`)
    return row === undefined ? undefined : String(row[0])
  }

  private signed(path: string, signed: Signed): string {
    const secret = this.secret()
    // The first upload has made it.
    if (secret === undefined) throw new Error("there is nothing to sign URLs with")
    const { expires, use } = signed
    const disposition = use === "attachment" ? { disposition: use } : {}
    return withParameters(path, { ...disposition, expires: String(expires), signature: sign(secret, signed) })
  }

  private pathOf(file: FileRef, name?: string): string {
    const { object, tenant } = this.place()
    const path = `${filesPath}${tenant}/${file}${name === undefined ? "" : `/${encodeURIComponent(name)}`}`
    return object === undefined || object === tenant ? path : withParameters(path, { object })
  }
}

const withParameters = (path: string, parameters: Record<string, string>): string =>
  `${path}${path.includes("?") ? "&" : "?"}${new URLSearchParams(parameters)}`
