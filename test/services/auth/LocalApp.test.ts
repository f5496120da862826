import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/testing/TestClock"
import { Auth } from "effect-dormouse/auth"
import { TestApp } from "effect-dormouse/testing"
import * as Transport from "../../../src/client/Transport.ts"
import { app, auth, enter, local, SignInApi } from "./localApp.ts"

/** `Auth.layerLocal` in a whole backend: an action signs a caller in, and the gateway publishes the keys. */

const published = Effect.gen(function* () {
  const { transport, url } = yield* TestApp
  const fetch = yield* Effect.provide(Transport.Fetch, transport)
  const get = (path: string) =>
    Effect.promise(async () => {
      const response = await fetch(`${url}${path}`, { method: "GET" })
      return { status: response.status, body: (await response.json()) as any }
    })
  return { keys: yield* get("/.well-known/jwks.json"), other: yield* get("/.well-known/other") }
})

const signIn = (name: string) =>
  Effect.scoped(Effect.flatMap(TestApp.client(SignInApi), (client) => client.act("signIn", { name })))

const nameOf = (token: string) =>
  Effect.scoped(Effect.flatMap(TestApp.client(SignInApi, { token }), (client) => client.query("name", {})))

const logged: Array<string> = []
const logger = Logger.layer([Logger.map(Logger.formatJson, (line) => void logged.push(line))])

describe("A9: an action", () => {
  it.effect("issues a token that the backend accepts, also after its own object has ended", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_800_000_000_000)
      const token = yield* signIn("Ada")
      expect(yield* nameOf(token)).toBe("Ada")
      const { object } = yield* TestApp
      yield* Effect.promise(() => object("~system").crash())
      yield* TestClock.adjust("10 minutes")
      expect(yield* nameOf(token)).toBe("Ada")
      expect(yield* nameOf(yield* signIn("Bo"))).toBe("Bo")
      const { keys, other } = yield* published
      expect([keys.status, other.status]).toEqual([200, 404])
      expect(keys.body.keys).toHaveLength(1)
      expect(Object.keys(keys.body.keys[0])).not.toContain("d")
    }).pipe(Effect.orDie, Effect.provide(TestApp.layer(app, { auth, enter })))
  )

  it.effect("issues a token with the first of two layers that can", () =>
    Effect.gen(function* () {
      expect(yield* signIn("Ada")).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/)
    }).pipe(
      Effect.orDie,
      Effect.provide(
        TestApp.layer(app, {
          enter,
          auth: Auth.layerFirst(Auth.layerLocal(local), Auth.layerTest, Auth.layerAnonymous)
        })
      )
    )
  )

  it.effect("dies when nothing issues tokens, and nothing is published", () =>
    Effect.gen(function* () {
      expect(String(yield* Effect.exit(signIn("Ada")))).toContain("the server could not answer")
      expect(logged.join()).toContain("TokenIssuer needs Auth.layerLocal")
      expect((yield* published).keys.status).toBe(404)
    }).pipe(
      Effect.orDie,
      Effect.provide(TestApp.layer(app, { auth: Auth.layerAnonymous, enter })),
      Effect.provide(logger)
    )
  )
})
