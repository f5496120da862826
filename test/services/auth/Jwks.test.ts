import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { Auth } from "effect-dormouse/auth"
import { Unavailable } from "../../../src/protocol/CallError.ts"
import { decide, type RefreshPolicy, type RefreshTimes } from "../../../src/services/auth/RefreshPolicy.ts"
import { forAll, Violation } from "../../random.ts"
import { audience, Issuer, issuer, jwksUrl } from "./issuer.ts"
import { makeSigner, type Signer, secretSigner, sign } from "./signing.ts"
import { authenticate, now, payload, refused } from "./tokenSuite.ts"

/** Where `layerJwks` gets its keys, how often, and what happens when it gets none. */

const one = await makeSigner("ES256", "one")
const two = await makeSigner("ES256", "two")
const stranger = await makeSigner("ES256", "stranger")
const options = { url: jwksUrl, issuer, audience }
const unavailable = Exit.fail(new Unavailable({ detail: "the keys that verify tokens cannot be read now" }))

/** A test with an issuer that publishes the key `one`. */
const test = (
  name: string,
  run: (issuer: Issuer) => Effect.Effect<void, never, Auth.Authenticator>,
  changed: Partial<Auth.JwksOptions> = {}
) =>
  it.effect(name, () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now * 1000)
      const server = new Issuer(one)
      yield* Effect.provide(run(server), Auth.layerJwks({ ...options, ...changed }).pipe(Layer.provide(server.http)))
    })
  )

let issued = 0
/** A token that no cache has, which lasts long. */
const tokenOf = (signer: Signer, header: object = {}) =>
  sign(signer, { ...payload, exp: now + 1_000_000, jti: `${++issued}` }, header)
const ask = (signer: Signer, header?: object) => Effect.flatMap(tokenOf(signer, header), authenticate)
/** Starts to ask. The token is signed already: what waits then waits for the clock alone. */
const start = (signer: Signer) => Effect.flatMap(tokenOf(signer), (token) => Effect.forkChild(authenticate(token)))
const isAccepted = Effect.map(ask(one), Exit.isSuccess)
const response = (body: BodyInit | null, init?: ResponseInit) => () => Effect.succeed(new Response(body, init))

