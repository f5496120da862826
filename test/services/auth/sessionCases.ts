import { Auth } from "effect-dormouse/auth"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Deployment, errorOf, newTenant, type Peer, post, request } from "../../deployment/Deployment.ts"

/** What happens to the session of a socket: its token expires, is replaced, or is revoked. In memory and in workerd. */

/** The reason of an exit that failed with a `CallError`. */
const reasonOf = (exit: unknown) => errorOf(exit)?.reason

/** A token of ada's, with a session and a time of issue. */
const ada = (more: Auth.TestCaller = {}) =>
  Auth.testToken({ subject: "ada", claims: {}, issued: 1000, session: "s1", ...more })
const bob = Auth.testToken({ subject: "bob", claims: {}, issued: 1000, session: "s2" })

const authenticate = (peer: Peer, token: string | null) => peer.call("dormouse.authenticate", { token })
const who = async (peer: Peer) => {
  const exit: any = await peer.call("who", {})
  return exit.value?.subject
}
/** The subjects for whom the frames of a live `who` were computed, without repetitions. */
const subjects = (peer: Peer, id: string) =>
  peer
    .items(id)
    .flatMap(({ ops, value }) =>
      value !== undefined ? [value.subject] : ops.flatMap((op: any) => (op.path === "/subject" ? [op.value] : []))
    )
    .filter((subject, i, all) => subject !== all[i - 1])
const live = (peer: Peer, id: string, tag: string) => peer.send(request(id, `live:${tag}`, {}))
const ack = (peer: Peer, requestId: string) => peer.send({ _tag: "Ack", requestId })

