import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Deployment, defectOf, errorOf, newTenant, type Peer, post, request } from "../deployment/Deployment.ts"
import { guarded, moods } from "../worker/guarded.ts"

type Headers = ReadonlyArray<readonly [string, string]>

const as = (token: string): Headers => [["token", token]]

/** The rpc of each kind that answers with the name of the holder: once, or twice as a stream. */
const kinds = {
  query: { tag: "guarded.whoami", payload: {} },
  mutation: { tag: "guarded.add", payload: { text: "one" } },
  action: { tag: "guarded.act", payload: { text: "one" } },
  stream: { tag: "guarded.stream", payload: {} },
  "live query": { tag: "live:guarded.whoami", payload: {} }
} as const

let changes = 0

/**
 * A live query whose token the guard accepts at first and takes for another one later, perhaps after an eviction. Returns
 * how the subscription ended, if it did, and its frames.
 */
export const changed = async (app: Deployment, mood: string, isEvicted: boolean) => {
  const tenant = newTenant("moody")
  const token = `moody-${changes++}`
  const [peer, other] = [await app.connect(tenant), await app.connect(tenant)]
  const live = peer.ask("live:guarded.list", {}, as(token))
  await peer.itemsOf(live, 1)
  peer.send({ _tag: "Ack", requestId: live })
  await peer.settled("free.list")
  moods.set(token, mood)
  if (isEvicted) await app.evict(tenant)
  await other.call("free.add", { text: "one" })
  await peer.until(() => peer.exits(live)[0] ?? peer.items(live)[1])
  for (const each of [peer, other]) each.close(1000)
  return { exit: peer.exits(live)[0] as any, frames: peer.items(live) }
}