describe("A6: the keys of an issuer", () => {
  test("are loaded with the first token, and again after 10 minutes", (server) =>
    Effect.gen(function* () {
      expect(server.requests).toEqual([])
      expect(yield* isAccepted).toBe(true)
      expect(yield* isAccepted).toBe(true)
      expect(server.requests).toEqual([jwksUrl])
      yield* TestClock.adjust("10 minutes")
      expect(yield* isAccepted).toBe(true)
      expect(yield* isAccepted).toBe(true)
      expect(server.requests).toHaveLength(2)
    }))

  test(
    "are found through the issuer's configuration",
    (server) =>
      Effect.gen(function* () {
        expect(yield* isAccepted).toBe(true)
        expect(server.requests).toEqual([`${issuer}/.well-known/openid-configuration`, jwksUrl])
      }),
    // What is not given is absent.
    { url: undefined as never }
  )

  test(
    "are not taken from a configuration of another issuer, or from where anybody could change them",
    (server) =>
      Effect.gen(function* () {
        const right = server.configuration
        const wrong = [{ issuer: "https://other.test" }, { jwks_uri: "http://issuer.test/keys.json" }, { jwks_uri: 1 }]
        for (const changed of wrong) {
          server.configuration = { ...right, ...changed }
          expect(yield* ask(one)).toEqual(unavailable)
          yield* TestClock.adjust("1 second")
        }
        expect(server.requests).not.toContain(jwksUrl)
        server.configuration = right
        expect(yield* isAccepted).toBe(true)
      }),
    { url: undefined as never }
  )

  it.effect("are requested without following redirects", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now * 1000)
      const redirects: Array<unknown> = []
      const fetch: typeof globalThis.fetch = async (_, init) => {
        redirects.push(init?.redirect)
        return Response.json({ keys: [one.jwk] })
      }
      const http = FetchHttpClient.layer.pipe(Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch)))
      const accepts = Effect.provide(isAccepted, Auth.layerJwks(options).pipe(Layer.provide(http)))
      expect(yield* accepts).toBe(true)
      expect(redirects).toEqual(["manual"])
    })
  )

  test("are loaded once for all requests that need them at the same time", (server) =>
    Effect.gen(function* () {
      server.answer = () => Effect.delay(Effect.succeed(Response.json({ keys: server.keys })), "1 second")
      const waiting = yield* Effect.forEach(Array.from({ length: 50 }), () => start(one))
      yield* TestClock.adjust("1 second")
      const exits = yield* Effect.forEach(waiting, Fiber.join)
      expect(exits.map(Exit.isSuccess)).toEqual(Array(50).fill(true))
      expect(server.requests).toHaveLength(1)
    }))

  test("are loaded again for a token of a new key, once", (server) =>
    Effect.gen(function* () {
      expect(yield* isAccepted).toBe(true)
      yield* TestClock.adjust("1 second")
      server.publish(one, two)
      expect(Exit.isSuccess(yield* ask(two))).toBe(true)
      expect(Exit.isSuccess(yield* ask(two))).toBe(true)
      expect(server.requests).toHaveLength(2)
    }))

  test("are loaded again for a token without a kid that no key has signed", (server) =>
    Effect.gen(function* () {
      expect(Exit.isSuccess(yield* ask(one, { kid: undefined }))).toBe(true)
      yield* TestClock.adjust("1 second")
      server.publish(one, two)
      expect(Exit.isSuccess(yield* ask(two, { kid: undefined }))).toBe(true)
      expect(Exit.isSuccess(yield* ask(one, { kid: undefined }))).toBe(true)
    }))

  test("are not loaded for each token of an unknown key: callers cannot make us call the issuer", (server) =>
    Effect.gen(function* () {
      expect(yield* isAccepted).toBe(true)
      yield* TestClock.adjust("1 second")
      for (let i = 0; i < 100; i++) expect(yield* ask(stranger, { kid: `${i}` })).toEqual(refused("key"))
      expect(server.requests).toHaveLength(2)
      yield* TestClock.adjust("29 seconds")
      expect(yield* ask(stranger)).toEqual(refused("key"))
      expect(server.requests).toHaveLength(2)
      yield* TestClock.adjust("1 second")
      expect(yield* ask(stranger)).toEqual(refused("key"))
      expect(server.requests).toHaveLength(3)
      expect(yield* isAccepted).toBe(true)
    }))

  test("are not loaded for tokens that are refused without them", (server) =>
    Effect.gen(function* () {
      expect(yield* authenticate("nonsense")).toEqual(refused("malformed"))
      expect(yield* ask(one, { alg: "HS256" })).toEqual(refused("algorithm"))
      yield* Effect.flatMap(sign(one, { ...payload, iss: "https://other.test" }), authenticate)
      expect(server.requests).toEqual([])
    }))

  test("that were withdrawn are not accepted when the keys have been loaded again, not even for a known token", (server) =>
    Effect.gen(function* () {
      const token = yield* tokenOf(one)
      expect(Exit.isSuccess(yield* authenticate(token))).toBe(true)
      server.publish(two)
      yield* TestClock.adjust("599 seconds")
      expect(Exit.isSuccess(yield* authenticate(token))).toBe(true)
      yield* TestClock.adjust("1 second")
      expect(yield* authenticate(token)).toEqual(refused("key"))
    }))

  test("are used for an hour when they cannot be loaded again, and then nobody gets in", (server) =>
    Effect.gen(function* () {
      const token = yield* tokenOf(one)
      expect(Exit.isSuccess(yield* authenticate(token))).toBe(true)
      server.answer = () => Effect.fail("down")
      yield* TestClock.adjust("3599 seconds")
      expect(yield* isAccepted).toBe(true)
      expect(yield* isAccepted).toBe(true)
      expect(server.requests).toHaveLength(2)
      expect(Exit.isSuccess(yield* authenticate(token))).toBe(true)
      yield* TestClock.adjust("1 second")
      expect(yield* ask(one)).toEqual(unavailable)
      expect(yield* authenticate(token)).toEqual(unavailable)
      server.answer = undefined
      yield* TestClock.adjust("1 second")
      expect(Exit.isSuccess(yield* authenticate(token))).toBe(true)
    }))

  test("that were never loaded make every token Unavailable, with one attempt a second", (server) =>
    Effect.gen(function* () {
      server.answer = () => Effect.fail("down")
      for (let i = 0; i < 20; i++) expect(yield* ask(one)).toEqual(unavailable)
      expect(server.requests).toHaveLength(1)
      yield* TestClock.adjust("1 second")
      server.answer = undefined
      expect(yield* isAccepted).toBe(true)
    }))

  test("of a slow issuer are waited for until the timeout", (server) =>
    Effect.gen(function* () {
      server.answer = () => Effect.never
      const first = yield* start(one)
      yield* TestClock.adjust("4 seconds")
      const second = yield* start(one)
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(first)).toEqual(unavailable)
      expect(yield* Fiber.join(second)).toEqual(unavailable)
      server.answer = undefined
      yield* TestClock.adjust("1 second")
      expect(yield* isAccepted).toBe(true)
      // One request waits for newer keys; the others use those that are there.
      yield* TestClock.adjust("10 minutes")
      server.answer = () => Effect.never
      const waiting = yield* start(one)
      yield* TestClock.adjust("1 second")
      expect(yield* isAccepted).toBe(true)
      yield* TestClock.adjust("4 seconds")
      expect(Exit.isSuccess(yield* Fiber.join(waiting))).toBe(true)
      expect(yield* isAccepted).toBe(true)
      expect(server.requests).toHaveLength(3)
    }))

  test("are loaded by the next request when the one that loaded them was interrupted", (server) =>
    Effect.gen(function* () {
      let waits = true
      server.answer = () =>
        Effect.suspend(() => (waits ? Effect.never : Effect.succeed(Response.json({ keys: server.keys }))))
      const first = yield* start(one)
      yield* TestClock.adjust("1 second")
      const second = yield* start(one)
      yield* TestClock.adjust("1 second")
      waits = false
      yield* Fiber.interrupt(first)
      expect(Exit.isSuccess(yield* Fiber.join(second))).toBe(true)
      expect(server.requests).toHaveLength(2)
    }))

  const secret = { kty: "oct", k: "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", kid: "one" }
  const poisons: ReadonlyArray<readonly [string, () => Effect.Effect<Response, "down">]> = [
    ["no JSON", response("keys")],
    ["a page", response("<!doctype html><title>Sign in</title>", { headers: { "content-type": "text/html" } })],
    ["an empty body", response("")],
    ["another JSON", response("[]")],
    ["null", response("null")],
    ["no list of keys", response('{"keys":{}}')],
    ["no keys", response('{"keys":[]}')],
    ["keys of other types", response('{"keys":[1,null,"one",[],{}]}')],
    ["a symmetric key", response(JSON.stringify({ keys: [secret] }))],
    ["a private key", response(JSON.stringify({ keys: [{ ...one.jwk, d: "AAAA" }] }))],
    ["a key for encryption", response(JSON.stringify({ keys: [{ ...one.jwk, use: "enc" }] }))],
    ["a huge body", response(JSON.stringify({ keys: [two.jwk], padding: "x".repeat(131_072) }))],
    ["an error", response(JSON.stringify({ keys: [two.jwk] }), { status: 500 })],
    [
      "a redirect",
      response(JSON.stringify({ keys: [two.jwk] }), { status: 302, headers: { location: "https://eve.test" } })
    ],
    ["bytes that are no UTF-8", response(new Uint8Array([0xff, 0xfe, 0xfd]))]
  ]
  for (const [what, answer] of poisons) {
    test(`stay when the issuer answers with ${what}`, (server) =>
      Effect.gen(function* () {
        server.answer = answer
        expect(yield* ask(one)).toEqual(unavailable)
        // The control: the same issuer with its keys.
        server.answer = undefined
        yield* TestClock.adjust("1 second")
        expect(yield* isAccepted).toBe(true)
        server.answer = answer
        yield* TestClock.adjust("10 minutes")
        expect(yield* isAccepted).toBe(true)
        expect(yield* ask(two)).toEqual(refused("key"))
        expect(server.requests).toHaveLength(3)
      }))
  }

  test("are those of a list that can verify tokens", (server) =>
    Effect.gen(function* () {
      server.keys = [secret, null, { ...two.jwk, use: "enc" }, { ...one.jwk, x: "AAAA" }, one.jwk]
      expect(Exit.isSuccess(yield* ask(one, { kid: undefined }))).toBe(true)
      expect(yield* ask(two)).toEqual(refused("key"))
      const confused = yield* Effect.promise(() => secretSigner("secretsecretsecretsecretsecret"))
      expect(yield* ask({ ...confused, kid: "one" })).toEqual(refused("algorithm"))
    }))
})

