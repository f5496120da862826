import * as Layer from "effect/Layer"
import * as Tracer from "effect/Tracer"
import { afterEach, describe, expect, it } from "vitest"
import { app } from "../worker/lists.ts"
import { type EngineHarness, KeepingSocket, makeEngine } from "./EngineHarness.ts"

/** Sockets of an engine that runs a few queries of a flush in each turn. */
describe("calls and messages between the slices of a flush", () => {
  let harness: EngineHarness | undefined
  afterEach(() => harness?.close())

  let ids = 0
  const start = async (queriesPerSlice?: number, layer: Layer.Layer<never> = Layer.empty) => {
    const made = await makeEngine(app, { ...(queriesPerSlice && { queriesPerSlice }), layer })
    harness = made
    const { engine, idle, sockets } = made
    const connect = () => {
      const socket = new KeepingSocket()
      sockets.add(socket)
      engine.sockets.open(socket, { tenant: "main", identity: { subject: null, claims: {} } })
      return socket
    }
    const send = (socket: KeepingSocket, message: object) => engine.sockets.message(socket, JSON.stringify(message))
    const ask = (socket: KeepingSocket, tag: string, payload: unknown, headers: ReadonlyArray<unknown> = []) => {
      const id = `r${ids++}`
      send(socket, { _tag: "Request", id, tag, payload, headers })
      return id
    }
    /** Everything that the socket was sent since the last call. */
    const take = (socket: KeepingSocket) => socket.messages.splice(0)
    const acknowledge = (socket: KeepingSocket, messages: ReadonlyArray<any>) => {
      for (const { _tag, requestId } of messages) if (_tag === "Chunk") send(socket, { _tag: "Ack", requestId })
    }
    const add = (socket: KeepingSocket, title: string, headers?: ReadonlyArray<unknown>) =>
      ask(socket, "items.add", { list: "a", title, rank: 0 }, headers)
    /** Live queries of one socket, which each insert changes. */
    const watch = (count: number) => {
      const socket = connect()
      for (let i = 0; i < count; i++) {
        ask(socket, "live:items", { list: "a", limit: 10 + i }, [["dormouse-prompt", "1"]])
      }
      idle()
      acknowledge(socket, take(socket))
      idle()
      return socket
    }
    const writer = connect()
    ask(writer, "lists.add", { id: "a" })
    for (const title of ["x", "y", "z"]) add(writer, title)
    idle()
    take(writer)
    return { ...made, add, ask, acknowledge, send, take, watch, writer, connect }
  }
  const tags = (messages: ReadonlyArray<any>) => messages.map(({ _tag }) => _tag)
  const frames = (messages: ReadonlyArray<any>) =>
    messages.flatMap((message) => (message._tag === "Chunk" ? message.values : []))

  it("L4: a call is answered between two slices, and the frames of a commit leave together after the last", async () => {
    const { add, ask, nextTurn, take, watch, writer } = await start(10)
    const watcher = watch(60)
    add(writer, "one")
    expect(tags(take(writer))).toEqual(["Exit"])
    let answers = 0
    while (watcher.messages.length === 0) {
      if (answers > 100) throw new Error("the flush does not end")
      nextTurn()
      ask(writer, "items.count", { list: "a" })
      answers += take(writer).length
    }
    expect(answers).toBeGreaterThan(5)
    const sent = frames(take(watcher))
    expect(sent).toHaveLength(60)
    expect(new Set(sent.map(({ version }) => version)).size).toBe(1)
  })

  it("L4: unless another number is given, a turn runs 100 queries", async () => {
    const { add, engine, nextTurn, take, watch, writer } = await start()
    const watcher = watch(150)
    add(writer, "one")
    const turns = [1, 2].map(() => {
      nextTurn()
      const again = engine.live.explain().filter(({ runs }) => runs === 2)
      return [again.length, frames(take(watcher)).length]
    })
    expect(turns).toEqual([
      [100, 0],
      [150, 150]
    ])
  })

  it("control: with slices of all queries no call is answered before the frames", async () => {
    const { add, nextTurn, take, watch, writer } = await start(1000)
    const watcher = watch(60)
    add(writer, "one")
    nextTurn()
    expect(frames(take(watcher))).toHaveLength(60)
  })

  it("L1 L5: commits between two slices are in the same frames, at their version", async () => {
    const { add, engine, nextTurn, take, watch, writer } = await start(10)
    const watcher = watch(60)
    add(writer, "one")
    nextTurn()
    nextTurn()
    add(writer, "two")
    for (let turns = 0; watcher.messages.length === 0 && turns < 100; turns++) nextTurn()
    const sent = frames(take(watcher))
    expect(sent).toHaveLength(60)
    expect(sent.every(({ ops }) => ops?.length === 2)).toBe(true)
    expect(new Set(sent.map(({ version }) => version))).toEqual(new Set([engine.live.currentVersion]))
  })

  it("L6: `Delivered` of a mutation, also of one between two slices, follows the frames", async () => {
    const { add, nextTurn, take, watch } = await start(10)
    const watcher = watch(60)
    const mutation = (number: number) => [["dormouse-mutation", `flush-slices-abcdefgh/${number}`]]
    add(watcher, "one", mutation(1))
    nextTurn()
    nextTurn()
    add(watcher, "two", mutation(2))
    expect(tags(take(watcher))).toEqual(["Exit", "Committed", "Exit", "Committed"])
    for (let turns = 0; watcher.messages.length === 0 && turns < 100; turns++) nextTurn()
    const sent = take(watcher)
    expect(tags(sent)).toEqual([...Array.from({ length: 60 }, () => "Chunk"), "Delivered"])
    expect(sent.at(-1).version).toBe(frames(sent)[0].version)
  })

  it("L6: an acknowledgement between two slices sends nothing, and what it permits leaves after the last", async () => {
    const { acknowledge, add, idle, nextTurn, take, watch, writer } = await start(10)
    const watcher = watch(60)
    add(writer, "one")
    idle()
    const first = take(watcher)
    add(writer, "two")
    nextTurn()
    nextTurn()
    acknowledge(watcher, first)
    expect(take(watcher)).toEqual([])
    idle()
    expect(frames(take(watcher))).toHaveLength(60)
  })

  it("L4 L5: who subscribes between two slices gets the value of the other queries' version", async () => {
    const { add, ask, nextTurn, take, watch, writer } = await start(10)
    const watcher = watch(60)
    add(writer, "one")
    nextTurn()
    nextTurn()
    ask(watcher, "live:items.count", { list: "a" }, [["dormouse-prompt", "1"]])
    expect(take(watcher)).toEqual([])
    for (let turns = 0; watcher.messages.length === 0 && turns < 100; turns++) nextTurn()
    const sent = frames(take(watcher))
    expect(sent).toHaveLength(61)
    expect(sent.at(-1).value).toBe(4)
    expect(new Set(sent.map(({ version }) => version)).size).toBe(1)
  })

  it("L4: each slice has a span, which belongs to the transaction of the commit", async () => {
    const spans: Array<Tracer.NativeSpan> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    const { add, idle, watch, writer } = await start(10, Layer.succeed(Tracer.Tracer, tracer))
    watch(60)
    spans.length = 0
    add(writer, "one")
    idle()
    const transaction = spans.find(({ name }) => name === "dormouse.transaction")
    const flushes = spans.filter(({ name }) => name === "dormouse.flush")
    expect(flushes).toHaveLength(6)
    for (const { attributes, parent } of flushes) {
      expect(attributes.get("dormouse.live.runs")).toBe(10)
      expect(parent).toMatchObject({ _tag: "Some", value: { spanId: transaction?.spanId } })
    }
    expect(spans.filter(({ name }) => name === "dormouse.delivery")).toHaveLength(1)
  })
})
