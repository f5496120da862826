/// <reference types="node" />
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Base64Url from "effect/encoding/Base64Url"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import { type TokenProblem, Unauthenticated } from "../../../src/protocol/CallError.ts"
import { Authenticator, type Verified } from "../../../src/services/Authenticator.ts"
import { audience, issuer } from "./issuer.ts"
import { type Signer, secretSigner, sign } from "./signing.ts"

/** What every layer that verifies signed tokens accepts and refuses. */

export interface TokenHarness {
  /** Accepts tokens of `issuer` for `audience`. */
  readonly layer: Layer.Layer<Authenticator>
  /** Whose signature is accepted. */
  readonly signer: Signer
  /** Another key of the same kind, which the layer does not know. */
  readonly stranger: Signer
  /** Whether the layer has a key for a token with this `kid` alone. Without it any key may have signed. */
  readonly knowsKeys: boolean
}

/** The time of the tests, in seconds. */
export const now = 1_800_000_000

export const payload = { iss: issuer, aud: audience, sub: "ada", exp: now + 60, iat: now - 1 }

/** What a layer says of a token. */
export const authenticate = (token: string | undefined) =>
  Effect.flatMap(Authenticator, ({ authenticate }) =>
    Effect.exit(authenticate({ token, request: new Request("https://dormouse.test/rpc") }))
  )

export const refused = (problem: TokenProblem) => Exit.fail(new Unauthenticated({ problem }))
export const none = Exit.succeed(Option.none())

export const accepted = (verified: Partial<Verified["identity"]> & Partial<Verified["credential"]> = {}) => {
  const { claims = {}, subject = "ada", ...credential } = verified
  return Exit.succeed(
    Option.some({
      identity: { subject, claims },
      credential: { expires: (now + 60) * 1000, issued: (now - 1) * 1000, session: null, ...credential }
    })
  )
}

type Refusal = readonly [what: string, problem: TokenProblem, token: (harness: TokenHarness) => Effect.Effect<string>]

const without = (name: keyof typeof payload) => {
  const { [name]: _, ...rest } = payload
  return rest
}
const withPayload = (value: unknown) => (harness: TokenHarness) => sign(harness.signer, value)
const withHeader = (header: object) => (harness: TokenHarness) => sign(harness.signer, payload, header)
const json = JSON.stringify(payload)
const b64 = (value: unknown) => Base64Url.encode(JSON.stringify(value))
const headerOf = ({ signer }: TokenHarness) => ({ alg: signer.alg, kid: signer.kid })
const changed = (change: (parts: [string, string, string]) => string) => (harness: TokenHarness) =>
  Effect.map(sign(harness.signer, payload), (token) => change(token.split(".") as [string, string, string]))

