/**
 * Sign-in at a provider: OpenID Connect with PKCE, and plain OAuth 2 with a user endpoint.
 * What a provider answers is decoded here, and its identity token is verified with `jose`.
 */

import { sha256, sha384, sha512 } from "@noble/hashes/sha2.js"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTPayload, jwtVerify } from "jose"
import { CallError, Unavailable } from "../protocol/CallError.ts"
import { ProviderRefused } from "./contract/AccountsError.ts"

/** What begins a sign-in. All of it is derived from the app's secret and the state, so that nothing of it is stored. */
export interface Begin {
  readonly state: string
  /** Must be in the identity token. */
  readonly nonce: string
  /** The hash of the code verifier (PKCE, `S256`). */
  readonly codeChallenge: string
}

/** What completes it. */
export interface Complete {
  readonly code: Redacted.Redacted<string>
  readonly nonce: string
  readonly codeVerifier: string
  /** The issuer that the redirect named (RFC 9207). */
  readonly iss: string | undefined
}

/** Who a provider says that the caller is. */
export interface Subject {
  /** The provider's id of the user. An email address of a provider is no proof of that address, and links nothing. */
  readonly subject: string
}

/** A provider, made by `oidc` or `oauth2`. */
export interface Provider {
  readonly name: string
  /** The URL at the provider to which the browser goes. */
  readonly begin: (begin: Begin) => Effect.Effect<string, ProviderRefused | CallError, HttpClient.HttpClient>
  /** Exchanges the code and verifies the answer. */
  readonly complete: (complete: Complete) => Effect.Effect<Subject, ProviderRefused | CallError, HttpClient.HttpClient>
}

/** What both kinds of providers take. */
export interface ProviderOptions {
  /** Names the provider in calls and in the database: `google`. */
  readonly name: string
  readonly clientId: string
  /** Without it the app is a public client, which PKCE alone protects. */
  readonly clientSecret?: Redacted.Redacted<string>
  /** The page to which the provider sends the browser back, with `code` and `state`. */
  readonly redirectUri: string
  readonly scopes?: ReadonlyArray<string>
}

const refused = new ProviderRefused()

/** How long a provider may take for one answer. */
const timeout = "10 seconds"

/** How long the configuration and the keys of a provider are kept, in milliseconds. */
const cacheTime = 60 * 60_000

/** Differences of clocks that are accepted, in seconds. */
const clockTolerance = 60

/** The log says why, the caller does not learn it. */
const refuse = (problem: string, name: string) =>
  Effect.andThen(Effect.logWarning(`the provider ${name} is not believed: ${problem}`), Effect.fail(refused))

const unavailable = (name: string) =>
  new CallError({ reason: new Unavailable({ detail: `the provider ${name} did not answer` }) })

/** Sends a request and decodes its JSON. An error status is a refusal; no answer can be retried. */
const ask = <A, I>(name: string, request: HttpClientRequest.HttpClientRequest, schema: Schema.Codec<A, I>) =>
  Effect.gen(function* () {
    const response = yield* HttpClient.execute(HttpClientRequest.acceptJson(request)).pipe(
      Effect.timeout(timeout),
      Effect.mapError(() => unavailable(name))
    )
    if (response.status >= 500) return yield* unavailable(name)
    if (response.status >= 400) return yield* refuse(`status ${response.status}`, name)
    return yield* HttpClientResponse.schemaBodyJson(schema)(response).pipe(
      Effect.timeout(timeout),
      Effect.catch(() => refuse("the answer does not fit", name))
    )
  })

/**
 * Remembers a value for an hour. Two requests that find nothing both ask: a Worker must not wait for an answer to another
 * request.
 */
const remembered = <A, E, R>(
  lookup: Effect.Effect<A, E, R>
): { readonly get: Effect.Effect<A, E, R>; readonly forget: Effect.Effect<void> } => {
  let kept: { readonly value: A; readonly until: number } | undefined
  return {
    get: Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      if (kept !== undefined && now < kept.until) return kept.value
      const value = yield* lookup
      kept = { value, until: now + cacheTime }
      return value
    }),
    forget: Effect.sync(() => {
      kept = undefined
    })
  }
}

