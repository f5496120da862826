import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as RpcClient from "effect/rpc/RpcClient"
import * as Stream from "effect/Stream"
import { Auth } from "effect-dormouse/auth"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Patch from "../../../src/protocol/Patch.ts"
import { type Deployment, errorOf, newTenant, type Peer, post, request } from "../../deployment/Deployment.ts"
import { TopicsApi } from "../../worker/topics.ts"
import { publishCases, type Reading } from "./publishCases.ts"

/** Topics of the app in `topics.ts`, in memory and in workerd. */

export const suite = (name: string, here: () => Promise<Deployment & { readonly close?: () => Promise<void> }>) =>
  describe(name, () => {
    let app: Deployment & { readonly close?: () => Promise<void> }
    beforeAll(async () => {
      app = await here()
    })
    afterAll(() => app?.close?.())

    const open = (tenant = newTenant("topics")) => {
      const connect = (subject = "ada") => app.connect(tenant, "header", Auth.testToken({ subject }))
      const call = async (tag: string, payload: unknown, subject = "ada"): Promise<any> => {
        const headers = { authorization: `Bearer ${Auth.testToken({ subject })}` }
        const response = await post(app, tenant, JSON.stringify(request("1", tag, payload)), headers)
        const messages = (await response.json()) as ReadonlyArray<any>
        return messages.find(({ _tag }) => _tag === "Exit").exit
      }
      const done = async (tag: string, payload: unknown, subject?: string) => {
        const exit = await call(tag, payload, subject)
        if (exit._tag !== "Success") throw new Error(JSON.stringify(exit))
        return exit.value
      }
      return { tenant, connect, call, done }
    }
    /** A socket that reads a topic. It does so when this resolves: its socket's messages are handled in their order. */
    const read = async (peer: Peer, id: string, tag: string, key: unknown) => {
      peer.send(request(id, tag, key))
      await peer.call("members", {})
    }
    const texts = (peer: Peer, id: string) => peer.items(id).map(({ message }) => message.text ?? message)
    const until = (peer: Peer, id: string, expected: ReadonlyArray<unknown>) =>
      expect.poll(() => texts(peer, id)).toEqual(expected)
    /** Acknowledges what has arrived, as Effect's own client does. */
    const acknowledge = (peer: Peer, id: string) => {
      for (const message of peer.messages) {
        if (message._tag === "Chunk" && message.requestId === id) peer.send({ _tag: "Ack", requestId: id })
      }
    }

    publishCases(async () => {
      const { call, connect } = open()
      const reader = async (tag: string, key: unknown): Promise<Reading> => {
        const peer = await connect()
        await read(peer, "r", tag, key)
        let acknowledged = 0
        return {
          items: () => peer.items("r"),
          acknowledge: () => {
            const chunks = peer.messages.filter(
              (message) => message._tag === "Chunk" && message.requestId === "r"
            ).length
            for (; acknowledged < chunks; acknowledged++) peer.send({ _tag: "Ack", requestId: "r" })
          },
          close: () => peer.close()
        }
      }
      const outcome = async (tag: string, payload: unknown) => {
        const exit = await call(tag, payload)
        return exit._tag === "Success" ? undefined : (errorOf(exit)?.reason ?? errorOf(exit) ?? exit)
      }
      return { read: reader, call: outcome, close: async () => {} }
    })

    it("PS1: an action publishes at once", async () => {
      const { connect, done } = open()
      const peer = await connect()
      await read(peer, "r", "said", { room: "a" })
      await done("act", { room: "a", text: "acted" })
      await until(peer, "r", ["acted"])
      peer.close()
    })

    it("PS1: who publishes is answered before anybody reads it", async () => {
      const { connect } = open()
      const peer = await connect()
      await read(peer, "r", "said", { room: "a" })
      const id = peer.ask("say", { room: "a", texts: ["1"] })
      await until(peer, "r", ["1"])
      const order = peer.messages.filter(
        (message) => "requestId" in message && ["r", id].includes(`${message.requestId}`)
      )
      expect(order.map(({ _tag }) => _tag)).toEqual(["Exit", "Chunk"])
      peer.close()
    })

    it("PS4: readers outlive hibernation, and are told what was lost with it", async () => {
      const { connect, done, tenant } = open()
      await done("join", { room: "a", subject: "ada" })
      const [quick, slow] = [await connect(), await connect()]
      for (const peer of [quick, slow]) await read(peer, "r", "told", { room: "a" })
      await app.evict(tenant)
      await done("tell", { room: "a", texts: ["1"] })
      for (const peer of [quick, slow]) await until(peer, "r", ["1"])
      quick.send({ _tag: "Ack", requestId: "r" })
      for (let i = 2; i <= 20; i++) {
        await done("tell", { room: "a", texts: [`${i}`] })
        await expect.poll(() => texts(quick, "r").at(-1)).toBe(`${i}`)
        quick.send({ _tag: "Ack", requestId: "r" })
      }
      const before = texts(slow, "r").length
      await app.evict(tenant)
      await done("tell", { room: "a", texts: ["after"] })
      await expect.poll(() => texts(quick, "r").at(-1)).toBe("after")
      await expect.poll(() => texts(slow, "r").at(-1)).toBe("after")
      expect(slow.items("r").slice(before)).toMatchObject([{ missed: 20 - before }])
      expect(quick.items("r").some(({ missed }) => missed !== undefined)).toBe(false)
      quick.close()
      slow.close()
    })

    it("PS5: who may not read is refused, and who may not any more is not sent what follows", async () => {
      const { connect, done } = open()
      await done("join", { room: "a", subject: "ada" })
      await done("join", { room: "a", subject: "bob" })
      const [ada, bob, eve] = [await connect("ada"), await connect("bob"), await connect("eve")]
      for (const peer of [ada, bob, eve]) await read(peer, "r", "told", { room: "a" })
      expect(errorOf(await eve.exit("r"))).toMatchObject({ _tag: "NoMember", room: "a" })
      await done("tell", { room: "a", texts: ["1"] })
      for (const peer of [ada, bob]) await until(peer, "r", ["1"])
      await done("expel", { room: "a", subject: "bob", text: "bob left" })
      await done("tell", { room: "a", texts: ["2"] })
      await until(ada, "r", ["1", "bob left", "2"])
      expect(errorOf(await bob.exit("r"))).toMatchObject({ _tag: "NoMember" })
      expect(texts(bob, "r")).toEqual(["1"])
      expect(texts(eve, "r")).toEqual([])
      for (const peer of [ada, bob, eve]) peer.close()
    })

    it("PS5: a slow reader who may not read any more is sent nothing of what was kept for it", async () => {
      const { connect, done } = open()
      for (const subject of ["ada", "bob"]) await done("join", { room: "a", subject })
      const [slow, fast] = [await connect("bob"), await connect("ada")]
      for (const peer of [slow, fast]) await read(peer, "r", "told", { room: "a" })
      for (let i = 0; i < 25; i++) {
        await done("tell", { room: "a", texts: [`${i}`] })
        await expect.poll(() => texts(fast, "r").at(-1)).toBe(`${i}`)
        fast.send({ _tag: "Ack", requestId: "r" })
      }
      const before = texts(slow, "r").length
      expect(before).toBeLessThan(25)
      await done("expel", { room: "a", subject: "bob", text: "bob left" })
      expect(errorOf(await slow.exit("r"))).toMatchObject({ _tag: "NoMember" })
      acknowledge(slow, "r")
      await slow.call("members", {})
      expect(texts(slow, "r")).toHaveLength(before)
      slow.close()
      fast.close()
    })

    /** A live query of who is in a room, as `subject mood`. */
    const watch = async (peer: Peer, room: string) => {
      peer.send(request("here", "live:here", { room }))
      await peer.itemsOf("here", 1)
      return () => {
        const frames = peer.items("here")
        let value: any
        for (const frame of frames) {
          value = frame._tag === "Snapshot" ? frame.value : Result.getOrThrow(Patch.apply(value, frame.ops))
        }
        peer.send({ _tag: "Ack", requestId: "here" })
        return value.map(({ state, subject }: any) => `${subject} ${state.mood}`)
      }
    }
    const join = (peer: Peer, id: string, mood: string, room = "a") =>
      peer.send(request(id, "here.join", { key: { room }, state: { mood } }))

    it("PS8: who is here is a live value: somebody comes, changes, goes, and closes the socket", async () => {
      const { connect } = open()
      const [ada, bob, eve] = [await connect("ada"), await connect("bob"), await connect("eve")]
      const here = await watch(eve, "a")
      expect(here()).toEqual([])
      join(ada, "j", "glad")
      await expect.poll(here).toEqual(["ada glad"])
      join(bob, "j", "calm")
      await expect.poll(here).toEqual(["ada glad", "bob calm"])
      // A second stream of a connection says its state from now on.
      join(ada, "k", "sad")
      await expect.poll(here).toEqual(["ada sad", "bob calm"])
      ada.send({ _tag: "Interrupt", requestId: "j" })
      await ada.exit("j")
      expect(here()).toEqual(["ada sad", "bob calm"])
      ada.send({ _tag: "Interrupt", requestId: "k" })
      await expect.poll(here).toEqual(["bob calm"])
      bob.close()
      await expect.poll(here).toEqual([])
      ada.close()
      eve.close()
    })

    it("PS8: one subject with several sockets is several peers, and who is refused is none", async () => {
      const { connect } = open()
      const [one, two, eve] = [await connect("ada"), await connect("ada"), await connect("eve")]
      const here = await watch(eve, "a")
      const closed = await watch(await connect("bob"), "closed")
      join(one, "j", "1")
      join(two, "j", "2")
      await expect.poll(here).toEqual(["ada 1", "ada 2"])
      join(one, "c", "1", "closed")
      expect(errorOf(await one.exit("c"))).toMatchObject({ _tag: "NoMember" })
      expect(closed()).toEqual([])
      two.close()
      await expect.poll(here).toEqual(["ada 1"])
      one.close()
      eve.close()
    })

    it("PS9: who is here is so after hibernation, and who went meanwhile is not", async () => {
      const { connect, tenant } = open()
      const [ada, bob, eve] = [await connect("ada"), await connect("bob"), await connect("eve")]
      const here = await watch(eve, "a")
      join(ada, "j", "glad")
      join(bob, "j", "calm")
      await expect.poll(here).toEqual(["ada glad", "bob calm"])
      await app.evict(tenant)
      const late = await connect("late")
      const seen = await watch(late, "a")
      expect([...seen()].sort()).toEqual(["ada glad", "bob calm"])
      await app.evict(tenant)
      ada.close()
      await expect.poll(here).toEqual(["bob calm"])
      await expect.poll(seen).toEqual(["bob calm"])
      for (const peer of [bob, eve, late]) peer.close()
    })

    it("PS5: the query that decides is nobody's to call", async () => {
      const { connect, call } = open()
      const peer = await connect()
      for (const tag of ["~topic.said", "live:~topic.said", "live:said", "~pubsub.publish"]) {
        expect(errorOf(await peer.call(tag, { room: "a" }))?.reason).toMatchObject({ _tag: "UnknownRpc" })
      }
      expect(errorOf(await call("said", { room: "a" }))?.reason).toMatchObject({ _tag: "UnknownRpc" })
      expect(errorOf(await peer.call("said", { room: 1 }))?.reason).toMatchObject({ _tag: "PayloadInvalid" })
      peer.close()
    })

    it("PS7: Effect's own client reads a topic as the stream of an rpc", async () => {
      const { done, tenant } = open()
      const items = await Effect.gen(function* () {
        const client = yield* RpcClient.make(TopicsApi)
        const reading = yield* client.said({ room: "a" }).pipe(Stream.take(40), Stream.runCollect, Effect.forkChild)
        // It reads from some moment on.
        let isRead = false
        reading.addObserver(() => {
          isRead = true
        })
        for (let i = 0; !isRead; i++) yield* Effect.promise(() => done("say", { room: "a", texts: [`${i}`] }))
        return yield* Fiber.join(reading)
      }).pipe(Effect.scoped, Effect.provide(app.protocol("socket", tenant)), Effect.runPromise)
      const numbers = items.map(({ message }) => Number(message.text))
      expect(numbers).toEqual(Array.from({ length: 40 }, (_, i) => numbers[0]! + i))
    })
  })
