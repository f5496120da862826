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
    const prototype = Object.getPrototypeOf(storage.sql)
    const { exec } = prototype
    vi.spyOn(prototype, "exec").mockImplementation(function (this: SqlStorage, ...args: any) {
      const cursor = exec.apply(this, args)
      cursors.push(cursor)
      return cursor
    })
  })
  const rowsOf = async (work: () => Promise<unknown>) => {
    cursors.length = 0
    await work()
    return {
      read: cursors.reduce((sum, { rowsRead }) => sum + rowsRead, 0),
      written: cursors.reduce((sum, { rowsWritten }) => sum + rowsWritten, 0)
    }
  }
  /** Looks whether everything has settled, which reads a few rows by itself. */
  const look = () => rowsOf(() => writer.settled("channels.list", {}))
  let looking = await look()
  for (let last = { read: -1, written: -1 }; last.read !== looking.read; looking = await look()) last = looking
  const count = async (work: () => Promise<unknown>) => {
    const rows = await rowsOf(work)
    // What waits until the object is idle comes later on a busy machine.
    for (let calm = 0; calm < 3; ) {
      const { read, written } = await look()
      calm = read === looking.read && written === looking.written ? calm + 1 : 0
      rows.read += read - looking.read
      rows.written += written - looking.written
    }
    return rows
  }

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
    "rows read for a message": sent.read,
    "rows written for a message": sent.written,
    "rows read when twenty people open the channel at once": opened.read,
    "rows written when twenty people open the channel at once": opened.written
  }
  expect(Object.fromEntries(Object.keys(measured).map((row) => [row, stated(row)]))).toEqual(measured)
  for (const peer of peers) peer.close(1000)
})
