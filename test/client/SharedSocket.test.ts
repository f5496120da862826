/// <reference types="node" />
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Api, App, Query } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { Client } from "effect-dormouse/client"
import { SharedSocket } from "effect-dormouse/shared-socket"
import { TestApp } from "effect-dormouse/testing"
import { SocketMultiplexer } from "../../src/client/SocketMultiplexer.ts"
import * as Checksum from "../../src/protocol/Checksum.ts"
import { forAll, forAllAsync, type Random, Violation } from "../random.ts"
import { app, HooksApi } from "../worker/hooks.ts"

/**
 * Clients that share a socket, with the Web Locks and the channels of Node: all of them in one process, as in one tab.
 * `test/browser/SharedSocket.browser.test.ts` has several tabs.
 */

/** The Web Locks of Node, as far as they are used here. Its types do not have them yet. */
interface Locks {
  request: (name: string, ...rest: Array<any>) => Promise<unknown>
  readonly query: () => Promise<{ readonly held?: ReadonlyArray<{ readonly name?: string }> }>
}
const { locks } = navigator as unknown as { readonly locks: Locks }

const until = async (predicate: () => boolean, seen: () => unknown = () => "") => {
  for (let i = 0; i < 2000; i++) {
    if (predicate()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`not within 20 s; last seen: ${seen()}`)
}

/** A client whose socket is shared, what its live query has shown, and its mutations. */
const open = Effect.fnUntraced(function* (options: { readonly tenant: string; readonly identity?: string }) {
  const { transport, url } = yield* TestApp
  const scope = Scope.makeUnsafe()
  const shared = SharedSocket.layer(options.identity === undefined ? {} : { identity: options.identity })
  const client = yield* Client.make(HooksApi, { url, tenant: options.tenant }).pipe(
    Effect.provide(Layer.provideMerge(shared, transport)),
    Scope.provide(scope)
  )
  const shown: Array<ReadonlyArray<string>> = []
  const values = Effect.runFork(
    Stream.runForEach(client.live("texts", { board: "a" }), (value) => Effect.sync(() => shown.push(value)))
  )
  const exits: Array<Exit.Exit<unknown, unknown>> = []
  const close = async () => {
    await Effect.runPromise(Fiber.interrupt(values))
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
  yield* Effect.addFinalizer(() => Effect.promise(close))
  return {
    client,
    shown,
    exits,
    add: (text: string) =>
      Effect.runFork(client.mutate("add", { board: "a", text })).addObserver((exit) => exits.push(exit)),
    close
  }
})

let tenants = 0
const test = (
  name: string,
  body: (tenant: string, app: TestApp["Service"]) => Effect.Effect<void, unknown, TestApp | Scope.Scope>
) =>
  it.live(name, () =>
    Effect.flatMap(TestApp, (app) => body(`shared-${process.pid}-${tenants++}`, app)).pipe(
      Effect.provide(TestApp.layer(app))
    )
  )

describe("clients that share a socket", () => {
  test("C30: have one socket, and each gets its own answers", (tenant, { object }) =>
    Effect.gen(function* () {
      const clients = yield* Effect.forEach([0, 1, 2], () => open({ tenant }))
      const { network } = object(tenant)
      yield* Effect.promise(() => until(() => clients.every(({ shown }) => shown.length > 0)))
      for (const [i, { add }] of clients.entries()) for (const n of [0, 1, 2]) add(`${i}${n}`)
      yield* Effect.promise(() =>
        until(() => clients.every(({ exits, shown }) => exits.length === 3 && shown.at(-1)!.length === 9))
      )
      expect(clients.flatMap(({ exits }) => exits).every(Exit.isSuccess)).toBe(true)
      expect(new Set(clients.map(({ shown }) => shown.at(-1)!.join())).size).toBe(1)
      expect(network.wires.size).toBe(1)
      const opened = network.log.filter(({ data }) => data.includes('"tag":"live:texts"'))
      expect(opened).toHaveLength(3)
      // No frame was asked for a second time: each client found the checksums that it expects.
      expect(network.log.filter(({ data }) => data.includes('"_tag":"Interrupt"'))).toEqual([])
      yield* Effect.promise(() => clients[0]!.close())
      clients[1]!.add("after")
      yield* Effect.promise(() => until(() => clients[2]!.shown.at(-1)!.includes("after")))
      for (const { close } of clients.slice(1)) yield* Effect.promise(close)
      yield* Effect.promise(() => until(() => network.wires.size === 0))
    }))

  test("C32: a client that gets another token leaves the others, and is the new caller; with an identity it stays", (tenant, {
    object,
    transport,
    url
  }) =>
    Effect.gen(function* () {
      const { network } = object(tenant)
      const tokenOf = (subject: string, n = 0) => Auth.testToken({ subject, claims: { n } })
      const signIn = Effect.fnUntraced(function* (identity?: string) {
        const account = { token: tokenOf("ada") }
        const token = Effect.sync(() => account.token)
        const client = yield* Client.make(HooksApi, { url, tenant, token }).pipe(
          Effect.provide(Layer.provideMerge(SharedSocket.layer(identity === undefined ? {} : { identity }), transport))
        )
        let caller: string | null | undefined
        yield* Effect.forkScoped(
          Stream.runForEach(client.live("who", {}), (subject) =>
            Effect.sync(() => {
              caller = subject
            })
          )
        )
        return { client, account, caller: () => caller }
      })
      const [one, two] = [yield* signIn(), yield* signIn()]
      yield* Effect.promise(() => until(() => one.caller() === "ada" && two.caller() === "ada"))
      expect(network.wires.size).toBe(1)
      one.account.token = tokenOf("bob")
      yield* one.client.refresh
      yield* Effect.promise(() => until(() => one.caller() === "bob" && network.wires.size === 2))
      expect(two.caller()).toBe("ada")
      two.account.token = tokenOf("cleo")
      yield* two.client.refresh
      yield* Effect.promise(() => until(() => two.caller() === "cleo"))
      expect(one.caller()).toBe("bob")

      const [three, four] = [yield* signIn("ada"), yield* signIn("ada")]
      yield* Effect.promise(() => until(() => three.caller() === "ada" && four.caller() === "ada"))
      const before = network.wires.size
      three.account.token = tokenOf("ada", 1)
      expect(yield* three.client.refresh).toBe(true)
      four.account.token = tokenOf("ada", 2)
      expect(yield* four.client.refresh).toBe(true)
      expect([three.caller(), four.caller(), network.wires.size]).toEqual(["ada", "ada", before])
    }))

  test("C31: a lock that nobody answers for is taken over", (tenant, { object }) =>
    Effect.gen(function* () {
      // What a tab leaves that has stopped: its lock, and no answer.
      const { request } = locks
      let isTaken = false
      locks.request = (name, ...rest) => {
        if (name.split("/").length === 4) {
          locks.request = request
          request
            .call(locks, name, () => new Promise(() => {}))
            .catch(() => {
              isTaken = true
            })
        }
        return request.call(locks, name, ...rest)
      }
      const one = yield* open({ tenant })
      one.add("one")
      yield* Effect.promise(() => until(() => one.shown.at(-1)?.join() === "one"))
      expect([isTaken, object(tenant).network.wires.size]).toEqual([true, 1])
      yield* Effect.promise(one.close)
    }))

  /** Opens clients that write while sockets are cut, the lock is taken from who leads, and clients come and go. */
  const history = (random: Random) =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const tenant = `shared-${process.pid}-${tenants++}`
      const { network } = object(tenant)
      const clients = [yield* open({ tenant }), yield* open({ tenant })]
      const all = [...clients]
      const texts: Array<string> = []
      for (let step = 0; step < 25; step++) {
        const what = random.int(10)
        if (what === 0) network.cut()
        else if (what === 1) yield* Effect.promise(() => stealAll())
        else if (what === 2) {
          const opened = yield* open({ tenant })
          clients.push(opened)
          all.push(opened)
        } else {
          const text = `t${step}`
          texts.push(text)
          random.pick(clients).add(text)
        }
        yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, random.int(30))))
      }
      const exits = () => all.flatMap(({ exits }) => exits)
      yield* Effect.promise(() => until(() => exits().length === texts.length))
      const failed = exits().filter(Exit.isFailure)
      if (failed.length > 0) throw new Violation(`mutations have failed: ${failed}`)
      const stored = yield* clients[0]!.client.query("texts", { board: "a" })
      if (stored.toSorted().join() !== texts.toSorted().join()) throw new Violation(`${texts} became ${stored}`)
      yield* Effect.promise(() =>
        until(
          () => clients.every(({ shown }) => shown.at(-1)?.join() === stored.join()),
          () => clients.map(({ shown }) => shown.at(-1))
        )
      )
      for (const { shown } of all) {
        for (const [i, value] of shown.entries()) {
          const lost = shown[i - 1]?.filter((text) => !value.includes(text)) ?? []
          if (lost.length > 0) throw new Violation(`${lost} was shown, and then it was not`)
        }
      }
      if (network.wires.size > 1) throw new Violation(`there are ${network.wires.size} sockets`)
      // The last step may have closed the socket: the next one is there a little later.
      yield* Effect.promise(() =>
        until(
          () => network.wires.size === 1,
          () => `${network.wires.size} sockets`
        )
      )
      for (const { close } of clients) yield* Effect.promise(close)
    }).pipe(Effect.scoped, Effect.provide(TestApp.layer(app)))

  it("C31: whatever happens to the socket and its clients, no mutation is lost or done twice, and no value goes back", () =>
    forAllAsync(1, (random) => Effect.runPromise(history(random))))

  it("control: the history finds mutations that are sent as two", async () => {
    const { toServer } = SocketMultiplexer.prototype
    SocketMultiplexer.prototype.toServer = function (client, text) {
      const sent = toServer.call(this, client, text)
      const message = JSON.parse(sent)
      if (message.tag !== "add") return sent
      const headers = [["dormouse-mutation", `control-${crypto.randomUUID().slice(0, 8)}/1`]]
      return JSON.stringify([message, { ...message, id: `${message.id}-again`, headers }])
    }
    try {
      await expect(forAllAsync(1, (random) => Effect.runPromise(history(random)))).rejects.toThrow(Violation)
    } finally {
      SocketMultiplexer.prototype.toServer = toServer
    }
  })
})

