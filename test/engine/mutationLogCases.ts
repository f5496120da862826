import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { RequestSession } from "../../src/engine/rpc/SessionHeader.ts"
import { bodies, call, type Deployment, defectOf, errorOf, newTenant, post, request } from "../deployment/Deployment.ts"

const header = "dormouse-mutation"
const mismatch = { _tag: "CallError", reason: { _tag: "MutationMismatch" } }
const numbered = (id: string): ReadonlyArray<readonly [string, string]> => [[header, id]]

/**
 * Mutations that are sent again with the same id. `limited` is an app with small limits, and `callAs` calls it over HTTP as
 * a caller of the test's choice.
 */
export const suite = (
  name: string,
  deployments: () => Promise<{
    readonly deployment: Deployment
    readonly limited: Deployment
    readonly callAs: (session: RequestSession, body: string) => Promise<string>
    readonly close?: () => Promise<void>
  }>
) =>
  describe(name, () => {
    let deployment: Deployment
    let limited: Deployment
    let callAs: (session: RequestSession, body: string) => Promise<string>
    let close: (() => Promise<void>) | undefined
    beforeAll(async () => {
      const made = await deployments()
      deployment = made.deployment
      limited = made.limited
      callAs = made.callAs
      close = made.close
    })
    afterAll(() => close?.())

    const overHttp = async (tenant: string, tag: string, payload: unknown, id: string) => {
      const response = await post(deployment, tenant, JSON.stringify(request("1", tag, payload, numbered(id))))
      const messages = (await response.json()) as ReadonlyArray<any>
      return messages.find((message) => message._tag === "Exit").exit
    }

    it("T3: the same id returns the first result, and does not run again", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const first = await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))
      expect(first).toMatchObject({ _tag: "Success", value: { body: "one" } })
      expect(await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))).toEqual(first)
      expect(await bodies(deployment, tenant)).toEqual(["one"])
    })

    it("T3: the same id with another payload is refused, and nothing runs or is recorded", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const first = await peer.call("notes.addMany", { count: 1, body: "one" }, numbered("a-client/1"))
      expect(first).toMatchObject({ _tag: "Success" })
      for (const payload of [
        { count: 2, body: "one" },
        { count: 1, body: "two" },
        { count: 1, body: "one", more: 1 }
      ]) {
        const refused = await peer.call("notes.addMany", payload, numbered("a-client/1"))
        expect(errorOf(refused)).toEqual(mismatch)
      }
      // The order of a payload's fields says nothing.
      expect(await peer.call("notes.addMany", { body: "one", count: 1 }, numbered("a-client/1"))).toEqual(first)
      expect(await bodies(deployment, tenant)).toEqual(["one"])
    })

    it("T3: a number belongs to the caller who used it: another one is refused, and nothing runs", async () => {
      const tenant = newTenant("t3")
      const as = async (subject: string | null, claims: Record<string, string> = {}, body = "one") => {
        const text = JSON.stringify(request("1", "notes.add", { body }, numbered("a-client/1")))
        const messages = JSON.parse(await callAs({ tenant, identity: { subject, claims } }, text))
        return messages.find((message: any) => message._tag === "Exit").exit
      }
      const first = await as("ada")
      expect(first).toMatchObject({ _tag: "Success" })
      expect(errorOf(await as("bob"))).toEqual(mismatch)
      expect(errorOf(await as(null))).toEqual(mismatch)
      // A new token of the same caller may have other claims.
      expect(await as("ada", { role: "admin" })).toEqual(first)
      expect(await bodies(limited, tenant)).toEqual(["one"])
    })

    it("T3: over HTTP and sockets, and across an eviction", async () => {
      const tenant = newTenant("t3")
      const first = await overHttp(tenant, "notes.add", { body: "one" }, "a-client/1")
      const peer = await deployment.connect(tenant)
      expect(await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))).toEqual(first)
      await peer.settled()
      await deployment.evict(tenant)
      expect(await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))).toEqual(first)
      const other = await deployment.connect(tenant)
      expect(await other.call("notes.add", { body: "one" }, numbered("a-client/1"))).toEqual(first)
      expect(await overHttp(tenant, "notes.add", { body: "one" }, "a-client/1")).toEqual(first)
      expect(await bodies(deployment, tenant)).toEqual(["one"])
    })

    it("T3: twice in one message, and from two sockets at the same time", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const other = await deployment.connect(tenant)
      const ask = (id: string) => request(id, "notes.add", { body: "one" }, numbered("a-client/1"))
      peer.sendText(JSON.stringify([ask("a"), ask("b")]))
      other.send(ask("c"))
      const exits = await Promise.all([peer.exit("a"), peer.exit("b"), other.exit("c")])
      expect(exits[0]).toMatchObject({ _tag: "Success" })
      expect(exits[1]).toEqual(exits[0])
      expect(exits[2]).toEqual(exits[0])
      expect(await bodies(deployment, tenant)).toEqual(["one"])
    })

    it("T3: other numbers and other clients are different mutations", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      for (const id of [
        "a-client/0",
        "a-client/1",
        "a-client/01",
        "b-client/1",
        "A-client/1",
        "a-client/999999999999999"
      ]) {
        // Leading zeros do not change a number.
        const body = id.replace("/01", "/1")
        expect(await peer.call("notes.add", { body }, numbered(id))).toMatchObject({ _tag: "Success" })
      }
      const written = ["a-client/0", "a-client/1", "b-client/1", "A-client/1", "a-client/999999999999999"]
      expect([...(await bodies(deployment, tenant))].sort()).toEqual([...written].sort())
    })

    it("T3: a typed failure is an outcome, and the same id returns it again", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const first = await peer.call("notes.addAndEnd", { ending: "typed failure" }, numbered("a-client/1"))
      expect(errorOf(first)).toMatchObject({ _tag: "Refused", why: "because" })
      const again = await peer.call("notes.addAndEnd", { ending: "typed failure" }, numbered("a-client/1"))
      expect(again).toEqual(first)
      expect(await bodies(deployment, tenant)).toEqual([])
    })

    it("T3: an exceeded limit is an outcome as well", async () => {
      const tenant = newTenant("t3")
      const peer = await limited.connect(tenant)
      const first = await peer.call("notes.addMany", { count: 50, body: "x" }, numbered("a-client/1"))
      expect(errorOf(first)).toMatchObject({ reason: { _tag: "LimitExceeded", limit: "rowsWritten" } })
      expect(await peer.call("notes.addMany", { count: 50, body: "x" }, numbered("a-client/1"))).toEqual(first)
      expect(await bodies(limited, tenant)).toEqual([])
    })

    for (const ending of ["defect", "thrown error", "undeclared failure", "sleep", "commit that fails"] as const) {
      it(`T3: an internal error is not an outcome (${ending}): the same id runs again`, async () => {
        const tenant = newTenant("t3")
        const peer = await deployment.connect(tenant)
        const failed = await peer.call("notes.addAndEnd", { ending }, numbered("a-client/1"))
        expect(defectOf(failed)).toMatchObject({ _tag: "InternalError" })
        const again = await peer.call("notes.addAndEnd", { ending: "typed failure" }, numbered("a-client/1"))
        expect(errorOf(again)).toMatchObject({ _tag: "Refused" })
        expect(await bodies(deployment, tenant)).toEqual([])
      })
    }

    it("T3: an outcome that the contract cannot read any more is a typed answer, and nothing runs again", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))
      for (const outcome of [
        `{"_tag":"Success","value":{"title":"one"}}`,
        `{"_tag":"Failure","cause":[{"_tag":"No"}]}`
      ]) {
        // What an earlier version of the contract recorded.
        const statement = `UPDATE _dormouse_mutations SET outcome = '${outcome}'`
        expect(await peer.call("write", { statement })).toMatchObject({ _tag: "Success" })
        const again = await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))
        expect(errorOf(again)).toEqual({ _tag: "CallError", reason: { _tag: "OutcomeUnreadable" } })
        expect(errorOf(await overHttp(tenant, "notes.add", { body: "one" }, "a-client/1"))).toEqual(errorOf(again))
      }
      expect(peer.closed).toBeUndefined()
      expect(await bodies(deployment, tenant)).toEqual(["one"])
    })

    it("T3: an invalid payload is not an outcome", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const refused = await peer.call("notes.add", { body: 5 }, numbered("a-client/1"))
      expect(errorOf(refused)).toMatchObject({ reason: { _tag: "PayloadInvalid" } })
      expect(await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))).toMatchObject({ _tag: "Success" })
    })

    it("T3: an id that was used for another rpc is refused, and nothing runs", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const first = await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))
      const refused = await peer.call("notes.addMany", { count: 3, body: "x" }, numbered("a-client/1"))
      expect(errorOf(refused)).toEqual(mismatch)
      expect(await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))).toEqual(first)
      expect(await bodies(deployment, tenant)).toEqual(["one"])
    })

    const malformed = [
      "",
      "a-client",
      "a-client/",
      "/1",
      "short/1",
      "a-client/-1",
      "a-client/1.5",
      "a-client/one",
      "a-client/1/2",
      "a client/1",
      "a-client /1",
      "a-client/1234567890123456",
      `${"a".repeat(65)}/1`,
      "ä-client/1",
      "a-client/1\n"
    ]
    for (const id of malformed) {
      it(`T3: a malformed id is refused, and nothing runs: ${JSON.stringify(id)}`, async () => {
        const tenant = newTenant("t3")
        const peer = await deployment.connect(tenant)
        const refused = await peer.call("notes.add", { body: "one" }, numbered(id))
        expect(errorOf(refused)).toMatchObject({ _tag: "CallError", reason: { _tag: "PayloadInvalid" } })
        expect(await bodies(deployment, tenant)).toEqual([])
      })
    }

    it("T3: the name of the header is case-insensitive", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const ids: ReadonlyArray<readonly [string, string]> = [["Dormouse-Mutation", "a-client/1"]]
      const first = await peer.call("notes.add", { body: "one" }, ids)
      expect(await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))).toEqual(first)
    })

    it("T3: queries ignore the id and run each time", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      expect(await peer.call("notes.list", {}, numbered("a-client/1"))).toMatchObject({ value: [] })
      await call(deployment, tenant, "notes.add", { body: "one" })
      expect(await peer.call("notes.list", {}, numbered("a-client/1"))).toMatchObject({ value: [{ body: "one" }] })
    })

    it("T3: a repeated mutation does not run live queries", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const live = peer.ask("live:notes.list", {})
      await peer.itemsOf(live, 1)
      peer.send({ _tag: "Ack", requestId: live })
      await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))
      await peer.itemsOf(live, 2)
      peer.send({ _tag: "Ack", requestId: live })
      await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))
      await peer.settled()
      expect(peer.items(live).length).toBe(2)
    })

    it("T3: an outcome that is too large to store fails before the commit, with the name of the limit", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const body = "x".repeat(1_500_000)
      // The row fits, but its encoded outcome does not: every quote takes a second character.
      const exit = await peer.call("notes.add", { body: `${body}${'"'.repeat(400_000)}` }, numbered("a-client/1"))
      expect(errorOf(exit)).toMatchObject({ _tag: "CallError", reason: { _tag: "LimitExceeded" } })
      expect(await bodies(deployment, tenant)).toEqual([])
    })
  })