/** The author's middleware in every path of a call. `reacting` is the same app with a reactor. */
export const suite = (
  name: string,
  deployments: () => Promise<{
    readonly app: Deployment
    readonly reacting: Deployment
    readonly close?: () => Promise<void>
  }>
) =>
  describe(name, () => {
    let app: Deployment
    let reacting: Deployment
    let close: (() => Promise<void>) | undefined
    beforeAll(async () => ({ app, reacting, close } = await deployments()))
    afterAll(() => close?.())

    /** The messages that answer one request over HTTP. */
    const overHttp = async (tenant: string, tag: string, payload: unknown, headers: Headers): Promise<any> => {
      const response = await post(app, tenant, JSON.stringify(request("1", tag, payload, headers)))
      return response.json()
    }
    const callOverHttp = async (...args: Parameters<typeof overHttp>) => (await overHttp(...args)).at(-1).exit

    /** A call over a socket, and one over HTTP. */
    const ways: Record<string, (tenant: string, tag: string, payload: unknown, headers: Headers) => Promise<any>> = {
      "a socket": async (tenant, tag, payload, headers) => {
        const peer = await app.connect(tenant)
        const exit = await peer.call(tag, payload, headers)
        peer.close(1000)
        return exit
      },
      HTTP: callOverHttp
    }

    for (const [way, call] of Object.entries(ways)) {
      it(`K5: it gives the handler a service, over ${way}`, async () => {
        const tenant = newTenant("guarded")
        expect(await call(tenant, "guarded.add", { text: "one" }, as("ada"))).toEqual({ _tag: "Success", value: "ada" })
        expect(await call(tenant, "guarded.list", {}, as("bo"))).toEqual({ _tag: "Success", value: ["ada: one"] })
        expect(await call(tenant, "guarded.whoami", {}, as("bo"))).toEqual({ _tag: "Success", value: "bo" })
      })

      it(`K5: what it refuses is its own typed error, and nothing is written, over ${way}`, async () => {
        const tenant = newTenant("guarded")
        for (const tag of ["guarded.add", "guarded.list", "guarded.act"]) {
          const refused = await call(tenant, tag, { text: "no" }, as("nobody"))
          expect(errorOf(refused)).toEqual({ _tag: "Denied", token: "nobody" })
        }
        expect(await call(tenant, "free.list", {}, [])).toEqual({ _tag: "Success", value: [] })
      })

      it(`K5: what it dies of stays in the server, over ${way}`, async () => {
        const tenant = newTenant("guarded")
        for (const tag of ["guarded.add", "guarded.list", "guarded.act"]) {
          const died = await call(tenant, tag, { text: "no" }, as("broken"))
          expect(defectOf(died)).toMatchObject({ _tag: "InternalError" })
          expect(JSON.stringify(died)).not.toMatch(/password/)
        }
        expect(app.logged()).toMatch(/SELECT password/)
      })

      it(`K5: it may wait around a mutation and around an action, over ${way}`, async () => {
        const tenant = newTenant("guarded")
        for (const tag of ["guarded.add", "guarded.act"]) {
          const called = await call(tenant, tag, { text: "one" }, as("late"))
          expect(called).toEqual({ _tag: "Success", value: "late" })
        }
        const list = await call(tenant, "free.list", {}, [])
        expect(list).toEqual({ _tag: "Success", value: ["late: one", "free: one"] })
      })

      it(`K5: around a query it must not wait, and says so, over ${way}`, async () => {
        const tenant = newTenant("guarded")
        for (const tag of ["guarded.list", "live:guarded.list"]) {
          expect(defectOf(await call(tenant, tag, {}, as("late")))).toMatchObject({
            _tag: "InternalError",
            message: expect.stringContaining("the middleware of guarded.list waited")
          })
        }
      })

      it(`K5: it may change the result of a query, over ${way}`, async () => {
        const tenant = newTenant("guarded")
        const other = await call(tenant, "guarded.list", {}, as("other value"))
        expect(other).toEqual({ _tag: "Success", value: ["something else"] })
      })

      it(`K5: it runs around actions, over ${way}`, async () => {
        const tenant = newTenant("guarded")
        expect(await call(tenant, "guarded.act", { text: "one" }, as("ada"))).toEqual({ _tag: "Success", value: "ada" })
        expect(await call(tenant, "free.list", {}, [])).toEqual({ _tag: "Success", value: ["free: one"] })
      })
    }

    it("K5: it runs around a snapshot over HTTP", async () => {
      const tenant = newTenant("guarded")
      await callOverHttp(tenant, "guarded.add", { text: "one" }, as("ada"))
      const [chunk, end] = await overHttp(tenant, "live:guarded.list", {}, as("bo"))
      expect(chunk.values).toMatchObject([{ _tag: "Snapshot", value: ["ada: one"] }])
      expect(end.exit).toMatchObject({ _tag: "Success" })
      const [refused] = await overHttp(tenant, "live:guarded.list", {}, as("nobody"))
      expect(errorOf(refused.exit)).toEqual({ _tag: "Denied", token: "nobody" })
      const [changed] = await overHttp(tenant, "live:guarded.list", {}, as("other value"))
      expect(changed.values).toMatchObject([{ _tag: "Snapshot", value: ["something else"] }])
    })

    describe("live queries", () => {
      const open = async (): Promise<Peer> => app.connect(newTenant("guarded"))

      it("K5: it runs around each run", async () => {
        const peer = await open()
        const runs = () => guarded.get("guarded.list") ?? 0
        const live = peer.ask("live:guarded.list", {}, as("ada"))
        await peer.itemsOf(live, 1)
        peer.send({ _tag: "Ack", requestId: live })
        const before = runs()
        await peer.call("guarded.add", { text: "one" }, as("bo"))
        const [first, second] = await peer.itemsOf(live, 2)
        expect(first).toMatchObject({ _tag: "Snapshot", value: [] })
        expect(JSON.stringify(second)).toContain("bo: one")
        expect(runs()).toBe(before + 1)
        peer.close(1000)
      })

      it("K5: it refuses a subscription with its own typed error", async () => {
        const peer = await open()
        expect(errorOf(await peer.call("live:guarded.list", {}, as("nobody")))).toEqual({
          _tag: "Denied",
          token: "nobody"
        })
        peer.close(1000)
      })

      it("K6: callers with other headers do not share a run, and each new subscriber is checked", async () => {
        const peer = await open()
        const other = peer.ask("live:guarded.list", {}, as("other value"))
        const live = peer.ask("live:guarded.list", {}, as("ada"))
        expect(await peer.itemsOf(other, 1)).toMatchObject([{ value: ["something else"] }])
        expect(await peer.itemsOf(live, 1)).toMatchObject([{ value: [] }])
        const before = guarded.get("guarded.list") ?? 0
        await peer.itemsOf(peer.ask("live:guarded.list", {}, as("ada")), 1)
        expect(guarded.get("guarded.list")).toBe(before + 1)
        peer.close(1000)
      })
    })

    describe("K5 K6: every sort of middleware around every kind of rpc", () => {
      /** The items of an answer, and its exit. */
      interface Answer {
        readonly items: ReadonlyArray<unknown>
        readonly exit: any
      }
      const answered = (messages: ReadonlyArray<any>): Answer => ({
        items: messages.flatMap((message) => (message._tag === "Chunk" ? message.values : [])),
        exit: messages.find((message) => message._tag === "Exit")?.exit
      })
      type Ask = (tenant: string, kind: keyof typeof kinds, headers: Headers) => Promise<Answer>
      const asks: Record<string, Ask> = {
        HTTP: async (tenant, kind, headers) =>
          answered(await overHttp(tenant, kinds[kind].tag, kinds[kind].payload, headers)),
        "a socket": async (tenant, kind, headers) => {
          const peer = await app.connect(tenant)
          const id = peer.ask(kinds[kind].tag, kinds[kind].payload, headers)
          let acknowledged = 0
          await peer.until(() => {
            const chunks = peer.messages.filter((message) => message._tag === "Chunk" && message.requestId === id)
            for (; acknowledged < chunks.length; acknowledged++) peer.send({ _tag: "Ack", requestId: id })
            return peer.exits(id)[0] ?? (kind === "live query" && peer.items(id)[0])
          })
          peer.close(1000)
          return { items: peer.items(id), exit: peer.exits(id)[0] }
        }
      }
      /** Expects that the handler ran for a holder. */
      const succeeds = ({ exit, items }: Answer, kind: keyof typeof kinds, name: string) => {
        if (kind === "live query") expect(items).toMatchObject([{ _tag: "Snapshot", value: name }])
        else if (kind === "stream") expect(items).toEqual([name, name])
        if (kind !== "live query") expect(exit._tag).toBe("Success")
        if (kind !== "live query" && kind !== "stream") expect(exit.value).toBe(name)
      }

      for (const [way, ask] of Object.entries(asks)) {
        for (const kind of Object.keys(kinds) as ReadonlyArray<keyof typeof kinds>) {
          it(`K5: ${kind}, over ${way}, also after an eviction`, async () => {
            const tenant = newTenant("sorts")
            for (const isEvicted of [false, true]) {
              const answerTo = async (headers: Headers) => {
                await overHttp(tenant, "free.list", {}, [])
                if (isEvicted) await app.evict(tenant)
                return ask(tenant, kind, headers)
              }
              // It reads a header and gives the handler a service.
              succeeds(await answerTo(as("ada")), kind, "ada")
              expect(errorOf((await answerTo(as("nobody"))).exit)).toEqual({ _tag: "Denied", token: "nobody" })
              const died = await answerTo(as("broken"))
              expect(defectOf(died.exit)).toMatchObject({ _tag: "InternalError" })
              expect(JSON.stringify(died)).not.toMatch(/password/)
              const waited = await answerTo(as("late"))
              if (kind !== "query" && kind !== "live query") succeeds(waited, kind, "late")
              else expect(defectOf(waited.exit).message).toContain("the middleware of guarded.whoami waited")
              // Nobody is identified.
              expect(errorOf((await answerTo(as("subject"))).exit)).toEqual({ _tag: "Denied", token: "subject" })
              expect(died.items).toEqual([])
            }
          })
        }
      }

      it("K5: it reads the identity, around every kind over HTTP", async () => {
        const tenant = newTenant("sorts")
        for (const kind of Object.keys(kinds) as ReadonlyArray<keyof typeof kinds>) {
          for (const name of ["ada", "bo"]) {
            const { payload, tag } = kinds[kind]
            const text = JSON.stringify(request("1", tag, payload, as("subject")))
            const response = await post(app, tenant, text, { "x-test-subject": name })
            succeeds(answered((await response.json()) as any), kind, name)
          }
        }
      })

      for (const isEvicted of [false, true]) {
        const when = isEvicted ? "after an eviction" : "in the same heap"
        it(`K5: a live query whose next run it refuses, breaks or delays ends with that, ${when}`, async () => {
          const refused = await changed(app, "nobody", isEvicted)
          expect(errorOf(refused.exit)).toEqual({ _tag: "Denied", token: "nobody" })
          const died = await changed(app, "broken", isEvicted)
          expect(defectOf(died.exit)).toMatchObject({ _tag: "InternalError" })
          const waited = await changed(app, "late", isEvicted)
          expect(defectOf(waited.exit).message).toContain("the middleware of guarded.list waited")
          for (const { frames } of [refused, died, waited]) expect(frames).toHaveLength(1)
          // Another name, or the same, goes on.
          for (const mood of ["bo", "other value"]) {
            const { exit, frames } = await changed(app, mood, isEvicted)
            expect([exit, frames.length]).toEqual([undefined, 2])
          }
        })
      }
    })

    it("K5: it runs around what reactors do", async () => {
      const tenant = newTenant("guarded")
      const peer = await reacting.connect(tenant)
      const before = guarded.get("guarded.count") ?? 0
      await peer.call("guarded.add", { text: "one" }, as("ada"))
      await peer.until(() => (guarded.get("guarded.count") ?? 0) > before)
      const list = await peer.call("free.list", {})
      // The reactor's own calls have no headers: the guard calls the object itself `object`.
      expect(list).toEqual({ _tag: "Success", value: ["ada: one", "object: there are 1"] })
      peer.close(1000)
    })

    it("T3: a numbered mutation is refused again when its caller may no longer call", async () => {
      const peer = await app.connect(newTenant("guarded"))
      const number = ["dormouse-mutation", "guarded-client/1"] as const
      const first = await peer.call("guarded.add", { text: "one" }, [...as("ada"), number])
      expect(first).toEqual({ _tag: "Success", value: "ada" })
      expect(errorOf(await peer.call("guarded.add", { text: "one" }, [...as("nobody"), number]))).toEqual({
        _tag: "Denied",
        token: "nobody"
      })
      expect(await peer.call("guarded.add", { text: "one" }, [...as("late"), number])).toEqual(first)
      expect(await peer.call("free.list", {})).toEqual({ _tag: "Success", value: ["ada: one"] })
      peer.close(1000)
    })

    it("T3: a mutation whose middleware waits is acknowledged after its exit, with the version of its commit", async () => {
      const peer = await app.connect(newTenant("guarded"))
      const live = peer.ask("live:guarded.list", {}, as("ada"))
      await peer.itemsOf(live, 1)
      const number = ["dormouse-mutation", "guarded-client/1"] as const
      const id = peer.ask("guarded.add", { text: "one" }, [...as("late"), number])
      // A commit of somebody else, while the middleware waits.
      peer.send(request("other", "free.add", { text: "two" }))
      await peer.exit(id)
      const committed: any = await peer.until(() =>
        peer.messages.find((message: any) => message._tag === "Committed" && message.requestId === id)
      )
      const place = (tag: string) => peer.messages.findIndex((m: any) => m._tag === tag && m.requestId === id)
      expect(place("Committed")).toBeGreaterThan(place("Exit"))
      peer.send({ _tag: "Ack", requestId: live })
      const frames: ReadonlyArray<any> = await peer.until(
        () => peer.items(live).at(-1)?.version >= committed.version && peer.items(live)
      )
      expect(JSON.stringify(frames)).toContain("late: one")
      peer.close(1000)
    })
  })
