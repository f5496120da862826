import { describe, expect, it, vi } from "vitest"
import { anonymous } from "../../src/contract/Auth.ts"
import { newTenant, type Peer, post, request } from "../deployment/Deployment.ts"
import { type MemoryDeployment, memory } from "../deployment/memory.ts"
import { ledgerApp, receipts } from "../worker/ledger.ts"
import { app, limited } from "../worker/notes.ts"
import { KeepingSocket, makeEngine } from "./EngineHarness.ts"
import { suite } from "./groupCommitCases.ts"

suite("Group commit in memory", async () => {
  const [large, small] = await Promise.all([memory(app), memory(limited)])
  return {
    app: large,
    limited: small,
    close: async () => {
      await Promise.all([large.close(), small.close()])
    }
  }
})

const later = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

describe("a flush of many subscriptions", () => {
  const subscribers = 60
  const open = async () => {
    const harness = await makeEngine(ledgerApp)
    const connect = () => {
      const socket = new KeepingSocket()
      harness.sockets.add(socket)
      harness.engine.sockets.open(socket, { tenant: "main", identity: anonymous })
      return socket
    }
    const send = (socket: KeepingSocket, message: object) =>
      harness.engine.sockets.message(socket, JSON.stringify(message))
    const watchers = Array.from({ length: subscribers }, connect)
    for (const watcher of watchers) {
      send(watcher, request("live", "live:total", { account: "a" }))
      send(watcher, { _tag: "Ack", requestId: "live" })
    }
    const writers = [connect(), connect(), connect()]
    harness.idle()
    const pay = (writer: number) =>
      send(writers[writer]!, request(`pay-${writer}`, "pay", { account: "a", amount: 1, ending: "success" }))
    const values = () => watchers[0]!.messages.filter(({ _tag }) => _tag === "Chunk").length
    const answers = () => writers.map(({ messages }) => messages.filter(({ _tag }) => _tag === "Exit").length)
    return { harness, pay, values, answers }
  }

  it("L4: after a lone call it has the next turn", async () => {
    const { answers, harness, pay, values } = await open()
    pay(0)
    expect([answers(), values()]).toEqual([[1, 0, 0], 1])
    harness.nextTurn()
    expect(values()).toBe(2)
    await harness.close()
  })

  it("L4: while calls share turns it waits for a pause, and then runs once for all of them", async () => {
    const { answers, harness, pay, values } = await open()
    pay(0)
    for (let turn = 0; turn < 3; turn++) {
      for (const writer of [0, 1, 2]) pay(writer)
      harness.nextTurn()
    }
    const [explanation] = harness.engine.live.explain()
    expect(answers()).toEqual([4, 3, 3])
    // The lone call's flush was due in the first turn, together with three more calls.
    expect([values(), explanation?.runs]).toEqual([2, 2])
    harness.idle()
    expect([values(), harness.engine.live.explain()[0]?.runs]).toEqual([2, 3])
    await harness.close()
  })
})

