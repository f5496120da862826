/**
 * The keys that may have signed a token. A set never changes: what was verified with one is valid as long as it is current.
 * A public set has public keys for asymmetric algorithms alone; everything else that an issuer publishes is left out.
 */
import * as Schema from "effect/Schema"
import type { CryptoKey, JWSHeaderParameters } from "jose"
import { JWKSMultipleMatchingKeys } from "jose/errors"
import { createLocalJWKSet } from "jose/jwks/local"

/** An algorithm with a public and a private key. */
export const Algorithm = Schema.Literals([
  "ES256",
  "ES384",
  "ES512",
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "EdDSA",
  "Ed25519"
])
/** An algorithm with a public and a private key. */
export type Algorithm = typeof Algorithm.Type

/** The keys that may have signed a token. */
export interface KeySet {
  /** The same text for the same keys. */
  readonly fingerprint: string
  /** Resolves to the keys for a header: several if it names none. Rejects if there is none. */
  readonly find: (header: JWSHeaderParameters) => Promise<ReadonlyArray<CryptoKey | Uint8Array>>
}

/** A public key as an issuer publishes it (RFC 7517). */
export const PublicKey = Schema.StructWithRest(
  Schema.Struct({
    kty: Schema.Literals(["EC", "RSA", "OKP"]),
    kid: Schema.optionalKey(Schema.String),
    use: Schema.optionalKey(Schema.Literal("sig")),
    // What has these is a private or a secret key, which should not be there.
    d: Schema.optionalKey(Schema.Never),
    k: Schema.optionalKey(Schema.Never)
  }),
  [Schema.Record(Schema.String, Schema.Json)]
)
/** A public key as an issuer publishes it (RFC 7517). */
export type PublicKey = typeof PublicKey.Type

const isPublicKey = Schema.is(PublicKey)

/** The keys of a list that can verify tokens. */
export const usableKeys = (keys: ReadonlyArray<unknown>): ReadonlyArray<PublicKey> => keys.filter(isPublicKey)

/** A set of public keys. */
export const fromPublicKeys = (keys: ReadonlyArray<PublicKey>): KeySet => {
  const get = createLocalJWKSet({ keys: keys.map((key) => ({ ...key })) })
  const find: KeySet["find"] = async (header) => {
    try {
      return [await get(header)]
    } catch (error) {
      if (!(error instanceof JWKSMultipleMatchingKeys)) throw error
      const found: Array<CryptoKey> = []
      for await (const key of error) found.push(key)
      return found
    }
  }
  return { fingerprint: JSON.stringify(keys.map(textOf).sort()), find }
}

/** Equal for equal keys, in whichever order their members come. */
const textOf = (key: PublicKey): string =>
  JSON.stringify(Object.entries(key).sort(([one], [other]) => (one < other ? -1 : 1)))

/** A set of secrets, any of which may have signed a token. */
export const fromSecrets = (secrets: ReadonlyArray<Uint8Array>): KeySet => ({
  fingerprint: "secret",
  find: async () => secrets
})
