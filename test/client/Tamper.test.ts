/// <reference types="node" />
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Api, Query } from "effect-dormouse"
import { TestApp } from "effect-dormouse/testing"
import { afterEach, describe, expect, it, vi } from "vitest"
import { LiveValues } from "../../src/client/LiveValues.ts"
import { isServerMessage, parse } from "../../src/client/ServerMessage.ts"
import { AckDeadlines } from "../../src/engine/object/AckDeadlines.ts"
import { QueryResult } from "../../src/engine/object/QueryResult.ts"
import * as ResultCodec from "../../src/engine/rpc/ResultCodec.ts"
import { chunkMessage } from "../../src/protocol/Exit.ts"
import * as RpcCodec from "../../src/protocol/RpcCodec.ts"
import type { MemoryObject } from "../../src/testing/MemoryObject.ts"
import { forAllAsync, Random, runMore, seeds } from "../random.ts"
import { app, MarksApi } from "./mutationApp.ts"
import { runInVirtualTime } from "./virtualTime.ts"

/** What the network does to frames: it changes a character, repeats, drops, holds or reorders them. */

const hidden = vi.hoisted(() => ({ isBlind: false }))
vi.mock("../../src/protocol/Checksum.ts", async (load) => {
  const real = await load<typeof import("../../src/protocol/Checksum.ts")>()
  // Blind, server and client compare nothing.
  const addRequest: typeof real.addRequest = (sum, id) => (hidden.isBlind ? 0 : real.addRequest(sum, id))
  return { ...real, addRequest }
})
afterEach(() => {
  hidden.isBlind = false
  vi.restoreAllMocks()
})

// --- one character

class RowsApi extends Api.make(
  Query.make("rows", {
    payload: {},
    success: Schema.Array(Schema.Struct({ id: Schema.String, n: Schema.Finite, tags: Schema.Array(Schema.String) }))
  })
) {}
const rowsRpc = RpcCodec.withSchemas(RowsApi.requests.get("rows")!)

// A patch is sent only when it is smaller than the value: some rows stay as they are.
const unchanged = ["d", "e", "f", "g"].map((id, n) => ({ id, n, tags: ["same"] }))
const rowsBefore = [
  { id: "a", n: 12, tags: [] },
  { id: "b", n: -3.5, tags: ["x", "y"] },
  { id: "c", n: 1e21, tags: ['quote " and \\ é'] },
  ...unchanged
]
const rowsAfter = [rowsBefore[2], { ...rowsBefore[0], n: 21, tags: ["new"] }, rowsBefore[1], ...unchanged]

const resultOf = (value: unknown, version: number): QueryResult => {
  const encoded = Effect.runSync(ResultCodec.encoderOf(rowsRpc)(value))
  return new QueryResult(encoded, version)
}

/** One client with one live query, and what the last texts made it do. */
const newClient = () => {
  const done = { resets: 0, sent: [] as Array<any> }
  const live = new LiveValues({
    onFirst: () => {},
    onStarted: () => {},
    onLast: () => {},
    onCurrent: () => {},
    contains: () => false,
    onDelivered: () => [],
    onProtocolError: () => void done.resets++
  })
  const open = () => live.opened((text) => done.sent.push(JSON.parse(text)))
  open()
  let failure: unknown
  const watched = live.watch(RpcCodec.of(rowsRpc), {}, (event) => {
    if (event._tag === "Failed") failure = event.failure
  })
  const receive = (text: string) => {
    const message = parse(text)
    const messages = Array.isArray(message) ? message : [message]
    if (!messages.every(isServerMessage)) return void done.resets++
    live.publish(live.receive(messages.filter((message) => live.owns(message))))
  }
  return {
    live: watched.live,
    done,
    receive,
    reconnect: () => {
      live.closed()
      open()
    },
    get failure() {
      return failure
    },
    get idText() {
      return JSON.stringify(watched.live.requestId)
    }
  }
}

type Case = readonly [name: string, texts: (client: ReturnType<typeof newClient>) => ReadonlyArray<string>, tag: string]

const one = resultOf(rowsBefore, 1838258361762816)
const two = resultOf(rowsAfter, 1838258361762900)