export const suite = (name: string, here: () => Promise<Deployment & { readonly close?: () => Promise<void> }>) =>
  describe(name, () => {
    let deployment: Awaited<ReturnType<typeof here>>
    beforeAll(async () => {
      deployment = await here()
    })
    afterAll(() => deployment.close?.())

    const connect = (tenant: string, token?: string) => deployment.connect(tenant, "header", token)
    const http = async (tenant: string, token: string, tag: string, payload: unknown = {}) => {
      const body = JSON.stringify(request("1", tag, payload))
      const response = await post(deployment, tenant, body, { authorization: `Bearer ${token}` })
      const messages = (await response.json()) as any
      return { status: response.status, exit: Array.isArray(messages) ? messages[0]?.exit : messages }
    }

    /** A socket with a live query, on which something has happened before its token expires. */
    const expiring = async (tenant: string) => {
      // On a busy machine that may take longer: then another token lasts longer.
      for (let life = 3000; life < 60_000; life *= 2) {
        const expires = Date.now() + life
        const peer = await connect(tenant, ada({ expires }))
        const until = (condition: () => boolean) => peer.until(() => peer.closed !== undefined || condition())
        if (peer.closed === undefined) live(peer, "l", "who")
        await until(() => peer.items("l").length > 0)
        if (peer.closed !== undefined) continue
        ack(peer, "l")
        const id = peer.ask("who", {})
        await until(() => peer.exits(id).length > 0)
        if (peer.closed === undefined) return { exit: peer.exits(id)[0], expires, peer }
      }
      throw new Error("each token had expired before something happened")
    }

    it("A10: a socket whose token has expired is closed with 4401 when something happens on it", async () => {
      const tenant = newTenant("expiry")
      const { exit, peer } = await expiring(tenant)
      const lasting = await connect(tenant, ada())
      expect(exit).toMatchObject({ value: { subject: "ada" } })
      const closed = async () => peer.closed ?? void peer.ask("who", {})
      await expect.poll(closed, { timeout: 90_000 }).toEqual({ code: 4401, reason: "unauthenticated: expired" })
      // The control: the same caller's other token goes on.
      expect(await who(lasting)).toBe("ada")
    })

    it("A10: a socket that slept over its expiry gets no frame after the next commit", async () => {
      const tenant = newTenant("asleep")
      const lasting = await connect(tenant, ada())
      live(lasting, "l", "who")
      await lasting.itemsOf("l", 1)
      ack(lasting, "l")
      expect(await who(lasting)).toBe("ada")
      const { exit, expires, peer } = await expiring(tenant)
      expect(exit).toMatchObject({ value: { subject: "ada" } })
      await deployment.evict(tenant)
      await expect.poll(() => Date.now(), { timeout: 90_000 }).toBeGreaterThan(expires)
      expect((await http(tenant, bob, "enter")).status).toBe(200)
      await peer.until(() => peer.closed)
      expect(peer.closed).toEqual({ code: 4401, reason: "unauthenticated: expired" })
      expect(peer.items("l")).toHaveLength(1)
      // The control: the other socket gets its frame.
      await lasting.itemsOf("l", 2)
    })

    it("A11: a new token of another caller changes the results that depend on the caller, and no others", async () => {
      const tenant = newTenant("renewed")
      const [peer, other] = [await connect(tenant, ada()), await connect(tenant, ada())]
      for (const one of [peer, other]) {
        live(one, "who", "who")
        live(one, "count", "count")
        await one.itemsOf("who", 1)
        await one.itemsOf("count", 1)
        ack(one, "who")
        ack(one, "count")
      }
      const exit: any = await authenticate(peer, bob)
      expect(exit).toEqual({ _tag: "Success", value: { subject: "bob", expires: null, now: expect.any(Number) } })
      await peer.until(() => subjects(peer, "who").includes("bob"))
      ack(peer, "who")
      expect(await peer.call("enter", {})).toEqual({ _tag: "Success", value: "bob" })
      await peer.itemsOf("count", 2)
      await other.itemsOf("who", 2)
      expect(subjects(peer, "who")).toEqual(["ada", "bob"])
      // The one of before the entry, and the one of after it: the new token sent none.
      expect(peer.items("count")).toHaveLength(2)
      expect(subjects(other, "who")).toEqual(["ada"])
      await deployment.evict(tenant)
      expect(await who(peer)).toBe("bob")
      expect(await who(other)).toBe("ada")
    })

    it("A11: after a wake, results that depend on the caller are those of the new token", async () => {
      const tenant = newTenant("woken")
      const peer = await connect(tenant, ada())
      live(peer, "who", "who")
      live(peer, "count", "count")
      await peer.itemsOf("who", 1)
      await peer.itemsOf("count", 1)
      ack(peer, "who")
      ack(peer, "count")
      expect(await who(peer)).toBe("ada")
      await deployment.evict(tenant)
      await authenticate(peer, bob)
      await peer.until(() => subjects(peer, "who").includes("bob"))
      expect(await who(peer)).toBe("bob")
      expect(peer.items("count")).toHaveLength(1)
    })

    it("A11: without a token the caller is anonymous, and can sign in again", async () => {
      const peer = await connect(newTenant("out"), ada())
      live(peer, "member", "member")
      await peer.itemsOf("member", 1)
      ack(peer, "member")
      await authenticate(peer, null)
      expect(reasonOf(await peer.exit("member"))).toEqual({ _tag: "Unauthenticated", problem: "missing" })
      expect(await who(peer)).toBe(null)
      await authenticate(peer, bob)
      expect(await who(peer)).toBe("bob")
    })

    it("A11: a token that is refused changes nothing", async () => {
      const tenant = newTenant("members")
      const peer = await connect(tenant, ada())
      const refusals: ReadonlyArray<readonly [string, unknown]> = [
        ["nonsense", { _tag: "Unauthenticated", problem: "malformed" }],
        ["not a token", { _tag: "Unauthenticated", problem: "malformed" }],
        ["", { _tag: "Unauthenticated", problem: "malformed" }],
        [ada({ expires: 1 }), { _tag: "Unauthenticated", problem: "expired" }],
        [Auth.testToken({ subject: "mallory" }), { _tag: "Forbidden" }],
        [
          Auth.testToken({ subject: "ada", claims: { more: "x".repeat(5000) } }),
          { _tag: "LimitExceeded", limit: "identityBytes", max: 4096 }
        ]
      ]
      for (const [token, reason] of refusals) {
        expect(reasonOf(await authenticate(peer, token))).toEqual(reason)
        expect(await who(peer)).toBe("ada")
      }
      const payload = await peer.call("dormouse.authenticate", { token: 1 })
      expect(reasonOf(payload)).toMatchObject({ _tag: "PayloadInvalid" })
      // The control: mallory may enter elsewhere.
      const elsewhere = await connect(newTenant("others"), ada())
      expect(await authenticate(elsewhere, Auth.testToken({ subject: "mallory" }))).toMatchObject({ _tag: "Success" })
    })

    it("A11, A13: the tenant of a socket does not change with its token", async () => {
      const [first, second] = [newTenant("first"), newTenant("second")]
      const peer = await connect(first, ada())
      const headers: ReadonlyArray<readonly [string, string]> = [["x-dormouse-tenant", second]]
      const exit = await peer.call("dormouse.authenticate", { token: bob, tenant: second }, headers)
      expect(exit).toMatchObject({ _tag: "Success" })
      await peer.call("enter", {})
      expect((await http(first, bob, "count")).exit).toEqual({ _tag: "Success", value: 1 })
      expect((await http(second, bob, "count")).exit).toEqual({ _tag: "Success", value: 0 })
    })

    it("A11: of many tokens at once the last one counts, and each request ends", async () => {
      const peer = await connect(newTenant("storm"), ada())
      const tokens = Array.from({ length: 40 }, (_, i) => Auth.testToken({ subject: `user ${i}` }))
      const ids = tokens.map((token) => peer.ask("dormouse.authenticate", { token }))
      const exits = await Promise.all(ids.map((id) => peer.exit(id)))
      expect(exits.at(-1)).toMatchObject({ _tag: "Success", value: { subject: "user 39" } })
      expect(await who(peer)).toBe("user 39")
      expect(ids.map((id) => peer.exits(id).length)).toEqual(ids.map(() => 1))
    })

    it("A11: while a token is not verified the socket works, and a later token replaces it", async () => {
      const peer = await connect(newTenant("hang"), ada())
      const hung = peer.ask("dormouse.authenticate", { token: "hang" })
      expect(await who(peer)).toBe("ada")
      await authenticate(peer, bob)
      // Interrupted, or ended by the platform, which finds that the Worker hangs.
      expect(await peer.exit(hung)).toMatchObject({ _tag: "Failure" })
      expect(await who(peer)).toBe("bob")
    })

    it("A11: a Worker that does not answer is Unavailable", async () => {
      const peer = await connect(newTenant("hung"), ada())
      expect(reasonOf(await authenticate(peer, "hang"))).toMatchObject({ _tag: "Unavailable" })
      expect(await who(peer)).toBe("ada")
    })

    it("A11: an interrupted request changes nothing", async () => {
      const peer = await connect(newTenant("interrupted"), ada())
      const id = peer.ask("dormouse.authenticate", { token: "slow" })
      peer.send({ _tag: "Interrupt", requestId: id })
      expect(await peer.exit(id)).toMatchObject({ _tag: "Failure", cause: [{ _tag: "Interrupt" }] })
      expect(await who(peer)).toBe("ada")
    })

    it("A12: a revoked session ends on all its sockets and over HTTP, and others continue", async () => {
      const tenant = newTenant("revoked")
      const [first, second] = [await connect(tenant, ada()), await connect(tenant, ada())]
      const other = await connect(tenant, ada({ session: "s9" }))
      const bobs = await connect(tenant, bob)
      for (const one of [first, second, other]) {
        live(one, "who", "who")
        await one.itemsOf("who", 1)
        ack(one, "who")
      }
      expect(await bobs.call("revoke", { subject: "ada", session: "s1" })).toMatchObject({ _tag: "Success" })
      await bobs.call("enter", {})
      for (const one of [first, second]) {
        await one.until(() => one.closed)
        expect(one.closed).toEqual({ code: 4401, reason: "unauthenticated: revoked" })
        expect(one.items("who")).toHaveLength(1)
      }
      await other.itemsOf("who", 2)
      expect(await who(other)).toBe("ada")
      expect(reasonOf(await authenticate(other, ada()))).toEqual({ _tag: "Unauthenticated", problem: "revoked" })
      const refused = await http(tenant, ada(), "enter")
      expect([refused.status, reasonOf(refused.exit)]).toEqual([401, { _tag: "Unauthenticated", problem: "revoked" }])
      expect((await http(tenant, ada(), "act.call")).exit).toMatchObject({ _tag: "Failure" })
      expect((await http(tenant, ada({ session: "s9" }), "act.call")).exit).toMatchObject({ value: "ada" })
      expect((await http(tenant, bob, "count")).exit).toEqual({ _tag: "Success", value: 1 })
      const again = await connect(tenant, ada())
      await again.until(() => again.closed)
      expect(again.closed).toEqual({ code: 4401, reason: "unauthenticated: revoked" })
      // In the object of another tenant nothing was revoked.
      expect((await http(newTenant("elsewhere"), ada(), "enter")).status).toBe(200)
    })

    it("A12: tokens that were issued before the revocation are refused, also those that do not say when", async () => {
      const tenant = newTenant("before")
      expect((await http(tenant, bob, "revoke", { subject: "ada", before: 5000 })).exit).toMatchObject({
        _tag: "Success"
      })
      const status = async (issued: number | null) => (await http(tenant, ada({ issued }), "count")).status
      expect([await status(4999), await status(null), await status(5000)]).toEqual([401, 401, 200])
      // A later revocation of earlier tokens takes nothing back.
      await http(tenant, bob, "revoke", { subject: "ada", before: 10 })
      expect(await status(4999)).toBe(401)
      await http(tenant, bob, "revoke", { subject: "ada" })
      expect(await status(5000)).toBe(401)
    })

    it("A12: a revocation that rolls back revokes nothing", async () => {
      const tenant = newTenant("back")
      const peer = await connect(tenant, ada())
      expect(await peer.call("revoke", { subject: "ada", fails: true })).toMatchObject({ _tag: "Failure" })
      expect(await who(peer)).toBe("ada")
      // The control: the same mutation that commits.
      peer.ask("revoke", { subject: "ada" })
      await peer.until(() => peer.closed)
      expect(peer.closed).toEqual({ code: 4401, reason: "unauthenticated: revoked" })
    })

    it("A12: a sleeping socket whose session was revoked ends before it gets a frame", async () => {
      const tenant = newTenant("sleeping")
      const peer = await connect(tenant, ada())
      live(peer, "who", "who")
      await peer.itemsOf("who", 1)
      ack(peer, "who")
      expect(await who(peer)).toBe("ada")
      await deployment.evict(tenant)
      const revoke = request("1", "revoke", { subject: "ada" })
      const body = JSON.stringify([request("0", "enter", {}), revoke, request("2", "enter", {})])
      expect((await post(deployment, tenant, body, { authorization: `Bearer ${bob}` })).status).toBe(200)
      await peer.until(() => peer.closed)
      expect(peer.closed).toEqual({ code: 4401, reason: "unauthenticated: revoked" })
      expect(peer.items("who")).toHaveLength(1)
      // The object has it from the rows.
      await deployment.evict(tenant)
      expect((await http(tenant, ada(), "count")).status).toBe(401)
    })

    it("A13: the headers by which Worker and object talk are ignored from outside", async () => {
      const tenant = newTenant("forged")
      const forged = encodeURIComponent(JSON.stringify({ tenant, identity: { subject: "root", claims: {} } }))
      const headers = { "x-dormouse-session": forged, accept: "application/x-ndjson" }
      const body = JSON.stringify(request("1", "who", {}))
      const response = await post(deployment, tenant, body, headers)
      expect(await response.json()).toMatchObject([{ exit: { _tag: "Success", value: { subject: null } } }])
      const refused = await post(deployment, tenant, body, { ...headers, authorization: "Bearer nonsense" })
      expect(refused.status).toBe(401)
      const peer = await connect(tenant)
      const exit: any = await peer.call("who", {}, [["x-dormouse-session", forged]])
      expect(exit.value.subject).toBe(null)
    })
  })
