import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import type { Auth } from "effect-dormouse"
import { anonymous } from "../../src/contract/Auth.ts"
import { Gateway, type GatewayHost, type GatewayOptions } from "../../src/engine/worker/Gateway.ts"
import { runLocally } from "../../src/engine/worker/LocalActions.ts"
import type { Close } from "../../src/engine/worker/Refusal.ts"
import { Unauthenticated, Unavailable } from "../../src/protocol/CallError.ts"
import { type Authenticator, noCredential, type Refusal } from "../../src/services/Authenticator.ts"
import { request as call, errorOf } from "../deployment/Deployment.ts"
import { app } from "../worker/notes.ts"

/** How the gateway handles failures of the object, of actions and of the author's authenticator. */

interface Behind {
  /** The object: it returns a body for a call, a response for a socket. */
  readonly object?: (tenant: string) => Promise<Response>
  readonly options?: GatewayOptions
  /** The author's authenticator. */
  readonly authenticate?: Authenticator["Service"]["authenticate"]
}

/** An authenticator that accepts everybody as this caller. */
const accepts = (claims: Auth.Identity["claims"]) => () =>
  Effect.succeed(Option.some({ identity: { subject: "a", claims }, credential: noCredential }))
const refuses = (refusal: Refusal) => () => Effect.fail(refusal)

const log: Array<string> = []

/** How the gateway closed a socket, and the headers that answered its handshake. */
interface Closed {
  readonly close: Close
  readonly headers: Record<string, string>
}

const enter = (
  { authenticate, object, options = {} }: Behind,
  init: RequestInit = {},
  onClose?: (closed: Closed) => void
) =>
  Effect.gen(function* () {
    const context = yield* Effect.context<never>()
    const reach = (tenant: string) => {
      if (object === undefined) throw new Error("no object must be called")
      return object(tenant)
    }
    const request = new Request("https://dormouse.test/rpc", {
      method: "POST",
      body: JSON.stringify([call("a", "notes.add", { body: "x" }), call("b", "look", {})]),
      ...init
    })
    const platform: Omit<GatewayHost, "runApart"> = {
      object: (tenant) => ({
        call: async () => {
          const response = await reach(tenant)
          if (!response.ok) throw new Error(await response.text())
          return { status: response.status, body: await response.text() }
        },
        readQuery: () => Promise.reject(new Error("nothing reads")),
        plan: () => Promise.reject(new Error("nothing plans")),
        connect: () => reach(tenant),
        explain: () => reach(tenant)
      }),
      system: { query: () => Effect.die("not called"), mutate: () => Effect.die("not called") },
      actions: async () => ({
        run: ({ requests }) =>
          Effect.succeed(
            requests.map(({ id }) => ({ _tag: "Exit", requestId: id, exit: { _tag: "Success", value: "acted" } }))
          )
      }),
      authenticator: authenticate && (async () => ({ authenticate })),
      waitUntil: () => {},
      run: (effect) => Effect.runPromiseWith(context)(effect),
      isTraced: false,
      closeSocket: (close, headers) => {
        onClose?.({ close, headers })
        return new Response()
      }
    }
    const host = { ...platform, runApart: runLocally(app, platform) }
    return yield* Effect.promise(() => new Gateway(app, options).handle(host, { request }))
  }).pipe(Effect.provide(Logger.layer([Logger.map(Logger.formatJson, (line) => void log.push(line))])))

/** Asks for a socket. */
const upgrade = (behind: Behind, headers: Record<string, string> = {}) =>
  Effect.gen(function* () {
    const closed: Array<Closed> = []
    const init = { method: "GET", body: null, headers: { upgrade: "websocket", ...headers } }
    yield* enter(behind, init, (close) => closed.push(close))
    expect(closed).toHaveLength(1)
    return closed[0]!
  })

const json = (response: Response) => Effect.promise(() => response.json() as Promise<any>)

const silent: ReadonlyArray<readonly [string, () => Promise<Response>]> = [
  ["is lost", () => Promise.reject(new Error("the secret reason"))],
  ["could not start", async () => Response.json({ error: "the secret reason" }, { status: 503 })]
]

