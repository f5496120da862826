import { afterAll, beforeAll, expect, it } from "vitest"
import { errorOf, newTenant } from "../deployment/Deployment.ts"
import { memory } from "../deployment/memory.ts"
import { app, waiting } from "../worker/notes.ts"

/** R2: an eviction in memory is one in workerd, and can come where the platform's own would wait. */

let place: Awaited<ReturnType<typeof memory>>
beforeAll(async () => {
  place = await memory(app)
})
afterAll(() => place.close())

it("R2, fault 1 and 2: a live query survives, and its interrupt after the wake gets its exit", async () => {
  const tenant = newTenant("asleep")
  const peer = await place.connect(tenant)
  const live = peer.ask("live:notes.list", {})
  await peer.itemsOf(live, 1)
  peer.send({ _tag: "Ack", requestId: live })
  await peer.settled()
  await place.evict(tenant)
  await peer.call("notes.add", { body: "after the wake" })
  expect((await peer.itemsOf(live, 2))[1]).toMatchObject({ value: [{ body: "after the wake" }] })
  await place.evict(tenant)
  peer.send({ _tag: "Interrupt", requestId: live })
  expect(await peer.exit(live)).toEqual({ _tag: "Failure", cause: [{ _tag: "Interrupt", fiberId: null }] })
  expect(place.starts(tenant)).toBe(3)
})

it("R2, fault 9: an action that is under way when the heap goes ends with CallLost, once", async () => {
  const tenant = newTenant("lost")
  const peer = await place.connect(tenant)
  const name = newTenant("lost")
  const call = peer.ask("act.wait", { name })
  await peer.until(() => waiting.started.has(name))
  await peer.settled()
  expect(peer.exits(call)).toEqual([])
  await place.evict(tenant)
  await peer.settled()
  expect(peer.exits(call).map(errorOf)).toMatchObject([{ _tag: "CallError", reason: { _tag: "CallLost" } }])
  await place.evict(tenant)
  await peer.settled()
  expect(peer.exits(call)).toHaveLength(1)
})

it("R2, fault 5: a ping wakes nobody", async () => {
  const tenant = newTenant("ping")
  const peer = await place.connect(tenant)
  await peer.settled()
  await place.evict(tenant)
  peer.sendText('{"_tag":"Ping"}')
  await peer.until(() => peer.texts.at(-1) === '{"_tag":"Pong"}')
  expect(place.starts(tenant)).toBe(1)
})
