import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as RpcClient from "effect/rpc/RpcClient"
import * as Stream from "effect/Stream"
import { Auth } from "effect-dormouse/auth"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Patch from "../../../src/protocol/Patch.ts"
import { callersOf, type Deployment, errorOf, newTenant, type Peer, request } from "../../deployment/Deployment.ts"
import { eventsOf } from "../../deployment/events.ts"
import { TopicsApi } from "../../worker/topics.ts"
import { evictionCases } from "./evictionCases.ts"
import { publishCases, type Reading } from "./publishCases.ts"

/** Topics of the app in `topics.ts`, in memory and in workerd. */

export const suite = (name: string, here: () => Promise<Deployment & { readonly close?: () => Promise<void> }>) =>
  describe(name, () => {
    let app: Deployment & { readonly close?: () => Promise<void> }
    beforeAll(async () => {
      app = await here()
    })
    afterAll(() => app?.close?.())

    const open = (tenant = newTenant("topics")) => callersOf(app, tenant)
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

    evictionCases(() => app)

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

    /** Opens a reader of a history, and acknowledges whatever arrives. */
    const follow = async (peer: Peer, id: string, room: string, after?: string) => {
      await read(peer, id, "tokens", { key: { room }, ...(after !== undefined && { after }) })
      return acknowledging(peer, id)
    }
    /** Acknowledges each chunk once, as long as there are new ones. */
    const acknowledging = (peer: Peer, id: string) => {
      let acknowledged = 0
      return () => {
        const chunks = peer.messages.filter((message) => message._tag === "Chunk" && message.requestId === id).length
        for (; acknowledged < chunks; acknowledged++) peer.send({ _tag: "Ack", requestId: id })
        return texts(peer, id)
      }
    }
    const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `${from + i}`)

    it("PS11: a reader of a history gets what was published before and after, from its cursor on", async () => {
      const { connect, done } = open()
      const peer = await connect()
      await done("join", { room: "a", subject: "ada" })
      await done("emit", { room: "a", texts: numbers(0, 5) })
      await done("emit", { room: "b", texts: ["other"] })
      await read(peer, "start", "tokens", { key: { room: "a" } })
      await read(peer, "now", "tokens", { key: { room: "a" }, after: "now" })
      await until(peer, "start", numbers(0, 5))
      const { cursor } = peer.items("start")[2]
      await read(peer, "cursor", "tokens", { key: { room: "a" }, after: cursor })
      await done("emit", { room: "a", texts: numbers(5, 8), together: true })
      await until(peer, "start", numbers(0, 8))
      await until(peer, "cursor", numbers(3, 8))
      await until(peer, "now", numbers(5, 8))
      expect(peer.items("start").some(({ missed }) => missed !== undefined)).toBe(false)
      peer.close()
    })

    it("PS11: what is rolled back is not in the history, and takes no number", async () => {
      const { call, connect, done } = open()
      const peer = await connect()
      await done("join", { room: "a", subject: "ada" })
      await done("emit", { room: "a", texts: ["0"] })
      expect((await call("emitAndFail", { room: "a" }))._tag).toBe("Failure")
      await done("emit", { room: "a", texts: ["1"] })
      await read(peer, "r", "tokens", { key: { room: "a" } })
      await until(peer, "r", ["0", "1"])
      expect(peer.items("r").some(({ missed }) => missed !== undefined)).toBe(false)
      peer.close()
    })

    it("PS11: a query reads the cursor of the newest message, after which a reader continues", async () => {
      const { connect, done } = open()
      const peer = await connect()
      await done("join", { room: "a", subject: "ada" })
      expect(await done("tokens.newest", { room: "a" })).toBe("start")
      await done("emit", { room: "a", texts: numbers(0, 3) })
      const after = await done("tokens.newest", { room: "a" })
      await done("emit", { room: "a", texts: numbers(3, 5) })
      await read(peer, "r", "tokens", { key: { room: "a" }, after })
      await until(peer, "r", ["3", "4"])
      peer.close()
    })

    it("PS12: who comes after what was deleted is told how many are missing", async () => {
      const { connect, done } = open()
      const peer = await connect()
      await done("join", { room: "a", subject: "ada" })
      await done("emit", { room: "a", texts: ["0"] })
      await read(peer, "first", "tokens", { key: { room: "a" } })
      await until(peer, "first", ["0"])
      const { cursor: after } = peer.items("first")[0]
      peer.send({ _tag: "Interrupt", requestId: "first" })
      for (let i = 1; i < 200; i += 3) await done("emit", { room: "a", texts: numbers(i, i + 3) })
      for (const [id, payload] of Object.entries({ start: {}, cursor: { after } })) {
        const acknowledge = acknowledging(peer, id)
        await read(peer, id, "tokens", { key: { room: "a" }, ...payload })
        await expect.poll(() => acknowledge().at(-1)).toBe("201")
        const [item, ...more] = peer.items(id)
        expect(texts(peer, id)).toEqual(numbers(202 - peer.items(id).length, 202))
        expect(peer.items(id).length).toBeGreaterThanOrEqual(40)
        expect(peer.items(id).length).toBeLessThan(60)
        expect(item.missed).toBe(Number(item.message.text) - (id === "start" ? 0 : 1))
        expect(more.some(({ missed }) => missed !== undefined)).toBe(false)
      }
      // One message is kept at least, and the numbers go on.
      await done("number", { key: "k", numbers: numbers(0, 100).map(Number) })
      await read(peer, "k", "newest", { key: "k" })
      await expect.poll(() => peer.items("k")).toMatchObject([{ message: 99, missed: 99 }])
      peer.close()
    })

    it("PS13: a slow reader of a history misses nothing, also by hibernation, and others are not slowed", async () => {
      const { connect, done, tenant } = open()
      await done("join", { room: "a", subject: "ada" })
      const [slow, fast] = [await connect(), await connect()]
      const [acknowledgeSlow, acknowledgeFast] = [await follow(slow, "r", "a"), await follow(fast, "r", "a")]
      for (let i = 0; i < 30; i++) {
        await done("emit", { room: "a", texts: [`${i}`] })
        await expect.poll(() => acknowledgeFast().at(-1)).toBe(`${i}`)
        if (i === 25) await app.evict(tenant)
      }
      const before = texts(slow, "r").length
      expect(texts(slow, "r")).toEqual(numbers(0, before))
      await app.evict(tenant)
      await done("emit", { room: "a", texts: ["30"] })
      await expect.poll(() => acknowledgeFast()).toEqual(numbers(0, 31))
      await expect.poll(() => acknowledgeSlow()).toEqual(numbers(0, 31))
      for (const peer of [slow, fast]) expect(peer.items("r").some(({ missed }) => missed !== undefined)).toBe(false)
      slow.close()
      fast.close()
    })

    it("PS13: a slow reader that may not read any more is sent nothing of what was stored for it", async () => {
      const { connect, done, tenant } = open()
      await done("join", { room: "a", subject: "ada" })
      const slow = await connect()
      const acknowledge = await follow(slow, "r", "a")
      for (let i = 0; i < 20; i++) {
        await done("emit", { room: "a", texts: [`${i}`] })
        // Each of the first 16 is a chunk of its own. The others wait for acknowledgements.
        if (i < 16) await expect.poll(() => texts(slow, "r").length).toBe(i + 1)
      }
      await slow.call("members", {})
      expect(texts(slow, "r").length).toBe(16)
      await app.evict(tenant)
      // Its acknowledgements are in one message with its own expulsion, and come after it.
      slow.sendText(
        JSON.stringify([
          request("leave", "leave", { room: "a", subject: "ada" }),
          request("emit", "emit", { room: "a", texts: ["secret"] }),
          ...Array.from({ length: 16 }, () => ({ _tag: "Ack", requestId: "r" }))
        ])
      )
      expect(errorOf(await slow.exit("r"))).toMatchObject({ _tag: "NoMember" })
      await slow.call("members", {})
      expect(acknowledge()).not.toContain("secret")
      slow.close()
    })

    it("PS14: a cursor that is not one of the history is refused, and tells nothing to who may not read", async () => {
      const { connect, done } = open()
      const [ada, eve] = [await connect("ada"), await connect("eve")]
      for (const room of ["a", "b"]) await done("join", { room, subject: "ada" })
      await done("emit", { room: "a", texts: ["0"] })
      await done("emit", { room: "b", texts: ["0", "1"] })
      const cursorOf = (room: string): Promise<string> => done("tokens.newest", { room })
      const [own, foreign] = [await cursorOf("a"), await cursorOf("b")]
      const ahead = `${own.split(".")[0]}.2`
      for (const after of [foreign, ahead, `${own.split(".")[0]}.999999999999999`]) {
        const refused = await ada.call("tokens", { key: { room: "a" }, after })
        expect(errorOf(refused)?.reason).toMatchObject({ _tag: "PayloadInvalid" })
        const denied = await eve.call("tokens", { key: { room: "a" }, after })
        expect(errorOf(denied)).toMatchObject({ _tag: "NoMember" })
      }
      for (const after of ["", "first", "x.y", `${own}.1`, "a.-1", 1, null, { after: own }, `${own} OR 1=1`]) {
        const refused = await ada.call("tokens", { key: { room: "a" }, after })
        expect(errorOf(refused)?.reason).toMatchObject({ _tag: "PayloadInvalid" })
      }
      expect(errorOf(await ada.call("tokens", { room: "a" }))?.reason).toMatchObject({ _tag: "PayloadInvalid" })
      // The socket still reads.
      await read(ada, "r", "tokens", { key: { room: "a" }, after: "start" })
      await until(ada, "r", ["0"])
      ada.close()
      eve.close()
    })

    it("PS15: an action publishes what a stream emits, in its order", async () => {
      const { connect, done } = open()
      const peer = await connect()
      await done("join", { room: "a", subject: "ada" })
      const acknowledge = await follow(peer, "r", "a")
      const words = numbers(0, 300)
      await done("generate", { room: "a", words })
      await expect.poll(() => acknowledge().at(-1)).toBe("299")
      let next = 0
      for (const { message, missed = 0 } of peer.items("r")) {
        next += missed
        expect(message.text).toBe(`${next++}`)
      }
      peer.close()
    })

    it("PS17: a topic is a stream of events, which goes on after its last one", async () => {
      const { done, tenant } = open()
      await done("join", { room: "a", subject: "ada" })
      const as = (subject: string, more: object = {}) => ({
        authorization: `Bearer ${Auth.testToken({ subject })}`,
        ...more
      })
      const payload = encodeURIComponent(JSON.stringify({ key: { room: "a" } }))
      const room = encodeURIComponent(JSON.stringify({ room: "a" }))
      await done("emit", { room: "a", texts: ["0", "1"] })
      const first = await eventsOf(app, tenant, `tokens?payload=${payload}`, as("ada"))
      expect(first.response.headers.get("content-type")).toBe("text/event-stream")
      await expect.poll(() => first.events.map(({ data }) => data.message.text)).toEqual(["0", "1"])
      expect(first.events.map(({ id }) => id)).toEqual(first.events.map(({ data }) => data.cursor))
      const live = await eventsOf(app, tenant, `said?payload=${room}`, as("bob"))
      await app.evict(tenant)
      await done("emit", { room: "a", texts: ["2"] })
      await done("say", { room: "a", texts: ["now"] })
      await expect.poll(() => first.events.at(-1)?.data.message.text).toBe("2")
      await expect.poll(() => live.events).toEqual([{ data: { message: { text: "now" } } }])
      const id = first.events[0]!.id!
      await first.close()
      const again = await eventsOf(app, tenant, `tokens?payload=${payload}`, as("ada", { "last-event-id": id }))
      await expect.poll(() => again.events.map(({ data }) => data.message.text)).toEqual(["1", "2"])
      // Who may not read any more is told so, and refused when it connects again.
      await done("leave", { room: "a", subject: "ada" })
      await expect.poll(() => again.isEnded()).toBe(true)
      expect(again.events.at(-1)).toMatchObject({ event: "failure", data: { _tag: "NoMember" } })
      const refused = await eventsOf(app, tenant, `tokens?payload=${payload}`, as("ada", { "last-event-id": id }))
      expect(refused.response.status).toBe(403)
      expect(await refused.response.json()).toMatchObject({ error: { _tag: "NoMember" } })
      await live.close()
    })

    it("PS17: a client that goes away ends what it reads, and one that does not read loses the oldest", async () => {
      const { done, tenant } = open()
      await done("join", { room: "a", subject: "ada" })
      const authorization = `Bearer ${Auth.testToken({ subject: "ada" })}`
      const joining = encodeURIComponent(JSON.stringify({ key: { room: "a" }, state: { mood: "glad" } }))
      const here = await eventsOf(app, tenant, `here.join?payload=${joining}`, { authorization })
      const peers = async () => (await done("here", { room: "a" })).map(({ state }: any) => state.mood)
      await expect.poll(peers).toEqual(["glad"])
      await here.close()
      await expect.poll(peers).toEqual([])
      const room = encodeURIComponent(JSON.stringify({ room: "a" }))
      const slow = await eventsOf(app, tenant, `told?payload=${room}`, { authorization }, false)
      // 16 chunks hold 48 of these messages at most.
      for (let i = 0; i < 80; i++) await done("tell", { room: "a", texts: [`${i} ${"x".repeat(100_000)}`] })
      slow.read()
      // Its acknowledgements reach the object, which then sends the newest.
      await expect.poll(() => slow.events.at(-1)?.data.message.text.split(" ")[0]).toBe("79")
      let next = 0
      for (const { data } of slow.events) {
        next += data.missed ?? 0
        expect(data.message.text.split(" ")[0]).toBe(`${next++}`)
      }
      expect(slow.events.length).toBeLessThan(80)
      await slow.close()
    })

    it("PS17: what is not a topic, or not a request, is no stream of events", async () => {
      const { done, tenant } = open()
      await done("join", { room: "a", subject: "ada" })
      const status = async (path: string, headers: Record<string, string> = {}) =>
        (
          await eventsOf(app, tenant, path, {
            authorization: `Bearer ${Auth.testToken({ subject: "ada" })}`,
            ...headers
          })
        ).response.status
      const payload = encodeURIComponent(JSON.stringify({ room: "b", subject: "ada" }))
      for (const path of ["members", "nothing", `join?payload=${payload}`, "~pubsub.publish", "~topic.said", "%", ""]) {
        expect(await status(path)).toBe(404)
      }
      expect(await done("members", {})).toEqual(["a ada"])
      for (const path of ["said", "said?payload=%7B", "said?payload=1", "tokens?payload=%7B%7D"]) {
        expect(await status(path)).toBe(400)
      }
      const key = encodeURIComponent(JSON.stringify({ key: { room: "a" } }))
      expect(await status(`tokens?payload=${key}`, { "last-event-id": "x" })).toBe(400)
      expect(await status(`tokens?payload=${key}`, { authorization: "Bearer wrong" })).toBe(401)
    })

    it("N1: a topic that is internal does not exist for clients", async () => {
      const { connect, tenant } = open()
      const peer = await connect()
      for (const tag of ["secret", "live:secret", "~topic.secret"]) {
        expect(errorOf(await peer.call(tag, "k"))?.reason).toMatchObject({ _tag: "UnknownRpc" })
      }
      expect((await eventsOf(app, tenant, "secret?payload=%22k%22")).response.status).toBe(404)
      peer.close()
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