export const refusals: ReadonlyArray<Refusal> = [
  ["text that is no token", "malformed", () => Effect.succeed("nonsense")],
  ["two parts", "malformed", changed(([header, body]) => `${header}.${body}`)],
  ["four parts", "malformed", changed((parts) => `${parts.join(".")}.x`)],
  ["an encrypted token", "malformed", changed((parts) => `${parts.join(".")}.x.y`)],
  ["padded base64", "malformed", changed(([header, body, end]) => `${header}.${body}=.${end}`)],
  ["standard base64", "malformed", changed(([header, body, end]) => `${header}.${body}+/.${end}`)],
  [
    "bits that do not count in its signature",
    "malformed",
    // 32, 64 or 256 bytes: two or four bits of the last character do not count.
    changed(([header, body, end]) => {
      const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
      return `${header}.${body}.${end.slice(0, -1)}${letters[letters.indexOf(end.at(-1)!) + 1]}`
    })
  ],
  ["a header that is no JSON", "malformed", ({ signer }) => sign(signer, payload, "alg")],
  ["a header that is a list", "malformed", ({ signer }) => sign(signer, payload, "[]")],
  ["a header without an algorithm", "malformed", ({ signer }) => sign(signer, payload, "{}")],
  ["an algorithm of another type", "malformed", withHeader({ alg: ["ES256"] })],
  ["a kid of another type", "malformed", withHeader({ kid: 1 })],
  ["a payload that is no JSON", "malformed", withPayload("payload")],
  ["a payload that is a list", "malformed", withPayload([payload])],
  ["a payload that is null", "malformed", withPayload("null")],
  ["a name twice in the payload", "malformed", withPayload(`${json.slice(0, -1)},"sub":"eve"}`)],
  ["a name twice, once escaped", "malformed", withPayload(`${json.slice(0, -1)},"s\\u0075b":"eve"}`)],
  ["a name twice in a claim", "malformed", withPayload(`${json.slice(0, -1)},"roles":{"a":1,"a":2}}`)],
  [
    "a name twice in the header",
    "malformed",
    (harness) => sign(harness.signer, payload, `${JSON.stringify(headerOf(harness)).slice(0, -1)},"alg":"none"}`)
  ],
  [
    "bytes that are no UTF-8",
    "malformed",
    withPayload(new Uint8Array([...Buffer.from(`${json.slice(0, -1)},"name":"`), 0xff, 0x22, 0x7d]))
  ],
  ["a byte order mark", "malformed", withPayload(`\uFEFF${json}`)],
  [
    "claims nested too deeply",
    "malformed",
    withPayload(`${json.slice(0, -1)},"x":${"[".repeat(40)}${"]".repeat(40)}}`)
  ],
  ["more than 8 KB", "malformed", withPayload({ ...payload, x: "x".repeat(8192) })],
  ["a critical extension", "malformed", withHeader({ crit: ["exp"], exp: now + 60 })],
  ["an unencoded payload", "malformed", withHeader({ crit: ["b64"], b64: false })],
  ["an empty list of extensions", "malformed", withHeader({ crit: [] })],
  ["a nested token", "malformed", withHeader({ cty: "JWT" })],
  ["a compressed payload", "malformed", withHeader({ zip: "DEF" })],
  ["a logout token", "malformed", withHeader({ typ: "logout+jwt" })],
  ["no signature", "algorithm", () => Effect.succeed(`${b64({ alg: "none" })}.${b64(payload)}.`)],
  ["no signature, in other letters", "algorithm", () => Effect.succeed(`${b64({ alg: "NoNe" })}.${b64(payload)}.`)],
  ["an unknown algorithm", "algorithm", withHeader({ alg: "XS256" })],
  ["an algorithm with a name that every object has", "algorithm", withHeader({ alg: "__proto__" })],
  ["an encryption's algorithm", "algorithm", withHeader({ alg: "dir" })],
  [
    "a signature of another key",
    "signature",
    ({ signer, stranger }) => sign({ ...stranger, kid: signer.kid }, payload)
  ],
  ["an empty signature", "signature", changed(([header, body]) => `${header}.${body}.`)],
  [
    "a shortened signature",
    "signature",
    changed(([header, body, end]) => `${header}.${body}.${end.slice(0, -4 - (end.length % 4))}`)
  ],
  [
    "a changed payload",
    "signature",
    changed(([header, , end]) => `${header}.${b64({ ...payload, sub: "eve" })}.${end}`)
  ],
  [
    "a changed header",
    "signature",
    (harness) => changed(([, body, end]) => `${b64({ ...headerOf(harness), typ: "at+jwt" })}.${body}.${end}`)(harness)
  ],
  [
    "a key in the header",
    "signature",
    ({ signer, stranger }) =>
      sign(stranger, payload, { kid: signer.kid, jwk: stranger.jwk, jku: "https://eve.test", x5u: "https://eve.test" })
  ],
  ["no issuer", "issuer", withPayload(without("iss"))],
  ["no audience", "audience", withPayload(without("aud"))],
  ["another audience", "audience", withPayload({ ...payload, aud: "https://other.test" })],
  ["a part of the audience", "audience", withPayload({ ...payload, aud: audience.slice(0, -1) })],
  ["a list without the audience", "audience", withPayload({ ...payload, aud: ["https://other.test", ""] })],
  ["an audience of another type", "audience", withPayload({ ...payload, aud: { [audience]: true } })],
  ["no expiry", "claims", withPayload(without("exp"))],
  ["an expiry of another type", "claims", withPayload({ ...payload, exp: `${now + 60}` })],
  ["an expiry beyond all numbers", "claims", withPayload(json.replace(/"exp":\d+/, '"exp":1e999'))],
  ["an expiry that is now", "expired", withPayload({ ...payload, exp: now })],
  ["an expiry in the past", "expired", withPayload({ ...payload, exp: now - 3600 })],
  ["a negative expiry", "expired", withPayload({ ...payload, exp: -1 })],
  ["a time before which it is not valid", "early", withPayload({ ...payload, nbf: now + 6 })],
  ["such a time of another type", "claims", withPayload({ ...payload, nbf: "0" })],
  ["an issue in the future", "early", withPayload({ ...payload, iat: now + 6 })],
  ["an issue of another type", "claims", withPayload({ ...payload, iat: null })],
  ["no subject", "claims", withPayload(without("sub"))],
  ["an empty subject", "claims", withPayload({ ...payload, sub: "" })],
  ["a subject of another type", "claims", withPayload({ ...payload, sub: 1 })],
  ["a session of another type", "claims", withPayload({ ...payload, sid: 1 })],
  ["an id of another type", "claims", withPayload({ ...payload, jti: {} })]
]

