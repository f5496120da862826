/// <reference types="node" />
import { performance } from "node:perf_hooks"
import { setTimeout as sleep } from "node:timers/promises"
import type { Server } from "./harness.ts"
import { deadline, inFlight, median } from "./measure.ts"
import type { Socket } from "./socket.ts"
import type { Call } from "./wire.ts"

const filler = "Sleep well and dream of large women and of cheese, said the dormouse, and closed its eyes again."

export const messageTo = (channel: string, token = "hello") =>
  ({ tag: "messages.send", payload: { channel, author: "Dormouse", body: `${token} ${filler}` } }) satisfies Call

export const listOf = (channel: string, limit: number): Call => ({ tag: "messages.list", payload: { channel, limit } })

export async function createChannels(socket: Socket, count: number): Promise<ReadonlyArray<string>> {
  const ids: Array<string> = []
  await inFlight(32, count, async (index) => {
    const answer = await socket.call({ tag: "channels.create", payload: { name: `channel ${index}` } })
    ids.push((socket.wire.value(answer.toString()) as { readonly id: string }).id)
  })
  return ids
}

export const sendMessages = (socket: Socket, channel: string, count: number): Promise<number> =>
  inFlight(32, count, () => socket.call(messageTo(channel)))

interface Written {
  /** Milliseconds from sending the write to its answer. */
  readonly answer: number
  /** Milliseconds from sending the write to its arrival at the last socket that waits for it. */
  readonly last: number
  /** Received by one socket for this write. */
  readonly bytes: number
}

/** A writer, and sockets that are live on the lists that it writes to. */
interface Room {
  readonly server: Server
  readonly listeners: () => Iterable<Socket>
  readonly lost: () => number
  readonly write: () => Promise<Written>
  /** Milliseconds until the last answer to this many writes, 32 in flight. */
  readonly burst: (count: number) => Promise<number>
}

interface RoomOptions {
  /** Messages in each list before anyone listens. */
  readonly rows: number
  readonly listeners?: number
  /** Live queries of each listener. */
  readonly each?: number
  readonly limit?: number
  /** Every live query on a list of its own, instead of all on one. */
  readonly apart?: boolean
}

export async function openRoom(server: Server, options: RoomOptions): Promise<Room> {
  const { rows, listeners = 0, each = 1, limit = 50, apart = false } = options
  const writer = await server.open()
  const channels = await createChannels(writer, apart ? listeners * each : 1)
  await inFlight(32, channels.length * rows, (index) => writer.call(messageTo(channels[index % channels.length]!)))

  const written = channels[0]!
  const expected = apart ? Math.min(1, listeners) : listeners
  const current = new Set<Socket>()
  let lost = 0
  let token = ""
  let told = new Set<number>()
  let received = 0
  let done: (() => void) | undefined

  const listen = async (socket: Socket, index: number) => {
    current.add(socket)
    socket.onFrame = (data) => {
      if (done === undefined || !data.includes(token)) return
      told.add(index)
      received = data.byteLength
      if (told.size === expected) done()
    }
    // Comes back as the subject's own client would. Should that fail, the next delivery is missed and says so.
    socket.onLost = async () => {
      current.delete(socket)
      lost++
      await sleep(server.wire.reconnectAfter())
      await server.open().then(
        (next) => listen(next, index),
        () => {}
      )
    }
    // One after the other: pramen loses some subscriptions that arrive together.
    for (let n = 0; n < each; n++) {
      const list = listOf(apart ? channels[index * each + n]! : written, limit)
      await deadline(30_000, "first frame", socket.subscribe(list))
    }
  }
  await server.openMany(listeners, listen)

  let count = 0
  return {
    server,
    listeners: () => current,
    lost: () => lost,
    burst: (count) => sendMessages(writer, written, count),
    write: async () => {
      token = `token-${++count}-`
      told = new Set()
      received = 0
      let last = 0
      let start = 0
      const delivered = new Promise<void>((resolve) => {
        done = () => {
          last = performance.now() - start
          done = undefined
          resolve()
        }
        if (expected === 0) resolve()
      })
      start = performance.now()
      const answered = writer.call(messageTo(written, token)).then(() => performance.now() - start)
      const answer = await deadline(60_000, "answer", answered)
      await deadline(60_000, `delivery to ${expected} sockets`, delivered)
      return { answer, last, bytes: received }
    }
  }
}

/** Medians over writes with a pause between, in which acknowledgements are dealt with. */
export async function writes(room: Room, count: number): Promise<Written> {
  const all: Array<Written> = []
  // Enough of them for a median is all a slow subject gets.
  const enough = performance.now() + 10_000
  while (all.length < count && (all.length < 5 || performance.now() < enough)) {
    all.push(await room.write())
    await sleep(30)
  }
  const of = (pick: (written: Written) => number) => median(all.map(pick))
  return { answer: of((one) => one.answer), last: of((one) => one.last), bytes: of((one) => one.bytes) }
}
