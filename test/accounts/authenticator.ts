/// <reference types="node" />
import { isoBase64URL, isoCBOR } from "@simplewebauthn/server/helpers"

/**
 * An authenticator in software: keys of WebCrypto, and what a browser would send of them. A test can change any part of
 * an answer before it is signed, as an authenticator, a browser or a caller that is not honest would.
 */

const utf8 = new TextEncoder()

/** What an answer says, which is the truth unless a test changes it. */
export interface Claims {
  readonly type?: string
  readonly challenge?: string
  readonly origin?: string
  readonly crossOrigin?: boolean
  readonly rpId?: string
  readonly isPresent?: boolean
  readonly isVerified?: boolean
  readonly counter?: number
  readonly userHandle?: string | undefined
  readonly signWith?: CryptoKey
  /** The id of a new passkey. */
  readonly id?: string
  /** The format of the attestation of a new passkey, whose statement has another format. */
  readonly format?: string
  /** The algorithm that the public key of a new passkey names. */
  readonly algorithm?: number
}

/** A passkey. */
export interface Passkey {
  readonly id: string
  readonly rpId: string
  readonly userHandle: string
  readonly privateKey: CryptoKey
  counter: number
}

interface CreationOptions {
  readonly challenge: string
  readonly rp: { readonly id?: string }
  readonly user: { readonly id: string }
}
interface RequestOptions {
  readonly challenge: string
  readonly rpId?: string
}

const digest = async (bytes: Uint8Array) => new Uint8Array(await crypto.subtle.digest("SHA-256", concat(bytes)))