/** Secrets and codes travel encrypted, except to this machine. */
const isSafe = (url: string): boolean => {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  return parsed?.protocol === "https:" || ["localhost", "127.0.0.1", "[::1]"].includes(parsed?.hostname ?? "")
}

const SafeUrl = Schema.String.check(Schema.makeFilter((url) => isSafe(url)))

const Configuration = Schema.Struct({
  issuer: Schema.String,
  authorization_endpoint: SafeUrl,
  token_endpoint: SafeUrl,
  jwks_uri: SafeUrl
})

const Keys = Schema.Struct({ keys: Schema.Array(Schema.Record(Schema.String, Schema.Json)) })

const OidcAnswer = Schema.Struct({ id_token: Schema.String, access_token: Schema.optionalKey(Schema.String) })

const OauthAnswer = Schema.Struct({ access_token: Schema.String })

/** Signatures that only the provider can make: none with a shared secret. */
const algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]

const authorizationUrl = (endpoint: string, options: ProviderOptions, scopes: ReadonlyArray<string>, begin: Begin) => {
  const url = new URL(endpoint)
  const parameters = {
    response_type: "code",
    client_id: options.clientId,
    redirect_uri: options.redirectUri,
    scope: scopes.join(" "),
    state: begin.state,
    nonce: begin.nonce,
    code_challenge: begin.codeChallenge,
    code_challenge_method: "S256"
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return url.href
}

const codeRequest = (endpoint: string, options: ProviderOptions, { code, codeVerifier }: Complete) => {
  const { clientId, clientSecret, redirectUri } = options
  const request = HttpClientRequest.post(endpoint).pipe(
    HttpClientRequest.bodyUrlParams({
      grant_type: "authorization_code",
      code: Redacted.value(code),
      redirect_uri: redirectUri,
      code_verifier: codeVerifier,
      ...(clientSecret === undefined && { client_id: clientId })
    })
  )
  return clientSecret === undefined
    ? request
    : HttpClientRequest.basicAuth(
        request,
        encodeURIComponent(clientId),
        encodeURIComponent(Redacted.value(clientSecret))
      )
}

/** Options of `oidc`. */
export interface OidcOptions extends ProviderOptions {
  /** The issuer, exactly as its identity tokens say it: its configuration is at `<issuer>/.well-known/openid-configuration`. */
  readonly issuer: string
}

/** A provider of OpenID Connect, such as Google, Microsoft or Keycloak. `openid` is always among the scopes. */
export const oidc = (options: OidcOptions): Provider => {
  const { issuer, name } = options
  const scopes = [...new Set(["openid", ...(options.scopes ?? [])])]
  const configurationUrl = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`
  const configuration = remembered(
    Effect.gen(function* () {
      if (!isSafe(issuer)) return yield* refuse("the issuer must begin with https:", name)
      const found = yield* ask(name, HttpClientRequest.get(configurationUrl), Configuration)
      return found.issuer === issuer ? found : yield* refuse("its configuration is of another issuer", name)
    })
  )
  const keys = remembered(
    Effect.gen(function* () {
      const { jwks_uri } = yield* configuration.get
      const found = yield* ask(name, HttpClientRequest.get(jwks_uri), Keys)
      return createLocalJWKSet(toKeySet(found))
    })
  )
  const verify = (token: string) =>
    Effect.gen(function* () {
      const key = yield* keys.get
      const now = yield* Clock.currentTimeMillis
      return yield* Effect.tryPromise({
        try: () =>
          jwtVerify(token, key, {
            issuer,
            audience: options.clientId,
            algorithms,
            currentDate: new Date(now),
            clockTolerance,
            requiredClaims: ["sub", "exp", "iat"]
          }),
        catch: (cause) => cause
      })
    })
  const isUnknownKey = (cause: unknown) => cause instanceof errors.JWKSNoMatchingKey
  return {
    name,
    begin: (begin) =>
      Effect.map(configuration.get, (found) => authorizationUrl(found.authorization_endpoint, options, scopes, begin)),
    complete: (complete) =>
      Effect.gen(function* () {
        if (complete.iss !== undefined && complete.iss !== issuer) {
          return yield* refuse("the redirect names another issuer", name)
        }
        const { token_endpoint } = yield* configuration.get
        const answer = yield* ask(name, codeRequest(token_endpoint, options, complete), OidcAnswer)
        const verified = verify(answer.id_token)
        const { payload, protectedHeader } = yield* verified.pipe(
          // The provider may have new keys.
          Effect.catchIf(isUnknownKey, () => Effect.andThen(keys.forget, verified)),
          Effect.catch((cause) =>
            cause instanceof ProviderRefused || cause instanceof CallError
              ? Effect.fail(cause)
              : refuse(cause instanceof errors.JOSEError ? cause.code : "the identity token cannot be read", name)
          )
        )
        const problem = problemOf(payload, protectedHeader.alg, options.clientId, complete.nonce, answer.access_token)
        if (problem !== undefined) return yield* refuse(problem, name)
        return { subject: payload.sub! }
      })
  }
}

const toKeySet = ({ keys }: typeof Keys.Type): JSONWebKeySet => ({
  keys: keys.flatMap((key) => (typeof key["kty"] === "string" ? [{ ...key, kty: key["kty"] }] : []))
})

/** What is wrong with a verified identity token. */
const problemOf = (
  { at_hash, aud, azp, nonce, sub }: JWTPayload,
  algorithm: string,
  clientId: string,
  expectedNonce: string,
  accessToken: string | undefined
): string | undefined => {
  if (nonce !== expectedNonce) return "the nonce is another one"
  if (typeof sub !== "string" || sub === "" || sub.length > 255) return "there is no subject"
  if ((Array.isArray(aud) && aud.length > 1) || azp !== undefined) {
    if (azp !== clientId) return "the token is for another client"
  }
  if (at_hash === undefined) return undefined
  if (accessToken === undefined) return "there is no access token"
  return at_hash === atHash(algorithm, accessToken) ? undefined : "the access token is another one"
}

/** The left half of the hash of an access token, by the algorithm of the signature (OpenID Connect Core 3.1.3.6). */
const atHash = (algorithm: string, accessToken: string): string => {
  const hash = algorithm.endsWith("256") ? sha256 : algorithm.endsWith("384") ? sha384 : sha512
  const bytes = hash(new TextEncoder().encode(accessToken))
  return Base64Url.encode(bytes.subarray(0, bytes.length / 2))
}

/** Options of `oauth2`. */
export interface Oauth2Options extends ProviderOptions {
  readonly authorizationEndpoint: string
  readonly tokenEndpoint: string
  /** Returns the user of an access token, as JSON. */
  readonly userEndpoint: string
  /** The user's id in that JSON, which never changes: `id` unless given. */
  readonly subjectField?: string
}

/** A provider of plain OAuth 2, such as GitHub: the access token is exchanged for the user. */
export const oauth2 = (options: Oauth2Options): Provider => {
  const { name, subjectField = "id", tokenEndpoint, userEndpoint } = options
  const User = Schema.Record(Schema.String, Schema.Unknown)
  return {
    name,
    begin: (begin) =>
      Effect.succeed(authorizationUrl(options.authorizationEndpoint, options, options.scopes ?? [], begin)),
    complete: (complete) =>
      Effect.gen(function* () {
        if (!isSafe(tokenEndpoint) || !isSafe(userEndpoint)) return yield* refuse("a URL must begin with https:", name)
        const { access_token } = yield* ask(name, codeRequest(tokenEndpoint, options, complete), OauthAnswer)
        const request = HttpClientRequest.bearerToken(HttpClientRequest.get(userEndpoint), access_token)
        const subject = (yield* ask(name, request, User))[subjectField]
        if (typeof subject === "number" && Number.isSafeInteger(subject)) return { subject: String(subject) }
        if (typeof subject === "string" && subject !== "" && subject.length <= 255) return { subject }
        return yield* refuse("there is no subject", name)
      })
  }
}
