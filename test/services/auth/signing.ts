/// <reference types="node" />
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"

/** Signs tokens of any content, also those that no library would make. */

const { subtle } = crypto

const rsa = { modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" }

const kinds = {
  ES256: { generate: { name: "ECDSA", namedCurve: "P-256" }, sign: { name: "ECDSA", hash: "SHA-256" } },
  RS256: { generate: { name: "RSASSA-PKCS1-v1_5", ...rsa }, sign: { name: "RSASSA-PKCS1-v1_5" } },
  PS256: { generate: { name: "RSA-PSS", ...rsa }, sign: { name: "RSA-PSS", saltLength: 32 } },
  EdDSA: { generate: { name: "Ed25519" }, sign: { name: "Ed25519" } }
}

/** What signs a token: the bytes before the signature to the signature. */
export interface Signer {
  readonly alg: string
  readonly kid: string
  readonly sign: (input: Uint8Array) => Promise<ArrayBuffer>
  /** The public key as an issuer publishes it. */
  readonly jwk: Record<string, unknown>
  /** The private key as the text of a JSON Web Key. */
  readonly privateJwk: string
}

/** Makes a key. */
export const makeSigner = async (alg: keyof typeof kinds, kid: string): Promise<Signer> => {
  const { generate, sign } = kinds[alg]
  const pair = (await subtle.generateKey(generate, true, ["sign", "verify"])) as CryptoKeyPair
  const { crv, e, kty, n, x, y } = (await subtle.exportKey("jwk", pair.publicKey)) as JsonWebKey
  return {
    alg,
    kid,
    sign: (input) => subtle.sign(sign, pair.privateKey, input),
    jwk: JSON.parse(JSON.stringify({ kty, crv, x, y, n, e, kid, alg, use: "sig" })),
    privateJwk: JSON.stringify(await subtle.exportKey("jwk", pair.privateKey))
  }
}

/** Signs with a secret. */
export const secretSigner = async (secret: string | Uint8Array): Promise<Signer> => {
  const bytes = typeof secret === "string" ? new TextEncoder().encode(secret) : secret
  const key = await subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"])
  return { alg: "HS256", kid: "secret", sign: (input) => subtle.sign("HMAC", key, input), jwk: {}, privateJwk: "" }
}

const encoder = new TextEncoder()
const encode = (part: unknown): string =>
  Base64Url.encode(part instanceof Uint8Array ? part : typeof part === "string" ? part : JSON.stringify(part))

/** A token of this header and payload: texts and bytes as they are, everything else as JSON. */
export const sign = (signer: Signer, payload: unknown, header: unknown = {}): Effect.Effect<string> =>
  Effect.promise(async () => {
    const isRaw = typeof header === "string" || header instanceof Uint8Array
    const all = isRaw ? header : { alg: signer.alg, kid: signer.kid, typ: "JWT", ...(header as object) }
    const input = `${encode(all)}.${encode(payload)}`
    return `${input}.${Base64Url.encode(new Uint8Array(await signer.sign(encoder.encode(input))))}`
  })