/** Takes the locks of all who lead, as a tab does when the one that leads does not answer, and releases them. */
const stealAll = async (): Promise<void> => {
  const { held = [] } = await locks.query()
  for (const { name = "" } of held) {
    if (name.split("/").length === 4) await locks.request(name, { steal: true }, async () => {})
  }
}

class BigApi extends Api.make(
  Query.make("text", { payload: { length: Schema.Int }, success: Schema.String }),
  Query.make("sum", { payload: {}, success: Schema.Struct({ sum: Schema.Int }) })
) {}
const bigApp = App.make({
  api: BigApi,
  tables: [],
  handlers: BigApi.toLayer({
    // Text that two bytes and a pair of units stand for, so that parts end anywhere.
    text: ({ length }) => Effect.succeed('é😀"'.repeat(length)),
    sum: () => Effect.succeed({ sum: 1 })
  })
})

it.live("C30: frames in parts, and values with a sum of their own, arrive as they are", () =>
  Effect.gen(function* () {
    const { object, transport, url } = yield* TestApp
    const tenant = `shared-big-${process.pid}`
    const client = yield* Client.make(BigApi, { url, tenant }).pipe(
      Effect.provide(Layer.provideMerge(SharedSocket.layer(), transport))
    )
    const texts = yield* Effect.forEach(
      [1, 90_000, 250_000],
      (length) => Stream.runHead(client.live("text", { length })),
      { concurrency: 3 }
    )
    expect(texts.map((text) => text._tag === "Some" && text.value.length)).toEqual([4, 360_000, 1_000_000])
    expect(yield* Stream.runHead(client.live("sum", {}))).toMatchObject({ value: { sum: 1 } })
    const { log } = object(tenant).network
    expect(log.filter(({ data }) => data.includes('"_tag":"Part"')).length).toBeGreaterThan(2)
    // Each was requested once.
    expect(log.filter(({ data }) => data.includes('"tag":"live:text"'))).toHaveLength(3)
  }).pipe(Effect.scoped, Effect.provide(TestApp.layer(bigApp)))
)