describe("A6: when keys are loaded, at random", () => {
  const policy: RefreshPolicy = { refreshAfter: 600, staleFor: 3600, cooldown: 30, retryAfter: 1, timeout: 5 }

  /** Runs requests at random times against an issuer that fails at random, and checks what they get. */
  const check = (next: typeof decide) =>
    forAll(300, (random) => {
      let times: RefreshTimes = {}
      let time = 0
      const loads: Array<{ readonly at: number; readonly because: "age" | "search" }> = []
      for (let i = 0; i < 400; i++) {
        time += random.pick([0, 0, 1, 3, 10, 50, 700, 4000])
        const searches = random.chance(0.5)
        const usable = times.loaded !== undefined && time < times.loaded + policy.staleFor
        const decision = next(times, policy, time, searches)
        if (decision === "use" && !usable)
          throw new Violation(`keys are used that are ${time - (times.loaded ?? 0)} old`)
        if (decision === "give up" && usable) throw new Violation("a caller is refused although there are keys")
        if (decision !== "load") continue
        if (times.running !== undefined && time < times.running + policy.timeout)
          throw new Violation("two loads at a time")
        const isSearch = usable && time < times.loaded! + policy.refreshAfter
        const recent = loads.filter(({ at, because }) => because === "search" && time < at + policy.cooldown)
        if (isSearch && recent.length > 0) throw new Violation("a caller has caused a load within the cool-down")
        loads.push({ at: time, because: isSearch ? "search" : "age" })
        const searched = searches && usable ? { searched: time } : {}
        const outcome = random.int(3)
        const { failed, running: _, ...before } = { ...times, ...searched }
        if (outcome === 0) times = { ...before, loaded: time }
        else if (outcome === 1) times = { ...before, failed: time }
        else times = { ...before, ...(failed !== undefined && { failed }), running: time }
      }
    })

  it("old keys are never used, and callers do not cause loads", () => check(decide))

  it("the check finds a decision without a cool-down, and one that uses old keys", () => {
    expect(() =>
      check((times, policy, now, searches) => decide(times, { ...policy, cooldown: 0 }, now, searches))
    ).toThrow(Violation)
    expect(() =>
      check((times, policy, now, searches) => decide(times, { ...policy, staleFor: 9999 }, now, searches))
    ).toThrow(Violation)
  })
})
