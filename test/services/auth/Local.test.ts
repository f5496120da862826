import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { Auth } from "effect-dormouse/auth"
import { Unavailable } from "../../../src/protocol/CallError.ts"
import { plan, publicKeys, type SigningPolicy } from "../../../src/services/auth/SigningKeys.ts"
import { KeyStore, layerMemory, type StoredKey } from "../../../src/services/KeyStore.ts"
import { forAll, Violation } from "../../random.ts"
import { audience, issuer } from "./issuer.ts"
import { makeSigner, sign } from "./signing.ts"
import { now, payload, refused } from "./tokenSuite.ts"

/** Tokens that a deployment issues itself: rotation, several isolates, and what others see of its keys. */

const options = { issuer, audience, keyLifetime: "30 days", tokenLifetime: "1 day" } as const
const jwks = new Request(`${issuer}/.well-known/jwks.json`)

/** An isolate with a layer of its own, over the store that all of a test share. */
const isolate = Effect.gen(function* () {
  const store = yield* KeyStore
  const layer = Auth.layerLocalWith(options).pipe(Layer.provide(Layer.succeed(KeyStore, store)))
  const built = yield* Layer.build(layer)
  const { issue } = Context.get(built, Auth.TokenIssuer)
  const { authenticate, respond } = Context.get(built, Auth.Authenticator)
  return {
    issue: (subject: string, expiresIn: Auth.TokenRequest["expiresIn"] = "1 day") =>
      Effect.map(issue({ subject, claims: { name: subject }, expiresIn }), ({ token }) => token),
    issueWith: issue,
    /** Whom the isolate takes the caller for, or why it refuses it. */
    who: (token: string) =>
      Effect.match(authenticate({ token, request: jwks }), {
        onFailure: (refusal) => (refusal._tag === "Unauthenticated" ? refusal.problem : refusal._tag),
        onSuccess: (verified) => Option.getOrThrow(verified).identity.subject
      }),
    authenticate: (token: string) => authenticate({ token, request: jwks }),
    published: Effect.flatMap(respond!(jwks), (response) =>
      Effect.promise(() => Option.getOrThrow(response).json() as Promise<any>)
    ),
    respond: respond!
  }
})

const test = (name: string, run: Effect.Effect<void, unknown, KeyStore | import("effect/Scope").Scope>) =>
  it.effect(name, () =>
    Effect.andThen(TestClock.setTime(now * 1000), run).pipe(Effect.orDie, Effect.provide(layerMemory))
  )

