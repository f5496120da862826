import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Deployment, newTenant, post, request } from "../deployment/Deployment.ts"
import { afterHeader, keyHeader } from "../worker/system.ts"

/** The deployment's own object, in memory and in workerd. The app is that of `guarded.ts`, with the auth of `system.ts`. */

export const suite = (name: string, start: () => Promise<Deployment & { readonly close?: () => Promise<void> }>) =>
  describe(name, () => {
    let app: Awaited<ReturnType<typeof start>>
    beforeAll(async () => {
      app = await start()
    })
    afterAll(() => app?.close?.())

    /** The keys of the deployment, as the auth layer found them when this request added one. */
    const keysWith = async (id: string, after?: string): Promise<ReadonlyArray<string>> => {
      const body = JSON.stringify(request("1", "guarded.whoami", {}, [["token", "subject"]]))
      const response = await post(app, newTenant("keys"), body, {
        [keyHeader]: id,
        ...(after !== undefined && { [afterHeader]: after })
      })
      const [{ exit }] = (await response.json()) as any
      expect(exit).toMatchObject({ _tag: "Success" })
      return exit.value.split(",")
    }

    it("A15: the auth layer reads and writes what the deployment keeps, and an eviction loses none of it", async () => {
      // The deployment may have keys of other suites.
      const known = await keysWith("first")
      expect(known.at(-1)).toBe("first")
      expect(await keysWith("second")).toEqual([...known, "second"])
      const starts = app.starts("~system")
      await app.evict("~system")
      expect(await keysWith("first")).toEqual([...known, "second"])
      expect(app.starts("~system")).toBe(starts + 1)
    })

    it("A15: of callers that add the next key at the same time, one does", async () => {
      const known = await keysWith("first")
      const adding = ["a", "b", "c", "d"].map((id) => keysWith(id, known.at(-1)))
      const [next] = (await adding[0])!.slice(known.length)
      expect(["a", "b", "c", "d"]).toContain(next)
      for (const keys of await Promise.all(adding)) expect(keys).toEqual([...known, next])
    })

    it("A15: a request for the deployment's own object gets what a missing tenant gets, and starts nothing", async () => {
      const before = app.starts("~system")
      const list = JSON.stringify(request("1", "keys.list", {}))
      const answer = async (tenant: string) => {
        const response = await post(app, tenant, list)
        return [response.status, [...response.headers], await response.text()]
      }
      expect(await answer("~system")).toEqual(await answer("not a tenant"))
      expect((await answer("~system"))[0]).toBe(404)
      const peer = await app.connect("~system", "query")
      await peer.until(() => peer.closed)
      expect(peer.closed).toEqual({ code: 4404, reason: "no such tenant" })
      expect(app.starts("~system")).toBe(before)
    })

    it("A15: an ordinary tenant has none of the rpcs of the deployment's own object", async () => {
      const response = await post(app, newTenant("ordinary"), JSON.stringify(request("1", "keys.list", {})))
      expect(response.status).toBe(404)
    })
  })
