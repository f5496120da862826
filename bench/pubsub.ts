/**
 * What a topic costs: a message from one socket to 500 that read, and the answer to its publisher, against an object written by
 * hand. In workerd, interleaved rounds, medians.
 */
import { fileURLToPath } from "node:url"
import { WorkerdProcess } from "../test/deployment/workerd.ts"

const readers = Number(process.argv[2] ?? 500)
const rounds = 150
const entry = (path: string) => fileURLToPath(new URL(path, import.meta.url).href)
const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

/** Sockets of an object, and how one publishes to all. */
interface Subject {
  /** Resolves when all readers have a message, with the milliseconds until then and until the publisher's answer. */
  readonly publish: (message: string) => Promise<{ readonly all: number; readonly answered: number }>
  readonly stop: () => Promise<void>
}

const socketTo = async (url: string, onText: (text: string) => void): Promise<WebSocket> => {
  const socket = new WebSocket(url)
  socket.addEventListener("message", ({ data }) => onText(String(data)))
  await new Promise((resolve) => socket.addEventListener("open", resolve))
  return socket
}

const open = async (
  worker: string,
  path: string,
  subscribe: (socket: WebSocket) => void,
  request: (id: string, message: string) => string,
  acknowledge: (socket: WebSocket) => void
): Promise<Subject> => {
  const workerd = await WorkerdProcess.start(entry(worker))
  let started = 0
  let received = 0
  let answered = 0
  let id = ""
  let message = ""
  let done = () => {}
  const url = `${workerd.url.replace("http", "ws")}${path}`
  const sockets: Array<WebSocket> = []
  for (let i = 0; i < readers; i++) {
    const socket: WebSocket = await socketTo(url, (text) => {
      if (!text.includes(message)) return
      acknowledge(socket)
      if (++received === readers) done()
    })
    subscribe(socket)
    sockets.push(socket)
  }
  const publisher = await socketTo(url, (text) => {
    if (text.includes(id)) answered = performance.now() - started
  })
  let requests = 0
  return {
    publish: async (text) => {
      received = 0
      message = text
      id = `"request-${requests++}"`
      const all = new Promise<void>((resolve) => {
        done = resolve
      })
      started = performance.now()
      publisher.send(request(id, text))
      await all
      return { all: performance.now() - started, answered }
    },
    stop: async () => {
      for (const socket of [...sockets, publisher]) socket.close()
      await workerd.close()
    }
  }
}

const room = { room: "bench" }
const subjects = {
  "by hand": await open(
    "broadcastObject.ts",
    "/",
    () => {},
    (id, message) => `{"id":${id},"message":{"text":"${message}"}}`,
    () => {}
  ),
  topic: await open(
    "../test/worker/process/topics.ts",
    "/rpc?tenant=main",
    (socket) => socket.send(JSON.stringify({ _tag: "Request", id: "r", tag: "said", payload: room, headers: [] })),
    (id, message) =>
      `{"_tag":"Request","id":${id},"tag":"say","payload":{"room":"bench","texts":["${message}"]},"headers":[]}`,
    (socket) => socket.send('{"_tag":"Ack","requestId":"r"}')
  )
}
const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))
await pause(500)
const taken = new Map(
  Object.keys(subjects).map((name) => [name, { all: [] as Array<number>, answered: [] as Array<number> }])
)
for (let round = 0; round < rounds; round++) {
  for (const [name, { publish }] of Object.entries(subjects)) {
    const { all, answered } = await publish(`text ${round}.`)
    // What the acknowledgements cost is not part of the next message's time.
    await pause(20)
    if (round < rounds / 5) continue
    taken.get(name)!.all.push(all)
    taken.get(name)!.answered.push(answered)
  }
}
const [hand, topic] = [taken.get("by hand")!, taken.get("topic")!]
const text = (values: ReadonlyArray<number>) => `${median(values).toFixed(2)} ms`
console.info(
  `to ${readers} readers: by hand ${text(hand.all)}, a topic ${text(topic.all)}, ratio ${(median(topic.all) / median(hand.all)).toFixed(2)}`
)
console.info(`the publisher's answer: by hand ${text(hand.answered)}, ${text(topic.answered)}`)
for (const { stop } of Object.values(subjects)) await stop()
