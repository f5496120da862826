import { Auth } from "effect-dormouse/auth"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { call, type Deployment, errorOf, newTenant, type Peer, post, request } from "../deployment/Deployment.ts"
import { readEvents } from "../deployment/events.ts"
import { built, page } from "../worker/http.ts"

/** HTTP beside rpc, on one platform. */
export interface HttpPlace extends Deployment {
  /** The deployment's own origin. */
  readonly origin: string
  /** Asks for a socket, with headers of the handshake. */
  readonly upgrade: (tenant: string, headers: Record<string, string>) => Promise<Peer>
  /** Has the object store nothing of the sockets that are opened but the sockets themselves, and evicts it. */
  readonly forgetting: <A>(tenant: string, connect: () => Promise<A>) => Promise<A>
  /** A cron trigger fires. */
  readonly trigger: (cron: string, scheduledTime: number) => Promise<void>
  readonly close?: () => Promise<void>
}

/** The header of a caller. */
const as = (subject: string) => ({ authorization: `Bearer ${Auth.testToken({ subject })}` })

const json = (value: unknown) => encodeURIComponent(JSON.stringify(value))

export const suite = (name: string, here: () => Promise<HttpPlace>) =>
  describe(`HTTP beside rpc ${name}`, () => {
    let app: HttpPlace
    beforeAll(async () => {
      app = await here()
    })
    afterAll(() => app.close?.())

    const open = (prefix = "routed") => {
      const tenant = newTenant(prefix)
      const send = (path: string, init: RequestInit & { readonly headers?: Record<string, string> } = {}) =>
        app.fetch(path, { ...init, headers: { "x-dormouse-tenant": tenant, ...init.headers } })
      const get = (path: string, headers: Record<string, string> = {}) => send(`/rpc/${path}`, { headers })
      /** The value of a call that succeeds. */
      const done = async (tag: string, payload: unknown, headers?: Record<string, string>): Promise<any> => {
        const exit = await call(app, tenant, tag, payload, headers)
        if (exit._tag !== "Success") throw new Error(JSON.stringify(exit))
        return exit.value
      }
      const deliver = (body: unknown, headers: Record<string, string> = {}) =>
        send("/webhook", {
          method: "POST",
          body: JSON.stringify(body),
          headers: { "x-secret": "right", "x-tenant": tenant, "content-type": "application/json", ...headers }
        })
      const events = (path: string, headers: Record<string, string> = {}, isReadAtOnce = true) =>
        readEvents(app, tenant, `/rpc/live/${path}`, headers, isReadAtOnce)
      return { deliver, done, events, get, send, tenant }
    }

    describe("routes", () => {
      // The first of all: routes are built once.
      it("HT1: routes that cannot be built answer 500 and are built with the next request, and calls go on meanwhile", async () => {
        const { done, send } = open()
        built.failures = 1
        const failed = await send("/health")
        expect([failed.status, await failed.json()]).toEqual([
          500,
          { error: "the Worker could not start; the cause is in its log" }
        ])
        expect(app.logged()).toContain("the secret reason")
        expect(await done("items.count", null)).toBe(0)
        const before = built.routes
        for (let i = 0; i < 3; i++) expect(await (await send("/health")).text()).toBe("well")
        expect(built.routes).toBe(before + 1)
      })

      it("HT1: a route answers its path with the services of actions, and everything else is not found", async () => {
        const { send } = open()
        expect(await (await send("/greeting")).text()).toBe("good day")
        expect(await (await send("/page/any/where?x=1")).text()).toBe("page")
        const head = await send("/health", { method: "HEAD" })
        expect([head.status, await head.text()]).toEqual([200, ""])
        for (const [path, method] of [
          ["/nothing", "GET"],
          ["/health", "POST"],
          ["/", "GET"]
        ] as const) {
          const response = await send(path, { method })
          expect([path, response.status, await response.json()]).toEqual([path, 404, { error: "not found" }])
        }
      })

      it("HT1: a route does not shadow a path of Dormouse's", async () => {
        const { done, send } = open()
        const texts = await Promise.all(
          ["/rpc", "/rpc/", "/rpc/x", "/rpc/time", "/rpc/items.count", "/rpc/live/x", "/rpc/explain"].map(
            async (path) => await (await send(path)).text()
          )
        )
        expect(texts.filter((text) => text.includes("shadowed"))).toEqual([])
        expect(await done("items.count", null)).toBe(0)
      })

      it("HT1: what fails in a route is logged, and its caller gets the status alone", async () => {
        const { send } = open()
        app.logged()
        const broken = await send("/broken")
        expect([broken.status, await broken.text()]).toEqual([500, ""])
        expect(app.logged()).toContain("the secret reason")
      })

      it("HT1, HT2: an HttpApi is a route, and calls a tenant", async () => {
        const { done, send } = open()
        await done("items.add", { shelf: "a", name: "one" })
        const counted = await send("/api/shelves/a")
        expect([counted.status, await counted.json()]).toEqual([200, { count: 1, greeting: "good day" }])
      })
    })

    describe("calls of routes", () => {
      it("HT2: a webhook calls an internal mutation, anonymously or in the name that it says", async () => {
        const { deliver, done, tenant } = open()
        const anonymous = await deliver({ shelf: "a", names: ["one", "two"] })
        expect([anonymous.status, await anonymous.json()]).toEqual([200, { by: null }])
        const named = await deliver({ shelf: "a", names: [] }, { "x-supplier": "acme" })
        expect(await named.json()).toEqual({ by: "acme" })
        expect((await deliver({ shelf: "a", names: ["three"] }, { "x-secret": "wrong" })).status).toBe(401)
        expect((await done("items.list", { shelf: "a" })).map(({ name }: any) => name)).toEqual(["one", "two"])
        // The control: no client can call it.
        const exit = await call(app, tenant, "items.deliver", { shelf: "a", names: ["four"] })
        expect(errorOf(exit)).toMatchObject({ reason: { _tag: "UnknownRpc" } })
      })

      it("HT2: what a mutation fails with is typed, and rolls back", async () => {
        const { deliver, done } = open()
        const locked = await deliver({ shelf: "locked", names: ["one"] })
        expect([locked.status, await locked.json()]).toEqual([423, { error: "locked" }])
        const invalid = await deliver({ shelf: "a", names: [""] })
        expect([invalid.status, await invalid.json()]).toEqual([502, { error: "PayloadInvalid" }])
        expect((await deliver({ shelf: 1 })).status).toBe(400)
        expect(await done("items.count", null)).toBe(0)
      })

      it("HT2: a tenant that cannot exist is refused, and one that a caller may not enter is called", async () => {
        const { deliver, tenant } = open()
        for (const name of ["routed-nobody", "~system", "~tenants", "a b", "x".repeat(64), "../x"]) {
          const refused = await deliver({ shelf: "a", names: ["one"] }, { "x-tenant": name })
          expect([name, refused.status, await refused.json()]).toEqual([name, 502, { error: "Forbidden" }])
        }
        expect(app.starts(tenant)).toBe(0)
        const closed = open("routed-closed")
        expect((await closed.get("items.count")).status).toBe(404)
        expect((await closed.deliver({ shelf: "a", names: ["one"] })).status).toBe(200)
        expect(await (await closed.get("items.count", as("ada"))).json()).toBe(1)
      })

      it("HT2: the limits of callers hold for the name that is said", async () => {
        const { deliver } = open()
        const statuses: Array<number> = []
        for (let i = 0; i < 61; i++)
          statuses.push((await deliver({ shelf: "a", names: [] }, { "x-supplier": "often" })).status)
        expect(statuses).toEqual([...Array.from({ length: 60 }, () => 200), 502])
        const refused = await deliver({ shelf: "a", names: [] }, { "x-supplier": "often" })
        expect(await refused.json()).toEqual({ error: "TooManyRequests" })
        expect((await deliver({ shelf: "a", names: [] }, { "x-supplier": "seldom" })).status).toBe(200)
      })

      it("HT2: an action runs, and calls its tenant", async () => {
        const { done, send } = open()
        expect(await (await send("/act", { method: "POST" })).json()).toBe(1)
        expect(await done("items.list", { shelf: "acted" })).toMatchObject([{ name: "good day" }])
      })

      it("HT3: a cron trigger runs what is declared for it, and a failure is told and logged", async () => {
        const before = await call(app, "routed-scheduled", "items.count", null)
        await app.trigger("0 * * * *", 1000)
        const listed = await call(app, "routed-scheduled", "items.list", { shelf: "clock" })
        expect(listed.value).toMatchObject(Array.from({ length: before.value + 1 }, () => ({ name: "1000 good day" })))
        app.logged()
        await expect(app.trigger("1 * * * *", 1000)).rejects.toThrow()
        expect(app.logged()).toContain("the secret reason")
        await expect(app.trigger("2 * * * *", 1000)).rejects.toThrow()
      })
    })

    describe("queries by GET", () => {
      it("HT4: the value is that of a call, with the payload as JSON and field by field", async () => {
        const { done, get, tenant } = open()
        for (const name of ["one", "two", "three"]) await done("items.add", { shelf: "a", name })
        const all = await done("items.list", { shelf: "a" })
        const value = async (path: string) => {
          const response = await get(path)
          expect([path, response.status]).toEqual([path, 200])
          expect(response.headers.get("content-type")).toBe("application/json")
          return response.text()
        }
        const posted = await post(app, tenant, JSON.stringify(request("1", "items.list", { shelf: "a" })))
        expect(await posted.text()).toContain(await value(`items.list?payload=${json({ shelf: "a" })}`))
        expect(JSON.parse(await value("items.list?shelf=a"))).toEqual(all)
        expect(JSON.parse(await value("items.list?shelf=a&limit=2"))).toEqual(all.slice(0, 2))
        expect(JSON.parse(await value("items.list?shelf=a&reverse=true"))).toEqual(all.toReversed())
        expect(JSON.parse(await value(`items.list?shelf=a&order=up&names=${json(["two"])}`))).toEqual([all[1]])
        expect(await value("items.count")).toBe("3")
        expect(await value("items.count?payload=null")).toBe("3")
        expect(await value(`items.list?shelf=a&tenant=${tenant}`)).toBe(JSON.stringify(all))
        const head = await app.fetch("/rpc/items.count", { method: "HEAD", headers: { "x-dormouse-tenant": tenant } })
        expect([head.status, await head.text()]).toEqual([200, ""])
        expect(head.headers.get("etag")).toBe((await get("items.count")).headers.get("etag"))
      })

      it("HT4: a query string that is wrong is refused, and wakes no object", async () => {
        const { get, tenant } = open()
        const refused: ReadonlyArray<readonly [string, number]> = [
          ["items.list?payload=%7B", 400],
          ["items.list?payload=", 400],
          ["items.list?shelf=a&shelf=b", 400],
          [`items.list?payload=${json({ shelf: "a" })}&payload=1`, 400],
          [`items.list?payload=${json({ shelf: "a" })}&shelf=a`, 400],
          ["items.list?shelf=a&nope=1", 400],
          ["items.list?shelf=a&__proto__=1", 400],
          [`items.list?payload=${"[".repeat(300)}${"]".repeat(300)}`, 413],
          [`items.list?shelf=${"x".repeat(61_000)}`, 413],
          ["nothing", 404],
          ["items.list/", 404],
          ["%", 404],
          ["%E0%A4%A", 404],
          ["items.secret", 404],
          ["~topic.x", 404],
          ["live:items.list?shelf=a", 404],
          ["live/nothing", 404],
          ["constructor", 404],
          ["live/", 404]
        ]
        for (const [path, status] of refused) {
          const response = await get(path)
          expect([path, response.status]).toEqual([path, status])
          expect(await response.json()).toEqual({ error: expect.any(String) })
        }
        expect(app.starts(tenant)).toBe(0)
        // What only the schema of the payload can say.
        for (const query of ["", "?payload=null", "?shelf=a&limit=x", "?shelf=a&limit=1.5", "?shelf=a&limit=1e400"]) {
          const response = await get(`items.list${query}`)
          expect([query, response.status]).toEqual([query, 400])
          expect(await response.json()).toMatchObject({ error: { reason: { _tag: "PayloadInvalid" } } })
        }
        expect((await get("items.list?shelf=a&order=sideways")).status).toBe(400)
      })

      it("HT4: only a query is called, and only by GET and HEAD", async () => {
        const { done, get, send, tenant } = open()
        for (const path of ["items.add?shelf=a&name=one", "items.import?shelf=a", "items.clear?shelf=a"]) {
          for (const start of ["", "live/"]) {
            const response = await get(start + path)
            expect([path, response.status]).toEqual([path, 405])
          }
        }
        for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
          const response = await send("/rpc/items.list?shelf=a", { method })
          expect([method, response.status, response.headers.get("allow")]).toEqual([method, 405, "GET, HEAD"])
        }
        expect((await send("/rpc/live/items.list?shelf=a", { method: "HEAD" })).status).toBe(405)
        expect(app.starts(tenant)).toBe(0)
        expect(await done("items.count", null)).toBe(0)
      })

      it("HT4: a path of Dormouse's own stays what it is", async () => {
        const { get, send } = open()
        expect(Number(await (await get("time")).json())).toBeGreaterThan(1)
        expect((await get("explain")).status).toBe(404)
        expect((await send("/rpc")).status).toBe(426)
      })

      it("HT4: the caller and the tenant are those of the request, with the refusals of any call", async () => {
        const { done, get, tenant } = open()
        await done("letters.write", { to: "ada" })
        expect(await (await get("letters.list", as("ada"))).json()).toMatchObject([{ to: "ada" }])
        expect(await (await get("letters.list", as("bo"))).json()).toEqual([])
        expect(await (await get("letters.list")).json()).toEqual([])
        const wrong = await get("items.count", { authorization: "Bearer wrong" })
        expect([wrong.status, wrong.headers.get("www-authenticate")]).toEqual([401, expect.stringContaining("Bearer")])
        const other = open("routed-closed")
        for (const headers of [{}, as("bo")]) expect((await other.get("items.count", headers)).status).toBe(404)
        expect(app.starts(other.tenant)).toBe(0)
        expect((await other.get("items.count", as("ada"))).status).toBe(200)
        // By the query string as well.
        expect(
          (await app.fetch(`/rpc/items.count?tenant=${tenant}`, { headers: { "x-dormouse-tenant": "routed-nobody" } }))
            .status
        ).toBe(404)
      })

      it("HT4: beyond the limit of its caller a query does not run", async () => {
        const { get } = open()
        for (let i = 0; i < 60; i++) expect((await get("items.count", as("often"))).status).toBe(200)
        const refused = await get("items.count", as("often"))
        expect([refused.status, Number(refused.headers.get("retry-after")) > 0]).toEqual([429, true])
        expect((await get("items.count", as("seldom"))).status).toBe(200)
      })

      it("HT5: who has the value gets 304 without it, until it changes", async () => {
        const { done, get } = open()
        await done("items.add", { shelf: "a", name: "one" })
        const first = await get("items.list?shelf=a")
        const etag = first.headers.get("etag")!
        expect(etag).toMatch(/^"[\w-]{22}"$/)
        for (const known of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
          const same = await get("items.list?shelf=a", { "if-none-match": known })
          expect([known, same.status, await same.text(), same.headers.get("etag")]).toEqual([known, 304, "", etag])
          for (const name of ["cache-control", "vary"]) expect(same.headers.get(name)).toBe(first.headers.get(name))
        }
        for (const unknown of ['"other"', etag.slice(1, -1), ""]) {
          expect((await get("items.list?shelf=a", { "if-none-match": unknown })).status).toBe(200)
        }
        // Another writer's row elsewhere changes nothing here.
        await done("items.add", { shelf: "b", name: "two" })
        expect((await get("items.list?shelf=a", { "if-none-match": etag })).status).toBe(304)
        await done("items.add", { shelf: "a", name: "three" })
        const changed = await get("items.list?shelf=a", { "if-none-match": etag })
        expect([changed.status, ((await changed.json()) as any).length]).toEqual([200, 2])
        expect(changed.headers.get("etag")).not.toBe(etag)
      })

      it("HT5: a value is public only if it is the same for all, and its caller has no identity", async () => {
        const { done, get } = open()
        await done("items.add", { shelf: "a", name: "one" })
        const control = async (path: string, headers: Record<string, string> = {}) =>
          (await get(path, headers)).headers.get("cache-control")
        const stale = "max-age=60, stale-while-revalidate=300"
        expect(await control("items.list?shelf=a")).toBe(`public, ${stale}`)
        expect(await control("items.list?shelf=a", as("ada"))).toBe(`private, ${stale}`)
        // A policy has looked at the caller, and a handler.
        expect(await control("letters.list")).toBe("private, max-age=60")
        expect(await control("me")).toBe("private, max-age=60")
        expect(await control("items.count")).toBe("private, max-age=10")
        expect(await control("items.first?shelf=a")).toBe("private, no-cache")
        expect(await control("items.first?shelf=b")).toBe("no-store")
        expect(await control("broken")).toBe("no-store")
        const { headers } = await get("items.list?shelf=a")
        for (const name of ["authorization", "x-dormouse-tenant", "cookie", "origin"]) {
          expect(headers.get("vary")).toContain(name)
        }
      })

      it("HT6: a failure is JSON, with the status that fits it", async () => {
        const { get } = open()
        const empty = await get("items.first?shelf=a")
        expect([empty.status, await empty.json()]).toEqual([404, { error: { _tag: "ShelfEmpty", shelf: "a" } }])
        const locked = await get("items.first?shelf=locked")
        expect([locked.status, await locked.json()]).toEqual([422, { error: { _tag: "ShelfLocked" } }])
        const large = await get("text?length=200001")
        expect([large.status, await large.json()]).toMatchObject([
          413,
          { error: { _tag: "CallError", reason: { _tag: "LimitExceeded", limit: "resultBytes" } } }
        ])
        app.logged()
        const broken = await get("broken")
        const { error } = (await broken.json()) as any
        expect([broken.status, error]).toEqual([
          500,
          { _tag: "InternalError", id: expect.any(String), message: expect.any(String) }
        ])
        const log = app.logged()
        expect(log).toContain("the secret reason")
        expect(log).toContain(error.id)
        expect(JSON.stringify(error)).not.toContain("secret")
      })
    })

    describe("live queries as events", () => {
      it("HT7: each value is an event, also after an eviction, and a client that comes back is not sent it twice", async () => {
        const { done, events, tenant } = open()
        const live = await events("items.list?shelf=a")
        expect(live.response.headers.get("content-type")).toBe("text/event-stream")
        await expect.poll(() => live.events).toEqual([{ id: expect.stringMatching(/^\d+\.[\w-]{22}$/), data: [] }])
        const one = await done("items.add", { shelf: "a", name: "one" })
        await expect.poll(() => live.events.at(-1)?.data).toEqual([one])
        const other = await app.connect(tenant)
        await other.settled("items.count", null)
        other.close(1000)
        await app.evict(tenant)
        const two = await done("items.add", { shelf: "a", name: "two" })
        await expect.poll(() => live.events.at(-1)?.data).toEqual([one, two])
        expect(live.events).toHaveLength(3)
        const { id = "" } = live.events[2]!
        await live.close()
        const again = await events("items.list?shelf=a", { "last-event-id": id })
        const three = await done("items.add", { shelf: "a", name: "three" })
        await expect.poll(() => again.events.map(({ data }) => data)).toEqual([[one, two, three]])
        await again.close()
        // An older value, and what is no id.
        for (const last of [live.events[1]!.id!, "x", `${id}x`, "1.", "undefined"]) {
          const late = await events("items.list?shelf=a", { "last-event-id": last })
          await expect.poll(() => late.events.map(({ data }) => data)).toEqual([[one, two, three]])
          await late.close()
        }
      })

      it("HT7: with `patches` an event is a frame", async () => {
        const { done, events } = open()
        for (let i = 0; i < 9; i++) await done("items.add", { shelf: "a", name: `before ${i}` })
        const live = await events("items.list?shelf=a&patches")
        await expect.poll(() => live.events.length).toBe(1)
        expect(live.events[0]!.data).toMatchObject({ _tag: "Snapshot", value: { length: 9 } })
        const added = await done("items.add", { shelf: "a", name: "added" })
        await expect.poll(() => live.events.length).toBe(2)
        const patch = live.events[1]!
        expect(patch.data).toMatchObject({ _tag: "Patch", ops: [{ op: "add", path: "/9", value: added }] })
        expect(patch.id).toBe(`${patch.data.version}.${patch.data.hash}`)
        await live.close()
        const again = await events("items.list?shelf=a&patches", { "last-event-id": patch.id! })
        await expect.poll(() => again.events.length).toBe(1)
        expect(again.events[0]!.data).toMatchObject({ _tag: "Current" })
        await done("items.add", { shelf: "a", name: "later" })
        await expect.poll(() => again.events.at(-1)?.data).toMatchObject({ _tag: "Patch" })
        await again.close()
      })

      it("HT7: a value that is larger than a message arrives whole", async () => {
        const { done, events } = open()
        await done("items.add", { shelf: "a", name: "one" })
        const live = await events("text?length=190000")
        await expect.poll(() => live.events.map(({ data }) => data.length)).toEqual([190_000])
        await live.close()
      })

      it("HT7: the end is an event, and a query that fails at once has a status", async () => {
        const { done, events } = open()
        const refused = await events("items.first?shelf=a")
        expect([refused.response.status, await refused.response.json()]).toEqual([
          404,
          { error: { _tag: "ShelfEmpty", shelf: "a" } }
        ])
        await done("items.add", { shelf: "a", name: "one" })
        const live = await events("items.first?shelf=a")
        await expect.poll(() => live.events.length).toBe(1)
        await done("items.clear", { shelf: "a" })
        await expect.poll(() => live.isEnded()).toBe(true)
        expect(live.events.at(-1)).toEqual({ event: "failure", data: { _tag: "ShelfEmpty", shelf: "a" } })
      })

      it("HT7: what is no request for events gets none", async () => {
        const { events, tenant } = open()
        const statuses = [
          ["items.list?shelf=a", { accept: "application/json" }, 406],
          ["items.list?payload=%7B", {}, 400],
          ["items.secret", {}, 404],
          ["items.list?shelf=a", { authorization: "Bearer wrong" }, 401]
        ] as const
        for (const [path, headers, status] of statuses) {
          expect([path, (await events(path, headers)).response.status]).toEqual([path, status])
        }
        expect(app.starts(tenant)).toBe(0)
        expect((await events("items.list")).response.status).toBe(400)
      })

      it("HT7: a client that does not read gets the newest value, and misses those before", async () => {
        const { done, events } = open()
        const { id } = await done("items.add", { shelf: "a", name: "first" })
        const slow = await events("items.list?shelf=a", {}, false)
        for (let i = 0; i < 60; i++) await done("items.rename", { id, name: `${i} ${"x".repeat(50_000)}` })
        slow.read()
        await expect.poll(() => slow.events.at(-1)?.data[0].name.split(" ")[0]).toBe("59")
        expect(slow.events.length).toBeLessThan(60)
        await slow.close()
      })

      it("HT7: without what the object stores of its sockets, an eviction would end the events (the control)", async () => {
        const { done, events, tenant } = open()
        const lost = await app.forgetting(tenant, async () => {
          const lost = await events("items.list?shelf=a")
          await expect.poll(() => lost.events.length).toBe(1)
          return lost
        })
        const live = await events("items.list?shelf=a")
        for (let i = 0; i < 3; i++) {
          await done("items.add", { shelf: "a", name: `${i}` })
          await expect.poll(() => live.events.at(-1)?.data.length).toBe(i + 1)
        }
        expect(lost.events).toHaveLength(1)
        await lost.close()
        await live.close()
      })
    })

    describe("pages of other origins", () => {
      const preflight = (origin: string, headers: Record<string, string> = {}) => ({
        method: "OPTIONS",
        headers: { origin, "access-control-request-method": "POST", ...headers }
      })
      const allowed = ({ headers }: Response) => headers.get("access-control-allow-origin")

      it("HT8: a preflight is answered without a look at token or tenant, and wakes no object", async () => {
        const { send, tenant } = open()
        for (const path of ["/rpc", "/rpc/items.list", "/rpc/live/items.list", "/rpc/nothing", "/files/a/b"]) {
          const asked = { "access-control-request-headers": "authorization, x-dormouse-tenant" }
          const response = await send(path, preflight(page, { ...asked, authorization: "Bearer wrong" }))
          expect([path, response.status, allowed(response)]).toEqual([path, 204, page])
          expect(response.headers.get("access-control-allow-headers")).toBe(asked["access-control-request-headers"])
          expect(response.headers.get("access-control-allow-methods")).toContain("POST")
          expect(response.headers.get("access-control-allow-credentials")).toBe("true")
          expect(response.headers.get("access-control-max-age")).toBe("3600")
        }
        for (const origin of ["https://evil.test", "null", "https://page.test.evil.test", "http://page.test"]) {
          const response = await send("/rpc", preflight(origin))
          expect([origin, response.status, allowed(response)]).toEqual([origin, 204, null])
          expect(response.headers.get("access-control-allow-methods")).toBe(null)
        }
        const odd = await send("/rpc", preflight(page, { "access-control-request-headers": "a b" }))
        expect(odd.headers.get("access-control-allow-headers")).toBe(null)
        expect(app.starts(tenant)).toBe(0)
      })

      it("HT8: pages that are listed can read answers, also of refusals", async () => {
        const { get, send, tenant } = open()
        const listed = await get("items.count", { origin: page })
        expect([listed.status, allowed(listed)]).toEqual([200, page])
        expect(listed.headers.get("access-control-expose-headers")).toContain("etag")
        const refused = await get("items.count", { origin: page, authorization: "Bearer wrong" })
        expect([refused.status, allowed(refused)]).toEqual([401, page])
        const posted = await post(app, tenant, JSON.stringify(request("1", "items.count", null)), { origin: page })
        expect([posted.status, allowed(posted)]).toEqual([200, page])
        // Its routes are the author's own affair.
        expect(allowed(await send("/health", { headers: { origin: page } }))).toBe(null)
        const same = await get("items.count", { origin: app.origin })
        expect([same.status, allowed(same)]).toEqual([200, null])
      })

      it("HT9: a page that may not call is refused before its token is looked at, over HTTP and over a socket", async () => {
        const { done, get, tenant } = open()
        for (const origin of ["https://evil.test", "null", "https://page.test:8443", `${page}/`, "PAGE.test"]) {
          const body = JSON.stringify(request("1", "items.add", { shelf: "a", name: "evil" }))
          const posted = await post(app, tenant, body, { origin, ...as("ada") })
          expect([origin, posted.status, allowed(posted)]).toEqual([origin, 403, null])
          expect((await get("items.count", { origin, authorization: "Bearer wrong" })).status).toBe(403)
          const peer = await app.upgrade(tenant, { origin })
          expect(await peer.until(() => peer.closed)).toEqual({
            code: 4403,
            reason: "pages of this origin may not call"
          })
        }
        expect(app.starts(tenant)).toBe(0)
        // The control: a page that may, the deployment's own, and what is no browser.
        for (const headers of [{ origin: page }, { origin: app.origin }, {}] as ReadonlyArray<Record<string, string>>) {
          const peer = await app.upgrade(tenant, headers)
          expect(await peer.call("items.count", null)).toEqual({ _tag: "Success", value: 0 })
          peer.close(1000)
        }
        expect(await done("items.count", null)).toBe(0)
      })
    })
  })
