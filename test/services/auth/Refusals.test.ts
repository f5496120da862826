import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Api, App, Query } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { ConnectionRefused } from "effect-dormouse/client"
import { TestApp } from "effect-dormouse/testing"
import * as Transport from "../../../src/client/Transport.ts"
import { audience, Issuer, issuer, jwksUrl } from "./issuer.ts"
import { sign } from "./signing.ts"
import { tokenLayers } from "./tokenLayers.ts"
import { now, payload, refusals, type TokenHarness } from "./tokenSuite.ts"

/** What a caller with a refused token gets from a whole backend, over HTTP and on a socket. */

class WhoApi extends Api.make(Query.make("who", { payload: {}, success: Schema.NullOr(Schema.String) })) {}

const app = App.make({
  api: WhoApi,
  tables: [],
  handlers: WhoApi.toLayer({ who: () => Effect.map(Auth.identity, ({ subject }) => subject) })
})

const body = JSON.stringify({ _tag: "Request", id: "1", tag: "who", payload: {}, headers: [] })

/** One call over HTTP. */
const post = (headers: Record<string, string>) =>
  Effect.gen(function* () {
    const { transport, url } = yield* TestApp
    const fetch = yield* Effect.provide(Transport.Fetch, transport)
    const response = yield* Effect.promise(() => fetch(`${url}/rpc`, { method: "POST", headers, body }))
    return { status: response.status, body: yield* Effect.promise(() => response.json() as Promise<any>) }
  })

/** The first value of a live query over a socket. */
const live = (token: string) =>
  Effect.gen(function* () {
    const client = yield* TestApp.client(WhoApi, { token })
    return yield* Effect.exit(Stream.runHead(client.live("who", {})))
  }).pipe(Effect.scoped)

const test = (name: string, run: (harness: TokenHarness) => Effect.Effect<void, never, TestApp>) =>
  it.effect(name, () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now * 1000)
      const harness = yield* Effect.promise(tokenLayers["layerJwks, ES256"]!)
      const auth = Auth.layerFirst(harness.layer, Auth.layerAnonymous)
      yield* Effect.provide(run(harness), TestApp.layer(app, { auth, enter: () => true }))
    })
  )

describe("A5: a refused token", () => {
  for (const [what, problem, make] of refusals) {
    test(`with ${what} gets 401 and 4401 with the problem alone, and wakes no object`, (harness) =>
      Effect.gen(function* () {
        const { object } = yield* TestApp
        const token = yield* make(harness)
        expect(yield* post({ authorization: `Bearer ${token}` })).toEqual({
          status: 401,
          body: { error: `unauthenticated: ${problem}`, problem }
        })
        // A browser cannot offer a subprotocol with other characters.
        if (!/[+=/]/.test(token)) {
          const closed = new ConnectionRefused({ reason: `4401 unauthenticated: ${problem}` })
          expect(yield* live(token)).toEqual(Exit.fail(closed))
        }
        expect(object().starts).toBe(0)
      }))
  }

  test("of another issuer is refused when no layer knows it", ({ signer }) =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const token = yield* sign(signer, { ...payload, iss: "https://other.test" })
      expect(yield* post({ authorization: `Bearer ${token}` })).toMatchObject({ status: 401, body: { problem: "key" } })
      expect(object().starts).toBe(0)
    }))

  test("differs from one that is accepted, over HTTP and on a socket", ({ signer }) =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const token = yield* sign(signer, payload)
      const { body, status } = yield* post({ authorization: `Bearer ${token}` })
      expect([status, body[0].exit]).toEqual([200, { _tag: "Success", value: "ada" }])
      expect(yield* live(token)).toEqual(Exit.succeed(Option.some("ada")))
      expect((yield* post({})).body[0].exit).toEqual({ _tag: "Success", value: null })
      expect(object().starts).toBe(1)
    }))
})

/** An issuer that is down. */
const down = new Issuer()
down.answer = () => Effect.fail("down")
const unreachable = Auth.layerJwks({ url: jwksUrl, issuer, audience }).pipe(Layer.provide(down.http))

describe("A6: a token that cannot be verified now", () => {
  it.effect("gets 503, and wakes no object", () =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const { signer } = yield* Effect.promise(tokenLayers["layerJwks, ES256"]!)
      const token = yield* sign(signer, payload)
      expect(yield* post({ authorization: `Bearer ${token}` })).toEqual({
        status: 503,
        body: { error: "the keys that verify tokens cannot be read now" }
      })
      expect(object().starts).toBe(0)
    }).pipe(Effect.provide(TestApp.layer(app, { auth: unreachable })))
  )
})
