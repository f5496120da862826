/// <reference types="node" />
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Metric from "effect/Metric"
import { App } from "effect-dormouse"
import { TestApp } from "effect-dormouse/testing"
import { afterAll, describe, expect, it } from "vitest"
import * as Metrics from "../../src/engine/object/Metrics.ts"
import { newTenant, Peer, request } from "../deployment/Deployment.ts"
import { app, flags, items, ListsApi, ListsHandlers, lists } from "../worker/lists.ts"
import { ok, quiet, suite, watch, watchRequest } from "./liveSuite.ts"

const open = async (of: App.App<any>) => {
  const runtime = ManagedRuntime.make(TestApp.layer(of))
  const { object } = await runtime.runPromise(TestApp)
  const connect = async (tenant: string, subject?: string) => {
    const socket = object(tenant).connect(async () => ({
      tenant,
      identity: { subject: subject ?? null, claims: {} }
    }))
    const peer = new Peer(socket)
    const opened = new Promise<void>((resolve) => socket.addEventListener("open", () => resolve()))
    socket.addEventListener("message", ({ data }) => peer.received(data as string))
    socket.addEventListener("close", ({ code, reason }) => peer.ended(code ?? 1005, reason ?? ""))
    await opened
    return peer
  }
  return { object, connect, close: () => runtime.dispose() }
}

suite("Live queries in memory", async () => {
  const { close, connect, object } = await open(app)
  return {
    close,
    connect,
    evict: (tenant) => object(tenant).evict(),
    explain: async (tenant) => (await object(tenant).engine()).live.explain(),
    rows: async (tenant, sql) => object(tenant).database.prepare(sql).all()
  }
})

it("counts runs, frames and their bytes as metrics, as `explain` does for each query", async () => {
  const { close, connect, object } = await open(app)
  const count = (metric: Metric.Counter<number>) => Effect.runSync(Metric.value(metric)).count
  const counts = () => ({ runs: count(Metrics.runs), frames: count(Metrics.frames), bytes: count(Metrics.bytes) })
  const before = counts()
  const tenant = newTenant("metrics")
  const writer = await connect(tenant)
  await ok(writer.call("lists.add", { id: "a" }))
  const items = watch(await connect(tenant), "items", { list: "a", limit: 9 })
  await items.frameCount(1)
  await quiet(items.peer)
  await ok(writer.call("items.add", { list: "a", title: "one", rank: 0 }))
  await items.shows("one")
  const [explained] = (await object(tenant).engine()).live.explain()
  const after = counts()
  expect(explained).toMatchObject({ runs: 2, frames: 2 })
  expect({
    runs: after.runs - before.runs,
    frames: after.frames - before.frames,
    bytes: after.bytes - before.bytes
  }).toEqual({ runs: 2, frames: 2, bytes: explained!.bytes })
  await close()
})

describe("Live queries on a bad network", async () => {
  const { close, connect, object } = await open(app)
  afterAll(close)

  /** A tenant with the list `a`, and a function that adds items to the list. */
  const start = async () => {
    const tenant = newTenant("network")
    const writer = await connect(tenant)
    await ok(writer.call("lists.add", { id: "a" }))
    await quiet(writer)
    return { writer, object: object(tenant), connect: () => connect(tenant) }
  }
  const listA = { list: "a", limit: 9 }
  const one = { list: "a", title: "one", rank: 0 }

  it("L9: a write while a client is disconnected is in the first frame after it reconnects", async () => {
    const { connect, writer, object } = await start()
    const before = watch(await connect(), "items", listA)
    await before.frameCount(1)
    before.peer.close()
    await ok(writer.call("items.add", one))
    await object.evict()
    const after = watch(await connect(), "items", listA, { have: before.hash })
    await after.shows("one")
    expect(after.tags).toEqual(["Snapshot"])
  })

  it("L1 L9: a write while a client's request is in flight is in the first frame, or follows it", async () => {
    const { connect, object, writer } = await start()
    const before = watch(await connect(), "items", listA)
    await before.frameCount(1)
    before.peer.close()
    const peer = await connect()
    object.network.hold()
    // One write arrives before the request, one after it. The request has the hash of the client's value.
    writer.send(request("first", "items.add", one))
    const { message, watch: after } = watchRequest(peer, "items", listA, { have: before.hash })
    peer.send(message)
    writer.send(request("second", "items.add", { ...one, title: "two", rank: 1 }))
    object.network.release()
    await after.shows("one", "two")
    expect(after.tags[0]).toBe("Snapshot")
    await quiet(peer, writer)
    expect(after.frames.length).toBeLessThanOrEqual(2)
  })

  it("T2 L9: a crash between a commit and its delivery loses the frame, but not the change", async () => {
    const { connect, object, writer } = await start()
    const before = watch(await connect(), "items", listA)
    await before.frameCount(1)
    object.network.hold()
    writer.send(request("write", "items.add", one))
    object.network.step(object.network.inFlight)
    await writer.until(() => object.database.prepare("SELECT 1 FROM items").all().length === 1)
    await object.crash()
    object.network.release()
    await before.peer.until(() => before.peer.closed)
    expect(before.frames.length).toBe(1)
    const after = watch(await connect(), "items", listA, { have: before.hash })
    await after.shows("one")
    expect(after.version).toBeGreaterThan(before.version)
  })

  it("L6: a message in flight during an eviction arrives, and the next frame continues from it", async () => {
    const { connect, object, writer } = await start()
    const items = watch(await connect(), "items", listA)
    await items.frameCount(1)
    await quiet(items.peer)
    object.network.hold()
    writer.send(request("write", "items.add", one))
    object.network.step(object.network.inFlight)
    await object.evict()
    object.network.release()
    await items.shows("one")
    await ok(writer.call("items.add", { ...one, title: "two", rank: 1 }))
    await items.shows("one", "two")
    expect(items.frames.length).toBe(3)
  })
})

describe("Live queries and reactions", async () => {
  /** Adding an item sets a flag, in a commit of its own, while the flush of the first commit is delivered. */
  const reactor = App.react(ListsApi, {
    name: "flag",
    query: "items.count",
    queryPayload: { list: "a" },
    mutation: "flags.set",
    mutationPayload: (count) => ({ id: "private", on: count > 0 })
  })
  const { close, connect, object } = await open(
    App.make({ api: ListsApi, tables: [lists, items, flags], handlers: ListsHandlers, reactors: [reactor] })
  )
  afterAll(close)

  it("L1 L5: a commit in the middle of a flush follows in frames of its own", async () => {
    const tenant = newTenant("reaction")
    const writer = await connect(tenant, "ada")
    await ok(writer.call("lists.add", { id: "a" }))
    const peer = await connect(tenant, "bob")
    const all = watch(peer, "items", { list: "a", limit: 9 }, { prompt: true })
    const visible = watch(peer, "items.visible", { list: "a" }, { prompt: true })
    await Promise.all([all.frameCount(1), visible.frameCount(1)])
    await ok(writer.call("items.add", { list: "a", title: "of ada", rank: 0, owner: "ada" }))
    await all.shows("of ada")
    // The reaction hides the item.
    await visible.frameCount(3)
    expect(visible.frames.map(({ value }) => value?.length)).toEqual([0, 1, 0])
    expect(visible.version).toBeGreaterThan(all.version)
    await object(tenant).evict()
    await ok(writer.call("items.add", { list: "a", title: "of bob", rank: 1, owner: "bob" }))
    await Promise.all([all.shows("of ada", "of bob"), visible.shows("of bob")])
  })
})
