import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { call, type Deployment, newTenant, post, request } from "../deployment/Deployment.ts"

/** ST20: an object that nobody has written to. */

export interface Unwritten {
  readonly deployment: Deployment
  /** The names of the tables and indexes of a tenant's database. */
  readonly tables: (tenant: string) => Promise<ReadonlyArray<string>>
  /** Creates a table that is not the engine's. */
  readonly create: (tenant: string, table: string) => Promise<void>
  /** The size of a tenant's database. */
  readonly bytes: (tenant: string) => Promise<number>
  readonly close?: () => Promise<void>
}

/** The bytes of a database without tables, once it was opened for SQL. */
const page = 4096

/** Queries by every way to read, each with an action and a live snapshot beside it. */
const reads: ReadonlyArray<readonly [tag: string, payload: unknown]> = [
  ["notes.list", {}],
  ["notes.named", { body: "x" }],
  ["notes.named", { body: "x".repeat(2_500_000) }],
  ["notes.namedBySql", { body: "x" }],
  ["notes.page", { size: 3 }],
  ["notes.page", { size: 3, after: "no cursor" }],
  ["notes.pageByBody", { size: 3 }],
  ["sql", { statement: "SELECT count(*) FROM notes JOIN marks", parameters: 0 }],
  ["sql", { statement: "SELECT name FROM sqlite_master ORDER BY name", parameters: 0 }],
  ["sql", { statement: "SELECT * FROM no_such_table", parameters: 0 }],
  ["sql", { statement: "DELETE FROM notes", parameters: 0 }],
  [
    "sql",
    { statement: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", parameters: 0 }
  ]
]

/** An answer, without the ids of log entries, and the version and what is computed from it. */
const comparable = (text: string) => text.replace(/"(version|sum)":\d+/g, "").replace(/under \w+|"id":"\w+"/g, "")

export const suite = (name: string, here: () => Promise<Unwritten>) =>
  describe(name, () => {
    let unwritten: Unwritten
    beforeAll(async () => {
      unwritten = await here()
    })
    afterAll(() => unwritten.close?.())

    const readAll = async (tenant: string) => {
      const answers: Array<string> = []
      for (const [tag, payload] of reads) {
        const batch = [request("1", tag, payload), request("2", `live:${tag}`, payload)]
        answers.push(comparable(await (await post(unwritten.deployment, tenant, JSON.stringify(batch))).text()))
      }
      return answers
    }

    it("ST20: reads of tenants that nobody has written to create nothing, and the first write creates all tables", async () => {
      const tenants = Array.from({ length: 5 }, () => newTenant("unwritten"))
      for (const tenant of tenants) {
        await readAll(tenant)
        await unwritten.deployment.evict(tenant)
        const peer = await unwritten.deployment.connect(tenant)
        const live = peer.ask("live:notes.list", {})
        await peer.itemsOf(live, 1)
        expect(await unwritten.tables(tenant)).toEqual([])
        expect(await unwritten.bytes(tenant)).toBeLessThanOrEqual(page)
      }
      // The control: a mutation creates the tables, and what it does not commit it does not create.
      const [first, second] = tenants as [string, string]
      expect(await call(unwritten.deployment, first, "notes.addAndEnd", { ending: "defect" })).toMatchObject({
        _tag: "Failure"
      })
      expect(await unwritten.tables(first)).toEqual([])
      expect(await call(unwritten.deployment, first, "notes.add", { body: "x" })).toMatchObject({ _tag: "Success" })
      expect(await unwritten.tables(first)).toEqual(
        expect.arrayContaining(["_dormouse_mutations", "_dormouse_schema", "marks", "notes", "notes.byBody"])
      )
      expect(await unwritten.bytes(first)).toBeGreaterThan(page)
      expect(await unwritten.tables(second)).toEqual([])
    })

    it("ST20: a database with a table of the platform's own is one that nobody has written to", async () => {
      const [simulated, other] = [newTenant("simulated"), newTenant("other")]
      for (const [tenant, table] of [
        [simulated, "__miniflare_do_name"],
        [other, "something"]
      ] as const) {
        await unwritten.create(tenant, table)
        await unwritten.deployment.evict(tenant)
        await readAll(tenant)
      }
      expect(await unwritten.tables(simulated)).toEqual(["__miniflare_do_name"])
      // The control: any other table is somebody's.
      expect(await unwritten.tables(other)).toContain("notes")
    })

    it("K7, ST20: a tenant that nobody has written to answers as one whose rows were all deleted, to the byte", async () => {
      const [fresh, emptied] = [newTenant("fresh"), newTenant("emptied")]
      await call(unwritten.deployment, emptied, "notes.add", { body: "x" })
      await call(unwritten.deployment, emptied, "write", { statement: "DELETE FROM notes" })
      const answers = await readAll(fresh)
      expect(answers).toEqual(await readAll(emptied))
      // Again, now that SQL has been analyzed once.
      expect(await readAll(fresh)).toEqual(answers)
      expect(await unwritten.tables(fresh)).toEqual([])
    })

    it("L1, L7, ST20: the first write notifies queries that were live before it, also after an eviction", async () => {
      for (const isEvicted of [false, true]) {
        const tenant = newTenant("first")
        const peer = await unwritten.deployment.connect(tenant)
        const list = peer.ask("live:notes.named", { body: "x" })
        const sql = peer.ask("live:notes.namedBySql", { body: "x" })
        const other = peer.ask("live:notes.named", { body: "other" })
        for (const id of [list, sql, other]) {
          await peer.itemsOf(id, 1)
          peer.send({ _tag: "Ack", requestId: id })
        }
        await peer.settled()
        if (isEvicted) await unwritten.deployment.evict(tenant)
        expect(await unwritten.tables(tenant)).toEqual([])
        const header = [["dormouse-mutation", "a-client/1"]] as const
        const added = await peer.call("notes.add", { body: "x" }, header)
        expect(added).toMatchObject({ _tag: "Success", value: { body: "x" } })
        await peer.itemsOf(list, 2)
        await peer.itemsOf(sql, 2)
        // Sent again, the mutation does not run again.
        expect(await peer.call("notes.add", { body: "x" }, header)).toEqual(added)
        await peer.settled()
        expect([peer.items(list), peer.items(sql), peer.items(other)].map(({ length }) => length)).toEqual([2, 2, 1])
      }
    })

    it("L7, ST20: a tenant with more subscriptions than an attachment holds stores them, and resumes them", async () => {
      const tenant = newTenant("many")
      const peer = await unwritten.deployment.connect(tenant)
      const ids = Array.from({ length: 400 }, (_, i) => peer.ask("live:notes.named", { body: `note ${i}` }))
      await peer.itemsOf(ids.at(-1)!, 1)
      peer.send(ids.map((requestId) => ({ _tag: "Ack", requestId })).slice(0, 90))
      await expect.poll(() => unwritten.tables(tenant)).toContain("_dormouse_subscriptions")
      await unwritten.deployment.evict(tenant)
      await peer.call("notes.add", { body: "note 3" })
      expect((await peer.itemsOf(ids[3]!, 2)).at(-1)).toMatchObject({ hash: expect.any(String) })
    })
  })
