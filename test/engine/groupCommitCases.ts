import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { bodies, type Deployment, defectOf, errorOf, newTenant, post, request } from "../deployment/Deployment.ts"

/** Mutations that are handled together, over the wire. `limited` queues few messages. */
export const suite = (
  name: string,
  deployments: () => Promise<{
    readonly app: Deployment
    readonly limited: Deployment
    /** Whether messages can arrive while a commit is on its way. The sockets of workerd's own isolate wait for it. */
    readonly canFlood?: boolean
    readonly close?: () => Promise<void>
  }>
) =>
  describe(name, () => {
    let app: Deployment
    let limited: Deployment
    let canFlood = true
    let close: (() => Promise<void>) | undefined
    beforeAll(async () => ({ app, limited, canFlood = true, close } = await deployments()))
    afterAll(() => close?.())

    it("T6: mutations of many sockets at once are each answered, and each its own transaction", async () => {
      const tenant = newTenant("group")
      const peers = await Promise.all(Array.from({ length: 8 }, () => app.connect(tenant)))
      const ids = peers.flatMap((peer, i) =>
        Array.from({ length: 10 }, (_, n) => {
          const id = `${i}-${n}`
          const isBad = (i + n) % 3 === 0
          peer.send(
            isBad
              ? request(id, "notes.addAndEnd", { ending: n % 2 === 0 ? "defect" : "typed failure" })
              : request(id, "notes.add", { body: id })
          )
          return { peer, id, isBad }
        })
      )
      for (const { id, isBad, peer } of ids) {
        expect((await peer.exit(id))._tag).toBe(isBad ? "Failure" : "Success")
      }
      const kept = ids.filter(({ isBad }) => !isBad).map(({ id }) => id)
      expect([...(await bodies(app, tenant))].sort()).toEqual(kept.sort())
      for (const peer of peers) peer.close(1000)
    })

    it("T6: messages of one socket are answered in their order, whatever their kind", async () => {
      const peer = await app.connect(newTenant("group"))
      for (let i = 0; i < 40; i++) {
        peer.send(i % 3 === 0 ? request(i, "notes.list", {}) : request(i, "notes.add", { body: String(i) }))
      }
      await peer.exit(39)
      const order = peer.messages.flatMap((message) => (message._tag === "Exit" ? [message.requestId] : []))
      expect(order).toEqual(Array.from({ length: 40 }, (_, i) => i))
      // A query sees the mutations that its socket sent before it.
      for (const i of [3, 21, 39]) {
        const exit: any = await peer.exit(i)
        expect(exit.value).toHaveLength(i - i / 3)
      }
      peer.close(1000)
    })

    it("T6: live queries are flushed once for what one turn committed", async () => {
      const tenant = newTenant("group")
      const watcher = await app.connect(tenant)
      const live = watcher.ask("live:notes.list", {})
      await watcher.itemsOf(live, 1)
      watcher.send({ _tag: "Ack", requestId: live })
      const writer = await app.connect(tenant)
      // One message is handled in one turn.
      writer.sendText(
        JSON.stringify(Array.from({ length: 20 }, (_, i) => request(i, "notes.add", { body: String(i) })))
      )
      await writer.exit(19)
      await watcher.itemsOf(live, 2)
      watcher.send({ _tag: "Ack", requestId: live })
      // A later commit has the next frame: there was none between them.
      await writer.call("notes.add", { body: "later" })
      await watcher.itemsOf(live, 3)
      watcher.send({ _tag: "Ack", requestId: live })
      await watcher.settled()
      expect(watcher.items(live)).toHaveLength(3)
      writer.close(1000)
      watcher.close(1000)
    })

    it("T6: mutations over HTTP share turns with those of sockets", async () => {
      const tenant = newTenant("group")
      const peer = await app.connect(tenant)
      const answers = Array.from({ length: 20 }, async (_, i) => {
        if (i % 2 === 0) return peer.call("notes.add", { body: String(i) })
        const response = await post(app, tenant, JSON.stringify(request(i, "notes.add", { body: String(i) })))
        return ((await response.json()) as any)[0].exit
      })
      for (const exit of await Promise.all(answers)) expect(exit._tag).toBe("Success")
      expect(await bodies(app, tenant)).toHaveLength(20)
      peer.close(1000)
    })

    it("T6: when too much waits in all, a socket that sends more is closed with 1013; others go on", async ({
      skip
    }) => {
      skip(!canFlood)
      const flood = async () => {
        const tenant = newTenant("group")
        const peers = await Promise.all(Array.from({ length: 12 }, () => limited.connect(tenant)))
        for (const [i, peer] of peers.entries()) peer.send(request("1", "notes.add", { body: `${i}`.padEnd(700, "x") }))
        await Promise.all(peers.map((peer) => peer.until(() => peer.closed !== undefined || peer.exits("1")[0])))
        const refused = peers.filter(({ closed }) => closed !== undefined)
        return { refused, answered: peers.filter(({ closed }) => closed === undefined) }
      }
      let { answered, refused } = await flood()
      // A sender that was held up may not have flooded it.
      for (let i = 0; i < 10 && refused.length === 0; i++) ({ answered, refused } = await flood())
      for (const { closed } of refused) {
        expect(closed).toEqual({ code: 1013, reason: expect.stringContaining("queuedBytes is 1500") })
      }
      expect(refused.length).toBeGreaterThan(0)
      expect(answered.length).toBeGreaterThan(0)
      // What was refused was not done.
      const count = await answered[0]!.call("sql", { statement: "SELECT id FROM notes", parameters: 0 })
      expect(count).toEqual({ _tag: "Success", value: answered.length })
      for (const peer of answered) peer.close(1000)
    })

    it("T6: a body over HTTP that finds too much waiting is answered with 503 and Unavailable", async ({ skip }) => {
      skip(!canFlood)
      const tenant = newTenant("group")
      // One that has to wait exceeds `queuedBytes`.
      const body = (n: number) => JSON.stringify(request(n, "notes.add", { body: "x".repeat(1800) }))
      const responses = await Promise.all(Array.from({ length: 60 }, (_, n) => post(limited, tenant, body(n))))
      const refused = responses.filter(({ status }) => status === 503)
      const taken = responses.filter(({ status }) => status === 200)
      expect(refused.length + taken.length).toBe(60)
      expect(taken.length).toBeGreaterThan(0)
      expect(refused.length).toBeGreaterThan(0)
      for (const response of refused) {
        const [{ exit }] = (await response.json()) as any
        expect(errorOf(exit)).toMatchObject({ _tag: "CallError", reason: { _tag: "Unavailable" } })
        expect(defectOf(exit)).toBe(undefined)
      }
    })
  })