describe("the multiplexer", () => {
  const live = (id: string | number) => ({ _tag: "Request", id, tag: "live:q", payload: null, headers: [] })

  it("C30: what is for no request is for all, and an answer is for the client that asked", () => {
    const clients = new SocketMultiplexer()
    const [a, b] = [clients.join(), clients.join()]
    const ids = [
      [a, "live-1-0"],
      [b, "live-1-0"],
      [b, 7],
      [b, "7"]
    ] as const
    const sent = ids.map(([client, id]) => JSON.parse(clients.toServer(client, JSON.stringify(live(id)))).id)
    expect(new Set(sent).size).toBe(ids.length)
    for (const [i, [client, id]] of ids.entries()) {
      const exit = { _tag: "Exit", requestId: sent[i], exit: { _tag: "Success", value: null } }
      const [delivery, ...others] = clients.toClients(JSON.stringify(exit))
      expect([delivery!.client, JSON.parse(delivery!.text).requestId, others]).toEqual([client, id, []])
    }
    const all = clients.toClients('[{"_tag":"Delivered","version":1}]')
    expect(all.map(({ client, text }) => [client, text])).toEqual([
      [a, '[{"_tag":"Delivered","version":1}]'],
      [b, '[{"_tag":"Delivered","version":1}]']
    ])
    expect(clients.toServer(a, '{"_tag":"Ping"}')).toBe('{"_tag":"Ping"}')
    expect(clients.toClients("not JSON").map(({ text }) => text)).toEqual(["not JSON", "not JSON"])
    expect(clients.toClients('{"_tag":"Exit","requestId":"9.x"}')).toEqual([])
    expect(clients.toClients('{"_tag":"Exit","requestId":"call-1"}')).toEqual([])
  })

  it("C30: the requests of a client that is gone are ended", () => {
    const clients = new SocketMultiplexer()
    const [a, b] = [clients.join(), clients.join()]
    for (const client of [a, b]) for (const id of ["x", "y"]) clients.toServer(client, JSON.stringify(live(id)))
    clients.toClients(`{"_tag":"Exit","requestId":"${a}.y","exit":{}}`)
    expect(clients.leave(a).map((text) => JSON.parse(text))).toEqual([{ _tag: "Interrupt", requestId: `${a}.x` }])
    expect(clients.toClients(`{"_tag":"Chunk","requestId":"${a}.x","values":[]}`)).toEqual([])
  })

  it("C30: a checksum is restored exactly, so that a wrong one stays wrong", () => {
    forAll(200, (random) => {
      const text = Array.from({ length: random.int(40) }, () => String.fromCharCode(random.int(65_536))).join("")
      const sum = random.int(2 ** 31) * 2 + random.int(2)
      expect(Checksum.removeText(Checksum.addText(sum, text), text) >>> 0).toBe(sum >>> 0)
      expect(Checksum.addText(Checksum.removeText(sum, text), text) >>> 0).toBe(sum >>> 0)
    })
  })
})