describe("A9: a token that the deployment issues", () => {
  test(
    "is accepted with its subject, claims and session until it expires",
    Effect.gen(function* () {
      const { authenticate, issueWith, who } = yield* isolate
      const request = { subject: "ada", claims: { name: "Ada", tenants: ["main"] }, expiresIn: "1 hour" } as const
      const { expires, token } = yield* issueWith({ ...request, session: "session" })
      expect(expires).toBe((now + 3600) * 1000)
      expect(yield* authenticate(token)).toEqual(
        Option.some({
          identity: { subject: "ada", claims: request.claims },
          credential: { expires, issued: now * 1000, session: "session" }
        })
      )
      const [one, other] = [yield* issueWith(request), yield* issueWith(request)]
      const sessions = yield* Effect.forEach([one, other], ({ token }) => authenticate(token))
      // Each token can be revoked alone.
      expect(new Set(sessions.map((verified) => Option.getOrThrow(verified).credential.session)).size).toBe(2)
      yield* TestClock.adjust(3_599_999)
      expect(yield* who(token)).toBe("ada")
      yield* TestClock.adjust(1)
      expect(yield* who(token)).toBe("expired")
    })
  )

  test(
    "is accepted by all isolates, and the first tokens of two isolates make one key",
    Effect.gen(function* () {
      const isolates = yield* Effect.forEach(["a", "b", "c", "d"], () => isolate)
      // Each has seen that there is no key.
      for (const { published } of isolates) expect(yield* published).toEqual({ keys: [] })
      const tokens = yield* Effect.forEach(isolates, ({ issue }) => issue("ada"), { concurrency: "unbounded" })
      for (const { who } of isolates) {
        for (const token of tokens) expect(yield* who(token)).toBe("ada")
      }
      expect(yield* (yield* KeyStore).list).toHaveLength(1)
    })
  )

  test(
    "is accepted until its end while keys change, and old keys are forgotten then",
    Effect.gen(function* () {
      const [a, b] = [yield* isolate, yield* isolate]
      const store = yield* KeyStore
      const tokens: Array<{ readonly token: string; readonly ends: number }> = []
      const kids = new Set<string>()
      for (let hour = 0; hour <= 24 * 100; hour += 6) {
        const alive = tokens.filter(({ ends }) => hour < ends)
        for (const { token } of alive) expect([yield* a.who(token), yield* b.who(token)]).toEqual(["ada", "ada"])
        const token = yield* (hour % 12 === 0 ? a : b).issue("ada")
        kids.add(JSON.parse(atob(token.split(".")[0]!)).kid)
        tokens.push({ token, ends: hour + 24 })
        expect((yield* store.list).length).toBeLessThanOrEqual(3)
        yield* TestClock.adjust("6 hours")
      }
      expect(kids.size).toBe(4)
    })
  )

  test(
    "is one that others can verify with the published keys, also when those are replaced",
    Effect.gen(function* () {
      const { issue, respond } = yield* isolate
      const http = Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make((request, url) =>
          Effect.map(respond(new Request(url)), (response) =>
            HttpClientResponse.fromWeb(
              request,
              Option.getOrElse(response, () => new Response(null, { status: 404 }))
            )
          )
        )
      )
      const other = Auth.layerJwks({ issuer, audience, url: jwks.url }).pipe(Layer.provide(http))
      const { authenticate } = Context.get(yield* Layer.build(other), Auth.Authenticator)
      for (let day = 0; day < 70; day++) {
        const token = yield* issue("ada")
        expect(Option.isSome(yield* authenticate({ token, request: jwks }))).toBe(true)
        yield* TestClock.adjust("1 day")
      }
    })
  )

  test(
    "has published keys that are public, and a next key is published before it signs",
    Effect.gen(function* () {
      const { issue, published, respond } = yield* isolate
      const kidOf = (token: string) => JSON.parse(atob(token.split(".")[0]!)).kid
      const first = kidOf(yield* issue("ada"))
      const { keys } = yield* published
      expect(keys).toEqual([
        { kty: "EC", crv: "P-256", x: expect.any(String), y: expect.any(String), kid: first, alg: "ES256", use: "sig" }
      ])
      const response = Option.getOrThrow(yield* respond(jwks))
      expect(response.headers.get("cache-control")).toBe("public, max-age=300")
      yield* TestClock.adjust("30 days")
      yield* TestClock.adjust("-9 minutes")
      expect(kidOf(yield* issue("ada"))).toBe(first)
      const after = (yield* published).keys.map(({ kid }: any) => kid)
      expect(after).toHaveLength(2)
      yield* TestClock.adjust("9 minutes")
      expect(kidOf(yield* issue("ada"))).toBe(after[1])
      // Other paths and methods are not its own.
      expect(yield* respond(new Request(jwks.url, { method: "POST" }))).toEqual(Option.none())
      expect(yield* respond(new Request(`${jwks.url}/x`))).toEqual(Option.none())
    })
  )

  test(
    "cannot be asked for with a claim of the token itself, without a subject, or for too long",
    Effect.gen(function* () {
      const { issueWith } = yield* isolate
      const dies = (request: Partial<Auth.TokenRequest>) =>
        Effect.map(
          Effect.exit(issueWith({ subject: "ada", claims: {}, expiresIn: "1 hour", ...request })),
          (exit) => Exit.isFailure(exit) && Exit.hasDies(exit)
        )
      expect(yield* dies({})).toBe(false)
      for (const name of ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid"]) {
        expect(yield* dies({ claims: { [name]: 1 } })).toBe(true)
      }
      expect(yield* dies({ subject: "" })).toBe(true)
      expect(yield* dies({ expiresIn: "25 hours" })).toBe(true)
      expect(yield* dies({ expiresIn: 0 })).toBe(true)
      expect(yield* dies({ claims: { text: "x".repeat(9000) } })).toBe(true)
    })
  )
})

