import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { call, type Deployment, defectOf, newTenant } from "../deployment/Deployment.ts"
import { opened, receipts } from "../worker/ledger.ts"

/** T7: a service of the author's own that takes part in transactions. */
export const suite = (
  name: string,
  deployments: () => Promise<{ readonly deployment: Deployment; readonly close?: () => Promise<void> }>
) =>
  describe(name, () => {
    let deployment: Deployment
    let close: (() => Promise<void>) | undefined
    beforeAll(async () => ({ deployment, close } = await deployments()))
    afterAll(() => close?.())

    /** Expects the receipts of a tenant's account. Those of a later payment come after all of them. */
    const sent = async (expected: ReadonlyArray<string>, tenant: string, account: string) => {
      const last = `${tenant}-last`
      await call(deployment, tenant, "pay", { account: last, amount: 1, ending: "success" })
      await expect.poll(() => receipts).toContain(`${last}: 1`)
      expect(receipts.filter((receipt) => receipt.startsWith(`${account}:`))).toEqual(expected)
    }
    const total = async (tenant: string, account: string) =>
      (await call(deployment, tenant, "total", { account })).value

    it("T7: what it writes is committed with the handler's rows, and its receipt is sent after", async () => {
      const tenant = newTenant("ledger")
      const account = `${tenant}-ada`
      const paid = await call(deployment, tenant, "pay", { account, amount: 3, ending: "success" })
      expect(paid).toEqual({ _tag: "Success", value: 3 })
      await call(deployment, tenant, "pay", { account, amount: 4, ending: "success" })
      expect(await total(tenant, account)).toBe(7)
      await sent([`${account}: 3`, `${account}: 4`], tenant, account)
    })

    for (const ending of ["failure", "defect", "wait", "broken commit"]) {
      it(`T7: what it writes is rolled back with the handler's rows, and no receipt is sent: ${ending}`, async () => {
        const tenant = newTenant("ledger")
        const account = `${tenant}-ada`
        const paid = await call(deployment, tenant, "pay", { account, amount: 3, ending })
        expect(paid._tag).toBe("Failure")
        expect(await total(tenant, account)).toBe(0)
        expect((await call(deployment, tenant, "payments", null)).value).toBe(0)
        await sent([], tenant, account)
      })
    }

    it("T7: a nested transaction that is rolled back takes its writes and its receipts along", async () => {
      const tenant = newTenant("ledger")
      const account = `${tenant}-ada`
      expect(await call(deployment, tenant, "pay.nested", { account })).toMatchObject({ _tag: "Success" })
      expect(await total(tenant, account)).toBe(1001)
      await sent([`${account}: 1`, `${account}: 1000`], tenant, account)
    })

    it("T7: a live query that read through it runs again when it records a write", async () => {
      const tenant = newTenant("ledger")
      const peer = await deployment.connect(tenant)
      const live = peer.ask("live:total", { account: "ada" })
      await peer.itemsOf(live, 1)
      peer.send({ _tag: "Ack", requestId: live })
      await peer.call("pay", { account: "ada", amount: 5, ending: "success" })
      expect((await peer.itemsOf(live, 2)).map(({ value }) => value)).toEqual([0, 5])
      peer.send({ _tag: "Ack", requestId: live })
      await peer.call("pay", { account: "ada", amount: 5, ending: "failure" })
      await peer.settled("total", { account: "ada" })
      expect(peer.items(live)).toHaveLength(2)
      peer.close(1000)
    })

    it("T7: it is opened once for each transaction, at the time of the transaction", async () => {
      const tenant = newTenant("ledger")
      await call(deployment, tenant, "times", null)
      const before = opened.count
      const { value } = await call(deployment, tenant, "times", null)
      expect(opened.count).toBe(before + 1)
      expect(value[0]).toBe(value[1])
    })

    it("K1: in a query it cannot write, whether it looks or not", async () => {
      const tenant = newTenant("ledger")
      for (const anyway of [false, true]) {
        const refused = await call(deployment, tenant, "pay.inQuery", { account: "ada", amount: 1, anyway })
        expect(defectOf(refused)).toMatchObject({ _tag: "InternalError" })
        expect(deployment.logged()).toMatch(/a query cannot (pay|write)/)
      }
      expect(await total(tenant, "ada")).toBe(0)
    })

    it("T7: its tables outlive the heap", async () => {
      const tenant = newTenant("ledger")
      await call(deployment, tenant, "pay", { account: "bo", amount: 2, ending: "success" })
      await deployment.evict(tenant)
      expect(await total(tenant, "bo")).toBe(2)
    })
  })