describe("a commit that fails, and a crash between turns", () => {
  /** Sends mutations that are handled in one turn, over sockets and HTTP, with a live query and receipts beside them. */
  const together = async (deployment: MemoryDeployment, before: (tenant: string) => void) => {
    const tenant = newTenant("together")
    const watcher = await deployment.connect(tenant)
    const live = watcher.ask("live:total", { account: tenant })
    await watcher.itemsOf(live, 1)
    watcher.send({ _tag: "Ack", requestId: live })
    const peers = await Promise.all([1, 2, 3].map(() => deployment.connect(tenant)))
    const pay = (number: string) =>
      request("pay", "pay", { account: tenant, amount: 1, ending: "success" }, [["dormouse-mutation", number]])
    before(tenant)
    // One that is handled at once, alone, would hide what is meant: all are of one message or wait for the same turn.
    peers[0]!.sendText(JSON.stringify([pay(`${tenant}-client/1`), { ...pay(`${tenant}-client/2`), id: "second" }]))
    const overHttp = post(deployment, tenant, JSON.stringify(pay(`${tenant}-client/3`))).then(
      (response) => response.status,
      () => "lost" as const
    )
    await later(50)
    return { tenant, watcher, live, peers, overHttp, pay }
  }
  const rows = async (deployment: MemoryDeployment, tenant: string) => {
    const peer = await deployment.connect(tenant)
    const exit: any = await peer.call("total", { account: tenant })
    peer.close(1000)
    return exit.value
  }
  const receiptsOf = (tenant: string) => receipts.filter((receipt) => receipt.startsWith(`${tenant}:`))
  const answersOf = (peer: Peer) => peer.messages.filter(({ _tag }) => _tag === "Exit").length

  it("T2 T6 T7: when the shared commit fails, nobody was answered, told or served; the same can be sent again", async () => {
    const deployment = await memory(ledgerApp)
    const { live, peers, pay, tenant, watcher } = await together(deployment, (tenant) =>
      deployment.object(tenant).failNextCommit()
    )
    expect(peers.map(answersOf)).toEqual([0, 0, 0])
    expect(watcher.items(live)).toHaveLength(1)
    // Sockets end with the heap, as they do with a lost machine.
    for (const peer of [watcher, ...peers]) expect(peer.closed).toMatchObject({ code: 1006 })
    const again = await deployment.connect(tenant)
    const lost = await rows(deployment, tenant)
    again.sendText(JSON.stringify([pay(`${tenant}-client/1`), { ...pay(`${tenant}-client/2`), id: "second" }]))
    await again.exit("second")
    expect(await rows(deployment, tenant)).toBe(lost + 2)
    await later(20)
    expect(receiptsOf(tenant)).toHaveLength(lost + 2)
    await deployment.close()
  })

  it("control: when it does not fail, they are answered, told and served", async () => {
    const deployment = await memory(ledgerApp)
    const { live, overHttp, peers, tenant, watcher } = await together(deployment, () => {})
    expect(peers.map(answersOf)).toEqual([2, 0, 0])
    expect(await overHttp).toBe(200)
    expect(watcher.items(live).length).toBeGreaterThan(1)
    expect(await rows(deployment, tenant)).toBe(3)
    expect(receiptsOf(tenant)).toHaveLength(3)
    await deployment.close()
  })

  it("T2: a call over HTTP whose commit fails is not answered", async () => {
    const deployment = await memory(ledgerApp)
    const tenant = newTenant("together")
    await post(deployment, tenant, JSON.stringify(request("1", "total", { account: tenant })))
    deployment.object(tenant).failNextCommit()
    const pay = request("1", "pay", { account: tenant, amount: 1, ending: "success" })
    const response = await post(deployment, tenant, JSON.stringify(pay))
    // The Worker does not know what became of it, and says that.
    expect(response.status).toBe(503)
    expect(await response.text()).toMatch(/Unavailable/)
    expect(await rows(deployment, tenant)).toBe(0)
    expect(receiptsOf(tenant)).toEqual([])
    await deployment.close()
  })

  it("T6: what waits for a turn when the object is lost was not done", async () => {
    const deployment = await memory(ledgerApp)
    const tenant = newTenant("together")
    const peers = await Promise.all(Array.from({ length: 5 }, () => deployment.connect(tenant)))
    await peers[0]!.call("total", { account: tenant })
    const object = deployment.object(tenant)
    for (const peer of peers) peer.send(request("pay", "pay", { account: tenant, amount: 1, ending: "success" }))
    // The first is handled at once; the others wait for the turn after.
    const isWritten = "SELECT 1 FROM sqlite_master WHERE name = '_ledger'"
    while (object.database.prepare(isWritten).get() === undefined) await Promise.resolve()
    await object.crash()
    await later(20)
    expect(await rows(deployment, tenant)).toBe(1)
    expect(peers.map(answersOf).reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(2)
    await deployment.close()
  })
})

describe("a socket that the object closes", () => {
  /** A socket whose close takes a while: what it sends meanwhile still arrives. */
  const open = async () => {
    const harness = await makeEngine(limited)
    const socket = new KeepingSocket()
    harness.sockets.add(socket)
    harness.engine.sockets.open(socket, { tenant: "main", identity: anonymous })
    const codes: Array<number> = []
    vi.spyOn(socket, "close").mockImplementation((...args: ReadonlyArray<unknown>) => void codes.push(Number(args[0])))
    const send = (text: string) => harness.engine.sockets.message(socket, text)
    const add = (body: string) => send(JSON.stringify(request(body.slice(0, 9), "notes.add", { body })))
    const bodies = () => harness.sqlite.prepare("SELECT body FROM notes").all()
    return { harness, send, add, bodies, code: () => codes[0] }
  }

  it("T6: after a close with 1013 nothing more of the socket is handled", async () => {
    const { add, bodies, code, harness } = await open()
    add("first")
    add("x".repeat(700))
    expect(code()).toBe(undefined)
    add("y".repeat(700))
    expect(code()).toBe(1013)
    harness.idle()
    add("after the one that is missing")
    harness.idle()
    expect(bodies()).toEqual([{ body: "first" }])
    await harness.close()
  })

  it("S1: after a close for a bad message nothing more of the socket is handled", async () => {
    const { add, bodies, code, harness, send } = await open()
    add("first")
    harness.idle()
    send("not JSON")
    expect(code()).toBe(1007)
    add("after the bad one")
    harness.idle()
    expect(bodies()).toEqual([{ body: "first" }])
    await harness.close()
  })
})
