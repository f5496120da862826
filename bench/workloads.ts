/// <reference types="node" />
import { setTimeout as sleep } from "node:timers/promises"
import { bundle, bundleCounting, gzippedBytes, Server } from "./harness.ts"
import { inFlight, median, timed, timedEach } from "./measure.ts"
import { createChannels, listOf, messageTo, openRoom, sendMessages, writes } from "./room.ts"
import { dormouse, grouped, handwritten, pramen, type Subject } from "./subjects.ts"
import type { Call } from "./wire.ts"
import { perSecond, type Sample, type Workload } from "./workload.ts"
import { numbered } from "./workloads/numbered.ts"
import { transfers } from "./workloads/transfers.ts"

const everyone: ReadonlyArray<Subject> = [handwritten, grouped, dormouse, pramen]

const unary: Workload = {
  name: "unary",
  subjects: everyone,
  rounds: 15,
  measures: [
    {
      key: "mutationSocket",
      label: "Mutations, 32 in flight on a socket",
      unit: "/s",
      target: "≥ 1.8×, ≥ 0.8× grouped"
    },
    { key: "mutationHttp", label: "Mutations, 32 in flight over HTTP", unit: "/s", target: "≥ 1.2×" },
    { key: "query", label: "Queries of 50 rows, 32 in flight on a socket", unit: "/s", target: "≥ 1.0×" },
    { key: "mutationOne", label: "One mutation at a time, p50", unit: "ms", target: "≤ 1.1×" },
    { key: "queryOne", label: "One query of 50 rows at a time, p50", unit: "ms", target: "≤ 1.0×" }
  ],
  open: async (subject) => {
    const server = await Server.start(subject, await bundle(subject))
    const socket = await server.open()
    const [written, read] = await createChannels(socket, 2)
    await sendMessages(socket, read!, 200)
    const send = () => socket.call(messageTo(written!))
    const list = () => socket.call(listOf(read!, 50))
    const sample = async (): Promise<Sample> => ({
      mutationSocket: perSecond(1000, await inFlight(32, 1000, send)),
      mutationHttp: perSecond(600, await inFlight(32, 600, () => server.post(messageTo(written!)))),
      query: perSecond(1000, await inFlight(32, 1000, list)),
      mutationOne: await timedEach(200, send),
      queryOne: await timedEach(200, list)
    })
    await sample()
    return sample
  }
}

/** Answers every request and has no state: what workerd costs by itself. */
const emptyWorker = `
  import { DurableObject } from "cloudflare:workers"
  export class TenantObject extends DurableObject {
    fetch() { return new Response('[{"_tag":"Exit","requestId":"1","exit":{"_tag":"Success","value":[]}}]') }
  }
  export default { fetch: (request, env) => env.TENANTS.getByName("main").fetch(request) }
`

const listChannels: Call = { tag: "channels.list", payload: {} }

const cold: Workload = {
  name: "cold",
  subjects: everyone,
  rounds: 9,
  measures: [
    { key: "start", label: "First answer of a fresh workerd, above that of an empty worker", unit: "ms", ratio: false },
    { key: "create", label: "First answer of a new object in a warm workerd, p50", unit: "ms", target: "≤ 2×" },
    { key: "wake", label: "First answer of an evicted object, 50 rows, p50", unit: "ms", target: "≤ 1.6×" },
    { key: "size", label: "Worker, minified and gzipped", unit: "KB", target: "≤ 106 KB" }
  ],
  open: async (subject) => {
    const code = await bundle(subject)
    const warm = await Server.start(subject, code)
    const socket = await warm.open()
    const [channel] = await createChannels(socket, 1)
    await sendMessages(socket, channel!, 100)
    socket.close()
    const firstAnswer = async (from: Subject, of: string) => {
      let server: Server | undefined
      const elapsed = await timed(async () => {
        server = await Server.start(from, of)
        await server.post(listChannels)
      })
      await server!.stop()
      return elapsed
    }
    let tenants = 0
    const sample = async (): Promise<Sample> => {
      const empty = await firstAnswer(handwritten, emptyWorker)
      const start = (await firstAnswer(subject, code)) - empty
      const create = subject.openTenants
        ? { create: await timedEach(15, () => warm.post(listChannels, `tenant-${++tenants}`)) }
        : {}
      const wakes: Array<number> = []
      for (let index = 0; index < 7; index++) {
        await warm.evict()
        wakes.push(await timed(() => warm.post(listOf(channel!, 50))))
      }
      return { start, ...create, wake: median(wakes), size: gzippedBytes(code) / 1024 }
    }
    return sample
  }
}

const crowd = 500

const sameList: Workload = {
  name: "same-list",
  subjects: everyone,
  rounds: 7,
  measures: [
    { key: "alone", label: "Answer to the writer, nobody listens, p50", unit: "ms" },
    { key: "answer", label: `Answer to the writer, ${crowd} sockets listen, p50`, unit: "ms", target: "≤ 1.5× nobody" },
    { key: "last", label: `Last of ${crowd} deliveries, p50`, unit: "ms", target: "≤ 0.8×" }
  ],
  open: async (subject) => {
    const code = await bundle(subject)
    const quiet = await openRoom(await Server.start(subject, code), { rows: 50 })
    const crowded = await openRoom(await Server.start(subject, code), { rows: 50, listeners: crowd, limit: 50 })
    const sample = async (count: number): Promise<Sample> => {
      const alone = await writes(quiet, count)
      const { answer, last } = await writes(crowded, count)
      return { alone: alone.answer, answer, last }
    }
    await sample(10)
    return () => sample(25)
  }
}

