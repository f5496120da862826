/**
 * Random secrets, their hashes, and what is derived from them.
 * All but the random bytes is synchronous and pure, so that transactions can use it as well.
 */
import { hmac } from "@noble/hashes/hmac.js"
import { sha256 } from "@noble/hashes/sha2.js"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"

export { equal } from "../services/EqualTexts.ts"

const utf8 = new TextEncoder()

/** Bytes that nobody can predict. */
export const randomBytes = (size: number): Effect.Effect<Uint8Array> =>
  Effect.sync(() => SecureRandom.randomBytesUnsafe(size))

/** A random text of 256 bits. */
export const randomText: Effect.Effect<string> = Effect.map(randomBytes(32), (bytes) => Base64Url.encode(bytes))

/** The hash under which a secret is stored. The secret is random, so that one round suffices. */
export const hash = (secret: string | Uint8Array): string =>
  Base64Url.encode(sha256(typeof secret === "string" ? utf8.encode(secret) : secret))

/** A text of 256 bits that only who has the key can compute. */
export const derive = (key: Redacted.Redacted<string>, text: string): string =>
  Base64Url.encode(hmac(sha256, utf8.encode(Redacted.value(key)), utf8.encode(text)))

/** The bytes of the part of a refresh token that all tokens of its session share, and of the part that changes. */
const familyBytes = 16
const secretBytes = 32

/** A refresh token, and what is stored of it. */
export interface RefreshToken {
  readonly token: Redacted.Redacted<string>
  /** The hash of the part that all tokens of a session share: whoever has ever had one of them knows it. */
  readonly family: string
  /** The hash of the whole token. */
  readonly current: string
}

const refreshTokenOf = (bytes: Uint8Array): RefreshToken => ({
  token: Redacted.make(Base64Url.encode(bytes), { label: "refresh token" }),
  family: hash(bytes.subarray(0, familyBytes)),
  current: hash(bytes)
})

const bytesOf = (token: Redacted.Redacted<string>): Uint8Array | undefined => {
  const bytes = Result.getOrUndefined(Base64Url.decode(Redacted.value(token)))
  return bytes?.length === familyBytes + secretBytes ? bytes : undefined
}

/** The first refresh token of a session. */
export const newRefreshToken: Effect.Effect<RefreshToken> = Effect.map(
  randomBytes(familyBytes + secretBytes),
  refreshTokenOf
)

/** What is stored of a token that a client sent, or `undefined` for what is no refresh token. */
export const readRefreshToken = (token: Redacted.Redacted<string>): RefreshToken | undefined => {
  const bytes = bytesOf(token)
  return bytes && refreshTokenOf(bytes)
}

const pad = (token: Uint8Array): Uint8Array => hmac(sha256, token, utf8.encode("dormouse/accounts/successor"))

const withSecret = (token: Uint8Array, secret: Uint8Array): Uint8Array => {
  const bytes = Uint8Array.from(token)
  bytes.set(secret, familyBytes)
  return bytes
}

const xor = (a: Uint8Array, b: Uint8Array): Uint8Array => a.map((byte, i) => byte ^ b[i]!)

/** The next token of a session, and the same encrypted for whoever has the token before. */
export interface Successor extends RefreshToken {
  /** The random part of the next token under a key that is derived from the token before: the database has no such token. */
  readonly sealed: string
}

/** A new successor of a token. */
export const successorOf = ({ token }: RefreshToken): Effect.Effect<Successor> =>
  Effect.map(randomBytes(secretBytes), (secret) => {
    const bytes = bytesOf(token)!
    return { ...refreshTokenOf(withSecret(bytes, secret)), sealed: Base64Url.encode(xor(secret, pad(bytes))) }
  })

/** The successor that was made before, from what was stored of it. */
export const unsealed = ({ token }: RefreshToken, sealed: string): RefreshToken => {
  const bytes = bytesOf(token)!
  return refreshTokenOf(withSecret(bytes, xor(Result.getOrThrow(Base64Url.decode(sealed)), pad(bytes))))
}
