import { describe, expect, it } from "vitest"
import type { ObjectAnswer } from "../../src/engine/rpc/ObjectStub.ts"
import type { RequestSession } from "../../src/engine/rpc/SessionHeader.ts"
import { errorOf, newTenant, type Peer, request } from "../deployment/Deployment.ts"

/** A tenant's object of `smallDoors`, or of `openDoors`, without the Worker in front of it. */
export interface Doors {
  /** Opens a socket. `undefined` when it was refused with a retryable code. */
  readonly connect: (session: RequestSession) => Promise<Peer | undefined>
  readonly call: (session: RequestSession, text: string) => Promise<ObjectAnswer>
  readonly evict: () => Promise<void>
}

/** A caller of a tenant. */
const caller = (tenant: string, subject: string | null, address?: string): RequestSession => ({
  tenant,
  identity: { subject, claims: {} },
  ...(address !== undefined && { address })
})

const tooMany = { _tag: "CallError", reason: { _tag: "TooManyRequests" } }

/** `Retry-After` of a window of an hour that has just begun, in seconds: how long the calls before took is not the same in each run. */
export const anHour = expect.stringMatching(/^3[56]\d\d$/)

/** A21 and A22 in the object, with the limits of `smallDoors`. `open` has none: the control. */
export const suite = (
  name: string,
  doorsOf: { readonly small: (tenant: string) => Doors; readonly open: (tenant: string) => Doors }
) =>
  describe(name, () => {
    const { open: openOf, small } = doorsOf
    /** Nobody counts: sees what was written. */
    const visits = async (doors: Doors, tenant: string): Promise<number> => {
      const { body } = await doors.call(caller(tenant, null), JSON.stringify(request("1", "visits", {})))
      return JSON.parse(body)[0].exit.value
    }
    const visit = (doors: Doors, session: RequestSession, count = 1) => {
      const requests = Array.from({ length: count }, (_, id) => request(id, "visit", { by: "ada" }))
      return doors.call(session, JSON.stringify(requests))
    }
    /** How many of so many calls over HTTP were accepted. */
    const accepted = async (doors: Doors, session: RequestSession, calls: number): Promise<number> => {
      let count = 0
      for (let i = 0; i < calls; i++) if ((await visit(doors, session)).status === 200) count++
      return count
    }

    it("A21: calls of an identity beyond the limit run nothing, typed, over HTTP", async () => {
      const tenant = newTenant("doors")
      const doors = small(tenant)
      const ada = caller(tenant, "ada")
      expect(await accepted(doors, ada, 10)).toBe(10)
      const refused = await visit(doors, ada)
      expect(refused).toMatchObject({ status: 429, retryAfter: expect.any(Number) })
      expect(refused.retryAfter).toBeGreaterThan(3_000_000)
      expect(errorOf(JSON.parse(refused.body)[0].exit)).toMatchObject(tooMany)
      expect(await accepted(doors, caller(tenant, "bo"), 1)).toBe(1)
      expect(await visits(doors, tenant)).toBe(11)
    })

    it("A21: a body is accepted or refused as a whole", async () => {
      const tenant = newTenant("doors")
      const doors = small(tenant)
      const ada = caller(tenant, "ada")
      expect((await visit(doors, ada, 8)).status).toBe(200)
      const refused = await visit(doors, ada, 3)
      expect(refused.status).toBe(429)
      expect(JSON.parse(refused.body)).toHaveLength(3)
      expect((await visit(doors, ada, 2)).status).toBe(200)
      expect(await visits(doors, tenant)).toBe(10)
    })

    it("A21: an address counts whoever calls from it, and anonymous callers count by it; IPv6 by its first 64 bits", async () => {
      const tenant = newTenant("doors")
      const doors = small(tenant)
      const from = "2001:db8:1:2::1"
      expect(await accepted(doors, caller(tenant, "ada", from), 8)).toBe(8)
      expect(await accepted(doors, caller(tenant, null, "2001:db8:1:2:ffff::9"), 8)).toBe(7)
      expect(await accepted(doors, caller(tenant, "bo", from), 1)).toBe(0)
      // What the address refused is not charged to the identity.
      expect(await accepted(doors, caller(tenant, "bo", "192.0.2.1"), 11)).toBe(10)
      expect(await accepted(doors, caller(tenant, null, "2001:db8:1:3::1"), 1)).toBe(1)
    })

    it("A21: calls that an action makes are not counted again", async () => {
      const tenant = newTenant("doors")
      const doors = small(tenant)
      expect(await accepted(doors, { ...caller(tenant, "ada"), fromAction: true }, 12)).toBe(12)
    })

    it("A21: on a socket each call is counted, and a live query is one", async () => {
      const tenant = newTenant("doors")
      const doors = small(tenant)
      const peer = (await doors.connect(caller(tenant, "ada")))!
      // The socket was one call.
      for (let i = 0; i < 8; i++) expect(await peer.call("visit", { by: "ada" })).toMatchObject({ _tag: "Success" })
      const live = peer.ask("live:visits", {})
      expect(await peer.itemsOf(live, 1)).toMatchObject([{ value: 8 }])
      for (const tag of ["visit", "live:visits", "nothing"]) {
        expect(errorOf(await peer.call(tag, { by: "ada" }))).toMatchObject(tooMany)
      }
      expect(peer.closed).toBeUndefined()
      expect(await visits(doors, tenant)).toBe(8)
      peer.close(1000)
    })

    it("A21: a socket that goes on after a hundred refusals is closed, and nothing more of it is handled", async () => {
      const tenant = newTenant("doors")
      const doors = small(tenant)
      const peer = (await doors.connect(caller(tenant, "ada")))!
      for (let n = 0; n < 150; n++) peer.ask("visit", { by: "ada" })
      await peer.until(() => peer.closed)
      expect(peer.closed).toMatchObject({
        code: 1013,
        reason: expect.stringMatching(/^limit callsPerIdentity is 10; /)
      })
      expect(await visits(doors, tenant)).toBe(9)
      expect(await doors.connect(caller(tenant, "ada"))).toBeUndefined()
    })

    it("A22: sockets of an identity and of an address beyond the limit are refused, until one closes, also after a wake", async () => {
      const tenant = newTenant("doors")
      const doors = small(tenant)
      const ada = caller(tenant, "ada", "192.0.2.7")
      const [first, second] = [await doors.connect(ada), await doors.connect(ada)]
      expect(second).toBeDefined()
      expect(await doors.connect(ada)).toBeUndefined()
      const third = await doors.connect(caller(tenant, null, "192.0.2.7"))
      expect(third).toBeDefined()
      await doors.evict()
      expect(await doors.connect(caller(tenant, "bo", "192.0.2.7"))).toBeUndefined()
      expect(await doors.connect(caller(tenant, "ada", "192.0.2.8"))).toBeUndefined()
      first!.close(1000)
      await expect.poll(async () => (await doors.connect(caller(tenant, "bo", "192.0.2.7"))) !== undefined).toBe(true)
    })

    it("A22: live queries of a socket beyond the limit are refused, and those that end make room", async () => {
      const tenant = newTenant("doors")
      const doors = small(tenant)
      const peer = (await doors.connect(caller(tenant, "ada")))!
      const ids = ["a", "b"].map((by) => peer.ask("live:visits.by", { by }))
      for (const id of ids) await peer.itemsOf(id, 1)
      expect(errorOf(await peer.call("live:visits.by", { by: "c" }))).toMatchObject({
        reason: { _tag: "LimitExceeded", limit: "liveQueriesPerSocket", max: 2, actual: 3 }
      })
      peer.send({ _tag: "Interrupt", requestId: ids[0] })
      await peer.exit(ids[0]!)
      await peer.itemsOf(peer.ask("live:visits.by", { by: "c" }), 1)
      // The others are as live as before.
      peer.send({ _tag: "Ack", requestId: ids[1] })
      await doors.call(caller(tenant, null), JSON.stringify(request("1", "visit", { by: "b" })))
      expect(await peer.itemsOf(ids[1]!, 2)).toMatchObject([{ value: 0 }, { value: 1 }])
      peer.close(1000)
    })

    it("A23: after an eviction the windows begin anew", async () => {
      const tenant = newTenant("doors")
      const doors = small(tenant)
      expect(await accepted(doors, caller(tenant, "ada"), 11)).toBe(10)
      await doors.evict()
      expect(await accepted(doors, caller(tenant, "ada"), 1)).toBe(1)
    })

    it("control: without limits all of it is accepted", async () => {
      const tenant = newTenant("doors")
      const doors = openOf(tenant)
      const ada = caller(tenant, "ada", "192.0.2.7")
      expect(await accepted(doors, ada, 20)).toBe(20)
      const peers = await Promise.all(Array.from({ length: 5 }, () => doors.connect(ada)))
      expect(peers.filter((peer) => peer === undefined)).toEqual([])
      const [peer] = peers
      const exits = await Promise.all(Array.from({ length: 150 }, () => peer!.call("visit", { by: "ada" })))
      expect(exits.filter(({ _tag }) => _tag !== "Success")).toEqual([])
      for (const by of ["a", "b", "c"]) await peer!.itemsOf(peer!.ask("live:visits.by", { by }), 1)
    })
  })
