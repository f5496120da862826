import { afterAll, beforeAll, expect, it } from "vitest"
import { errorOf, newTenant, request } from "../deployment/Deployment.ts"
import { memory } from "../deployment/memory.ts"
import { app, waiting } from "../worker/notes.ts"

/** R2: an eviction in memory behaves like one in workerd, and is possible where workerd would wait. */

let deployment: Awaited<ReturnType<typeof memory>>
beforeAll(async () => {
  deployment = await memory(app)
})
afterAll(() => deployment.close())

it("R2, fault 1 and 2: a live query survives an eviction, and an interrupt after it gets its exit", async () => {
  const tenant = newTenant("asleep")
  const peer = await deployment.connect(tenant)
  const live = peer.ask("live:notes.list", {})
  await peer.itemsOf(live, 1)
  peer.send({ _tag: "Ack", requestId: live })
  await peer.settled()
  await deployment.evict(tenant)
  await peer.call("notes.add", { body: "after the wake" })
  expect((await peer.itemsOf(live, 2))[1]).toMatchObject({ value: [{ body: "after the wake" }] })
  await deployment.evict(tenant)
  peer.send({ _tag: "Interrupt", requestId: live })
  expect(await peer.exit(live)).toEqual({ _tag: "Failure", cause: [{ _tag: "Interrupt", fiberId: null }] })
  expect(deployment.starts(tenant)).toBe(3)
})

it("R2, fault 9: an action that runs during an eviction ends with CallLost, once", async () => {
  const tenant = newTenant("lost")
  const peer = await deployment.connect(tenant)
  const name = newTenant("lost")
  const call = peer.ask("act.wait", { name })
  await peer.until(() => waiting.started.has(name))
  await peer.settled()
  expect(peer.exits(call)).toEqual([])
  await deployment.evict(tenant)
  await peer.settled()
  expect(peer.exits(call).map(errorOf)).toMatchObject([{ _tag: "CallError", reason: { _tag: "CallLost" } }])
  await deployment.evict(tenant)
  await peer.settled()
  expect(peer.exits(call)).toHaveLength(1)
})

it("R2, fault 5: a ping does not wake the object", async () => {
  const tenant = newTenant("ping")
  const peer = await deployment.connect(tenant)
  await peer.settled()
  await deployment.evict(tenant)
  peer.sendText('{"_tag":"Ping"}')
  await peer.until(() => peer.texts.at(-1) === '{"_tag":"Pong"}')
  expect(deployment.starts(tenant)).toBe(1)
})

it("L8: an action that was called as a notification is interrupted when its socket closes", async () => {
  const peer = await deployment.connect(newTenant("notified"))
  const name = newTenant("notified")
  peer.send({ ...request("notified", "act.wait", { name }), isNotification: true })
  await peer.until(() => waiting.started.has(name))
  peer.close(1000)
  await expect.poll(() => waiting.interrupted.has(name)).toBe(true)
})
