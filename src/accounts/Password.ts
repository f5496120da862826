/**
 * Hashes of passwords: scrypt, with its parameters in the text of the hash (PHC format).
 * One hash takes a large part of a second and much memory, so it is made in an action, never in a transaction.
 */
import { scrypt } from "@noble/hashes/scrypt.js"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Secrets from "./Secrets.ts"

/** What one hash costs. It takes `128 * 2 ** ln * r` bytes of memory, and time in proportion to `p` times that. */
export interface Cost {
  /** The logarithm of scrypt's N. */
  readonly ln: number
  readonly r: number
  readonly p: number
}

/**
 * 16 MiB, five times: one of the settings that OWASP's Password Storage Cheat Sheet holds equal. An isolate of workerd has
 * 128 MB for everything.
 */
export const defaultCost: Cost = { ln: 14, r: 8, p: 5 }

/** What a stored hash may ask for at most: hashes come from the database, but a mistake must not end the isolate. */
const maxBytes = 64 * 1024 * 1024

const saltBytes = 16
const hashBytes = 32
/** No password is longer, in bytes of UTF-8. */
export const maxPasswordBytes = 1024

/** Why a password cannot be chosen. */
export type Problem = "short" | "long" | "name"

/** The form in which a password is hashed: the same on all keyboards and systems. */
const normalize = (password: Redacted.Redacted<string>): string => Redacted.value(password).normalize("NFKC")

/**
 * Why a password cannot be chosen, if it cannot. There are no rules of composition (NIST SP 800-63B): only lengths, and that it is
 * not the name.
 */
export const problemOf = (
  password: Redacted.Redacted<string>,
  { minimumLength, name }: { readonly minimumLength: number; readonly name: string }
): Problem | undefined => {
  const text = normalize(password)
  if (isTooLong(text)) return "long"
  if ([...text].length < minimumLength) return "short"
  return text.toLowerCase() === name.normalize("NFKC").toLowerCase() ? "name" : undefined
}

const isTooLong = (text: string): boolean => new TextEncoder().encode(text).length > maxPasswordBytes

const phc = ({ ln, p, r }: Cost, salt: Uint8Array, hash: Uint8Array): string =>
  `$scrypt$ln=${ln},r=${r},p=${p}$${unpadded(salt)}$${unpadded(hash)}`

const unpadded = (bytes: Uint8Array): string => Base64.encode(bytes).replace(/=+$/, "")

const padded = (text: string): string => text + "=".repeat((4 - (text.length % 4)) % 4)

const format = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/

interface Parsed {
  readonly cost: Cost
  readonly salt: Uint8Array
  readonly hash: string
}

/** The parts of a hash, or `undefined` for a text that is no hash of ours. */
export const parse = (text: string): Parsed | undefined => {
  const [, ln, r, p, salt, hash] = format.exec(text) ?? []
  if (salt === undefined || hash === undefined) return undefined
  const cost = { ln: Number(ln), r: Number(r), p: Number(p) }
  const bytes = Result.getOrUndefined(Base64.decode(padded(salt)))
  if (bytes === undefined || cost.ln < 1 || cost.p < 1 || 128 * 2 ** cost.ln * cost.r > maxBytes) return undefined
  return { cost, salt: bytes, hash }
}

const compute = (text: string, salt: Uint8Array, { ln, p, r }: Cost): Effect.Effect<Uint8Array> =>
  Effect.sync(() => scrypt(text, salt, { N: 2 ** ln, r, p, dkLen: hashBytes }))

/** Hashes a password under a new salt. */
export const hash = (password: Redacted.Redacted<string>, cost: Cost): Effect.Effect<string> =>
  Effect.gen(function* () {
    const salt = yield* Secrets.randomBytes(saltBytes)
    return phc(cost, salt, yield* compute(normalize(password), salt, cost))
  })

/** The salt of the hash that is computed when there is none to compare with. */
const noSalt = new Uint8Array(saltBytes)

/**
 * Whether the password is the one that was hashed. Without a hash, because the name is unknown, the same work is done for
 * nothing: otherwise the time of the answer would say which names exist.
 */
export const verify = (
  password: Redacted.Redacted<string>,
  stored: string | undefined,
  cost: Cost
): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    const parsed = stored === undefined ? undefined : parse(stored)
    const normalized = normalize(password)
    const text = isTooLong(normalized) ? "" : normalized
    const bytes = yield* compute(text, parsed?.salt ?? noSalt, parsed?.cost ?? cost)
    const isEqual = Secrets.equal(unpadded(bytes), parsed?.hash ?? "")
    return isEqual && parsed !== undefined && text === normalized
  })

/** Whether a hash was made with other parameters, and should be made again when the password is known. */
export const isOutdated = (stored: string, { ln, p, r }: Cost): boolean =>
  !stored.startsWith(`$scrypt$ln=${ln},r=${r},p=${p}$`)
