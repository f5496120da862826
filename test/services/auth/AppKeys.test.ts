import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Api, App, Query } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { ConnectionRefused } from "effect-dormouse/client"
import { TestApp } from "effect-dormouse/testing"
import * as Transport from "../../../src/client/Transport.ts"
import { turns } from "../../deployment/memory.ts"

/** The keys of the author's own apps. */

class WhoApi extends Api.make(Query.make("who", { payload: {}, success: Schema.NullOr(Schema.String) })) {}
const app = App.make({
  api: WhoApi,
  tables: [],
  handlers: WhoApi.toLayer({ who: () => Effect.map(Auth.identity, ({ subject }) => subject) })
})
const origin = "https://app.example.org"
const keys = [
  { key: "pk_web", origins: [origin] },
  { key: "pk_open", origins: ["*"] }
]
const layer = Auth.layerFirst(Auth.layerTest, Auth.layerAnonymous)
const guarded = TestApp.layer(app, { auth: Auth.withAppKeys(layer, keys), enter: () => true })
const open = TestApp.layer(app, { auth: layer, enter: () => true })

const post = (headers: Record<string, string>, search = "") =>
  Effect.gen(function* () {
    const { transport, url } = yield* TestApp
    const fetch = yield* Effect.provide(Transport.Fetch, transport)
    const body = JSON.stringify({ _tag: "Request", id: "1", tag: "who", payload: {}, headers: [] })
    const response = yield* Effect.promise(() => fetch(`${url}/rpc${search}`, { method: "POST", headers, body }))
    return [response.status, yield* Effect.promise(() => response.text())] as const
  })

const requests: ReadonlyArray<readonly [string, Record<string, string>, string, boolean]> = [
  ["no key", {}, "", false],
  ["no key, and an origin of the list", { origin }, "", false],
  ["an unknown key", { "x-dormouse-key": "pk_other", origin }, "", false],
  ["an empty key", { "x-dormouse-key": "", origin }, "", false],
  ["a key twice", { "x-dormouse-key": "pk_web, pk_web", origin }, "", false],
  ["another origin", { "x-dormouse-key": "pk_web", origin: "https://eve.test" }, "", false],
  ["the origin null", { "x-dormouse-key": "pk_web", origin: "null" }, "", false],
  ["the origin over http", { "x-dormouse-key": "pk_web", origin: "http://app.example.org" }, "", false],
  ["a longer origin", { "x-dormouse-key": "pk_web", origin: `${origin}.eve.test` }, "", false],
  ["the origin of another key", { "x-dormouse-key": "pk_web", origin: "*" }, "", false],
  ["its key and its origin", { "x-dormouse-key": "pk_web", origin }, "", true],
  ["its key in the URL", { origin }, "?key=pk_web", true],
  ["its key and no browser", { "x-dormouse-key": "pk_web" }, "", true],
  ["a key of all origins", { "x-dormouse-key": "pk_open", origin: "https://any.test" }, "", true]
]

describe("A8: a request with", () => {
  for (const [what, headers, search, isAllowed] of requests) {
    it.effect(`${what} is ${isAllowed ? "accepted" : "refused"}`, () =>
      Effect.gen(function* () {
        const allowed = yield* Effect.provide(post(headers, search), guarded)
        const starts = yield* Effect.provide(
          Effect.gen(function* () {
            yield* post(headers, search)
            return (yield* TestApp).object().starts
          }),
          guarded
        )
        if (isAllowed) expect([allowed[0], starts]).toEqual([200, 1])
        else expect([allowed, starts]).toEqual([[403, '{"error":"forbidden"}'], 0])
        // The control: without the gate everybody gets in.
        expect((yield* Effect.provide(post(headers, search), open))[0]).toBe(200)
      })
    )
  }

  it.effect("a key still needs a token that is accepted", () =>
    Effect.gen(function* () {
      const authorization = "Bearer nonsense"
      expect((yield* post({ "x-dormouse-key": "pk_web", authorization }))[0]).toBe(401)
      expect((yield* post({ authorization }))[0]).toBe(403)
    }).pipe(Effect.provide(guarded))
  )

  it.effect("a key opens a socket, and is refused with 4403 without one", () =>
    Effect.gen(function* () {
      const live = (appKey?: string) =>
        Effect.gen(function* () {
          const client = yield* TestApp.client(WhoApi, appKey === undefined ? {} : { appKey })
          return yield* Effect.exit(Stream.runHead(client.live("who", {})))
        }).pipe(Effect.scoped)
      expect(yield* live()).toEqual(Exit.fail(new ConnectionRefused({ reason: "4403 forbidden" })))
      expect(yield* live("pk_web")).toEqual(Exit.succeed(Option.some(null)))
      const client = yield* TestApp.client(WhoApi, { appKey: "pk_web" })
      expect(yield* client.query("who", {})).toBe(null)
    }).pipe(Effect.provide(guarded))
  )

  it.effect("a socket with a key gets a new token, and a new socket with it needs the key again", () =>
    Effect.gen(function* () {
      let subject = "ada"
      const token = Effect.sync(() => Auth.testToken({ subject }))
      const client = yield* TestApp.client(WhoApi, { appKey: "pk_web", token })
      const shown: Array<string | null> = []
      yield* Effect.forkScoped(Stream.runForEach(client.live("who", {}), (who) => Effect.sync(() => shown.push(who))))
      yield* Effect.promise(turns)
      subject = "bob"
      yield* client.refresh
      yield* Effect.promise(turns)
      expect(shown).toEqual(["ada", "bob"])
      const other = yield* TestApp.client(WhoApi, { token })
      const refused = yield* Effect.exit(Stream.runHead(other.live("who", {})))
      expect(refused).toEqual(Exit.fail(new ConnectionRefused({ reason: "4403 forbidden" })))
    }).pipe(Effect.provide(guarded))
  )
})
