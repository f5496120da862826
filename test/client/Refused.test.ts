import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Action, Api, App, Mutation, Query } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { Client, ConnectionRefused } from "effect-dormouse/client"
import { TestApp, type TestAppOptions } from "effect-dormouse/testing"
import * as Transport from "../../src/client/Transport.ts"

/** Calls over HTTP that the Worker refuses: the client fails as its socket would, and does not try again. */

class SmallApi extends Api.make(
  Query.make("query", { payload: {}, success: Schema.Int }),
  Mutation.make("mutate", { payload: {} }),
  Action.make("act", { payload: {} })
) {}
const app = App.make({
  api: SmallApi,
  tables: [],
  handlers: SmallApi.toLayer({
    query: () => Effect.succeed(1),
    mutate: () => Effect.void,
    act: () => Effect.void
  })
})

/** The failures of a query, a mutation and an action, and how often the server was asked. */
const failures = (tenant: string, answer?: () => Response) =>
  Effect.gen(function* () {
    const { transport, url } = yield* TestApp
    const fetch = yield* Effect.provide(Transport.Fetch, transport)
    let asked = 0
    const counted: typeof fetch = (url, init) => {
      asked++
      return answer === undefined ? fetch(url, init) : Promise.resolve(answer())
    }
    const client = yield* Client.make(SmallApi, { url, tenant }).pipe(
      Effect.provideService(Transport.Fetch, counted),
      Effect.provide(transport)
    )
    const failed = yield* Effect.forkChild(
      Effect.all([client.query("query", {}), client.mutate("mutate", {}), client.act("act", {})].map(Effect.flip))
    )
    yield* TestClock.adjust("1 hour")
    return { errors: yield* Fiber.join(failed), asked }
  })

const over = (options: TestAppOptions) => Effect.provide(TestApp.layer(app, options))
const thrice = <A>(value: A) => [value, value, value]
const missing = new ConnectionRefused({ reason: "4404 no such tenant" })

describe("C3: a call over HTTP", () => {
  it.effect("C3: to a tenant that does not exist is refused, and is not sent again", () =>
    Effect.gen(function* () {
      expect(yield* failures("nobody")).toEqual({ errors: thrice(missing), asked: 3 })
    }).pipe(over({ tenants: (name) => name !== "nobody" }))
  )

  it.effect("C3: to a tenant that the caller may not enter is refused in the same way", () =>
    Effect.gen(function* () {
      expect(yield* failures("main")).toEqual({ errors: thrice(missing), asked: 3 })
    }).pipe(over({ auth: Auth.layerAnonymous }))
  )

  it.effect("C3: from another app than those with a key is refused", () =>
    Effect.gen(function* () {
      const forbidden = new ConnectionRefused({ reason: "4403 forbidden" })
      expect(yield* failures("main")).toEqual({ errors: thrice(forbidden), asked: 3 })
    }).pipe(over({ auth: Auth.withAppKeys(Auth.layerAnonymous, [{ key: "pk_web", origins: [] }]), enter: () => true }))
  )

  it.effect("C3: is not refused by what is no answer of a Worker (the control)", () =>
    Effect.gen(function* () {
      for (const answer of [
        () => new Response("<h1>Not found</h1>", { status: 404 }),
        () => Response.json({ message: "not found" }, { status: 404 })
      ]) {
        const { errors } = yield* failures("main", answer)
        expect(errors).toMatchObject(thrice({ _tag: "CallError", reason: { _tag: "Unavailable" } }))
      }
    }).pipe(over({}))
  )
})
