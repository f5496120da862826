/// <reference types="node" />
import * as Effect from "effect/Effect"
import { Auth } from "effect-dormouse/auth"
import { Tenants } from "effect-dormouse/tenants"
import { TestApp } from "effect-dormouse/testing"
import { describe, expect, it } from "vitest"
import { cacheControl } from "../../src/engine/worker/HttpQueries.ts"
import { OriginRules } from "../../src/engine/worker/Origins.ts"
import { call } from "../deployment/Deployment.ts"
import { changeAttachments, memory } from "../deployment/memory.ts"
import { app, Greeting, gatewayOptions, options } from "../worker/http.ts"
import { suite } from "./httpCases.ts"

suite("in memory", async () => {
  const { scheduled, routes } = options
  const deployment = await memory(app, { ...gatewayOptions, routes })
  const triggers: Readonly<
    Record<string, (trigger: { cron: string; scheduledTime: number }) => Effect.Effect<void, unknown, any>>
  > = scheduled
  return {
    ...deployment,
    origin: "http://dormouse.test",
    forgetting: async (tenant, connect) => {
      const end = changeAttachments((text) => JSON.stringify({ ...JSON.parse(text), subscriptions: [], progress: [] }))
      const connected = await connect()
      await deployment.evict(tenant)
      end()
      return connected
    },
    trigger: (cron, scheduledTime) => {
      const handler = triggers[cron] ?? (() => Effect.die(new Error("nothing is declared")))
      const running = TestApp.inWorker(handler({ cron, scheduledTime })).pipe(
        Effect.provideService(Greeting, { text: "good day" }),
        Effect.tapCause((cause) => Effect.logError("the trigger failed", cause))
      )
      return deployment.run(running as Effect.Effect<void, unknown, TestApp>)
    }
  }
})

it("HT2, A16: with a registry, a route calls the tenants that it has, and no object of any other is started", async () => {
  const admin = { authorization: `Bearer ${Auth.testToken({ subject: "admin" })}` }
  const registered = await memory(app, {
    tenants: Tenants.registry({ admin: ({ identity }) => identity.subject === "admin" }),
    routes: options.routes
  })
  const administer = async (tag: string, name: string) => {
    const exit = await call(registered, "~tenants", `tenants.${tag}`, { name }, admin)
    if (exit._tag !== "Success") throw new Error(JSON.stringify(exit))
  }
  const deliver = async (tenant: string) => {
    const body = JSON.stringify({ shelf: "a", names: ["one"] })
    const headers = { "x-secret": "right", "x-tenant": tenant, "content-type": "application/json" }
    const response = await registered.fetch("/webhook", { method: "POST", body, headers })
    return [response.status, await response.json()]
  }
  const act = async (tenant: string) =>
    (await registered.fetch("/act", { method: "POST", headers: { "x-dormouse-tenant": tenant } })).status
  expect(await deliver("shop")).toEqual([502, { error: "Forbidden" }])
  await administer("create", "shop")
  expect(await deliver("shop")).toEqual([200, { by: null }])
  expect(await act("shop")).toBe(200)
  await administer("suspend", "shop")
  expect(await deliver("shop")).toEqual([502, { error: "Forbidden" }])
  expect(await act("shop")).toBe(500)
  await administer("resume", "shop")
  expect(await deliver("shop")).toEqual([200, { by: null }])
  expect(registered.starts("other")).toBe(0)
  await registered.close()
})

describe("origins", () => {
  const request = (headers: Record<string, string>, path = "/rpc") =>
    new Request(`https://own.test${path}`, { headers })
  const allowedBy = (rules: OriginRules, origin: string) =>
    rules
      .allow(request({ origin }), Response.json(1, { headers: { vary: "authorization" } }))
      .headers.get("access-control-allow-origin")

  it("HT8: every page, a list, or a function decides; without the option none may read", () => {
    expect(allowedBy(new OriginRules({}), "https://a.test")).toBe(null)
    expect(allowedBy(new OriginRules({ cors: { origins: "*" } }), "https://a.test")).toBe("*")
    const ends = new OriginRules({ cors: { origins: (origin) => origin.endsWith(".a.test") } })
    expect(allowedBy(ends, "https://x.a.test")).toBe("https://x.a.test")
    expect(allowedBy(ends, "https://x.b.test")).toBe(null)
    const response = ends.allow(
      request({ origin: "https://x.b.test" }),
      Response.json(1, { headers: { vary: "cookie" } })
    )
    expect(response.headers.get("vary")).toBe("cookie, origin")
  })

  it("HT8: a function that throws is logged, and its caller gets 500 without the cause", async () => {
    const origins = () => {
      throw new Error("the secret reason")
    }
    for (const rules of [{ cors: { origins } }, { origins }]) {
      const deployment = await memory(app, rules)
      const response = await deployment.fetch("/rpc/time", { headers: { origin: "https://a.test" } })
      expect([response.status, await response.text()]).toEqual([500, expect.not.stringContaining("secret")])
      expect(deployment.logged()).toContain("the secret reason")
      await deployment.close()
    }
  })

  it("HT8: cookies are not allowed for every page", () => {
    expect(() => new OriginRules({ cors: { origins: "*", credentials: true } })).toThrow("list the origins")
  })

  it("HT9: without the option every page may call, and a file needs no origin", () => {
    const url = new URL("https://own.test/rpc")
    expect(new OriginRules({}).answer(request({ origin: "https://a.test" }), url)).toBe(undefined)
    const rules = new OriginRules({ origins: [] })
    expect(rules.answer(request({ origin: "https://a.test" }), url)?.status).toBe(403)
    expect(rules.answer(request({ origin: "https://own.test" }), url)).toBe(undefined)
    const file = new URL("https://own.test/files/a/b")
    expect(rules.answer(request({ origin: "https://a.test" }, "/files/a/b"), file)).toBe(undefined)
  })
})

it("HT5: a value that may be another one for another caller is never public, whatever is declared", () => {
  const cache = { public: true, maxAge: "1 hour" } as const
  expect(cacheControl(cache, false)).toBe("public, max-age=3600")
  expect(cacheControl(cache, true)).toBe("private, max-age=3600")
  expect(cacheControl(undefined, false)).toBe("private, no-cache")
  expect(cacheControl({ maxAge: "1500 millis" }, false)).toBe("private, max-age=1")
})