/** Each kind of frame: the messages that end with it, from those that bring a client into its state. */
const cases: ReadonlyArray<Case> = [
  ["a snapshot", ({ idText }) => two.frameFrom(undefined, two.version).messages(idText), "Snapshot"],
  [
    "a patch",
    ({ idText, receive }) => {
      for (const text of one.frameFrom(undefined, one.version).messages(idText)) receive(text)
      return two.frameFrom(one, two.version).messages(idText)
    },
    "Patch"
  ],
  [
    "a confirmation",
    (client) => {
      for (const text of two.frameFrom(undefined, one.version).messages(client.idText)) client.receive(text)
      client.reconnect()
      return two.currentFrame(two.version).messages(client.idText)
    },
    "Current"
  ],
  [
    "a frame in parts",
    ({ idText }) => {
      const text = two.frameFrom(undefined, two.version).text(idText)
      const cuts = [0, 40, 200, text.length]
      return cuts.slice(1).map((end, i) => {
        const part = { _tag: "Part", text: text.slice(cuts[i], end), last: end === text.length }
        return chunkMessage(idText, JSON.stringify(part))
      })
    },
    "Part"
  ]
]

/** Everything that a client can be after one character was changed and that is wrong. */
const wrong = (make: Case[1], index: number, at: number, to: string): string | undefined => {
  const client = newClient()
  const texts = make(client)
  const asked = client.live.requestId
  client.done.sent.length = 0
  texts.forEach((text, i) => {
    client.receive(i === index ? `${text.slice(0, at)}${to}${text.slice(at + 1)}` : text)
  })
  const { done, live } = client
  if (client.failure !== undefined) return `it failed: ${client.failure}`
  if (done.resets > 0 || live.requestId !== asked) return undefined
  const isRight = JSON.stringify(live.json) === two.text && live.hash === two.hash && live.version === two.version
  // A message that a client does not know is not acknowledged, which the server notices.
  const isNoticed = done.sent.filter(({ _tag }) => _tag === "Ack").length < texts.length
  if (isRight || isNoticed) return undefined
  return `it has ${JSON.stringify(live.json)} at ${live.version} as ${live.hash}`
}

const flipAll = (make: Case[1]): { readonly flips: number; readonly found: ReadonlyArray<string> } => {
  const found: Array<string> = []
  let flips = 0
  for (const [index, text] of make(newClient()).entries()) {
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at)
      const others = [...'0179aeEz"\\,:[]{} -.', String.fromCharCode(code ^ 1), String.fromCharCode(code ^ 32)]
      for (const to of others) {
        if (to === text[at]) continue
        flips++
        const what = wrong(make, index, at, to)
        if (what !== undefined) found.push(`${text.slice(Math.max(0, at - 20), at)}»${to}«: ${what}`)
      }
    }
  }
  return { flips, found }
}

describe("C2 C10: a changed character in a message", () => {
  it.each(cases)("C10: of %s is noticed, wherever it is, or changes nothing", (_, make) => {
    const { flips, found } = flipAll(make)
    expect(found).toEqual([])
    expect(flips).toBeGreaterThan(1000)
  })

  it.each(cases)("control: %s is accepted as it was sent, and wrong ones without a checksum", (_, make, tag) => {
    const client = newClient()
    for (const text of make(client)) {
      expect(JSON.parse(text).values).toMatchObject([{ _tag: tag }])
      client.receive(text)
    }
    expect([client.live.json, client.live.hash, client.live.version]).toEqual([two.json(), two.hash, two.version])
    hidden.isBlind = true
    expect(flipAll(make).found.length).toBeGreaterThan(10)
  })
})

describe("C5: a frame that arrives twice", () => {
  it.each(cases)("C5: %s is applied once, and nothing is requested again", (_, make) => {
    const client = newClient()
    const texts = make(client)
    for (const text of [...texts, ...texts]) client.receive(text)
    expect([client.live.json, client.live.hash, client.live.version]).toEqual([two.json(), two.hash, two.version])
    expect(client.done.sent.filter(({ _tag }) => _tag === "Interrupt")).toEqual([])
  })
})

