import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { type Peer, request } from "../deployment/Deployment.ts"
import { ada, bo, type Caller, eve, open, secretOf } from "../frontDoor/callers.ts"
import type { Door } from "../frontDoor/Door.ts"
import { Keeper } from "../frontDoor/Keeper.ts"

/** What has gone wrong at the front doors of other systems, each as a case of its own. */
export const cases = (name: string, here: () => Promise<Door>) =>
  describe(name, () => {
    let door: Door
    let keeper: Keeper
    beforeAll(async () => {
      door = await here()
    })
    beforeEach(async () => {
      keeper = new Keeper(door, "door-a")
      await keeper.reset()
    })
    afterAll(() => door.close())

    type Headers = ReadonlyArray<readonly [string, string]>
    const bearer = (caller: Caller) => ["authorization", `Bearer ${door.issuer.tokenOf(caller)}`] as const
    const toTenant = (tenant: string) => ["x-dormouse-tenant", tenant] as const

    const post = async (headers: Headers, body: unknown, path = "/rpc"): Promise<Response> => {
      const answer = await door.send({ path, method: "POST", headers, body: JSON.stringify(body) })
      if (!("response" in answer)) throw new Error("a call opens a socket")
      return answer.response
    }
    const get = async (path: string, headers: Headers = []): Promise<Response> => {
      const answer = await door.send({ path, method: "GET", headers })
      if (!("response" in answer)) throw new Error("a request opens a socket")
      return answer.response
    }
    /** A socket, whose handshake may be refused. */
    const connect = async (caller: Caller | undefined, tenant: string, headers: Headers = []): Promise<Peer> => {
      const offered = caller && `dormouse, dormouse.bearer.${door.issuer.tokenOf(caller)}`
      const own = offered === undefined ? [] : ([["sec-websocket-protocol", offered]] as const)
      const all = [toTenant(tenant), ["upgrade", "websocket"] as const, ...own, ...headers]
      const answer = await door.send({ path: "/rpc", method: "GET", headers: all })
      if (!("peer" in answer)) throw new Error(`no socket: ${answer.response.status}`)
      return answer.peer
    }
    const bodies = async () =>
      (await keeper.rows()).map(({ body }) => body).filter((body) => body !== secretOf("door-a"))
    const add = (id: string, body: string) => request(id, "notes.add", { body })
    const subjectOf = async (response: Response) => ((await response.json()) as any)[0].exit.value.subject

    const forged = encodeURIComponent(
      JSON.stringify({ tenant: "door-sealed", identity: { subject: "keeper", claims: { admin: true } } })
    )
    const claims: Headers = [
      ["x-dormouse-session", forged],
      ["x-dormouse-subject", "keeper"],
      ["x-dormouse-identity", '{"subject":"keeper","claims":{}}'],
      ["x-test-subject", "keeper"],
      ["x-user", "keeper"],
      ["cookie", `session=${forged}`]
    ]

    it("S3: the caller is the token's, whatever other headers say, over HTTP and over a socket", async () => {
      const whoami = request("who", "whoami", {}, [...claims, ["authorization", "Bearer tok-keeper"]])
      expect(await subjectOf(await post([bearer(ada), toTenant("door-a"), ...claims], whoami))).toBe("ada")
      expect(await subjectOf(await post([toTenant(open), ...claims], whoami))).toBe(null)
      for (const [caller, tenant] of [
        [ada, "door-a"],
        [undefined, open]
      ] as const) {
        const peer = await connect(caller, tenant, claims)
        peer.send(whoami)
        expect(await peer.exit("who")).toMatchObject({ value: { subject: caller?.subject ?? null } })
        peer.send(request("live", "live:whoami", {}, [...claims]))
        expect(await peer.itemsOf("live", 1)).toMatchObject([{ value: { subject: caller?.subject ?? null } }])
        peer.close(1000)
      }
      // The control: another token is another caller.
      expect(await subjectOf(await post([bearer(bo), toTenant("door-a")], whoami))).toBe("bo")
    })

    it("A1: a token in a URL, a cookie or a body is not read", async () => {
      const token = door.issuer.tokenOf(ada)
      for (const name of ["token", "access_token", "authorization", "key"]) {
        const path = `/rpc?tenant=door-a&${name}=${token}`
        expect((await post([], add("1", "by URL"), path)).status).toBe(404)
        expect((await post([["cookie", `${name}=${token}`]], add("1", "by cookie"), path)).status).toBe(404)
        expect((await post([], { ...add("1", "by body"), [name]: `Bearer ${token}` }, path)).status).toBe(404)
      }
      expect(await bodies()).toEqual([])
      expect((await post([bearer(ada)], add("1", "by header"), "/rpc?tenant=door-a")).status).toBe(200)
      expect(await bodies()).toEqual(["by header"])
    })

    it("S1: a mutation cannot be called by GET", async () => {
      const call = encodeURIComponent(JSON.stringify(add("1", "by GET")))
      for (const query of [`body=${call}`, `tag=notes.add&payload=${encodeURIComponent('{"body":"by GET"}')}`, call]) {
        expect((await get(`/rpc?tenant=door-a&${query}`, [bearer(ada)])).status).toBe(426)
      }
      expect(await bodies()).toEqual([])
    })

    it("S1: a query string that cannot be decoded is answered", async () => {
      for (const query of ["?%", "?tenant=%", "?tenant=%E0%A4%A", "?tenant=%25", "?%E0%A4%A=1", "?tenant[]=door-a"]) {
        const response = await post([bearer(ada)], request("1", "whoami", {}), `/rpc${query}`)
        expect([query, response.status, await response.json()]).toEqual([query, 404, { error: "no such tenant" }])
      }
      // A part that is not the tenant's name does not matter, and no name is decoded twice.
      const good = await post([bearer(ada)], request("1", "whoami", {}), "/rpc?x=%E0%A4%A&%&tenant=door%2Da")
      expect(good.status).toBe(200)
      expect((await post([bearer(ada)], request("1", "whoami", {}), "/rpc?tenant=door%252Da")).status).toBe(404)
    })

    it("A4: what a caller may read without a token tells it nothing, and wakes no object", async () => {
      const before = door.reached("door-a")
      const yes = ["x-explain", "yes"] as const
      expect(Number.isInteger(await (await get("/rpc/time?tenant=door-a")).json())).toBe(true)
      for (const path of ["/", "/rpc/", "/rpc/explain", "/rpc/time/", "/rpc/door-a", "/.well-known/jwks.json"]) {
        const response = await get(`${path}?tenant=door-a`)
        expect([path, [404, 426].includes(response.status)]).toEqual([path, true])
      }
      // The author's `explain` allows it, and the caller may not enter.
      for (const who of [[], [bearer(eve)]]) {
        const refused = await get("/rpc/explain?tenant=door-a", [yes, ...who])
        expect([refused.status, await refused.json()]).toEqual([404, { error: "no such tenant" }])
      }
      expect((await get("/rpc/explain?tenant=door-a", [yes, ["authorization", "Bearer x"]])).status).toBe(401)
      expect(door.reached("door-a")).toBe(before)
      // The control: a member reads it.
      expect((await get("/rpc/explain?tenant=door-a", [yes, bearer(ada)])).status).toBe(200)
      expect(door.reached("door-a")).toBe(before + 1)
    })

    it("A4: what is sent on a socket that is refused reaches nothing", async () => {
      const before = door.reached("door-a")
      const wrong = [["sec-websocket-protocol", "dormouse, dormouse.bearer.x"]] as const
      const handshakes: ReadonlyArray<readonly [number, Caller | undefined, Headers]> = [
        [4404, undefined, []],
        [4404, eve, []],
        [4401, undefined, wrong]
      ]
      for (const [code, caller, headers] of handshakes) {
        const peer = await connect(caller, "door-a", headers)
        try {
          peer.send(add("1", "after the handshake"), request("2", "live:notes.list", {}))
        } catch {
          // The platform's own end may have seen the close.
        }
        expect(await peer.until(() => peer.closed)).toMatchObject({ code })
        expect(peer.messages).toEqual([])
      }
      expect(door.reached("door-a")).toBe(before)
      expect(await bodies()).toEqual([])
    })

    it("S1: frames behind one that closes the socket are not handled", async () => {
      const peer = await connect(ada, "door-a")
      peer.send(add("1", "before"))
      peer.sendText("{")
      peer.send(add("2", "behind"), add("3", "behind"))
      expect(await peer.until(() => peer.closed)).toMatchObject({ code: 1007 })
      expect(await bodies()).toEqual(["before"])
    })

    it("S3: sockets of one token, opened at once, are separate: each has its frames, and one that closes ends no other", async () => {
      const peers = await Promise.all([connect(ada, "door-a"), connect(ada, "door-a"), connect(bo, "door-a")])
      // The same ids on each.
      for (const peer of peers) peer.send(request("list", "live:notes.list", {}), request("who", "live:whoami", {}))
      for (const peer of peers) await peer.itemsOf("list", 1)
      for (const peer of peers) peer.send({ _tag: "Ack", requestId: "list" })
      const [first, second, third] = peers as [Peer, Peer, Peer]
      expect(await second.call("notes.add", { body: "one" })).toMatchObject({ _tag: "Success" })
      for (const peer of peers) expect(JSON.stringify(await peer.itemsOf("list", 2))).toContain("one")
      for (const peer of peers) peer.send({ _tag: "Ack", requestId: "list" })
      second.close(1000)
      expect(await third.call("notes.add", { body: "two" })).toMatchObject({ _tag: "Success" })
      for (const peer of [first, third]) expect(JSON.stringify(await peer.itemsOf("list", 3))).toContain("two")
      expect([first, third].map((peer) => peer.items("who")[0].value.subject)).toEqual(["ada", "bo"])
      expect(first.closed).toBe(undefined)
      for (const peer of peers) peer.close(1000)
    })

    it("T3: an interrupt, an acknowledgement or a number of one socket does nothing to another's", async () => {
      const [mine, theirs] = [await connect(ada, "door-a"), await connect(bo, "door-a")]
      mine.send(request("list", "live:notes.list", {}))
      await mine.itemsOf("list", 1)
      theirs.send({ _tag: "Interrupt", requestId: "list" }, { _tag: "Ack", requestId: "list" })
      const number = [["dormouse-mutation", "client-aaaa/1"]] as const
      const added = await mine.call("notes.add", { body: "mine" }, number)
      expect(added).toMatchObject({ _tag: "Success" })
      const mismatch = await theirs.call("notes.add", { body: "mine" }, number)
      expect(mismatch).toMatchObject({ cause: [{ error: { reason: { _tag: "MutationMismatch" } } }] })
      // Nobody else may acknowledge: one frame is still not, so no other follows.
      await mine.settled("nothing", null)
      expect(mine.items("list")).toHaveLength(1)
      mine.send({ _tag: "Ack", requestId: "list" })
      expect(JSON.stringify(await mine.itemsOf("list", 2))).toContain("mine")
      expect(await bodies()).toEqual(["mine"])
      for (const peer of [mine, theirs]) peer.close(1000)
    })
  })
