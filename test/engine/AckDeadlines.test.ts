import { describe, expect, it } from "vitest"
import { anonymous } from "../../src/contract/Auth.ts"
import { ackTimeout } from "../../src/engine/object/AckDeadlines.ts"
import { app } from "../worker/notes.ts"
import { KeepingSocket, makeEngine } from "./EngineHarness.ts"

/** An engine whose time the test sets, with sockets that watch the notes. */
const open = async () => {
  let now = 1
  const harness = await makeEngine(app, { now: () => now })
  const { engine, timers } = harness
  const send = (socket: KeepingSocket, message: object) => engine.sockets.message(socket, JSON.stringify(message))
  const connect = () => {
    const socket = new KeepingSocket()
    harness.sockets.add(socket)
    engine.sockets.open(socket, { tenant: "main", identity: anonymous })
    return socket
  }
  let calls = 0
  return {
    harness,
    send,
    connect,
    watch: (headers: ReadonlyArray<readonly [string, string]>, id = "live") => {
      const socket = connect()
      send(socket, { _tag: "Request", id, tag: "live:notes.list", payload: {}, headers })
      return socket
    },
    ack: (socket: KeepingSocket, version?: number) => send(socket, { _tag: "Ack", requestId: "live", version }),
    add: (socket: KeepingSocket) => {
      const id = `call-${calls++}`
      send(socket, { _tag: "Request", id, tag: "notes.add", payload: { body: id }, headers: [] })
      harness.nextTurn()
    },
    frames: (socket: KeepingSocket) =>
      socket.messages.filter(({ _tag }) => _tag === "Chunk").flatMap(({ values }) => values),
    /** The timers that run once the object is idle. */
    delays: () => {
      harness.idle()
      return [...timers].map(({ millis }) => millis)
    },
    /** Time passes, and the timer that is due runs. */
    pass: (millis: number) => {
      harness.idle()
      now += millis
      for (const timer of [...timers]) {
        timers.delete(timer)
        timer.task()
        harness.idle()
      }
    }
  }
}

const prompt = [["dormouse-prompt", "1"]] as const

describe("a client that acknowledges on arrival", () => {
  it("L8: leaves no timer when it has acknowledged, and one while it has not", async () => {
    const { ack, add, connect, delays, harness, watch } = await open()
    const sockets = [watch(prompt), watch(prompt), watch(prompt)]
    harness.idle()
    expect(delays()).toEqual([ackTimeout])
    for (const socket of sockets) ack(socket)
    expect(delays()).toEqual([])
    add(connect())
    expect(delays()).toEqual([ackTimeout])
    for (const socket of sockets) ack(socket)
    expect(delays()).toEqual([])
    await harness.close()
  })

  it("L6: is closed 30 s after a frame that it did not acknowledge, and no other client is", async () => {
    const { ack, delays, frames, harness, pass, watch } = await open()
    const [lost, good] = [watch(prompt), watch(prompt)]
    pass(0)
    ack(good)
    const stock = watch([])
    pass(ackTimeout - 1)
    expect([lost.closed, delays()]).toEqual([undefined, [1]])
    pass(1)
    expect(lost.closed).toEqual({ code: 1011, reason: "no acknowledgement of a frame within 30 s" })
    expect([good.closed, stock.closed, delays()]).toEqual([undefined, undefined, []])
    pass(10 * ackTimeout)
    expect([good.closed, stock.closed, frames(stock).length]).toEqual([undefined, undefined, 1])
    await harness.close()
  })

  it("L6: has 30 s for each frame, and none after it has ended its query or closed its socket", async () => {
    const { ack, add, connect, delays, harness, pass, send, watch } = await open()
    const [slow, ended, gone] = [watch(prompt), watch(prompt), watch(prompt)]
    const writer = connect()
    for (let i = 0; i < 4; i++) {
      pass(ackTimeout - 1000)
      for (const socket of [slow, ended, gone]) ack(socket)
      add(writer)
    }
    expect([slow, ended, gone].map(({ closed }) => closed)).toEqual([undefined, undefined, undefined])
    send(ended, { _tag: "Interrupt", requestId: "live" })
    harness.engine.sockets.closed(gone)
    expect(delays().length).toBe(1)
    ack(slow)
    expect(delays()).toEqual([])
    await harness.close()
  })

  it("L6: a second acknowledgement of an earlier frame does not count for the next one", async () => {
    const { ack, add, connect, delays, frames, harness, pass, watch } = await open()
    const socket = watch(prompt)
    const writer = connect()
    ack(socket, frames(socket)[0].version)
    pass(1000)
    add(writer)
    ack(socket, frames(socket)[0].version)
    add(writer)
    expect([frames(socket).length, delays().length]).toEqual([2, 1])
    ack(socket, frames(socket)[1].version)
    expect(frames(socket).length).toBe(3)
    // Of a client that does not say the version, each one counts.
    ack(socket)
    expect(delays()).toEqual([])
    await harness.close()
  })
})