describe("C5: what a client has when it reconnects", () => {
  it("C5: a value that something has changed in memory is not confirmed by the server's hash", () => {
    const client = newClient()
    for (const text of two.frameFrom(undefined, one.version).messages(client.idText)) client.receive(text)
    Object.assign((client.live.json as ReadonlyArray<object>)[1]!, { n: 22 })
    client.reconnect()
    const asked = client.live.requestId
    for (const text of two.currentFrame(two.version).messages(client.idText)) client.receive(text)
    expect(client.done.sent.at(-1)).toMatchObject({ _tag: "Request", headers: [["dormouse-prompt", "1"]] })
    expect(client.live.requestId).not.toBe(asked)
  })
})

// --- whole conversations

const queries = [
  ["rows", { list: "a" }],
  ["rows", { list: "b" }],
  ["list", { list: "a" }],
  ["total", {}]
] as const
const keyOf = (query: unknown) => JSON.stringify(query)

/** Everything that has run without waiting for time. */
const settle = Effect.promise(async () => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
})
const wait = (millis: number) => Effect.andThen(TestClock.adjust(millis), settle)

type Tally = Record<string, number>

/** What a message becomes on its way to the client: none, itself, another one, several. */
type Tamper = (data: string) => ReadonlyArray<string>

const randomly = (random: Random, tally: Tally): Tamper => {
  let held: Array<string> = []
  return (data) => {
    const kind = random.pick(["flip", "twice", "drop", "hold", "swap", "", "", "", "", ""])
    if (kind !== "") tally[kind] = (tally[kind] ?? 0) + 1
    switch (kind) {
      case "flip": {
        const at = random.int(data.length)
        return [`${data.slice(0, at)}${random.pick([...'0123456789abcxyz"\\{}[],:'])}${data.slice(at + 1)}`]
      }
      case "twice":
        return [data, data]
      case "drop":
        return []
      case "hold":
        held.push(data)
        return []
      case "swap": {
        const late = held
        held = []
        return [data, ...late]
      }
      default:
        return [data]
    }
  }
}

/**
 * One client watches while another one writes. Its frames are tampered with until the end; a minute later it must show what
 * the database has, and it must never have shown as `Live` what the database never had.
 */
const run = (seed: number, tally: Tally, tamper?: (random: Random) => Tamper, steps = 25): Promise<void> =>
  Effect.gen(function* () {
    const random = new Random(seed)
    const { object } = yield* TestApp
    const { network } = object()
    const [client, writer] = [yield* TestApp.client(MarksApi), yield* TestApp.client(MarksApi)]
    const had = new Map<string, Set<string>>(queries.map((query) => [keyOf(query), new Set()]))
    const remember = Effect.forEach(queries, ([tag, payload]) =>
      Effect.map(writer.query(tag, payload as never), (value) =>
        had.get(keyOf([tag, payload]))!.add(JSON.stringify(value))
      )
    )
    yield* remember
    const change = tamper?.(random) ?? randomly(random, tally)
    network.intercept = (direction, data) => {
      if (direction === "toClient") return data.includes('"live-') ? change(data) : [data]
      return data.includes('"Ack"') ? random.pick([[data], [data], [data], [data, data], []]) : [data]
    }
    const shown: Array<readonly [query: string, value: string]> = []
    const observed = queries.map(([tag, payload]) => {
      const query = client.observe(tag, payload as never, () => {
        const { connection, value } = query?.live() ?? { value: Option.none() }
        if (Option.isNone(value)) return
        if (connection?._tag === "Live") shown.push([keyOf([tag, payload]), JSON.stringify(value.value)])
      })
      return query
    })
    for (let i = 0; i < steps; i++) {
      const event = random.int(100)
      if (event < 60) {
        yield* writer.mutate("add", { list: random.pick(["a", "b"]), marker: `m${i}` })
        yield* remember
      } else if (event < 90) yield* wait(random.pick([10, 400, 5000]))
      else if (event < 95) network.cut()
      yield* settle
    }
    network.intercept = undefined
    for (let i = 0; i < 60; i++) yield* wait(1000)
    for (const [query, value] of shown) {
      if (!had.get(query)!.has(value)) throw new Error(`${query} was never ${value}`)
    }
    for (const [i, [tag, payload]] of queries.entries()) {
      const { connection, value } = observed[i]!.live()
      const now = JSON.stringify(yield* writer.query(tag, payload as never))
      const seen = JSON.stringify(Option.getOrNull(value))
      if (connection._tag !== "Live") throw new Error(`${tag} is ${connection._tag} after a minute`)
      if (seen !== now) throw new Error(`${tag} is ${seen} after a minute, and not ${now}`)
      observed[i]!.end()
    }
  }).pipe(
    Effect.catchCause((cause) => Effect.die(new Error(`seed ${seed}: ${cause}`))),
    runInVirtualTime(seed)
  )

