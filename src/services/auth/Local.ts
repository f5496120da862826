/**
 * Tokens that a deployment issues itself, and verifies: `Auth.layerLocal`. It signs with ES256 and keys of its own, which it
 * makes and replaces, and publishes their public halves (RFC 7517).
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { CryptoKey } from "jose"
import { calculateJwkThumbprint } from "jose/jwk/thumbprint"
import { SignJWT } from "jose/jwt/sign"
import { exportJWK } from "jose/key/export"
import { generateKeyPair } from "jose/key/generate/keypair"
import { importJWK } from "jose/key/import"
import { v4 } from "uuid"
import { TokenIssuer, type TokenRequest } from "../../contract/TokenIssuer.ts"
import { Unavailable } from "../../protocol/CallError.ts"
import { Authenticator } from "../Authenticator.ts"
import { KeyStore, layerSystem, type StoredKey } from "../KeyStore.ts"
import type { SystemCalls } from "../SystemCalls.ts"
import { fromPublicKeys } from "./KeySet.ts"
import * as RefreshingKeys from "./RefreshingKeys.ts"
import { type Plan, plan, privateKey, publicKeys } from "./SigningKeys.ts"
import { registered } from "./TokenClaims.ts"
import { requireAudience, type TokenOptions, verifierOptions } from "./TokenOptions.ts"
import { read } from "./TokenText.ts"
import * as TokenVerifier from "./TokenVerifier.ts"

/** Whose tokens these are, and how long keys and tokens last. */
export interface LocalOptions extends Omit<TokenOptions, "claims" | "audience"> {
  readonly audience: string
  /** How long a key signs. 30 days unless given. */
  readonly keyLifetime?: Duration.Input
  /** The longest time for which a token may be issued. 1 day unless given. A key is kept this long after it has signed. */
  readonly tokenLifetime?: Duration.Input
}

/** Where the public keys are. */
export const jwksPath = "/.well-known/jwks.json"

/** The time for which others may keep the public keys, in seconds. */
const jwksMaxAge = 300

const policyOf = ({ keyLifetime, tokenLifetime }: LocalOptions) => ({
  keyLifetime: Duration.toMillis(keyLifetime ?? "30 days"),
  tokenLifetime: Duration.toMillis(tokenLifetime ?? "1 day"),
  // More than `refreshAfter` and `jwksMaxAge`.
  publishAhead: 600_000
})

const refreshPolicy = { refreshAfter: 300_000, staleFor: 3_600_000, cooldown: 1000, retryAfter: 1000, timeout: 5000 }

