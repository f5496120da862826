import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { afterEach, describe, expect, it } from "vitest"
import { request } from "../deployment/Deployment.ts"
import { app } from "../worker/notes.ts"
import { KeepingSocket, makeEngine } from "./EngineHarness.ts"

/** L7: sockets whose state the platform or the database does not take. */

/** A socket whose attachment can be refused. */
class RefusingSocket extends KeepingSocket {
  refuses = false

  override attach(value: unknown): void {
    if (this.refuses) throw new Error("no attachment")
    super.attach(value)
  }
}

const logged: Array<string> = []
const layer = Logger.layer([Logger.map(Logger.formatJson, (line) => void logged.push(line))])
const session = { tenant: "main", identity: { subject: null, claims: {} } }
const unsaved = { code: 1011, reason: expect.stringContaining("could not save") }

/** An engine with two sockets, of which one is refused. */
const twoSockets = async () => {
  const harness = await makeEngine(app, { layer: layer as Layer.Layer<never> })
  const [bad, good] = [new RefusingSocket(), new RefusingSocket()]
  for (const socket of [bad, good]) {
    harness.sockets.add(socket)
    harness.engine.sockets.open(socket, session)
  }
  const send = (socket: RefusingSocket, id: string, body: string) =>
    harness.engine.sockets.message(socket, JSON.stringify(request(id, "live:notes.named", { body })))
  return { ...harness, bad, good, send }
}

afterEach(() => {
  logged.length = 0
})

describe("a socket whose state cannot be saved", () => {
  it("L7: is closed with 1011 and logged, throws nothing, and the others are saved", async () => {
    const { bad, close, engine, good, idle, send } = await twoSockets()
    idle()
    const before = good.attachment()
    bad.refuses = true
    for (const socket of [bad, good]) send(socket, "1", "x")
    idle()
    expect([bad.closed, good.closed]).toEqual([unsaved, undefined])
    expect(good.attachment()).not.toBe(before)
    expect(logged.join()).toContain("no attachment")
    engine.sockets.closed(bad)
    await close()
  })

  it("L7: is closed as well when it is opened, and when the database refuses the rows of its subscriptions", async () => {
    const { bad, close, engine, good, idle, send, sqlite } = await twoSockets()
    const late = new RefusingSocket()
    late.refuses = true
    engine.sockets.open(late, session)
    expect(late.closed).toEqual(unsaved)
    engine.sockets.message(good, JSON.stringify(request("0", "notes.add", { body: "the first write" })))
    idle()
    sqlite.exec("DROP TABLE _dormouse_subscriptions")
    for (let i = 0; i < 300; i++) send(bad, `${i}`, `body ${i} ${"x".repeat(60)}`)
    send(good, "1", "x")
    idle()
    expect([bad.closed, good.closed]).toEqual([unsaved, undefined])
    expect(logged.join()).toContain("no such table")
    await close()
  })

  it("L7: is closed for a bad message, also when its state cannot be deleted", async () => {
    const { bad, close, idle, engine } = await twoSockets()
    idle()
    bad.refuses = true
    engine.sockets.message(bad, "not a message")
    expect(bad.closed).toEqual({ code: 1007, reason: expect.any(String) })
    expect(logged.join()).toContain("no attachment")
    await close()
  })
})

it("T6: many live queries are saved in several turns, and the socket keeps what was attached until the last", async () => {
  const { bad: socket, close, engine, idle, idleTurn, nextTurn, send, sqlite } = await twoSockets()
  engine.sockets.message(socket, JSON.stringify(request("n", "notes.add", { body: "the first write" })))
  idle()
  const before = socket.attachment()
  for (let i = 0; i < 600; i++) send(socket, `${i}`, `body ${i} ${"x".repeat(60)}`)
  while (engine.live.explain().length < 600) nextTurn()
  const saved: Array<readonly [rows: number, isAttached: boolean]> = []
  const look = () => {
    const { rows } = sqlite.prepare("SELECT count(*) AS rows FROM _dormouse_subscriptions").get() as { rows: number }
    saved.push([rows, socket.attachment() !== before])
  }
  idleTurn()
  look()
  for (let turn = 0; turn < 3; turn++) {
    nextTurn()
    look()
  }
  expect(saved).toEqual([
    [200, false],
    [400, false],
    [600, false],
    [600, true]
  ])
  idle()
  await close()
})

it("L7: a live query under a reused id is stored, although nothing of it differs from the one before but its request", async () => {
  const { bad: socket, close, engine, idle, send, sqlite } = await twoSockets()
  engine.sockets.message(socket, JSON.stringify(request("n", "notes.add", { body: "the first write" })))
  const ack = (requestId: string) => engine.sockets.message(socket, JSON.stringify({ _tag: "Ack", requestId }))
  const body = (i: number) => `body ${i} ${"x".repeat(120)}`
  for (let i = 0; i < 90; i++) send(socket, `${i}`, body(i))
  idle()
  for (let i = 0; i < 90; i++) ack(`${i}`)
  idle()
  const rows = (): ReadonlyArray<string> =>
    sqlite
      .prepare("SELECT data FROM _dormouse_subscriptions")
      .all()
      .map(({ data }) => JSON.parse(String(data)).payload.body)
  expect(rows().length).toBe(90)
  // Both are empty, and the same frames of both were acknowledged when the state is saved.
  send(socket, "89", body(1000))
  ack("89")
  idle()
  expect([rows().length, rows().includes(body(1000)), rows().includes(body(89))]).toEqual([90, true, false])
  await close()
})
