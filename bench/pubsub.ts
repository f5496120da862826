/**
 * What a topic costs: a message from one socket to 500 that read, and the answer to its publisher, against an object written by
 * hand. In workerd, interleaved rounds, medians. A client acknowledges what it is sent, which nobody does by hand: when it does so
 * on arrival, as Effect's client does, its own work delays what it receives.
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
  acknowledge: (socket: WebSocket) => void,
  isAtOnce: boolean
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
      if (isAtOnce) acknowledge(socket)
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
      const taken = performance.now() - started
      if (!isAtOnce) for (const socket of sockets) acknowledge(socket)
      return { all: taken, answered }
    },
    stop: async () => {
      for (const socket of [...sockets, publisher]) socket.close()
      await workerd.close()
    }
  }
}

const room = { room: "bench" }
const topic = (isAtOnce: boolean) =>
  open(
    "../test/worker/process/topics.ts",
    "/rpc?tenant=main",
    (socket) => socket.send(JSON.stringify({ _tag: "Request", id: "r", tag: "said", payload: room, headers: [] })),
    (id, message) =>
      `{"_tag":"Request","id":${id},"tag":"say","payload":{"room":"bench","texts":["${message}"]},"headers":[]}`,
    (socket) => socket.send('{"_tag":"Ack","requestId":"r"}'),
    isAtOnce
  )
const subjects = {
  "by hand": await open(
    "broadcastObject.ts",
    "/",
    () => {},
    (id, message) => `{"id":${id},"message":{"text":"${message}"}}`,
    () => {},
    true
  ),
  "a topic": await topic(false),
  "a topic, acknowledged at once": await topic(true)
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
const hand = taken.get("by hand")!
for (const [name, { all, answered }] of taken) {
  const ratio = (median(all) / median(hand.all)).toFixed(2)
  console.info(
    `${name}: to ${readers} readers ${median(all).toFixed(1)} ms, ratio ${ratio}; the publisher's answer ${median(answered).toFixed(1)} ms`
  )
}
for (const { stop } of Object.values(subjects)) await stop()