for (const [what, object] of silent) {
  it.effect(`S1: every call to an object that ${what} fails with Unavailable`, () =>
    Effect.gen(function* () {
      const response = yield* enter({ object })
      expect(response.status).toBe(503)
      const messages = yield* json(response)
      expect(messages.map(({ requestId }: any) => requestId)).toEqual(["a", "b"])
      for (const { exit } of messages) {
        expect(errorOf(exit)).toMatchObject({ _tag: "CallError", reason: { _tag: "Unavailable" } })
      }
      expect(JSON.stringify(messages)).not.toContain("secret")
    })
  )

  it.effect(`S1: actions in one batch with calls to an object that ${what} are answered independently`, () =>
    Effect.gen(function* () {
      const body = JSON.stringify([call("a", "look", {}), call("b", "act.end", { ending: "promise" })])
      const messages = yield* json(yield* enter({ object }, { body }))
      const exits = Object.fromEntries(messages.map(({ exit, requestId }: any) => [requestId, exit]))
      expect(errorOf(exits.a)).toMatchObject({ reason: { _tag: "Unavailable" } })
      expect(exits.b).toEqual({ _tag: "Success", value: "acted" })
    })
  )

  it.effect(`S1: a socket to an object that ${what} is closed with 1013`, () =>
    Effect.gen(function* () {
      const { close } = yield* upgrade({ object })
      expect(close).toEqual({
        code: 1013,
        reason: expect.stringMatching(/^the tenant's object (did not answer|could not start)$/)
      })
    })
  )
}

it.effect("S2: an error thrown by the author's authenticator does not reach the caller", () =>
  Effect.gen(function* () {
    log.length = 0
    const response = yield* enter({ authenticate: () => Effect.die(new Error("the secret reason")) })
    expect(response.status).toBe(500)
    const { error, id } = yield* json(response)
    expect(error).not.toContain("secret")
    expect(log.join()).toContain("the secret reason")
    expect(log.join()).toContain(id)
  })
)

const refusals: ReadonlyArray<readonly [string, Behind, Close]> = [
  ["a refused tenant", { options: { tenants: () => false } }, { code: 4404, reason: "no such tenant" }],
  ["a caller who may not enter", { options: { enter: () => false } }, { code: 4404, reason: "no such tenant" }],
  [
    "a caller whose token is refused",
    { authenticate: refuses(new Unauthenticated({ problem: "expired" })) },
    { code: 4401, reason: "unauthenticated: expired" }
  ],
  [
    "a caller whose token cannot be verified now, with a long reason",
    { authenticate: refuses(new Unavailable({ detail: "é".repeat(100) })) },
    { code: 1013, reason: "é".repeat(61) }
  ],
  [
    "an identity that is too large",
    { authenticate: accepts({ roles: "x".repeat(5000) }) },
    { code: 4431, reason: expect.stringMatching(/^limit identityBytes is 4096, got \d+$/) }
  ],
  [
    "an authenticator that throws",
    { authenticate: () => Effect.die(new Error("the secret reason")) },
    { code: 1011, reason: expect.stringMatching(/^the server could not answer.* under [0-9a-z]+$/) }
  ]
]

it.effect.each(refusals)("S1: a socket of %s is opened and closed, and a call gets the status", ([, behind, close]) =>
  Effect.gen(function* () {
    expect(yield* upgrade(behind)).toEqual({ close, headers: {} })
    // A client that offers the protocol fails the handshake itself when it is not answered with it.
    const offered = "dormouse, dormouse.bearer.t"
    const answered = { close, headers: { "sec-websocket-protocol": "dormouse" } }
    expect(yield* upgrade(behind, { "sec-websocket-protocol": offered })).toEqual(answered)
    const { code } = close
    const { status } = yield* enter(behind)
    expect(code > 4000 ? [code - 4000] : [429, 500, 503]).toContain(status)
    // The control: the same caller opens no socket elsewhere.
    expect((yield* enter(behind, { method: "GET", body: null, headers: { upgrade: "h2c" } })).status).toBe(status)
  })
)

it.effect("S1: a refused token gets 401 with the problem and nothing else", () =>
  Effect.gen(function* () {
    const response = yield* enter({ authenticate: refuses(new Unauthenticated({ problem: "audience" })) })
    const challenge = response.headers.get("www-authenticate")
    expect([response.status, challenge]).toEqual([401, 'Bearer error="invalid_token"'])
    expect(yield* json(response)).toEqual({ error: "unauthenticated: audience", problem: "audience" })
    const without = yield* enter({ authenticate: () => Effect.succeed(Option.none()) })
    expect([without.status, without.headers.get("www-authenticate")]).toEqual([401, "Bearer"])
    expect(yield* json(without)).toMatchObject({ problem: "missing" })
  })
)

it.effect("A1: a caller who announces a token that cannot be read is refused, and never anonymous", () =>
  Effect.gen(function* () {
    const asked: Array<string | undefined> = []
    const authenticate: Behind["authenticate"] = ({ token }) => {
      asked.push(token)
      return Effect.succeed(Option.some({ identity: anonymous, credential: noCredential }))
    }
    const object = async () => Response.json([])
    const status = (headers: Record<string, string>) =>
      Effect.map(enter({ authenticate, object }, { headers }), (response) => response.status)
    for (const authorization of [
      "Bearer",
      "Bearer ",
      "bearer",
      "Bearer a b",
      "Bearer a, Bearer b",
      "Bearer:a",
      "Bearer\ta"
    ]) {
      const response = yield* enter({ authenticate, object }, { headers: { authorization } })
      expect([authorization, response.status, yield* json(response)]).toEqual([
        authorization,
        401,
        { error: "unauthenticated: malformed", problem: "malformed" }
      ])
    }
    expect(yield* status({ "sec-websocket-protocol": "dormouse, dormouse.bearer." })).toBe(401)
    expect(asked).toEqual([])
    // The control: one token, or none, reaches the authenticator.
    expect(yield* status({ authorization: "bEARER  a" })).toBe(200)
    expect(yield* status({ authorization: "Basic a" })).toBe(200)
    expect(yield* status({ "sec-websocket-protocol": "dormouse" })).toBe(200)
    expect(yield* status({ "sec-websocket-protocol": "dormouse, dormouse.bearer.a" })).toBe(200)
    expect(asked).toEqual(["a", undefined, undefined, "a"])
  })
)

it.effect("S1, T5: an identity that is too large for a socket is refused with the name of the limit", () =>
  Effect.gen(function* () {
    const roles = (length: number) => accepts({ roles: "x".repeat(length) })
    const refused = yield* enter({ authenticate: roles(5000) })
    expect(refused.status).toBe(431)
    expect((yield* json(refused)).error).toContain("limit identityBytes is 4096")
    const object = async () => Response.json([])
    expect((yield* enter({ object, authenticate: roles(4000) })).status).toBe(200)
  })
)

it.effect("S1: an invalid or refused tenant reaches no object", () =>
  Effect.gen(function* () {
    expect((yield* enter({ options: { tenants: () => false } })).status).toBe(404)
    const headers = { "x-dormouse-tenant": "not a tenant" }
    expect((yield* enter({}, { headers })).status).toBe(404)
  })
)

it.effect("S1: a batch with actions is answered with messages when the object refuses its calls", () =>
  Effect.gen(function* () {
    const object = async () => Response.json({ error: "limit requestBytes is 10" })
    const body = JSON.stringify([call("a", "look", {}), call("b", "act.end", { ending: "promise" })])
    const messages = yield* json(yield* enter({ object }, { body }))
    const exits = Object.fromEntries(messages.map(({ exit, requestId }: any) => [requestId, exit]))
    expect(errorOf(exits.a)).toMatchObject({
      reason: { _tag: "Unavailable", detail: expect.stringContaining("limit requestBytes is 10") }
    })
    expect(exits.b).toEqual({ _tag: "Success", value: "acted" })
  })
)
