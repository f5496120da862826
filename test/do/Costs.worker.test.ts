/// <reference types="@cloudflare/vitest-plugin/types" />
/// <reference types="vite/client" />
import { env, runInDurableObject } from "cloudflare:test"
import { afterEach, expect, it, vi } from "vitest"
import page from "../../docs/costs.md?raw"
import { cloudflare } from "../deployment/cloudflare.ts"
import { newTenant, type Peer } from "../deployment/Deployment.ts"

/** What docs/costs.md says about a message in a channel: the rows that SQLite counts, as Cloudflare bills them. */

afterEach(() => void vi.restoreAllMocks())

const readers = 20
const shown = 50

/** The number in the row of a table that begins with this text. */
const stated = (row: string): number => {
  const cells = page
    .split("\n")
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .find(([, first]) => first === row)
  return Number(cells?.[2]?.replaceAll(",", ""))
}

it("a message to twenty readers costs the rows that docs/costs.md says", async () => {
  const app = cloudflare()
  const tenant = newTenant("costs")
  const peers: Array<Peer> = []
  for (let i = 0; i < readers; i++) peers.push(await app.connect(tenant))
  const [writer] = peers as [Peer]
  const channel: any = await writer.call("channels.create", { name: "general" })
  const send = (n: number) =>
    writer.call("messages.send", { channel: channel.value.id, author: "ada", body: `message ${n}` }, [
      ["dormouse-mutation", `costs-${tenant}/${n + 1}`]
    ])
  for (let n = 0; n < shown; n++) await send(n)

  const cursors: Array<SqlStorageCursor<any>> = []
  await runInDurableObject(env.TENANT_OBJECT.getByName(tenant), (_, { storage }) => {
    // Not of all objects: those of other files may have work left.
    const { sql } = storage
    const exec = sql.exec.bind(sql)
    vi.spyOn(sql, "exec").mockImplementation((...args: Parameters<typeof exec>) => {
      const cursor = exec(...args)
      cursors.push(cursor)
      return cursor as never
    })
  })
  let counts = 0
  const other = await app.connect(newTenant("costs-other"))
  const count = async (work: () => Promise<unknown>) => {
    cursors.length = 0
    // Another object is busy meanwhile.
    const beside = other.call("channels.create", { name: `beside ${counts++}` })
    await work()
    await beside
    await writer.settled("channels.list", {})
    return {
      read: cursors.reduce((sum, { rowsRead }) => sum + rowsRead, 0),
      written: cursors.reduce((sum, { rowsWritten }) => sum + rowsWritten, 0)
    }
  }
  // Looking that everything has settled reads a few rows by itself.
  const looking = await count(async () => {})

  const list = { channel: channel.value.id, limit: shown }
  const opened = await count(async () => {
    for (const peer of peers)
      peer.send({ _tag: "Request", id: "live", tag: "live:messages.list", payload: list, headers: [] })
    for (const peer of peers) await peer.itemsOf("live", 1)
    for (const peer of peers) peer.send({ _tag: "Ack", requestId: "live" })
  })
  const sent = await count(async () => {
    await send(shown)
    for (const peer of peers) await peer.itemsOf("live", 2)
  })
  const measured = {
    "rows read for a message": sent.read - looking.read,
    "rows written for a message": sent.written - looking.written,
    "rows read when twenty people open the channel at once": opened.read - looking.read,
    "rows written when twenty people open the channel at once": opened.written - looking.written
  }
  expect(Object.fromEntries(Object.keys(measured).map((row) => [row, stated(row)]))).toEqual(measured)
  for (const peer of [...peers, other]) peer.close(1000)
})