export const tokenSuite = (make: () => Promise<TokenHarness>): void => {
  const test = (name: string, run: (harness: TokenHarness) => Effect.Effect<void, never, Authenticator>) =>
    it.effect(name, () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(now * 1000)
        const harness = yield* Effect.promise(make)
        yield* Effect.provide(run(harness), harness.layer)
      })
    )

  describe("A5: a token", () => {
    test("is accepted with its subject, its own claims, its times and its session", ({ signer }) =>
      Effect.gen(function* () {
        const ask = (change: object, header = {}) =>
          Effect.flatMap(sign(signer, { ...payload, ...change }, header), authenticate)
        expect(yield* ask({})).toEqual(accepted())
        const claims = { name: "Ada", roles: ["admin"], tenants: ["acme"], nested: { a: [1, null, "x", true] } }
        expect(yield* ask(claims)).toEqual(accepted({ claims }))
        // What is about the token is not a claim of the caller.
        expect(yield* ask({ jti: "token", nbf: now, azp: "client", nonce: "n" })).toEqual(
          accepted({ session: "token" })
        )
        expect(yield* ask({ jti: "token", sid: "session" })).toEqual(accepted({ session: "session" }))
        expect(yield* ask({ aud: ["https://other.test", audience] })).toEqual(accepted())
        // The issuer's clock may be 5 seconds ahead.
        const ahead = { iat: now + 5, nbf: now + 5 }
        expect(yield* ask(ahead)).toEqual(accepted({ issued: (now + 5) * 1000 }))
        for (const typ of ["at+jwt", "application/AT+JWT", "jwt", undefined]) {
          expect(yield* ask({}, { typ })).toEqual(accepted())
        }
      }))

    test("of another issuer is left to others, and so is a caller without one", ({ signer }) =>
      Effect.gen(function* () {
        expect(yield* authenticate(undefined)).toEqual(none)
        const other = yield* sign(signer, { ...payload, iss: `${issuer}/` })
        expect(yield* authenticate(other)).toEqual(none)
      }))

    for (const [what, problem, token] of refusals) {
      test(`with ${what} is refused: ${problem}`, (harness) =>
        Effect.gen(function* () {
          expect(yield* authenticate(yield* token(harness))).toEqual(refused(problem))
          // The control: the layer accepts the token that this one differs from.
          expect(yield* authenticate(yield* sign(harness.signer, payload))).toEqual(accepted())
        }))
    }

    test("that is signed with the public key as a secret is refused", ({ signer }) =>
      Effect.gen(function* () {
        const confused = yield* Effect.promise(() => secretSigner(JSON.stringify(signer.jwk)))
        const token = yield* sign({ ...confused, kid: signer.kid }, payload)
        expect(yield* authenticate(token)).toEqual(refused(signer.alg === "HS256" ? "signature" : "algorithm"))
      }))

    test("of an unknown key is refused", ({ knowsKeys, stranger }) =>
      Effect.gen(function* () {
        const token = yield* sign({ ...stranger, kid: "unknown" }, payload)
        expect(yield* authenticate(token)).toEqual(refused(knowsKeys ? "key" : "signature"))
      }))
  })

  describe("A7: a token that was accepted", () => {
    test("A3: is accepted again until it expires, and not from then on", ({ signer }) =>
      Effect.gen(function* () {
        const token = yield* sign(signer, payload)
        const first = yield* authenticate(token)
        const second = yield* authenticate(token)
        expect(first).toEqual(accepted())
        expect(second).toEqual(first)
        yield* TestClock.adjust(59_999)
        expect(yield* authenticate(token)).toEqual(accepted())
        yield* TestClock.adjust(1)
        expect(yield* authenticate(token)).toEqual(refused("expired"))
        yield* TestClock.adjust("1 day")
        expect(yield* authenticate(token)).toEqual(refused("expired"))
      }))

    test("does not make another accepted that differs from it", ({ signer }) =>
      Effect.gen(function* () {
        const token = yield* sign(signer, payload)
        expect(yield* authenticate(token)).toEqual(accepted())
        const at = token.indexOf(".", token.indexOf(".") + 1) + 4
        const other = `${token.slice(0, at)}${token[at] === "A" ? "B" : "A"}${token.slice(at + 1)}`
        expect(yield* authenticate(other)).toEqual(refused("signature"))
      }))
  })
}
