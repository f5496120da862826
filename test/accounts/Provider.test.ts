import { describe, expect, it } from "@effect/vitest"
import { sha256 } from "@noble/hashes/sha2.js"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { Accounts } from "effect-dormouse/accounts"
import { TestApp } from "effect-dormouse/testing"
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose"
import * as Secrets from "../../src/accounts/Secrets.ts"
import { appOf, clientOf, failure, hidden, outside } from "./harness.ts"

/** What a provider could answer that must not be believed. Its answers are made here. */

const issuer = "https://idp.example"
const redirectUri = "https://app.example/back"
const oidc = Accounts.oidc({ name: "idp", issuer, clientId: "app", redirectUri })
const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true })
const other = await generateKeyPair("ES256", { extractable: true })
const jwk = { ...(await exportJWK(publicKey)), kid: "1", alg: "ES256" }
const seconds = Effect.map(Clock.currentTimeMillis, (now) => Math.floor(now / 1000))

interface Answers {
  configuration: unknown
  keys: unknown
  /** The answer of the token endpoint, and of the user endpoint. */
  token: unknown
  user: unknown
  status: number
  readonly asked: Array<string>
}

const answersOf = (): Answers => ({
  configuration: {
    issuer,
    authorization_endpoint: `${issuer}/auth`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/keys`
  },
  keys: { keys: [jwk] },
  token: {},
  user: {},
  status: 200,
  asked: []
})

const http = (answers: Answers) =>
  Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request) => {
      const { pathname } = new URL(request.url)
      answers.asked.push(pathname)
      const body = pathname.startsWith("/.well-known")
        ? answers.configuration
        : { "/keys": answers.keys, "/token": answers.token, "/user": answers.user }[pathname]
      const status = pathname === "/token" ? answers.status : 200
      return Effect.succeed(HttpClientResponse.fromWeb(request, Response.json(body, { status })))
    })
  )

const completion = { code: hidden("code"), nonce: "nonce", codeVerifier: "verifier", iss: undefined }

const sign = (claims: Record<string, unknown>, key = privateKey, header: object = {}) =>
  Effect.flatMap(seconds, (now) =>
    Effect.promise(() =>
      new SignJWT({ iss: issuer, aud: "app", sub: "ada", nonce: "nonce", iat: now, exp: now + 60, ...claims })
        .setProtectedHeader({ alg: "ES256", kid: "1", ...header })
        .sign(key)
    )
  )

/** Completes a sign-in with an identity token. */
const complete = (
  token: string,
  answers = answersOf(),
  more: object = {},
  provider = Accounts.oidc({ name: "idp", issuer, clientId: "app", redirectUri })
) => {
  answers.token = { id_token: token, ...more }
  return provider.complete(completion).pipe(Effect.provide(http(answers)))
}

const atHash = Base64Url.encode(sha256(new TextEncoder().encode("access")).subarray(0, 16))

describe("what a provider answers", () => {
  it.effect("AC6: control: a good identity token is believed", () =>
    Effect.gen(function* () {
      expect(yield* complete(yield* sign({}))).toEqual({ subject: "ada" })
      expect(yield* complete(yield* sign({ azp: "app", aud: ["app", "api"] }))).toEqual({ subject: "ada" })
      const hashed = yield* sign({ at_hash: atHash })
      expect(yield* complete(hashed, answersOf(), { access_token: "access" })).toEqual({ subject: "ada" })
    })
  )

  const bad: ReadonlyArray<readonly [string, Record<string, unknown>]> = [
    ["another nonce", { nonce: "another" }],
    ["no nonce", { nonce: undefined }],
    ["another issuer", { iss: "https://evil.example" }],
    ["another audience", { aud: "other" }],
    ["several audiences and no authorized party", { aud: ["app", "api"] }],
    ["another authorized party", { azp: "other" }],
    ["an expiry that has passed", { exp: 39 }],
    ["a time of issue that is far in the future, and not before", { nbf: 1000 }],
    ["no expiry", { exp: undefined }],
    ["no subject", { sub: undefined }],
    ["an empty subject", { sub: "" }],
    ["the hash of another access token", { at_hash: `x${atHash.slice(1)}` }]
  ]
  it.effect.each(bad)("AC6: an identity token with %s is refused", ([, claims]) =>
    Effect.gen(function* () {
      yield* TestClock.adjust("100 seconds")
      const token = yield* sign(claims)
      const error = yield* failure(complete(token, answersOf(), { access_token: "access" }))
      expect(error._tag).toBe("ProviderRefused")
    })
  )

  it.effect("AC6: an identity token that the provider did not sign is refused", () =>
    Effect.gen(function* () {
      const good = yield* sign({})
      const [header, payload, signature] = good.split(".")
      const forged = JSON.stringify({ ...JSON.parse(Buffer.from(payload!, "base64url").toString()), sub: "eve" })
      const unsigned = new UnsecuredJWT({ sub: "ada", nonce: "nonce" })
        .setIssuer(issuer)
        .setAudience("app")
        .setIssuedAt(0)
        .setExpirationTime(60)
        .encode()
      // The public key as the secret of a symmetric signature.
      const confused = yield* Effect.promise(() =>
        new SignJWT({ iss: issuer, aud: "app", sub: "ada", nonce: "nonce", iat: 0, exp: 60 })
          .setProtectedHeader({ alg: "HS256", kid: "1" })
          .sign(new TextEncoder().encode(JSON.stringify(jwk)))
      )
      const tokens = [
        yield* sign({}, other.privateKey),
        `${header}.${Buffer.from(forged).toString("base64url")}.${signature}`,
        unsigned,
        confused,
        "",
        "x.y.z"
      ]
      for (const token of tokens) expect((yield* failure(complete(token)))._tag).toBe("ProviderRefused")
    })
  )

  it.effect("AC6: new keys of the provider are read when they are needed, once for each token", () =>
    Effect.gen(function* () {
      const answers = answersOf()
      const provider = Accounts.oidc({ name: "idp", issuer, clientId: "app", redirectUri })
      yield* complete(yield* sign({}), answers, {}, provider)
      yield* complete(yield* sign({}), answers, {}, provider)
      const keysRead = () => answers.asked.filter((path) => path === "/keys").length
      expect(keysRead()).toBe(1)
      expect(answers.asked.filter((path) => path.startsWith("/.well-known"))).toHaveLength(1)
      answers.keys = {
        keys: [{ ...(yield* Effect.promise(() => exportJWK(other.publicKey))), kid: "2", alg: "ES256" }]
      }
      yield* complete(yield* sign({}, other.privateKey, { kid: "2" }), answers, {}, provider)
      expect(keysRead()).toBe(2)
      const unknown = complete(yield* sign({}, privateKey, { kid: "3" }), answers, {}, provider)
      expect((yield* failure(unknown))._tag).toBe("ProviderRefused")
      expect(keysRead()).toBe(3)
      // What was remembered is read again after an hour.
      yield* TestClock.adjust("61 minutes")
      yield* complete(yield* sign({}, other.privateKey, { kid: "2" }), answers, {}, provider)
      expect(answers.asked.filter((path) => path.startsWith("/.well-known"))).toHaveLength(2)
    })
  )

  it.effect("AC6: a provider that fails can be tried again, and one that refuses or answers nonsense cannot", () =>
    Effect.gen(function* () {
      const token = yield* sign({})
      const failed = yield* failure(complete(token, { ...answersOf(), status: 503 }))
      expect(failed).toMatchObject({ _tag: "Unavailable", detail: "the provider idp did not answer" })
      expect((yield* failure(complete(token, { ...answersOf(), status: 400 })))._tag).toBe("ProviderRefused")
      const configurations = [
        { ...(answersOf().configuration as object), issuer: "https://evil.example" },
        { ...(answersOf().configuration as object), token_endpoint: "http://idp.example/token" },
        { issuer }
      ]
      for (const configuration of configurations) {
        const call = complete(token, { ...answersOf(), configuration })
        expect((yield* failure(call))._tag).toBe("ProviderRefused")
      }
    })
  )

  it.effect(
    "AC6: the browser is sent to the provider with state, nonce and PKCE, none of which is stored as it is",
    () =>
      Effect.gen(function* () {
        const url = yield* oidc
          .begin({ state: "s", nonce: "n", codeChallenge: "c" })
          .pipe(Effect.provide(http(answersOf())))
        expect(Object.fromEntries(new URL(url).searchParams)).toEqual({
          response_type: "code",
          client_id: "app",
          redirect_uri: redirectUri,
          scope: "openid",
          state: "s",
          nonce: "n",
          code_challenge: "c",
          code_challenge_method: "S256"
        })
      })
  )

  it.effect("AC6: a sign-in at a provider is completed within ten minutes, with the nonce that belongs to it", () => {
    const answers = answersOf()
    const app = appOf(outside(), { providers: [oidc] })
    return Effect.gen(function* () {
      const nobody = yield* clientOf()
      const begin = Effect.gen(function* () {
        const challenge = Secrets.hash("v")
        const { url } = yield* nobody.act("accounts.provider.begin", { provider: "idp", challenge })
        const { nonce, state } = Object.fromEntries(new URL(url).searchParams)
        return { nonce: nonce!, back: { provider: "idp", state: state!, code: hidden("c"), verifier: hidden("v") } }
      })
      const answer = Effect.fnUntraced(function* (nonce: string) {
        answers.token = { id_token: yield* sign({ nonce }) }
      })
      const [one, two, three, four] = [yield* begin, yield* begin, yield* begin, yield* begin]
      yield* answer(one.nonce)
      yield* nobody.act("accounts.provider.complete", one.back)
      // A good identity token of another sign-in.
      const swapped = nobody.act("accounts.provider.complete", two.back)
      expect((yield* failure(swapped))._tag).toBe("ProviderRefused")
      yield* TestClock.adjust("599 seconds")
      yield* answer(three.nonce)
      yield* nobody.act("accounts.provider.complete", three.back)
      yield* TestClock.adjust("1 second")
      yield* answer(four.nonce)
      expect((yield* failure(nobody.act("accounts.provider.complete", four.back)))._tag).toBe("LinkExpired")
    }).pipe(Effect.provide(TestApp.layer(app, { http: http(answers) })))
  })

  it.effect("AC6: a provider of OAuth 2 is asked for the user", () =>
    Effect.gen(function* () {
      const answers = answersOf()
      const oauth2 = Accounts.oauth2({
        name: "git",
        clientId: "app",
        redirectUri,
        authorizationEndpoint: `${issuer}/auth`,
        tokenEndpoint: `${issuer}/token`,
        userEndpoint: `${issuer}/user`
      })
      const completed = oauth2.complete(completion).pipe(Effect.provide(http(answers)))
      answers.token = { access_token: "t", token_type: "bearer" }
      answers.user = { id: 17, login: "ada" }
      expect(yield* completed).toEqual({ subject: "17" })
      for (const user of [{}, { id: "" }, { id: 1.5 }, { id: null }]) {
        answers.user = user
        expect((yield* failure(completed))._tag).toBe("ProviderRefused")
      }
      // GitHub answers a bad code with status 200.
      answers.token = { error: "bad_verification_code" }
      expect((yield* failure(completed))._tag).toBe("ProviderRefused")
    })
  )
})