/** Each socket is live on a list of its own; one of the lists is written to. */
const ownLists = (name: string, sockets: number, each: number, target?: string): Workload => {
  const lists = sockets * each
  const label = each === 1 ? `${lists} sockets` : `${lists.toLocaleString("en")} live queries on ${sockets} sockets`
  return {
    name,
    subjects: everyone,
    rounds: 7,
    measures: [
      {
        key: "few",
        label: `Answer and delivery, ${each} live ${each === 1 ? "query" : "queries"} on 1 socket, p50`,
        unit: "ms"
      },
      { key: "answer", label: `Answer, ${label}, 1 list matches, p50`, unit: "ms", ...(target && { target }) },
      { key: "last", label: `Delivery, ${label}, 1 list matches, p50`, unit: "ms", target: "≤ 1.2×" }
    ],
    open: async (subject) => {
      const code = await bundle(subject)
      const few = await openRoom(await Server.start(subject, code), {
        rows: 10,
        listeners: 1,
        each,
        limit: 50,
        apart: true
      })
      const many = await openRoom(await Server.start(subject, code), {
        rows: 10,
        listeners: sockets,
        each,
        limit: 50,
        apart: true
      })
      const sample = async (count: number): Promise<Sample> => {
        const one = await writes(few, count)
        const { answer, last } = await writes(many, count)
        return { few: Math.max(one.answer, one.last), answer, last }
      }
      await sample(5)
      return () => sample(25)
    }
  }
}

const burst: Workload = {
  name: "burst",
  subjects: everyone,
  rounds: 7,
  measures: [
    { key: "answers", label: `100 writes, 32 in flight, ${crowd} sockets listen: last answer`, unit: "ms" },
    { key: "last", label: `One more write: all ${crowd} have it, counted from the first of the 100`, unit: "ms" }
  ],
  open: async (subject) => {
    const room = await openRoom(await Server.start(subject, await bundle(subject)), {
      rows: 50,
      listeners: crowd,
      limit: 50
    })
    const sample = async (): Promise<Sample> => {
      await room.write()
      await sleep(100)
      const answers = await room.burst(100)
      const total = answers + (await room.write()).last
      await sleep(500)
      return { answers, last: total }
    }
    await sample()
    return sample
  }
}

const bytes: Workload = {
  name: "bytes",
  subjects: everyone,
  rounds: 1,
  measures: [
    { key: "list50", label: "To a socket for one new row, list of 50", unit: "bytes", target: "≤ 600" },
    { key: "list1000", label: "To a socket for one new row, list of 1,000", unit: "bytes", target: "≤ 600" }
  ],
  open: async (subject) => {
    const code = await bundle(subject)
    const short = await openRoom(await Server.start(subject, code), { rows: 50, listeners: 1, limit: 50 })
    const long = await openRoom(await Server.start(subject, code), { rows: 1000, listeners: 1, limit: 1000 })
    const sample = async (): Promise<Sample> => ({
      list50: (await writes(short, 5)).bytes,
      list1000: (await writes(long, 5)).bytes
    })
    return sample
  }
}

const sleepers = 1000

const afterEviction: Workload = {
  name: "eviction",
  subjects: everyone,
  rounds: 5,
  measures: [
    {
      key: "last",
      label: `One write after an eviction until ${sleepers.toLocaleString("en")} sockets have it`,
      unit: "ms",
      target: "≤ 2×"
    },
    { key: "lost", label: "Sockets that had to be opened again", unit: "", target: "0" }
  ],
  open: async (subject) => {
    const server = await Server.start(subject, await bundle(subject))
    const room = await openRoom(server, { rows: 50, listeners: sleepers, limit: 50 })
    await writes(room, 2)
    const sample = async (): Promise<Sample> => {
      const lostBefore = room.lost()
      await server.evict()
      const { last } = await room.write()
      await sleep(200)
      return { last, lost: room.lost() - lostBefore }
    }
    return sample
  }
}

const idle: Workload = {
  name: "idle",
  subjects: everyone,
  rounds: 1,
  together: true,
  measures: [
    { key: "wakes", label: "Times an idle object ran in a minute, 100 live sockets pinging", unit: "", target: "0" },
    { key: "slept", label: "Built anew by the call after that minute (1: it had left memory)", unit: "", target: "1" }
  ],
  open: async (subject) => {
    const server = await Server.start(subject, await bundleCounting(subject))
    const room = await openRoom(server, { rows: 50, listeners: 100, limit: 50 })
    const sample = async (): Promise<Sample> => {
      await sleep(2000)
      const before = await server.wakes()
      for (let second = 0; second < 60; second += 5) {
        for (const socket of room.listeners()) socket.ping()
        await sleep(5000)
      }
      const after = await server.wakes()
      await server.post(listChannels)
      const woken = await server.wakes()
      return {
        wakes: after.built + after.entered - before.built - before.entered,
        slept: woken.built - after.built
      }
    }
    return sample
  }
}

export const workloads: ReadonlyArray<Workload> = [
  unary,
  numbered,
  transfers,
  cold,
  sameList,
  burst,
  ownLists("own-lists", crowd, 1, "≤ 1.3×, ≤ 0.05× pramen"),
  ownLists("many-lists", crowd, 10),
  bytes,
  afterEviction,
  idle
]
