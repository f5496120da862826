import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { ObjectAnswer, ObjectStub } from "../../src/engine/rpc/ObjectStub.ts"
import { deployment } from "../../src/system/Names.ts"
import { type Deployment, errorOf, type Peer, post, request } from "../deployment/Deployment.ts"
import { forAllAsync, type Random, Violation } from "../random.ts"

/** A registry of tenants, in memory and in workerd. The app is that of `notes.ts`, with the options of `tenants.ts`. */

/** A deployment whose objects a test reaches without the gateway. */
export interface Registered extends Deployment {
  readonly stub: (object: string) => Pick<ObjectStub, "call"> & Required<Pick<ObjectStub, "update">>
  /** The names of an object's tables. */
  readonly tables: (object: string) => Promise<ReadonlyArray<string>>
  readonly close?: () => Promise<void>
}

let names = 0
/** The name of a new tenant of the registry. */
const newName = (name: string): string => `reg-${name}-${names++}`

const admin = { "x-test-subject": "admin" }

export const suite = (name: string, start: () => Promise<Registered>, { histories }: { readonly histories: number }) =>
  describe(name, () => {
    let app: Registered
    beforeAll(async () => {
      app = await start()
    })
    afterAll(() => app?.close?.())

    /** An answer as its caller sees it, whole. */
    const answerOf = async (tenant: string, init: RequestInit = {}, subject = "ada") => {
      const body = JSON.stringify(request("1", "notes.list", {}))
      const response = await app.fetch("/rpc", {
        method: "POST",
        ...(init.method !== "GET" && { body }),
        ...init,
        headers: { "x-dormouse-tenant": tenant, "x-test-subject": subject, ...init.headers }
      })
      return { status: response.status, headers: [...response.headers], text: await response.text() }
    }

    /** The exit of an admin's call. */
    const administer = async (tag: string, payload: unknown): Promise<any> => {
      const response = await post(app, "~tenants", JSON.stringify(request("1", `tenants.${tag}`, payload)), admin)
      const messages = (await response.json()) as ReadonlyArray<any>
      return messages.find(({ _tag }) => _tag === "Exit").exit
    }
    const done = async (tag: string, payload: unknown): Promise<any> => {
      const exit = await administer(tag, payload)
      if (exit._tag !== "Success") throw new Error(`${tag}: ${JSON.stringify(exit)}`)
      return exit.value
    }
    const create = (name: string): Promise<{ readonly object: string; readonly revision: number }> =>
      done("create", { name })
    const listed = async (): Promise<ReadonlyArray<any>> =>
      (await done("list", { size: 1000, after: null, until: null })).items
    const listedAs = async (name: string) => (await listed()).filter((tenant) => tenant.name === name)

    /** The exit of a call of a tenant's, or `missing`. */
    const call = async (tenant: string, tag: string, payload: unknown): Promise<any> => {
      const response = await post(app, tenant, JSON.stringify(request("1", tag, payload)))
      if (response.status === 404) return "missing"
      const messages = (await response.json()) as ReadonlyArray<any>
      return messages.find(({ _tag }) => _tag === "Exit")?.exit
    }
    const add = (tenant: string, body: string) => call(tenant, "notes.add", { body })
    const read = async (tenant: string): Promise<ReadonlyArray<string> | "missing"> => {
      const exit = await call(tenant, "notes.list", {})
      return exit === "missing" ? exit : exit.value.map(({ body }: any) => body)
    }
    const watch = async (tenant: string): Promise<Peer> => {
      const peer = await app.connect(tenant)
      peer.send(request("live", "live:notes.list", {}))
      await peer.itemsOf("live", 1)
      peer.send({ _tag: "Ack", requestId: "live" })
      return peer
    }
    const closed = async (peer: Peer) => {
      await peer.until(() => peer.closed)
      return peer.closed
    }
    const missing = { code: 4404, reason: "no such tenant" }

    /** Calls the records as the deployment does: what another Worker may have done meanwhile. */
    const record = async (tag: string, payload: unknown): Promise<any> => {
      const session = { tenant: "~tenants", identity: deployment }
      const { body }: ObjectAnswer = await app
        .stub("~tenants")
        .call(session, JSON.stringify(request("1", tag, payload)))
      return JSON.parse(body)[0].exit.value
    }

    it("A16: a name that was guessed tells nothing, and starts no tenant's object", async () => {
      const [suspended, foreign, deleted] = [newName("suspended"), `${newName("x")}-foreign`, newName("deleted")]
      const tenants = [await create(suspended), await create(foreign), await create(deleted)]
      await done("suspend", { name: suspended })
      await done("delete", { name: deleted })
      for (const { object } of tenants) if (app.starts(object) > 0) await app.evict(object).catch(() => {})
      const starts = () => tenants.map(({ object }) => app.starts(object))
      const before = starts()
      const missing = newName("missing")
      const guesses = [missing, suspended, foreign, deleted, "reg-not a name", "reg-~", `reg-${"x".repeat(80)}`]
      for (const init of [{}, { method: "GET" }, { method: "GET", headers: { upgrade: "h2c" } }]) {
        const expected = await answerOf(missing, init)
        expect(expected.status).toBe(404)
        for (const guess of guesses) expect([guess, await answerOf(guess, init)]).toEqual([guess, expected])
      }
      for (const guess of guesses.slice(0, 4))
        expect(await closed(await app.connect(guess))).toEqual({ code: 4404, reason: "no such tenant" })
      expect(starts()).toEqual(before)
      for (const guess of guesses.slice(0, 4)) expect(app.starts(guess)).toBe(0)
      // The control: these are not refused for another reason.
      await done("resume", { name: suspended })
      expect(await read(suspended)).toEqual([])
    })

    it("A17: a suspended tenant closes its sockets and refuses calls until it is resumed", async () => {
      const name = newName("suspend")
      const { object } = await create(name)
      await add(name, "kept")
      const awake = await watch(name)
      const frames = awake.items("live").length
      await done("suspend", { name })
      expect(await closed(awake)).toEqual(missing)
      expect(awake.items("live")).toHaveLength(frames)
      expect(await read(name)).toBe("missing")
      expect(await closed(await app.connect(name))).toEqual(missing)
      await done("resume", { name })
      expect(await read(name)).toEqual(["kept"])
      const asleep = await watch(name)
      await app.evict(object)
      await done("suspend", { name })
      expect(await closed(asleep)).toEqual(missing)
      await app.evict(object)
      await done("resume", { name })
      expect(await read(name)).toEqual(["kept"])
    })

    it("A17: a renamed tenant keeps its rows, and its old name is free at once", async () => {
      const [before, after] = [newName("before"), newName("after")]
      const { object } = await create(before)
      await add(before, "moved")
      const [awake, asleep] = [await watch(before), await watch(before)]
      await app.evict(object)
      expect(await done("rename", { name: before, to: after })).toMatchObject({ name: after, object })
      for (const peer of [awake, asleep]) expect(await closed(peer)).toEqual(missing)
      expect([await read(before), await read(after)]).toEqual(["missing", ["moved"]])
      await create(before)
      expect([await read(before), await read(after)]).toEqual([[], ["moved"]])
      expect(errorOf(await administer("rename", { name: before, to: after }))).toMatchObject({ _tag: "TenantExists" })
      // An action that is called over a socket runs in the Worker, and finds the tenant's object again.
      const peer = await watch(after)
      expect(await peer.call("act.add", { body: "by an action" })).toMatchObject({ _tag: "Success" })
      expect(await read(after)).toEqual(["moved", "by an action"])
      peer.close()
    })

    /**
     * What a caller gets whose Worker has cached the tenant before another Worker suspended it. Each way in has a tenant of
     * its own: a refusal ends the caching.
     */
    const enterStale = async <A>(reachesObject: boolean, enter: (name: string) => Promise<A>): Promise<A> => {
      const name = newName("stale")
      const { object } = await create(name)
      expect(await add(name, "x")).toMatchObject({ _tag: "Success" })
      const { revision } = await record("records.change", { change: { to: "suspend", name } })
      if (reachesObject) await app.stub(object).update({ name, state: "suspended", revision })
      return enter(name)
    }
    const connect = async (name: string) => {
      const peer = await app.connect(name)
      return Promise.race([closed(peer), peer.call("look", {})])
    }
    const act = (name: string) => call(name, "act.end", { ending: "typed failure" })

    it("A17: the object refuses callers whom a Worker lets in that has cached the tenant", async () => {
      expect(await enterStale(true, read)).toBe("missing")
      expect(await enterStale(true, connect)).toEqual(missing)
      expect(await enterStale(true, act)).toBe("missing")
      // The control: the Worker has cached it, and only the object's own check refuses them.
      expect(await enterStale(false, read)).toEqual(["x"])
      expect(await enterStale(false, connect)).toMatchObject({ _tag: "Success" })
      expect(errorOf(await enterStale(false, act))).toMatchObject({ _tag: "Refused" })
    })

    it("A17: a caller of a name that was given to another tenant reaches that one, whatever was cached", async () => {
      const [name, other] = [newName("given"), newName("given")]
      const first = await create(name)
      await add(name, "of the first")
      const renamed = await record("records.change", { change: { to: "rename", name, newName: other } })
      await app.stub(first.object).update({ name: other, state: "active", revision: renamed.revision })
      const second = await record("records.change", { change: { to: "create", name } })
      await app.stub(second.object).update({ name, state: "active", revision: second.revision })
      expect(await read(name)).toEqual([])
      const peer = await watch(name)
      expect(peer.items("live")[0].value).toEqual([])
      peer.close()
    })

    it("A18: a deleted tenant leaves nothing, and its name begins empty", async () => {
      const name = newName("delete")
      const { object, revision } = await create(name)
      await add(name, "gone")
      const [awake, asleep] = [await watch(name), await watch(name)]
      await app.evict(object)
      expect(await app.tables(object)).toContain("notes")
      await done("delete", { name })
      for (const peer of [awake, asleep]) expect(await closed(peer)).toEqual(missing)
      expect([await read(name), await listedAs(name)]).toEqual(["missing", []])
      expect(await app.tables(object)).toEqual(["_dormouse_tenant"])
      const again = await create(name)
      expect(again.object).not.toBe(object)
      expect(await read(name)).toEqual([])
      // What was sent to the deleted object before, and arrives late, brings nothing back.
      await app.stub(object).update({ name, state: "active", revision })
      const session = { tenant: name, identity: { subject: null, claims: {} } }
      const body = JSON.stringify(request("1", "notes.add", { body: "late" }))
      expect((await app.stub(object).call(session, body)).status).toBe(404)
      await app.evict(object)
      expect((await app.stub(object).call(session, body)).status).toBe(404)
      expect(await app.tables(object)).toEqual(["_dormouse_tenant"])
      expect(errorOf(await administer("delete", { name: newName("never") }))).toMatchObject({ _tag: "NoSuchTenant" })
    })

    it("A18: a change that was cut after its record is completed with the next lookup of any tenant", async () => {
      const [name, renamed, other] = [newName("cut"), newName("cut"), newName("other")]
      const { object } = await create(name)
      await add(name, "x")
      await record("records.change", { change: { to: "rename", name, newName: renamed } })
      expect(await read(renamed)).toEqual(["x"])
      await record("records.change", { change: { to: "delete", name: renamed } })
      // The control: nothing is deleted yet.
      expect(await app.tables(object)).toContain("notes")
      expect(await read(other)).toBe("missing")
      await expect.poll(() => listedAs(renamed)).toEqual([])
      expect(await app.tables(object)).toEqual(["_dormouse_tenant"])
    })

    it("A18: of changes that reach an object in any order, the last one recorded holds", async () => {
      const name = newName("order")
      const { object } = await create(name)
      const suspended = await record("records.change", { change: { to: "suspend", name } })
      const resumed = await record("records.change", { change: { to: "resume", name } })
      for (const { revision, state } of [resumed, suspended]) await app.stub(object).update({ name, state, revision })
      expect(await read(name)).toEqual([])
    })

    it("A18: of two admins at the same time each gets an answer that fits one order of their changes", async () => {
      const name = newName("twice")
      const created = await Promise.all([administer("create", { name }), administer("create", { name })])
      expect(created.map(({ _tag }) => _tag).sort()).toEqual(["Failure", "Success"])
      await add(name, "x")
      const mixed = await Promise.all([
        administer("suspend", { name }),
        administer("delete", { name }),
        administer("delete", { name }),
        administer("create", { name })
      ])
      for (const exit of mixed) {
        if (exit._tag === "Failure") expect(["TenantExists", "NoSuchTenant"]).toContain(errorOf(exit)?._tag)
      }
      await expect.poll(async () => (await listedAs(name)).filter(({ isSettled }) => !isSettled)).toEqual([])
      // The order in which they arrive is not the one in which they were sent: the last one may have suspended it.
      const [left] = await listedAs(name)
      const state = left?.state ?? "deleted"
      expect([state, await read(name)]).toEqual([state, state === "active" ? [] : "missing"])
    })

    it("A19: only an admin reaches the registry, and nobody its records", async () => {
      const body = JSON.stringify(request("1", "tenants.list", { size: 10, after: null, until: null }))
      const expected = await answerOf(newName("missing"), { body })
      expect(expected.status).toBe(404)
      const before = app.starts("~tenants")
      expect(await answerOf("~tenants", { body })).toEqual(expected)
      expect(app.starts("~tenants")).toBe(before)
      expect((await answerOf("~tenants", { body }, "admin")).status).toBe(200)
      for (const [tag, payload] of [
        ["records.find", { name: "reg-x" }],
        ["records.change", { change: { to: "create", name: "reg-x" } }],
        ["records.settle", { object: "reg-x", revision: 1 }],
        ["records.report", { report: { object: "reg-x", lastUse: 0, schemaVersion: "", bytes: 0 } }]
      ] as const) {
        const response = await post(app, "~tenants", JSON.stringify(request("1", tag, payload)), admin)
        const [{ exit }] = (await response.json()) as any
        expect([tag, errorOf(exit)]).toEqual([tag, expect.objectContaining({ reason: { _tag: "Forbidden" } })])
      }
    })

    it("A19: the object of a tenant that was written to reports itself", async () => {
      const [written, unwritten] = [newName("written"), newName("unwritten")]
      await create(written)
      await create(unwritten)
      await read(unwritten)
      await add(written, "x")
      await expect.poll(async () => (await listedAs(written))[0].lastUse).not.toBe(null)
      const [report] = await listedAs(written)
      expect(report).toMatchObject({ bytes: expect.any(Number), schemaVersion: expect.stringMatching(/^[0-9a-f]{8}$/) })
      expect(report.bytes).toBeGreaterThan(0)
      expect(await listedAs(unwritten)).toMatchObject([{ lastUse: null, bytes: null, schemaVersion: null }])
    })

    it("A17, A18: random histories of admins, callers and evictions agree with a model", () =>
      forAllAsync(histories, (random) => history(random)))

    const history = async (random: Random): Promise<void> => {
      interface Known {
        readonly object: string
        isSuspended: boolean
        readonly notes: Array<string>
        readonly peers: Array<Peer>
      }
      const pool = random.array(3, () => newName("model"))
      const model = new Map<string, Known>()
      const check = (what: string, actual: unknown, expected: unknown) => {
        const [got, wanted] = [JSON.stringify(actual), JSON.stringify(expected)]
        if (got !== wanted) throw new Violation(`${what}: ${got} instead of ${wanted}`)
      }
      const leave = async (known: Known) => {
        for (const peer of known.peers.splice(0)) check("a socket", await closed(peer), missing)
      }
      const usable = (name: string) => {
        const known = model.get(name)
        return known?.isSuspended === false ? known : undefined
      }
      const steps: Record<string, (name: string) => Promise<unknown>> = {
        create: async (name) => {
          const exit = await administer("create", { name })
          check(`create ${name}`, errorOf(exit)?._tag, model.has(name) ? "TenantExists" : undefined)
          if (!model.has(name)) model.set(name, { object: exit.value.object, isSuspended: false, notes: [], peers: [] })
        },
        suspend: async (name) => {
          const known = model.get(name)
          const exit = await administer("suspend", { name })
          check(`suspend ${name}`, errorOf(exit)?._tag, known === undefined ? "NoSuchTenant" : undefined)
          if (known === undefined) return
          known.isSuspended = true
          await leave(known)
        },
        resume: async (name) => {
          const known = model.get(name)
          const exit = await administer("resume", { name })
          check(`resume ${name}`, errorOf(exit)?._tag, known === undefined ? "NoSuchTenant" : undefined)
          if (known !== undefined) known.isSuspended = false
        },
        rename: async (name) => {
          const to = random.pick(pool.filter((other) => other !== name))
          const known = model.get(name)
          const exit = await administer("rename", { name, to })
          const refusal = known === undefined ? "NoSuchTenant" : model.has(to) ? "TenantExists" : undefined
          check(`rename ${name} ${to}`, errorOf(exit)?._tag, refusal)
          if (refusal !== undefined) return
          model.delete(name)
          model.set(to, known!)
          await leave(known!)
        },
        delete: async (name) => {
          const known = model.get(name)
          const exit = await administer("delete", { name })
          check(`delete ${name}`, errorOf(exit)?._tag, known === undefined ? "NoSuchTenant" : undefined)
          model.delete(name)
          if (known !== undefined) await leave(known)
        },
        add: async (name) => {
          const body = `${random.int(1000)}`
          const exit = await add(name, body)
          check(`add to ${name}`, exit === "missing", usable(name) === undefined)
          usable(name)?.notes.push(body)
        },
        watch: async (name) => {
          const known = usable(name)
          if (known !== undefined) return known.peers.push(await watch(name))
          check(`a socket to ${name}`, await closed(await app.connect(name)), missing)
        },
        evict: async (name) => {
          const known = model.get(name)
          if (known !== undefined && app.starts(known.object) > 0) await app.evict(known.object).catch(() => {})
        }
      }
      for (let i = 0; i < 25; i++) {
        await steps[random.pick(Object.keys(steps))]!(random.pick(pool))
        for (const name of pool) {
          const found = await read(name)
          check(`the notes of ${name}`, found, usable(name)?.notes ?? "missing")
        }
      }
      for (const { peers } of model.values()) for (const peer of peers) peer.close()
    }
  })
