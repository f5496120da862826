import { DatabaseSync } from "node:sqlite"
import { expect, it } from "vitest"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import * as TenantGate from "../../src/services/TenantGate.ts"
import { decide as decideRecord, type TenantChange } from "../../src/system/TenantRecords.ts"
import { forAll, type Random } from "../random.ts"

/** The decisions about tenants: what a change makes of the records, and what an object does with an update. */

const gateOf = (sqlite: DatabaseSync) =>
  TenantGate.make(
    {
      object: "a~1",
      database: MemoryDatabase.make(sqlite),
      bytes: () => 0,
      now: () => 0,
      later: () => {},
      run: async () => {}
    },
    () => "",
    async () => {}
  )

const changes = (random: Random): ReadonlyArray<TenantGate.TenantUpdate> => {
  const length = 1 + random.int(6)
  const updates = random.array(length, (index) => ({
    revision: index + 1,
    name: random.pick(["a", "b"]),
    state: random.pick(["active", "suspended"] as const)
  }))
  return random.chance(0.4) ? [...updates, { ...updates.at(-1)!, state: "deleting", revision: length + 1 }] : updates
}

it("A18: updates in any order, some of them twice, and evictions between them: the last one holds", () =>
  forAll(300, (random) => {
    const made = changes(random)
    const last = made.at(-1)!
    const sqlite = new DatabaseSync(":memory:")
    let gate = gateOf(sqlite)
    expect([gate.isOpen(), gate.admits("a"), gate.admits("")]).toEqual([false, false, false])
    for (const update of random.shuffle([...made, ...made.filter(() => random.chance(0.3))])) {
      if (gate.step(update) !== "ignore") gate.keep(update)
      if (random.chance(0.3)) gate = gateOf(sqlite)
    }
    const isOpen = last.state === "active"
    expect(gate.isOpen()).toBe(isOpen)
    for (const name of ["a", "b"]) expect(gate.admits(name)).toBe(isOpen && name === last.name)
    sqlite.close()
  }))

it("A17: an update closes the sockets of all who may not use the tenant by the name that they used", () =>
  forAll(300, (random) => {
    const sqlite = new DatabaseSync(":memory:")
    const gate = gateOf(sqlite)
    for (const update of changes(random)) {
      const admitted = ["a", "b"].filter((name) => gate.admits(name))
      const step = gate.step(update)
      gate.keep(update)
      if (admitted.some((name) => !gate.admits(name))) expect(["close", "delete"]).toContain(step)
    }
    sqlite.close()
  }))

it("A18: once it is deleted, the object's database takes no writes of what is still under way", () => {
  const gate = gateOf(new DatabaseSync(":memory:"))
  const database = gate.guard(MemoryDatabase.make(new DatabaseSync(":memory:")))
  gate.keep({ name: "a", state: "active", revision: 1 })
  database.run("CREATE TABLE t (x)", [])
  gate.keep({ name: "a", state: "deleting", revision: 2 })
  expect(() => database.run("INSERT INTO t VALUES (1)", [])).toThrow("the tenant was deleted")
  expect(() => database.transaction(() => {})).toThrow("the tenant was deleted")
})

it("A16, A18: of all records at most one that is not being deleted has a name", () =>
  forAll(300, (random) => {
    let records: ReadonlyArray<{ readonly name: string; readonly state: "active" | "suspended" | "deleting" }> = []
    for (let i = 0; i < 30; i++) {
      const name = random.pick(["a", "b", "c"])
      const change: TenantChange = random.pick([
        { to: "create", name },
        { to: "suspend", name },
        { to: "resume", name },
        { to: "delete", name },
        { to: "rename", name, newName: random.pick(["a", "b", "c"]) }
      ])
      const next = decideRecord(change, records)
      if (next === undefined || "_tag" in next) continue
      const changed = records.find((record) => record.name === name && record.state !== "deleting")
      expect(changed === undefined).toBe(change.to === "create")
      records = [...records.filter((record) => record !== changed), next]
      const used = records.filter(({ state }) => state !== "deleting").map((record) => record.name)
      expect(new Set(used).size).toBe(used.length)
    }
  }))
