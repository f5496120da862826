/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import { Random } from "../../test/random.ts"
import { Server } from "../harness.ts"
import { inFlight } from "../measure.ts"
import type { Socket } from "../socket.ts"
import * as Subjects from "../subjects.ts"
import type { Call } from "../wire.ts"
import { perSecond, type Sample, type Workload } from "../workload.ts"

const clients = 64
const accounts = 100_000
const initialBalance = 10_000_000
const transfersEach = 2000

const at = (subject: Subjects.Subject, file: string): Subjects.Subject => ({
  ...subject,
  entry: fileURLToPath(new URL(`../transfers/${file}`, import.meta.url))
})
const handwritten = at(Subjects.handwritten, "handwritten.ts")
const nodeFull: Subjects.Subject = { ...at(Subjects.handwritten, "node.ts"), name: "node FULL", isNode: true }

/** The transfers of the keynote-2 benchmark of SpacetimeDB, with 64 clients in place of its 50. */
export const transfers: Workload = {
  name: "transfers",
  subjects: [
    handwritten,
    at(Subjects.grouped, "handwrittenGrouped.ts"),
    at(Subjects.dormouse, "dormouse.ts"),
    at(Subjects.pramen, "pramen.ts"),
    nodeFull
  ],
  rounds: 9,
  measures: [
    { key: "uniform", label: `Transfers of ${clients} clients, alpha 0`, unit: "/s", target: "≥ 2×, ≥ node FULL" },
    { key: "skewed", label: `Transfers of ${clients} clients, alpha 1.5`, unit: "/s", target: "≥ 2×, ≥ node FULL" }
  ],
  open: async (subject) => {
    const server = await Server.startAny(subject)
    const sockets = await server.openMany(clients, async () => {})
    await createAccounts(sockets[0]!)
    // The same seed for all subjects: every one of them gets the same transfers.
    const random = new Random(2)
    const uniform = picker(0, random)
    const skewed = picker(1.5, random)
    const measure = async (pick: () => number): Promise<number> => {
      const calls = Array.from({ length: transfersEach }, () => transferOf(pick))
      const elapsed = await inFlight(clients, calls.length, (index, lane) => sockets[lane]!.call(calls[index]!))
      await checkTotal(sockets[0]!)
      return perSecond(calls.length, elapsed)
    }
    const sample = async (): Promise<Sample> => ({ uniform: await measure(uniform), skewed: await measure(skewed) })
    await sample()
    return sample
  }
}

async function createAccounts(socket: Socket): Promise<void> {
  const count = 2500
  for (let first = 0; first < accounts; first += count) {
    await socket.call({ tag: "accounts.create", payload: { first, count, balance: initialBalance } })
  }
  await checkTotal(socket)
}

async function checkTotal(socket: Socket): Promise<void> {
  const answer = await socket.call({ tag: "accounts.total", payload: {} })
  const total = socket.wire.value(answer.toString())
  if (total !== accounts * initialBalance) throw new Error(`The balances add up to ${total}`)
}

function transferOf(pick: () => number): Call {
  const from = pick()
  let to = pick()
  while (to === from) to = pick()
  return { tag: "accounts.transfer", payload: { from, to, amount: 1 } }
}

/** Picks accounts by Zipf's law: the n-th with a probability in proportion to `1 / n ** alpha`. */
function picker(alpha: number, random: Random): () => number {
  const cumulative = new Float64Array(accounts)
  let total = 0
  for (let id = 0; id < accounts; id++) cumulative[id] = total += 1 / (id + 1) ** alpha
  return () => {
    const point = random.next() * total
    let low = 0
    let high = accounts - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (cumulative[middle]! <= point) low = middle + 1
      else high = middle
    }
    return low
  }
}
