import { env, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test"
import * as Result from "effect/Result"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import { describe, expect, it } from "vitest"
import * as Limits from "../../src/protocol/Limits.ts"
import { ping, pong } from "../../src/protocol/Messages.ts"
import * as Patch from "../../src/protocol/Patch.ts"
import { cloudflare, object } from "../deployment/cloudflare.ts"
import { errorOf, newTenant, type Peer, post, request } from "../deployment/Deployment.ts"
import { waiting } from "../worker/notes.ts"

// Captures the log, so that tests can read it.
const deployment = cloudflare()
const open = (name: string, namespace = env.TENANT_OBJECT) => object(namespace, newTenant(name))
type Opened = ReturnType<typeof open>

const ack = (peer: Peer, requestId: string | number) => peer.send({ _tag: "Ack", requestId })
const interrupt = (peer: Peer, requestId: string | number) => peer.send({ _tag: "Interrupt", requestId })

/** The platform evicts an object after ten seconds without an event: time is what the tests with this are about. */
const rest = () => new Promise((resolve) => setTimeout(resolve, 16_000))

/** Subscribes and waits for the first value. */
let watched = 0
const watch = async (
  peer: Peer,
  tag: string,
  payload: unknown = {},
  id: string | number = `live-${watched++}`,
  headers: Parameters<typeof request>[3] = []
) => {
  peer.send(request(id, `live:${tag}`, payload, headers))
  await peer.itemsOf(id, 1)
  ack(peer, id)
  return id
}

/** The value of a live query, from its frames. */
const valueOf = (items: ReadonlyArray<any>): any => {
  let parts = ""
  let value: any
  const take = (frame: any): void => {
    switch (frame._tag) {
      case "Snapshot":
        value = frame.value
        return
      case "Patch":
        value = Result.getOrThrow(Patch.apply(value, frame.ops))
        return
      case "Part":
        parts += frame.text
        if (!frame.last) return
        frame = JSON.parse(parts)
        parts = ""
        return take(frame)
    }
  }
  for (const item of items) take(item)
  return value
}

const attachments = (opened: Opened): Promise<ReadonlyArray<any>> =>
  runInDurableObject(opened.stub(), (_, ctx) => ctx.getWebSockets().map((socket) => socket.deserializeAttachment()))

/** Changes the attachments of an object's sockets, as if the object had stored less. */
const changeAttachments = (opened: Opened, change: (attachment: any) => unknown) =>
  runInDurableObject(opened.stub(), (_, ctx) => {
    for (const socket of ctx.getWebSockets()) {
      const changed = change(JSON.parse(socket.deserializeAttachment()))
      socket.serializeAttachment(changed === null ? null : JSON.stringify(changed))
    }
  })
const heapOnly = (attachment: any) => ({ ...attachment, subscriptions: [], progress: [], calls: [] })

const subscriptionRows = async (opened: Opened) =>
  (await opened.rows("SELECT count(*) FROM _dormouse_subscriptions"))[0]![0]

describe("L7: an eviction must not be noticeable", () => {
  it("L7: an eviction after any step of a conversation changes nothing for clients", async () => {
    const steps: ReadonlyArray<(peer: Peer, other: Peer) => Promise<unknown>> = [
      (peer) => watch(peer, "notes.list", {}, 1),
      (peer) => watch(peer, "notes.named", { body: "b" }, 2),
      async (peer) => {
        await peer.call("notes.add", { body: "a" })
        await peer.itemsOf(1, 2)
      },
      async (peer) => ack(peer, 1),
      async (peer, other) => {
        await other.call("notes.add", { body: "b" })
        await peer.itemsOf(1, 3)
        await peer.itemsOf(2, 2)
      },
      // Not acknowledged yet: the next result waits.
      (_, other) => other.call("notes.add", { body: "b" }),
      async (peer) => {
        ack(peer, 1)
        await peer.itemsOf(1, 4)
      },
      async (peer) => {
        ack(peer, 2)
        await peer.itemsOf(2, 3)
      },
      async (peer) => {
        interrupt(peer, 1)
        await peer.exit(1)
      },
      (_, other) => other.call("notes.add", { body: "c" }),
      async (peer) => ack(peer, 2),
      async (peer, other) => {
        await other.call("notes.add", { body: "b" })
        await peer.itemsOf(2, 4)
      }
    ]
    const converse = async (isEvictedAfter: (step: number) => boolean) => {
      const opened = open("steps")
      const peer = await opened.connect()
      const other = await opened.connect()
      for (const [i, step] of steps.entries()) {
        await step(peer, other)
        await peer.settled()
        if (isEvictedAfter(i)) await opened.evict()
      }
      await peer.settled()
      const bodies = (id: number) => valueOf(peer.items(id)).map(({ body }: { body: string }) => body)
      return {
        starts: opened.starts(),
        seen: [bodies(1), bodies(2), peer.items(1).length, peer.items(2).length, peer.exits(1), peer.exits(2)]
      }
    }
    const undisturbed = await converse(() => false)
    expect(undisturbed).toEqual({
      starts: 1,
      seen: [["a", "b", "b"], ["b", "b", "b"], 4, 4, [expect.objectContaining({ _tag: "Failure" })], []]
    })
    for (let i = 0; i < steps.length; i++) {
      expect(await converse((step) => step === i), `evicted after step ${i}`).toEqual({ ...undisturbed, starts: 2 })
    }
    expect(await converse(() => true)).toEqual({ ...undisturbed, starts: steps.length + 1 })
  })

  it("L7: an eviction does not change attachments", async () => {
    const opened = open("same")
    const peer = await opened.connect()
    await watch(peer, "notes.list")
    await peer.settled()
    await expect.poll(async () => (await attachments(opened))[0]).toContain("notes.list")
    const before = await attachments(opened)
    await opened.evict()
    expect(await attachments(opened)).toEqual(before)
    expect(opened.starts()).toBe(2)
  })

  it("fault 1: a live query is still updated after an eviction", async () => {
    const updates = async (change?: (attachment: any) => unknown) => {
      const opened = open("silence")
      const [peer, other] = [await opened.connect(), await opened.connect()]
      const live = await watch(peer, "notes.list")
      await peer.settled()
      if (change !== undefined) await changeAttachments(opened, change)
      await opened.evict()
      await other.call("notes.add", { body: "after the wake" })
      await peer.settled()
      return peer.items(live).slice(1)
    }
    expect(valueOf(await updates())).toMatchObject([{ body: "after the wake" }])
    // The control: with its subscriptions only in the heap, the same object sends no update.
    expect(await updates(heapOnly)).toEqual([])
  })

  it("fault 2: an interrupt after an eviction gets its exit, and ends the query", async () => {
    const interrupted = async (change?: (attachment: any) => unknown) => {
      const opened = open("interrupt")
      const peer = await opened.connect()
      const live = await watch(peer, "notes.list")
      await peer.settled()
      if (change !== undefined) await changeAttachments(opened, change)
      await opened.evict()
      interrupt(peer, live)
      await peer.until(() => peer.exits(live).length > 0 || peer.closed)
      const exits = peer.exits(live)
      if (peer.closed === undefined) {
        await peer.call("notes.add", { body: "no subscriber" })
        await peer.settled()
      }
      return { exits, frames: peer.items(live).length, closed: peer.closed?.code }
    }
    const exit = { _tag: "Failure", cause: [{ _tag: "Interrupt", fiberId: null }] }
    expect(await interrupted()).toEqual({ exits: [exit], frames: 1, closed: undefined })
    // The control: without its attachment, a socket gets no exit.
    expect(await interrupted(() => null)).toEqual({ exits: [], frames: 1, closed: 1011 })
  })

  it("fault 3: an acknowledgement of an unknown request is ignored", async () => {
    const opened = open("ack")
    const peer = await opened.connect()
    const live = await watch(peer, "notes.list")
    await peer.settled()
    for (const isAsleep of [false, true]) {
      if (isAsleep) await opened.evict()
      const before = peer.texts.length
      for (const id of ["unknown", 17, ""]) ack(peer, id)
      for (let i = 0; i < 3; i++) ack(peer, live)
      await peer.settled()
      const sent = JSON.parse(`[${peer.texts.slice(before).join()}]`).flat()
      expect(new Set(sent.map(({ _tag }: { readonly _tag: string }) => _tag))).toEqual(new Set(["Exit"]))
    }
    expect((await peer.call("notes.add", { body: "alive" }))._tag).toBe("Success")
    await peer.itemsOf(live, 2)
    expect(peer.closed).toBeUndefined()
    // The control: an invalid message is not ignored.
    peer.send({ _tag: "Ack" })
    expect(await peer.until(() => peer.closed)).toMatchObject({ code: 1007 })
  })

  it("fault 4: pongs of the platform do not hide that an object cannot start", async () => {
    const opened = open("dead")
    const [peer, other] = [await opened.connect(), await opened.connect()]
    await watch(peer, "notes.list")
    await peer.call("notes.add", { body: "the first write" })
    await opened.rows("UPDATE _dormouse_schema SET tables = 'damaged'")
    await opened.evict()
    peer.sendText(ping)
    await peer.until(() => peer.texts.includes(pong))
    expect(peer.closed).toBeUndefined()
    other.ask("look", {})
    // Both sockets are closed: the one with a request, and the one that only waits and pings.
    for (const each of [peer, other]) expect(await each.until(() => each.closed)).toMatchObject({ code: 1011 })
    expect(deployment.logged()).toContain("the object could not start")
  })

  it("J5, S1: an object that could not start starts anew with an event, and its alarm goes off again", async () => {
    const opened = open("passing")
    await (await opened.connect()).call("notes.add", { body: "the first write" })
    const [[whole]] = (await opened.rows("SELECT tables FROM _dormouse_schema")) as [[string]]
    const set = (tables: string) =>
      opened.rows(`UPDATE _dormouse_schema SET tables = '${tables.replaceAll("'", "''")}'`)
    const isCalled = async () => (await (await opened.connect()).call("notes.list", {}))._tag
    /** Does it again when the object, which is aborted a second after each start, was aborted meanwhile. */
    const untilDone = async (step: () => Promise<void>) => {
      await expect.poll(() => step().then(() => "done", String)).toBe("done")
    }
    await set("damaged")
    await opened.evict()
    // The control: it did not start.
    await expect(isCalled()).rejects.toThrow()
    // The alarm of what is due, which the platform forgets when it has gone off.
    await untilDone(async () => {
      await runInDurableObject(opened.stub(), (_, { storage }) => storage.setAlarm(Date.now() + 3_600_000))
      const before = Date.now()
      expect(await runDurableObjectAlarm(opened.stub())).toBe(true)
      const at = await runInDurableObject(opened.stub(), (_, { storage }) => storage.getAlarm())
      expect([at! >= before + 60_000, at! <= Date.now() + 60_000]).toEqual([true, true])
    })
    await untilDone(async () => void (await set(whole)))
    // Although calls come all the time.
    await expect.poll(() => isCalled().catch(() => "Unavailable")).toBe("Success")
  })

  it("fault 5: the ping of Effect's client is answered byte for byte, and does not wake the object", async () => {
    const bytes = RpcSerialization.json.makeUnsafe().encode({ _tag: "Ping" })
    expect(bytes).toBe(ping)
    const pinged = async (text: string, namespace = env.TENANT_OBJECT) => {
      const opened = open("ping", namespace)
      const peer = await opened.connect()
      await peer.settled()
      await opened.evict()
      const before = peer.texts.length
      peer.sendText(text)
      await peer.until(() => peer.texts.length > before)
      return { answer: peer.texts.at(-1), woken: opened.starts() - 1 }
    }
    expect(await pinged(ping)).toEqual({ answer: pong, woken: 0 })
    // Other bytes wake the object, and are answered as well.
    expect(await pinged('{ "_tag": "Ping" }')).toEqual({ answer: pong, woken: 1 })
    // The control: an object that answers pings itself is woken by each ping.
    expect(await pinged(ping, env.PINGED)).toEqual({ answer: pong, woken: 1 })
  })

  it("fault 10: two sockets that were opened at once both survive", async () => {
    const opened = open("two")
    const peers = await Promise.all([opened.connect(), opened.connect()])
    const lives = await Promise.all(peers.map((peer) => watch(peer, "notes.list")))
    await Promise.all(peers.map((peer) => peer.settled()))
    const ids = (await attachments(opened)).map((text) => JSON.parse(text).id)
    expect(new Set(ids).size).toBe(2)
    await opened.evict()
    await peers[1].call("notes.add", { body: "for both" })
    for (const [i, peer] of peers.entries()) {
      expect(valueOf(await peer.itemsOf(lives[i]!, 2))).toMatchObject([{ body: "for both" }])
    }
  })

  it("fault 8: a reused id refers to the new request", async () => {
    const opened = open("again")
    const peer = await opened.connect()
    for (const isAsleep of [false, true]) {
      const id = `again-${isAsleep}`
      await watch(peer, "notes.list", {}, id)
      await peer.settled()
      if (isAsleep) await opened.evict()
      peer.send(request(id, "live:notes.named", { body: "new" }))
      await peer.itemsOf(id, 2)
      ack(peer, id)
      await peer.call("notes.add", { body: "not for it" })
      await peer.settled()
      expect(peer.items(id)).toHaveLength(2)
      if (isAsleep) await opened.evict()
      await peer.call("notes.add", { body: "new" })
      expect(valueOf(await peer.itemsOf(id, 3)).at(-1)).toMatchObject({ body: "new" })
      // A call with the same id replaces it as well.
      peer.send(request(id, "look", {}))
      expect(await peer.exit(id)).toMatchObject({ _tag: "Success" })
      await peer.call("notes.add", { body: "new" })
      await peer.settled()
      expect(peer.items(id)).toHaveLength(3)
    }
  })

  it("fault 8: an action whose id is reused is interrupted, and sends nothing under that id", async () => {
    const opened = open("again")
    const peer = await opened.connect()
    const name = newTenant("replaced")
    peer.send(request("x", "act.wait", { name }))
    await peer.until(() => waiting.started.has(name))
    peer.send(request("x", "echo", { value: 1 }))
    await peer.exit("x")
    await expect.poll(() => waiting.interrupted.has(name)).toBe(true)
    await peer.settled()
    expect(peer.exits("x")).toEqual([{ _tag: "Success", value: 1 }])
    expect(JSON.parse((await attachments(opened))[0]).calls).toEqual([])
  })

  it("fault 9: a call that was running ends with a typed error", async () => {
    const lost = async (change: (attachment: any) => unknown) => {
      const opened = open("lost")
      const peer = await opened.connect()
      await peer.settled()
      // Simulated: the platform does not evict an object that waits for an action, and a crash closes its sockets.
      await changeAttachments(opened, change)
      await opened.evict()
      await peer.settled()
      return peer.exits("call")
    }
    const [exit, ...others] = await lost((attachment) => ({ ...attachment, calls: ["call"] }))
    expect(errorOf(exit)).toMatchObject({ _tag: "CallError", reason: { _tag: "CallLost" } })
    expect(others).toEqual([])
    // The control: without the id in the attachment there is no exit.
    expect(await lost(heapOnly)).toEqual([])
  })

  it("fault 9: the attachment has the id of a call exactly while it runs", async () => {
    const opened = open("lost")
    const peer = await opened.connect()
    const calls = async () => JSON.parse((await attachments(opened))[0]).calls
    const name = newTenant("lost")
    peer.send(request("call", "act.wait", { name }))
    await peer.until(() => waiting.started.has(name))
    await expect.poll(calls).toEqual(["call"])
    interrupt(peer, "call")
    expect(await peer.exit("call")).toEqual({ _tag: "Failure", cause: [{ _tag: "Interrupt", fiberId: null }] })
    await expect.poll(calls).toEqual([])
    await expect.poll(() => waiting.interrupted.has(name)).toBe(true)
  })
})

// Together, because each of them waits until the platform would have evicted the object.
describe.concurrent("L7, L8: what hibernates, and what stays awake", () => {
  it("fault 6, fault 10, L8: an object with two sockets that were opened at once, and that ping, hibernates", async () => {
    const prompt = [["dormouse-prompt", "1"]] as const
    const idle = async (
      namespace: DurableObjectNamespace,
      headers: Parameters<typeof request>[3] = [],
      acknowledges = true
    ) => {
      const opened = open("idle", namespace)
      const peers = await Promise.all([opened.connect(), opened.connect()])
      const lives = await Promise.all(peers.map((peer) => watch(peer, "notes.list", {}, undefined, headers)))
      // Everything that could leave work behind: a call, a commit with its flush, an action.
      await peers[0].call("act.end", { ending: "promise" })
      await peers[0].call("notes.add", { body: "one" })
      for (const [i, peer] of peers.entries()) {
        await peer.itemsOf(lives[i]!, 2)
        if (acknowledges) ack(peer, lives[i]!)
      }
      let pings = 0
      const pinging = setInterval(() => {
        pings++
        for (const peer of peers) peer.sendText(ping)
      }, 2000)
      await rest()
      clearInterval(pinging)
      const pongsOf = ({ texts }: Peer) => texts.filter((text) => text === pong).length
      for (const peer of peers) await peer.until(() => pongsOf(peer) === pings)
      const slept = opened.starts()
      if (!acknowledges) for (const [i, peer] of peers.entries()) ack(peer, lives[i]!)
      await peers[0].call("notes.add", { body: "two" })
      for (const [i, peer] of peers.entries()) await peer.itemsOf(lives[i]!, 3)
      return { isPinged: pings > 0, starts: [slept, opened.starts()], closed: peers.map(({ closed }) => closed) }
    }
    const [quiet, acknowledged, stock, waiting, exporting, restless, pinged] = await Promise.all([
      idle(env.TENANT_OBJECT),
      idle(env.TENANT_OBJECT, prompt),
      idle(env.TENANT_OBJECT, [], false),
      idle(env.TENANT_OBJECT, prompt, false),
      idle(env.TELEMETRY),
      idle(env.RESTLESS),
      idle(env.PINGED)
    ])
    const others = { isPinged: true, closed: [undefined, undefined] }
    expect(quiet).toEqual({ ...others, starts: [1, 2] })
    expect(acknowledged).toEqual({ ...others, starts: [1, 2] })
    expect(stock).toEqual({ ...others, starts: [1, 2] })
    // It waits for the acknowledgement of a client that promised one, 30 s at most.
    expect(waiting).toEqual({ ...others, starts: [1, 1] })
    expect(exporting).toEqual({ ...others, starts: [1, 2] })
    // The controls: a timer keeps an object awake, and so do pings that it answers itself.
    expect(restless).toEqual({ ...others, starts: [1, 1] })
    expect(pinged).toEqual({ ...others, starts: [1, 1] })
  })

  it("L7: an object stays awake while a chunk of an open stream is not acknowledged and its client pings", async () => {
    const pause = async (isKept: boolean) => {
      const opened = open("slow")
      await (await opened.connect()).settled()
      if (!isKept) {
        await runInDurableObject(opened.stub(), (instance) => {
          ;(instance as any).engine.sockets.sessionOptions.after = () => () => {}
        })
      }
      const peer = await opened.connect()
      const name = newTenant("slow")
      const id = peer.ask("act.forever", { name, length: 1 })
      await peer.itemsOf(id, 1)
      ack(peer, id)
      await peer.itemsOf(id, 2)
      const pinging = setInterval(() => peer.sendText(ping), 2000)
      await rest()
      clearInterval(pinging)
      const isInterrupted = waiting.interrupted.has(name)
      ack(peer, id)
      const next = await peer.until(() => peer.items(id).length > 2 || peer.exits(id)[0])
      interrupt(peer, id)
      await peer.until(() => peer.exits(id)[0])
      return { starts: opened.starts(), isInterrupted, next: next === true ? peer.items(id)[2] : errorOf(next) }
    }
    const [kept, asleep] = await Promise.all([pause(true), pause(false)])
    expect(kept).toEqual({ starts: 1, isInterrupted: false, next: "3" })
    // The control: without the timer the object falls asleep, and the stream is lost.
    expect(asleep).toMatchObject({
      starts: 2,
      isInterrupted: true,
      next: { _tag: "CallError", reason: { _tag: "CallLost" } }
    })
  })

  it("L7, L8: the timer ends with the acknowledgement: an object whose stream has ended hibernates", async () => {
    const opened = open("read")
    const peer = await opened.connect()
    const id = peer.ask("act.count", { to: 3 })
    for (let chunks = 1; chunks < 10 && peer.exits(id).length === 0; chunks++) {
      await peer.until(() => peer.exits(id)[0] ?? peer.messages.filter(({ _tag }) => _tag === "Chunk").length >= chunks)
      ack(peer, id)
    }
    const interrupted = peer.ask("act.forever", { name: newTenant("read"), length: 1 })
    await peer.itemsOf(interrupted, 1)
    interrupt(peer, interrupted)
    await peer.exit(interrupted)
    await rest()
    await peer.call("look", {})
    expect(opened.starts()).toBe(2)
  })
})

describe("fault 7: more than an attachment can store", () => {
  const many = 60
  const body = (i: number) => `${i}-${"x".repeat(300)}`
  /** Opens a socket with so many subscriptions that they are stored in rows. */
  const overflow = async (opened: Opened) => {
    const peer = await opened.connect()
    for (let i = 0; i < many; i++) peer.send(request(i, "live:notes.named", { body: body(i) }))
    await peer.itemsOf(many - 1, 1)
    for (let i = 0; i < many; i++) ack(peer, i)
    await peer.settled()
    return peer
  }

  it("fault 7: the platform stores 16,384 bytes, and refuses more (the control)", async () => {
    const opened = open("bytes")
    await opened.connect()
    await runInDurableObject(opened.stub(), (_, ctx) => {
      const [socket] = ctx.getWebSockets()
      // The platform's own framing takes a few bytes.
      expect(() => socket!.serializeAttachment("x".repeat(Limits.socketAttachmentBytes - 8))).not.toThrow()
      expect(() => socket!.serializeAttachment("x".repeat(Limits.socketAttachmentBytes))).toThrow()
    })
  })

  it("fault 7: subscriptions that do not fit are stored in rows, and survive", async () => {
    const opened = open("spill")
    const peer = await overflow(opened)
    const [text] = await attachments(opened)
    expect(JSON.parse(text)).toMatchObject({ subscriptions: null })
    await expect.poll(() => subscriptionRows(opened)).toBe(many)
    for (const i of [0, 31, many - 1]) {
      await opened.evict()
      await peer.call("notes.add", { body: body(i) })
      expect(valueOf(await peer.itemsOf(i, 2))).toMatchObject([{ body: body(i) }])
      ack(peer, i)
      await peer.settled()
    }
    // No other subscription got a frame.
    for (let i = 0; i < many; i++) expect(peer.items(i)).toHaveLength([0, 31, many - 1].includes(i) ? 2 : 1)
  })

  it("fault 7: a row is deleted with its subscription, and inserted again for a reused id", async () => {
    const opened = open("spill")
    const peer = await overflow(opened)
    interrupt(peer, 5)
    await peer.exit(5)
    await expect.poll(() => subscriptionRows(opened)).toBe(many - 1)
    peer.send(request(5, "live:notes.named", { body: "again" }))
    await peer.itemsOf(5, 2)
    ack(peer, 5)
    await peer.settled()
    await expect.poll(() => subscriptionRows(opened)).toBe(many)
    await opened.evict()
    await peer.call("notes.add", { body: "again" })
    expect(valueOf(await peer.itemsOf(5, 3))).toMatchObject([{ body: "again" }])
  })

  it("fault 7: rows are deleted with their socket, even if it closes during hibernation", async () => {
    const opened = open("spill")
    const [leaving, staying] = [await overflow(opened), await overflow(opened)]
    await expect.poll(() => subscriptionRows(opened)).toBe(2 * many)
    leaving.close(1000)
    await expect.poll(() => subscriptionRows(opened)).toBe(many)
    await staying.settled()
    await opened.evict("close")
    await expect.poll(() => subscriptionRows(opened)).toBe(0)
    expect(opened.starts()).toBe(2)
  })

  it("fault 7: a subscription that is too large for a row is refused with the name of the limit", async () => {
    const opened = open("spill")
    const peer = await opened.connect()
    const exit = await peer.call("live:notes.named", { body: "x".repeat(2_100_000) })
    expect(errorOf(exit).reason).toMatchObject({ _tag: "LimitExceeded", limit: "rowBytes", max: 2_000_000 })
    expect(await peer.call("look", {})).toMatchObject({ _tag: "Success" })
    await opened.evict()
    expect(await peer.call("look", {})).toMatchObject({ _tag: "Success" })
  })
})

describe("fault 11: a result larger than one message", () => {
  const bytesOf = (text: string) => new TextEncoder().encode(text).length

  for (const [name, unit, length] of [
    ["letters", "x", 1_500_000],
    ["characters of three bytes", "語", 450_000],
    ["characters of two units", "😀", 300_000],
    ["characters that JSON escapes", '"\\', 500_000]
  ] as const) {
    it(`fault 11: ${name} are sent in parts, none of them too large`, async () => {
      const opened = open("large")
      const peer = await opened.connect()
      peer.send(request(1, "live:text", { length, unit }))
      await peer.until(() => peer.items(1).at(-1)?.last)
      // The control: the result would not fit in one message.
      expect(bytesOf(JSON.stringify(unit.repeat(length)))).toBeGreaterThan(Limits.socketMessageBytes)
      for (const text of peer.texts) expect(bytesOf(text)).toBeLessThanOrEqual(Limits.socketMessageBytes)
      expect(peer.items(1).map(({ _tag, last }) => [_tag, last])).toEqual([
        ...peer
          .items(1)
          .slice(1)
          .map(() => ["Part", false]),
        ["Part", true]
      ])
      expect(valueOf(peer.items(1)) === unit.repeat(length)).toBe(true)
    })
  }

  it("fault 11: parts are acknowledged one by one, across an eviction", async () => {
    const opened = open("large")
    const [peer, other] = [await opened.connect(), await opened.connect()]
    await other.call("notes.add", { body: "x".repeat(1_400_000) })
    peer.send(request(1, "live:notes.list", {}))
    await peer.until(() => peer.items(1).at(-1)?.last)
    const parts = peer.items(1).length
    expect(parts).toBeGreaterThan(1)
    await other.call("notes.add", { body: "small" })
    for (let i = 1; i < parts; i++) ack(peer, 1)
    await peer.settled()
    await opened.evict()
    await peer.settled()
    expect(peer.items(1)).toHaveLength(parts)
    ack(peer, 1)
    await peer.until(() => peer.items(1).length > parts && peer.items(1).at(-1).last !== false)
    expect(valueOf(peer.items(1)).map(({ body }: { body: string }) => body.length)).toEqual([1_400_000, 5])
  })
})

describe("fault 12: an answer for a closed socket", () => {
  it("fault 12: an action is interrupted when its caller disconnects, without an error in the object", async () => {
    const opened = open("gone")
    const [peer, other] = [await opened.connect(), await opened.connect()]
    const names = ["act.wait", "act.forever"].map((tag) => {
      const name = newTenant("gone")
      peer.ask(tag, { name, length: 1 })
      return name
    })
    await peer.until(() => waiting.started.has(names[0]!))
    await watch(peer, "notes.list")
    deployment.logged()
    peer.close(1000)
    await other.until(() => names.every((name) => waiting.interrupted.has(name)))
    expect((await other.call("notes.add", { body: "alive" }))._tag).toBe("Success")
    expect(deployment.logged()).toBe("")
    expect(opened.starts()).toBe(1)
    expect(await attachments(opened)).toHaveLength(1)
  })

  it("fault 12, L8: an action that was called as a notification is interrupted as well", async () => {
    const opened = open("gone")
    const [peer, other] = [await opened.connect(), await opened.connect()]
    const name = newTenant("gone")
    peer.send({ ...request("notified", "act.wait", { name }), isNotification: true })
    await peer.until(() => waiting.started.has(name))
    peer.close(1000)
    await other.until(() => waiting.interrupted.has(name))
    expect((await other.call("notes.add", { body: "alive" }))._tag).toBe("Success")
  })

  it("S2: an action that waits for something that cannot happen fails with Unavailable, which says so", async () => {
    const peer = await open("hung").connect()
    expect(errorOf(await peer.call("act.end", { ending: "deferred" }))).toMatchObject({
      _tag: "CallError",
      reason: { _tag: "Unavailable", detail: expect.stringMatching(/the platform ended the action: .* hung/) }
    })
    expect(await peer.call("echo", { value: 1 })).toEqual({ _tag: "Success", value: 1 })
  })

  it("S2: over HTTP as well, for that call alone", async () => {
    const tenant = newTenant("hung")
    const never = request("1", "act.end", { ending: "deferred" })
    const unavailable = {
      _tag: "CallError",
      reason: { _tag: "Unavailable", detail: expect.stringMatching(/the platform ended the action: .* hung/) }
    }
    const alone = await post(deployment, tenant, JSON.stringify(never))
    expect(alone.status).toBe(200)
    expect(((await alone.json()) as any).map(({ exit }: any) => errorOf(exit))).toEqual([unavailable])
    const others = [
      request("2", "act.add", { body: "one" }),
      request("3", "act.count", { to: 2 }),
      request("4", "echo", { value: 1 })
    ]
    const response = await post(deployment, tenant, JSON.stringify([never, ...others]))
    const messages: ReadonlyArray<any> = await response.json()
    const exits = new Map(messages.flatMap(({ exit, requestId }) => (exit === undefined ? [] : [[requestId, exit]])))
    expect(errorOf(exits.get("1"))).toEqual(unavailable)
    for (const id of ["2", "3", "4"]) expect(exits.get(id)).toMatchObject({ _tag: "Success" })
    expect(messages.filter(({ requestId }) => requestId === "3").flatMap(({ values = [] }) => values)).toEqual([1, 2])
    expect(messages.filter(({ _tag }) => _tag === "Exit")).toHaveLength(4)
  })

  it("fault 12: sending to a closed socket throws on the platform (the control)", async () => {
    await runInDurableObject(open("gone").stub(), () => {
      const { 0: client, 1: server } = new WebSocketPair()
      client.accept()
      server.accept()
      server.close(1000)
      expect(() => server.send("{}")).toThrow()
    })
  })
})

describe("T2: a lost machine", () => {
  it("T2: no answer without its commit, no commit without its answer", async () => {
    const opened = open("lost", env.DYING)
    const peer = await opened.connect()
    expect((await peer.call("notes.add", { body: "kept" }))._tag).toBe("Success")
    const live = await watch(peer, "notes.list")
    const dying = peer.ask("notes.add", { body: "die now" })
    await peer.until(() => peer.closed)
    expect(peer.closed).toMatchObject({ code: 1006 })
    expect([peer.exits(dying), peer.items(live).length]).toEqual([[], 1])
    // After the restart there is exactly what was answered.
    const again = await opened.connect()
    expect((await again.call("notes.list", {})) as any).toMatchObject({ value: [{ body: "kept" }] })
    expect(opened.starts()).toBe(2)
  })

  it("T2: a deployment closes sockets, which can be opened again", async () => {
    const opened = open("deployed")
    const peer = await opened.connect()
    await watch(peer, "notes.list")
    await opened.evict("close")
    expect((await peer.until(() => peer.closed)).code).toBeGreaterThan(1000)
    const again = await opened.connect()
    expect((await again.call("notes.list", {}))._tag).toBe("Success")
  })
})

describe("close codes", () => {
  const closedBy = async (text: string | Uint8Array<ArrayBuffer>, isAsleep = false) => {
    const opened = open("codes")
    const peer = await opened.connect()
    await peer.settled()
    if (isAsleep) await opened.evict()
    peer.sendText(text)
    const { code } = await peer.until(() => peer.closed)
    return code
  }

  for (const isAsleep of [false, true]) {
    it(`1007, 1008, 1009 close the socket of a client that violates the protocol, hibernating: ${isAsleep}`, async () => {
      expect(await closedBy("not JSON", isAsleep)).toBe(1007)
      expect(await closedBy(new Uint8Array([0x22, 0xff, 0x22]), isAsleep)).toBe(1007)
      const batch = Array.from({ length: 101 }, (_, i) => ({ _tag: "Ack", requestId: i }))
      expect(await closedBy(JSON.stringify(batch), isAsleep)).toBe(1008)
      expect(await closedBy(JSON.stringify(request(1, "echo", { value: "x".repeat(4 << 20) })), isAsleep)).toBe(1009)
    })
  }

  it("1011 closes a socket whose message makes the engine throw, and the object continues", async () => {
    const opened = open("codes")
    const [peer, other] = [await opened.connect(), await opened.connect()]
    await watch(peer, "notes.list")
    // Simulated: no message is known to cause this.
    await runInDurableObject(opened.stub(), (instance) => {
      const { executor } = (instance as any).engine
      const { decode } = executor
      executor.decode = (tag: string, payload: unknown) => {
        if (tag === "look") throw new Error("the engine failed")
        return decode.call(executor, tag, payload)
      }
    })
    peer.ask("live:look", {})
    expect(await peer.until(() => peer.closed)).toMatchObject({ code: 1011 })
    expect((await other.call("notes.add", { body: "alive" }))._tag).toBe("Success")
    expect(await attachments(opened)).toHaveLength(1)
  })

  it("1011 closes a socket whose attachment cannot be decoded", async () => {
    for (const attachment of [null, {}, { id: 1 }, { id: "x", session: { tenant: "x" }, calls: "none" }]) {
      const opened = open("codes")
      const peer = await opened.connect()
      await peer.settled()
      await changeAttachments(opened, () => attachment)
      await opened.evict()
      peer.ask("look", {})
      expect(await peer.until(() => peer.closed)).toMatchObject({ code: 1011 })
    }
  })
})
