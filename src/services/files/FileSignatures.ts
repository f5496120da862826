/**
 * Signs the URLs of files with a secret of the object.
 * A signature is for one use of one file until one time.
 */
import { hmac } from "@noble/hashes/hmac.js"
import { sha256 } from "@noble/hashes/sha2.js"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Base64Url from "effect/encoding/Base64Url"
import { equal } from "../EqualTexts.ts"

const utf8 = new TextEncoder()

/** A text of so many random bytes, which nobody can guess. */
export const randomName = (bytes: number): string => Base64Url.encode(SecureRandom.randomBytesUnsafe(bytes))

/** What a URL is for. */
export interface Signed {
  readonly use: "upload" | "inline" | "attachment"
  readonly file: string
  /** Milliseconds since the epoch. */
  readonly expires: number
}

/** The signature of a URL. */
export const sign = (secret: string, { expires, file, use }: Signed): string =>
  Base64Url.encode(hmac(sha256, utf8.encode(secret), utf8.encode(JSON.stringify([use, file, expires]))))

/** Whether a signature is that of a URL. */
export const isSigned = (secret: string, signed: Signed, signature: string): boolean =>
  equal(sign(secret, signed), signature)