describe("A9: a store that", () => {
  const down = new Unavailable({ detail: "down" })

  it.effect("does not answer lets tokens be verified for an hour, and signed", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now * 1000)
      const store = Context.get(yield* Layer.build(layerMemory), KeyStore)
      let isDown = true
      const broken: KeyStore["Service"] = {
        ...store,
        list: Effect.suspend(() => (isDown ? Effect.fail(down) : store.list)),
        add: (key) => (isDown ? Effect.fail(down) : store.add(key))
      }
      const { issue, respond, who } = yield* Effect.provideService(isolate, KeyStore, broken)
      const stranger = yield* Effect.promise(() => makeSigner("ES256", "stranger"))
      expect(yield* Effect.exit(issue("ada"))).toMatchObject(Exit.fail({ _tag: "Unavailable" }))
      expect(yield* who(yield* sign(stranger, payload))).toBe("Unavailable")
      expect(Option.getOrThrow(yield* respond(jwks)).status).toBe(503)
      isDown = false
      yield* TestClock.adjust("1 second")
      const token = yield* issue("ada")
      isDown = true
      yield* TestClock.adjust("59 minutes")
      expect(yield* who(token)).toBe("ada")
      expect(yield* who(yield* issue("eve"))).toBe("eve")
      yield* TestClock.adjust("1 minute")
      expect(yield* who(token)).toBe("Unavailable")
    }).pipe(Effect.orDie)
  )

  it.effect("has a row that cannot be read still has the others", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now * 1000)
      const store = yield* KeyStore
      yield* store.add({ id: "broken", jwk: Redacted.make("{}"), retiresAt: null, after: null })
      const { issue, published, who } = yield* isolate
      expect(yield* who(yield* issue("ada"))).toBe("ada")
      expect((yield* published).keys).toHaveLength(1)
    }).pipe(Effect.orDie, Effect.provide(layerMemory))
  )

  it.effect("has no key of ours accepts nobody", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now * 1000)
      const { authenticate } = yield* isolate
      const stranger = yield* Effect.promise(() => makeSigner("ES256", "stranger"))
      expect(yield* Effect.exit(authenticate(yield* sign(stranger, payload)))).toEqual(refused("key"))
    }).pipe(Effect.provide(layerMemory))
  )
})

describe("A9: which key signs, at random", async () => {
  const { privateJwk } = await makeSigner("ES256", "key")
  const policy: SigningPolicy = { keyLifetime: 100, tokenLifetime: 30, publishAhead: 10 }
  const jwk = Redacted.make(privateJwk)

  /** Isolates that learn of the keys late issue tokens at random times; each token must have its key until it expires. */
  const check = (planned: typeof plan) =>
    forAll(100, (random) => {
      let stored: ReadonlyArray<StoredKey> = []
      let time = 0
      let added = 0
      const views = random.array(3, () => ({ keys: stored, at: 0 }))
      const tokens: Array<{ readonly kid: string; readonly ends: number }> = []
      for (let i = 0; i < 150; i++) {
        time += random.int(12)
        const view = random.pick(views)
        // A view is at most this old.
        if (time - view.at >= 5 || view.keys.length === 0) Object.assign(view, { keys: stored, at: time })
        const { expired, next, signer } = planned(view.keys, time, policy)
        if (next !== undefined) {
          if ((stored.at(-1)?.id ?? null) === next.after) {
            stored = [...stored, { id: `${++added}`, jwk, createdAt: time, retiresAt: next.retiresAt }]
          }
          stored = stored.filter(({ id }) => !expired.includes(id))
          Object.assign(view, { keys: stored, at: time })
        }
        const signs = signer ?? planned(view.keys, time, policy).signer
        if (signs === undefined) throw new Violation("there is no key that signs")
        tokens.push({ kid: signs.id, ends: time + policy.tokenLifetime })
        for (const { ends, kid } of tokens) {
          if (time < ends && !stored.some(({ id }) => id === kid))
            throw new Violation(`key ${kid} was forgotten too early`)
        }
        for (const { at, keys } of views) {
          if (time - at < 5 && keys.length > 0 && !keys.some(({ id }) => id === signs.id)) {
            throw new Violation("a key signs that another isolate does not know")
          }
        }
        if (stored.length > 4) throw new Violation(`there are ${stored.length} keys`)
      }
    })

  it("every token has its key until it expires, and all isolates know the key that signs", () => check(plan))

  it("the check finds keys that are forgotten at once, and keys that sign as soon as they are there", () => {
    const early: typeof plan = (keys, now, policy) => plan(keys, now, { ...policy, tokenLifetime: -20 })
    expect(() => check(early)).toThrow(Violation)
    const sudden: typeof plan = (keys, now, policy) => plan(keys, now, { ...policy, publishAhead: 0 })
    expect(() => check(sudden)).toThrow(Violation)
  })

  it("what is published has no private part", () => {
    const keys = publicKeys([{ id: "key", jwk, createdAt: 0, retiresAt: null }])
    expect(JSON.parse(privateJwk).d).toEqual(expect.any(String))
    expect(JSON.stringify(keys)).not.toContain(JSON.parse(privateJwk).d)
  })
})