/** Issues and verifies tokens with keys that are in a `KeyStore`. */
export const layerLocalWith = (options: LocalOptions): Layer.Layer<Authenticator | TokenIssuer, never, KeyStore> =>
  Layer.effectContext(
    Effect.gen(function* () {
      requireAudience(options)
      const store = yield* KeyStore
      const policy = policyOf(options)
      let stored: ReadonlyArray<StoredKey> = []
      const toSet = (keys: ReadonlyArray<StoredKey>) => {
        stored = keys
        return fromPublicKeys(publicKeys(keys))
      }
      const source = RefreshingKeys.make(Effect.map(store.list, toSet), refreshPolicy)
      const verifier = yield* TokenVerifier.make(source, { ...verifierOptions(options), algorithms: ["ES256"] })

      /** Adds a key, unless another isolate has added one, and forgets those that nobody needs. */
      const addKey = Effect.fnUntraced(function* ({ expired, next }: Plan) {
        const key = yield* Effect.promise(generateKey)
        let keys = next === undefined ? stored : yield* store.add({ ...key, ...next })
        for (const id of expired) keys = yield* store.remove(id)
        yield* source.put(toSet(keys))
      })

      /** The key that signs now. Makes the next one in time. */
      const signer = Effect.gen(function* () {
        yield* source.current
        const now = yield* Clock.currentTimeMillis
        const planned = plan(stored, now, policy)
        if (planned.next === undefined && planned.signer !== undefined) return planned.signer
        // The next key can be added later, as long as there is one that signs.
        yield* planned.signer === undefined ? addKey(planned) : Effect.ignore(addKey(planned))
        return plan(stored, now, policy).signer ?? (yield* unavailable)
      })
      const signingKey = importOnce()

      const issue = Effect.fnUntraced(function* ({ claims, expiresIn, session, subject }: TokenRequest) {
        yield* Effect.sync(() => check(claims, subject, Duration.toMillis(expiresIn), policy.tokenLifetime))
        const stored = yield* signer
        const key = yield* signingKey(stored)
        const now = yield* Clock.currentTimeMillis
        const seconds = Math.ceil((now + Duration.toMillis(expiresIn)) / 1000)
        const token = yield* Effect.promise(() =>
          new SignJWT({ ...claims, jti: v4(), ...(session !== undefined && { sid: session }) })
            .setProtectedHeader({ alg: "ES256", kid: stored.id, typ: "JWT" })
            .setIssuer(options.issuer)
            .setAudience(options.audience)
            .setSubject(subject)
            .setIssuedAt(Math.floor(now / 1000))
            .setExpirationTime(seconds)
            .sign(key)
        )
        if (read(token) === undefined)
          return yield* Effect.die(new Error("the claims of a token are too large or too deep"))
        return { token, expires: seconds * 1000 }
      })

      /** The public keys, for others who verify these tokens. */
      const respond = (request: Request) => {
        if (request.method !== "GET" || new URL(request.url).pathname !== jwksPath) return Effect.succeed(Option.none())
        return Effect.match(source.current, {
          onFailure: ({ detail }) => Option.some(Response.json({ error: detail }, { status: 503 })),
          onSuccess: () =>
            Option.some(
              Response.json(
                { keys: publicKeys(stored) },
                { headers: { "cache-control": `public, max-age=${jwksMaxAge}`, "access-control-allow-origin": "*" } }
              )
            )
        })
      }
      return Context.make(Authenticator, { ...verifier, respond }).pipe(Context.add(TokenIssuer, { issue }))
    })
  )

/**
 * Issues tokens and verifies them, with keys that are in the deployment's own object. Actions issue them with `TokenIssuer`.
 * The public keys are at `/.well-known/jwks.json`.
 */
export const layerLocal = (options: LocalOptions): Layer.Layer<Authenticator | TokenIssuer, never, SystemCalls> =>
  Layer.provide(layerLocalWith(options), layerSystem)

const unavailable = new Unavailable({ detail: "there is no key that signs tokens" })

/** Dies when a token is asked for that the layer would not accept, or would understand differently. */
const check = (claims: TokenRequest["claims"], subject: string, duration: number, longest: number): void => {
  const reserved = Object.keys(claims).filter((name) => registered.has(name))
  if (reserved.length > 0) throw new Error(`a token's own claims cannot be called ${reserved.join(", ")}`)
  if (subject === "") throw new Error("a token needs a subject")
  if (!(duration > 0 && duration <= longest)) {
    throw new Error(`a token may last ${longest} ms and not ${duration}: see the option tokenLifetime`)
  }
}

const generateKey = async () => {
  const { privateKey } = await generateKeyPair("ES256", { extractable: true })
  const jwk = await exportJWK(privateKey)
  return { id: await calculateJwkThumbprint(jwk), jwk: Redacted.make(JSON.stringify(jwk)) }
}

/** Imports the key that signs when it is a new one. */
const importOnce = () => {
  let imported: { readonly id: string; readonly key: CryptoKey } | undefined
  return (stored: StoredKey): Effect.Effect<CryptoKey, Unavailable> =>
    Effect.gen(function* () {
      if (imported?.id === stored.id) return imported.key
      const jwk = privateKey(stored)
      if (jwk === undefined) return yield* unavailable
      const key = yield* Effect.promise(() => importJWK(jwk, "ES256"))
      if (key instanceof Uint8Array) return yield* unavailable
      imported = { id: stored.id, key }
      return key
    })
}
