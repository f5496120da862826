import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { TestApp } from "effect-dormouse/testing"
import type { MemoryObject } from "../../src/testing/MemoryObject.ts"
import { Random } from "../random.ts"
import { MarksApi } from "./mutationApp.ts"
import { History, type MarkRow, type Tally, User } from "./users.ts"
import { runInVirtualTime } from "./virtualTime.ts"

/**
 * Random histories of several clients of one object, with lost connections, evictions and crashes at every point. The
 * values that clients show are checked synchronously on each change, the outcomes of their mutations at the end.
 */

export interface Options {
  /** Breaks something before the history begins, to prove that a check can fail. */
  readonly sabotage?: (object: MemoryObject<any>) => void
  /** Breaks something before each step. */
  readonly sabotageStep?: (object: MemoryObject<any>) => void
  /** The number of steps. 30 to 79, at random, unless given. */
  readonly steps?: number
}

/** Counts the kinds of messages on the sockets. */
const countMessages = (history: History, { network }: MemoryObject<any>): void => {
  const sent = new Set<string>()
  for (const { data } of network.log) {
    for (const word of ["Patch", "Snapshot", "Current", "Delivered"])
      if (data.includes(`"${word}"`)) history.count(word)
    const mutation = /"dormouse-mutation","([^"]+)"/.exec(data)?.[1]
    if (mutation === undefined) continue
    history.count(sent.has(mutation) ? "sent again" : "sent by socket")
    sent.add(mutation)
  }
}

/** Whether there are tables: the first write creates them. */
const isWritten = ({ database }: MemoryObject<any>): boolean =>
  database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'ticks'").get() !== undefined

/** The marks in an object's database. */
export const rowsOf = (object: MemoryObject<any>): ReadonlyArray<MarkRow> =>
  isWritten(object) ? (object.database.prepare("SELECT list, marker FROM marks").all() as any) : []

/** How many mutations ran, as an object's database has it. */
export const tickOf = (object: MemoryObject<any>): number =>
  isWritten(object) ? Number(object.database.prepare("SELECT max(count) AS count FROM ticks").get()?.["count"] ?? 0) : 0

/** Waits until everything that is not held back has run. */
export const settle = Effect.promise(async () => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
})

/** Runs the history of a seed. Rejects with the first violation and the steps that led to it. */
export const run = (seed: number, tally: Tally, options: Options = {}): Promise<void> =>
  Effect.gen(function* () {
    const random = new Random(seed)
    const { object } = yield* TestApp
    const { network } = object()
    const history = new History(() => tickOf(object()), tally)
    options.sabotage?.(object())
    const names = ["p", "q", "r"].slice(0, 1 + random.int(3))
    for (const name of names) history.users.push(new User(history, name, yield* TestApp.client(MarksApi)))
    network.hold()
    const steps = options.steps ?? 30 + random.int(50)
    for (let i = 0; i < steps; i++) {
      options.sabotageStep?.(object())
      const user = random.pick(history.users)
      const event = random.int(100)
      const log = (what: string) => {
        history.trace.push(`${i} ${what}`)
        history.count(what.split(" ")[0]!)
      }
      if (event < 45) {
        log(`step (${network.inFlight})`)
        const count = 1 + random.int(5)
        for (let j = 0; j < count; j++) {
          network.stepAny((ways) => random.int(ways))
          if (random.chance(0.5)) yield* settle
        }
      } else if (event < 60) {
        log(`mutate ${user.name}`)
        yield* user.mutate(random)
      } else if (event < 70) {
        log(`watch ${user.name}`)
        if (user.watched.size < 5) user.watch(random)
      } else if (event < 75) {
        log(`unwatch ${user.name}`)
        random.pick([...user.watched, undefined])?.end()
      } else if (event < 87) {
        const millis = random.pick([1, 100, 400, 2000])
        log(`wait ${millis}`)
        yield* TestClock.adjust(millis)
      } else if (event < 92) {
        const wire = random.pick([...network.wires, undefined])
        const way = random.pick(["cut", "cutClient", "silence"] as const)
        log(way)
        wire?.[way]()
      } else if (event < 94) {
        log("cut all")
        network.cut()
      } else if (event < 95) {
        log(network.isOffline ? "online" : "offline")
        if (network.isOffline) network.online()
        else network.offline()
      } else if (event < 97) {
        log("evict")
        yield* Effect.promise(() => object().evict())
      } else if (event < 98) {
        log("crash")
        yield* Effect.promise(() => object().crash())
      } else {
        const call = random.pick([...user.calls, undefined])
        log(`interrupt ${call?.marker}`)
        if (call?.outcome === "pending") yield* Effect.forkDetach(Fiber.interrupt(call.fiber))
      }
      yield* settle
      history.checkVanished()
    }
    history.trace.push("calm")
    network.online()
    network.release()
    yield* settle
    // A mutation is retried for minutes, and a dead connection is detected within one minute.
    for (let i = 0; i < 120 && (i < 8 || history.pending.length > 0); i++) {
      options.sabotageStep?.(object())
      yield* TestClock.adjust(i < 20 ? "10 seconds" : "1 minute")
      yield* settle
      history.checkVanished()
    }
    history.checkRows(rowsOf(object()))
    history.checkValues(rowsOf(object()), tickOf(object()))
    countMessages(history, object())
    for (const { watched } of history.users) for (const query of watched) query.end()
  }).pipe(runInVirtualTime(seed))