const concat = (...parts: ReadonlyArray<Uint8Array>): Uint8Array<ArrayBuffer> => {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

const uint32 = (value: number) => new Uint8Array([value >>> 24, value >>> 16, value >>> 8, value])

/** How WebCrypto makes and uses the keys of an algorithm of COSE, and what COSE says of a public key. */
interface Algorithm {
  readonly key: any
  readonly sign: any
  readonly cose: (publicKey: CryptoKey) => Promise<ReadonlyArray<readonly [number, number | Uint8Array]>>
}

const raw = async (key: CryptoKey) => new Uint8Array((await crypto.subtle.exportKey("raw", key)) as ArrayBuffer)

const algorithms: Readonly<Record<"ES256" | "EdDSA" | "RS256", Algorithm>> = {
  ES256: {
    key: { name: "ECDSA", namedCurve: "P-256" },
    sign: { name: "ECDSA", hash: "SHA-256" },
    // The format is an uncompressed point: a byte, x and y.
    cose: async (key) => {
      const point = await raw(key)
      return [
        [1, 2],
        [3, -7],
        [-1, 1],
        [-2, point.subarray(1, 33)],
        [-3, point.subarray(33)]
      ]
    }
  },
  EdDSA: {
    key: { name: "Ed25519" },
    sign: { name: "Ed25519" },
    cose: async (key) => [
      [1, 1],
      [3, -8],
      [-1, 6],
      [-2, await raw(key)]
    ]
  },
  RS256: {
    key: {
      name: "RSASSA-PKCS1-v1_5",
      hash: "SHA-256",
      modulusLength: 2048,
      publicExponent: new Uint8Array([1, 0, 1])
    },
    sign: { name: "RSASSA-PKCS1-v1_5" },
    cose: async (key) => {
      const { e, n } = (await crypto.subtle.exportKey("jwk", key)) as { readonly e: string; readonly n: string }
      return [
        [1, 3],
        [3, -257],
        [-1, isoBase64URL.toBuffer(n)],
        [-2, isoBase64URL.toBuffer(e)]
      ]
    }
  }
}

const keys = (name: keyof typeof algorithms = "ES256"): Promise<CryptoKeyPair> =>
  crypto.subtle.generateKey(algorithms[name].key, true, ["sign", "verify"]) as Promise<CryptoKeyPair>

/** A key that belongs to no passkey. */
export const strangerKey = async (): Promise<CryptoKey> => (await keys()).privateKey

/** One number of a signature in DER: without leading zeros, and positive. */
const integer = (bytes: Uint8Array): Uint8Array => {
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start++
  const digits = bytes.subarray(start)
  const positive = digits[0]! >= 0x80 ? concat(new Uint8Array([0]), digits) : digits
  return concat(new Uint8Array([2, positive.length]), positive)
}

const sign = async (name: keyof typeof algorithms, key: CryptoKey, data: Uint8Array<ArrayBuffer>) => {
  const signature = new Uint8Array(await crypto.subtle.sign(algorithms[name].sign, key, data))
  if (name !== "ES256") return signature
  const numbers = concat(integer(signature.subarray(0, 32)), integer(signature.subarray(32)))
  return concat(new Uint8Array([0x30, numbers.length]), numbers)
}

const encode = (bytes: Uint8Array) => isoBase64URL.fromBuffer(concat(bytes))

const clientData = (type: string, challenge: string, origin: string, claims: Claims) =>
  utf8.encode(
    JSON.stringify({
      type: claims.type ?? type,
      challenge: claims.challenge ?? challenge,
      origin: claims.origin ?? origin,
      crossOrigin: claims.crossOrigin ?? false
    })
  )

const flags = ({ isPresent = true, isVerified = true }: Claims, isNew: boolean) =>
  new Uint8Array([(isPresent ? 0x01 : 0) | (isVerified ? 0x04 : 0) | (isNew ? 0x40 : 0)])

/** An authenticator of a browser that shows a page of this origin. */
export const make = (
  origin: string,
  {
    algorithm = "ES256",
    isCounting = true
  }: { readonly algorithm?: keyof typeof algorithms; readonly isCounting?: boolean } = {}
) => {
  const passkeys: Array<Passkey> = []

  /** `navigator.credentials.create`. */
  const create = async (options: CreationOptions, claims: Claims = {}) => {
    const { privateKey, publicKey } = await keys(algorithm)
    const id = claims.id === undefined ? crypto.getRandomValues(new Uint8Array(16)) : isoBase64URL.toBuffer(claims.id)
    const counter = claims.counter ?? (isCounting ? 1 : 0)
    const passkey: Passkey = {
      id: encode(id),
      rpId: options.rp.id ?? "",
      userHandle: options.user.id,
      privateKey,
      counter
    }
    passkeys.push(passkey)
    const parts = new Map(await algorithms[algorithm].cose(publicKey))
    const cose = isoCBOR.encode(claims.algorithm === undefined ? parts : parts.set(3, claims.algorithm))
    const authData = concat(
      await digest(utf8.encode(claims.rpId ?? passkey.rpId)),
      flags(claims, true),
      uint32(counter),
      new Uint8Array(16),
      new Uint8Array([0, id.length]),
      id,
      cose
    )
    const attestation = isoCBOR.encode(
      new Map<string, string | Map<string, string> | Uint8Array>([
        ["fmt", claims.format ?? "none"],
        ["attStmt", new Map(claims.format === undefined ? [] : [["ver", "0"]])],
        ["authData", authData]
      ])
    )
    return {
      id: passkey.id,
      rawId: passkey.id,
      type: "public-key" as const,
      response: {
        clientDataJSON: encode(clientData("webauthn.create", options.challenge, origin, claims)),
        attestationObject: encode(attestation),
        transports: ["internal", "a transport of the future"]
      },
      clientExtensionResults: {}
    }
  }

  /** `navigator.credentials.get`, with the latest passkey unless another is chosen. */
  const get = async (options: RequestOptions, claims: Claims = {}, passkey: Passkey = passkeys.at(-1)!) => {
    if (isCounting) passkey.counter++
    const authData = concat(
      await digest(utf8.encode(claims.rpId ?? passkey.rpId)),
      flags(claims, false),
      uint32(claims.counter ?? passkey.counter)
    )
    const data = clientData("webauthn.get", options.challenge, origin, claims)
    const signature = await sign(algorithm, claims.signWith ?? passkey.privateKey, concat(authData, await digest(data)))
    return {
      id: passkey.id,
      rawId: passkey.id,
      type: "public-key" as const,
      response: {
        clientDataJSON: encode(data),
        authenticatorData: encode(authData),
        signature: encode(signature),
        ...("userHandle" in claims
          ? claims.userHandle && { userHandle: claims.userHandle }
          : { userHandle: passkey.userHandle })
      },
      clientExtensionResults: {}
    }
  }

  return { create, get, passkeys }
}
