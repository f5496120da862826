/**
 * Which key signs, when there is a new one, and when an old one is forgotten: decisions from data. Pure.
 * A9: isolates that know the same keys sign with the same one, and a key verifies until the last token that it signed has
 * expired.
 */
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { StoredKey } from "../KeyStore.ts"
import type { PublicKey } from "./KeySet.ts"

/** How long keys sign and tokens last. Milliseconds. */
export interface SigningPolicy {
  /** How long a key signs. */
  readonly keyLifetime: number
  /** The longest time for which a token is accepted. */
  readonly tokenLifetime: number
  /** A key is stored this long before it signs, so that everybody who verifies has loaded it. */
  readonly publishAhead: number
}

/** What to do with the keys of a store, the oldest first. */
export interface Plan {
  /** The key that signs now. */
  readonly signer: StoredKey | undefined
  /** The next key: when it retires, and the newest one before it. */
  readonly next: { readonly retiresAt: number; readonly after: string | null } | undefined
  /** Keys whose tokens have all expired. */
  readonly expired: ReadonlyArray<string>
}

const isBefore = (time: number, { retiresAt }: StoredKey): boolean => retiresAt === null || time < retiresAt

/** A row that cannot be read must not stop the others. */
const signsAt = (key: StoredKey, time: number): boolean => isBefore(time, key) && privateKey(key) !== undefined

/** What to do with the keys of a store, the oldest first. The oldest key that may sign does. */
export const plan = (keys: ReadonlyArray<StoredKey>, now: number, policy: SigningPolicy): Plan => {
  const signer = keys.find((key) => signsAt(key, now))
  const isCovered = keys.some((key) => signsAt(key, now + policy.publishAhead))
  return {
    signer,
    next: isCovered
      ? undefined
      : { retiresAt: (signer?.retiresAt ?? now) + policy.keyLifetime, after: keys.at(-1)?.id ?? null },
    // An isolate may sign with a key a little longer, while its clock is behind.
    expired: keys.filter((key) => !isBefore(now - policy.tokenLifetime - policy.publishAhead, key)).map(({ id }) => id)
  }
}

const StoredJwk = Schema.fromJsonString(
  Schema.Struct({
    kty: Schema.Literal("EC"),
    crv: Schema.Literal("P-256"),
    x: Schema.String,
    y: Schema.String,
    d: Schema.String
  })
)
const decodeJwk = Schema.decodeUnknownOption(StoredJwk)

/** The private key of a row, if it can be read. */
export const privateKey = ({ jwk }: StoredKey) => Option.getOrUndefined(decodeJwk(Redacted.value(jwk)))

/** What everybody may know of the keys. A row that cannot be read is left out. */
export const publicKeys = (keys: ReadonlyArray<StoredKey>): ReadonlyArray<PublicKey> =>
  keys.flatMap((key) => {
    const jwk = privateKey(key)
    if (jwk === undefined) return []
    const { d: _, ...open } = jwk
    return [{ ...open, kid: key.id, alg: "ES256", use: "sig" as const }]
  })
