import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Api, App, Query } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { ConnectionRefused } from "effect-dormouse/client"
import { TestApp } from "effect-dormouse/testing"

/** Who may be calling, as handlers read it. */

class Me extends Auth.Service<Me>()("test/Me", {
  claims: Schema.Struct({ name: Schema.String, roles: Schema.Array(Schema.String) })
}) {}

class WhoApi extends Api.make(
  Query.make("me", { payload: {}, success: Schema.Struct({ subject: Schema.String, name: Schema.String }) }),
  Query.make("maybe", { payload: {}, success: Schema.NullOr(Schema.String) }),
  Query.make("admin", { payload: {}, success: Schema.String }),
  Query.make("claims", { payload: {}, success: Schema.Json }),
  Query.make("role", { payload: {}, success: Schema.String })
) {}

const app = App.make({
  api: WhoApi,
  tables: [],
  identity: Me,
  handlers: WhoApi.toLayer({
    me: () => Effect.map(Me, ({ claims, subject }) => ({ subject, name: claims.name })),
    maybe: () => Effect.map(Me.option, (me) => Option.getOrNull(Option.map(me, ({ subject }) => subject))),
    admin: () =>
      Effect.map(
        Me.require(({ claims }) => claims.roles.includes("admin")),
        ({ claims }) => claims.name
      ),
    claims: () => Effect.map(Auth.identity, ({ claims }) => claims),
    role: () =>
      Effect.map(
        Auth.requireClaims(Schema.Struct({ roles: Schema.Tuple([Schema.Literal("admin")]) })),
        ({ roles: [role] }) => role
      )
  })
})

const ada = { subject: "ada", claims: { name: "Ada", roles: ["admin"], iss: "somebody" } }
const bo = { subject: "bo", claims: { name: "Bo", roles: [] } }
const backend = TestApp.layer(app)
const reasonOf = (effect: Effect.Effect<unknown, unknown, any>) =>
  Effect.map(Effect.flip(effect), (error: any) => error.reason ?? error)

describe("A2: who is calling", () => {
  it.effect("is an effect of the caller, with the author's claims", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(WhoApi, { as: ada })
      expect(yield* client.query("me", {})).toEqual({ subject: "ada", name: "Ada" })
      expect(yield* client.query("maybe", {})).toBe("ada")
      expect(yield* client.query("admin", {})).toBe("Ada")
      expect(yield* client.query("role", {})).toBe("admin")
      // What the author did not declare does not get in.
      expect(yield* client.query("claims", {})).toEqual({ name: "Ada", roles: ["admin"] })
    }).pipe(Effect.provide(backend))
  )

  it.effect("fails typed when nobody is signed in, and when the caller may not", () =>
    Effect.gen(function* () {
      const nobody = yield* TestApp.client(WhoApi)
      expect(yield* reasonOf(nobody.query("me", {}))).toMatchObject({ _tag: "Unauthenticated", problem: "missing" })
      expect(yield* nobody.query("maybe", {})).toBe(null)
      const second = yield* TestApp.client(WhoApi, { as: bo })
      expect(yield* reasonOf(second.query("admin", {}))).toMatchObject({ _tag: "Forbidden" })
      expect(yield* reasonOf(second.query("role", {}))).toMatchObject({ _tag: "Forbidden" })
    }).pipe(Effect.provide(backend))
  )
})

describe("A1: a token that is refused", () => {
  const refused = (token: string) =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(WhoApi, { token })
      return yield* Effect.flip(Stream.runDrain(client.live("maybe", {})))
    })

  it.effect("is not an anonymous caller", () =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      expect(yield* refused("nonsense")).toEqual(new ConnectionRefused({ reason: "4401 unauthenticated: malformed" }))
      const misfit = Auth.testToken({ subject: "ada", claims: { name: 1 } })
      expect(yield* refused(misfit)).toEqual(new ConnectionRefused({ reason: "4401 unauthenticated: claims" }))
      expect(object().starts).toBe(0)
    }).pipe(Effect.provide(backend))
  )

  it.effect("A3: is one that has expired", () =>
    Effect.gen(function* () {
      const token = Auth.testToken({ ...bo, expires: 60_000 })
      const client = yield* TestApp.client(WhoApi, { token })
      expect(yield* client.query("maybe", {})).toBe("bo")
      yield* TestClock.adjust("1 minute")
      expect(yield* refused(token)).toEqual(new ConnectionRefused({ reason: "4401 unauthenticated: expired" }))
    }).pipe(Effect.provide(backend))
  )
})

describe("A4: a tenant that the caller may not enter", () => {
  const layer = TestApp.layer(app, { auth: Auth.layerFirst(Auth.layerTest, Auth.layerAnonymous) })
  const enter = (tenant: string, as?: Auth.TestCaller) =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(WhoApi, { tenant, ...(as && { as }) })
      return yield* Effect.exit(Stream.runHead(client.live("maybe", {})))
    })

  it.effect("answers as one that does not exist, and is not started", () =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const member = { ...bo, claims: { ...bo.claims, tenants: ["acme"] } }
      const none = Exit.fail(new ConnectionRefused({ reason: "4404 no such tenant" }))
      expect(yield* enter("acme", member)).toEqual(Exit.succeed(Option.some("bo")))
      expect(yield* enter("main", member)).toEqual(none)
      expect(yield* enter("main")).toEqual(none)
      expect([object("acme").starts, object("main").starts]).toEqual([1, 0])
    }).pipe(Effect.provide(layer))
  )
})
