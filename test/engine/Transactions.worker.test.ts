import { env, runInDurableObject } from "cloudflare:test"
import { expect, it } from "vitest"
import { cloudflare, object, objects } from "../deployment/cloudflare.ts"
import { newTenant } from "../deployment/Deployment.ts"
import { suite } from "./transactionCases.ts"

suite("Transactions in workerd", async () => ({ deployment: cloudflare(), limited: objects(env.LIMITED) }))

it("T4: a commit adds the author's rows, and one more if the mutation has an id", async () => {
  const opened = object(env.TENANT_OBJECT, newTenant("t4"))
  const peer = await opened.connect()
  const rows = () =>
    runInDurableObject(opened.stub(), (_, { storage: { sql } }) => {
      const names = sql.exec(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'"
      )
      const counts = names.toArray().map(({ name }) => {
        const [row] = sql.exec<{ rows: number }>(`SELECT count(*) AS rows FROM "${name}"`).toArray()
        return [name as string, row!.rows] as const
      })
      return Object.fromEntries(counts)
    })
  const live = peer.ask("live:notes.list", {})
  await peer.itemsOf(live, 1)
  // The first write creates the tables.
  await peer.call("nothingDone", null)
  const before = await rows()
  for (let i = 0; i < 3; i++) {
    await peer.call("notes.add", { body: "x" })
    peer.send({ _tag: "Ack", requestId: live })
  }
  await peer.settled()
  expect(await rows()).toEqual({ ...before, notes: 3 })
  await peer.call("notes.add", { body: "x" }, [["dormouse-mutation", "a-client/1"]])
  await peer.call("notes.add", { body: "x" }, [["dormouse-mutation", "a-client/1"]])
  await peer.settled()
  expect(await rows()).toEqual({ ...before, notes: 4, _dormouse_mutations: 1 })
})