describe("C2: a frame that is dropped and that no other follows", () => {
  /** A client that shows an old value, and whether it shows the new one after some seconds. */
  const drop = (meanwhile: (object: MemoryObject<any>) => Promise<void>, seconds: number) =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const { network } = object()
      const [client, writer] = [yield* TestApp.client(MarksApi), yield* TestApp.client(MarksApi)]
      const observed = client.observe("rows", { list: "a" }, () => {})
      yield* settle
      const shows = () => {
        const { connection, value } = observed.live()
        return [connection._tag, Option.getOrThrow(value).length]
      }
      network.intercept = (direction, data) => (direction === "toClient" && data.includes('"live-') ? [] : [data])
      yield* writer.mutate("add", { list: "a", marker: "one" })
      yield* settle
      network.intercept = undefined
      const before = shows()
      yield* Effect.promise(() => meanwhile(object()))
      for (let i = 0; i < seconds; i++) yield* wait(1000)
      network.log.length = 0
      const after = shows()
      observed.end()
      return [before, after]
    }).pipe(Effect.scoped, Effect.provide(TestApp.layer(app)), Effect.provide(TestClock.layer()), Effect.runPromise)

  it("C2 L6: is replaced when the object has closed the socket, and not before", async () => {
    const stay = () => Promise.resolve()
    const wrong = ["Live", 0]
    expect(await drop(stay, 29)).toEqual([wrong, wrong])
    expect(await drop(stay, 32)).toEqual([wrong, ["Live", 1]])
  })

  it("C2 L7: is replaced after the object has left memory and come back", async () => {
    const evict = async (object: MemoryObject<any>) => {
      await object.evict()
      await object.engine()
    }
    expect((await drop(evict, 32))[1]).toEqual(["Live", 1])
  })
})

const runs = 20

describe("C2 C5 C10: a network that changes, repeats, drops, holds and reorders frames", () => {
  it("C2: shows no wrong value as Live, and the right ones within a minute", async () => {
    const tally: Tally = {}
    await forAllAsync(runs, (_, seed) => run(seed, tally))
    const rare = () => ["flip", "twice", "drop", "hold", "swap"].filter((kind) => (tally[kind] ?? 0) <= 5)
    await runMore(
      [runs, 20 * runs],
      () => rare().length > 0,
      (_, seed) => run(seed, tally)
    )
    console.info(tally)
    expect(rare()).toEqual([])
  }, 1_200_000)

  const found = async (tamper?: (random: Random) => Tamper): Promise<string> => {
    for (const seed of seeds(3 * runs)) {
      const exit = await Effect.runPromise(Effect.exit(Effect.tryPromise(() => run(seed, {}, tamper))))
      if (Exit.isFailure(exit)) return String(exit.cause)
    }
    return "nothing"
  }

  it("control: without the checksum a wrong value is shown", async () => {
    hidden.isBlind = true
    expect(await found()).toMatch(/was never|after a minute, and not/)
  })

  it("control: without the deadline of an acknowledgement a dropped frame is never noticed", async () => {
    vi.spyOn(AckDeadlines.prototype, "start").mockImplementation(() => {})
    const dropped =
      (random: Random): Tamper =>
      (data) =>
        random.chance(0.2) ? [] : [data]
    expect(await found(dropped)).toMatch(/after a minute/)
  })
})
