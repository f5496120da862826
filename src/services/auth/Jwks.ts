/**
 * Verifies tokens of an issuer that publishes its keys (RFC 7517), such as an OpenID provider: `Auth.layerJwks`.
 * A6: answers of the issuer are limited in size and time, redirects are not followed, and what is not a key set changes
 * nothing.
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Authenticator } from "../Authenticator.ts"
import { Algorithm, fromPublicKeys, type KeySet, usableKeys } from "./KeySet.ts"
import * as RefreshingKeys from "./RefreshingKeys.ts"
import { requireAudience, type TokenOptions, verifierOptions } from "./TokenOptions.ts"
import * as TokenVerifier from "./TokenVerifier.ts"

/** Where the keys are, and how old they may be. */
export interface JwksOptions extends TokenOptions {
  /** Where the issuer publishes its keys. Unless given, its `/.well-known/openid-configuration` says so. */
  readonly url?: string
  /** Public-key algorithms that are accepted. All unless given. */
  readonly algorithms?: ReadonlyArray<Algorithm>
  /** Keys that are older are loaded again. 10 minutes unless given. */
  readonly refreshAfter?: Duration.Input
  /** How old keys may be that cannot be loaded again. 1 hour unless given. */
  readonly staleFor?: Duration.Input
  /** The time between two loads because of a token with an unknown key. 30 seconds unless given. */
  readonly cooldown?: Duration.Input
  /** How long the issuer may take to answer. 5 seconds unless given. */
  readonly timeout?: Duration.Input
}

/** Verifies tokens with the keys that their issuer publishes. */
export const layerJwks = (options: JwksOptions): Layer.Layer<Authenticator, never, HttpClient.HttpClient> =>
  Layer.effect(
    Authenticator,
    Effect.gen(function* () {
      requireAudience(options)
      requireSecure(options.url ?? options.issuer)
      const http = yield* HttpClient.HttpClient
      const source = RefreshingKeys.make(loadKeys(options).pipe(Effect.provideService(HttpClient.HttpClient, http)), {
        refreshAfter: Duration.toMillis(options.refreshAfter ?? "10 minutes"),
        staleFor: Duration.toMillis(options.staleFor ?? "1 hour"),
        cooldown: Duration.toMillis(options.cooldown ?? "30 seconds"),
        retryAfter: 1000,
        timeout: Duration.toMillis(options.timeout ?? "5 seconds")
      })
      return yield* TokenVerifier.make(source, {
        ...verifierOptions(options),
        algorithms: options.algorithms ?? Algorithm.literals
      })
    })
  )

/** Whoever can change the answer can sign tokens. */
const requireSecure = (url: string): void => {
  const { hostname, protocol } = new URL(url)
  if (protocol !== "https:" && !["localhost", "127.0.0.1", "[::1]"].includes(hostname)) {
    throw new Error(`the keys of ${url} must be published under https`)
  }
}

/** The answer of an issuer is not what it should be. */
class BadAnswer extends Data.TaggedError("BadAnswer")<{ readonly message: string }> {}

/** Bytes of an answer. The key sets of large providers have less than 20 KB. */
const maxBytes = 131_072

const Jwks = Schema.Struct({ keys: Schema.Array(Schema.Unknown) })
const Discovery = Schema.Struct({ issuer: Schema.String, jwks_uri: Schema.String })

/** Loads the keys of an issuer. */
const loadKeys = ({ issuer, url }: JwksOptions): Effect.Effect<KeySet, unknown, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const { keys } = yield* fetchJson(url ?? (yield* discover(issuer)), Jwks)
    const usable = usableKeys(keys)
    if (usable.length === 0) return yield* new BadAnswer({ message: "it has no key that can verify tokens" })
    return yield* Effect.try({ try: () => fromPublicKeys(usable), catch: (cause) => cause })
  })

/** Where an issuer publishes its keys (OpenID Connect Discovery). */
const discover = Effect.fnUntraced(function* (issuer: string) {
  const found = yield* fetchJson(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, Discovery)
  if (found.issuer !== issuer) return yield* new BadAnswer({ message: `it is the configuration of ${found.issuer}` })
  yield* Effect.try({ try: () => requireSecure(found.jwks_uri), catch: (cause) => cause })
  return found.jwks_uri
})

const fetchJson = <A>(url: string, schema: Schema.Decoder<A>): Effect.Effect<A, unknown, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const response = yield* HttpClient.get(url, { headers: { accept: "application/json, application/jwk-set+json" } })
    if (response.status !== 200) return yield* new BadAnswer({ message: `${url} answers with ${response.status}` })
    let bytes = 0
    const text = yield* response.stream.pipe(
      Stream.tap((chunk) => {
        bytes += chunk.length
        return bytes > maxBytes
          ? Effect.fail(new BadAnswer({ message: `${url} answers with too many bytes` }))
          : Effect.void
      }),
      Stream.decodeText,
      Stream.mkString
    )
    return yield* Schema.decodeUnknownEffect(Schema.fromJsonString(schema))(text)
  }).pipe(
    // Another address is another party.
    Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" })
  )
