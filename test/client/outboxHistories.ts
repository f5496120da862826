import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Client, DeviceStatus, Outbox } from "effect-dormouse/client"
import { TestApp } from "effect-dormouse/testing"
import { Fetch } from "../../src/client/Transport.ts"
import { Random, Violation } from "../random.ts"
import { MarksApi } from "./mutationApp.ts"
import { runInVirtualTime } from "./virtualTime.ts"

/**
 * Random histories of an outbox: tabs that share a storage, vanish, lose their network and their token, and whose clocks are
 * set. In the end every mutation that was stored has run once, or its outcome was reported.
 */

type Storage = Context.Service.Shape<typeof Outbox.OutboxStorage>

/** How often each kind of event and outcome occurred. */
export type Tally = { [what: string]: number }

/** What a control breaks. */
export interface Sabotage {
  readonly storage?: (storage: Storage) => Storage
  /** Answers the question for the time. */
  readonly time?: (device: number) => number
}

interface Call {
  readonly marker: string
  readonly kind: "add" | "addAndFail" | "addAndDie"
  readonly tab: Tab
  isStored: boolean
  /** Whether the storage refused it: it is lost with its page. */
  isUnstored: boolean
  /** What callers and pages were told. */
  readonly reports: Array<string>
  /** How many mutations ran before it, if it succeeded. */
  before: number | undefined
  fiber: Fiber.Fiber<unknown, unknown> | undefined
}

interface Tab {
  readonly client: Client.Client<any>
  readonly scope: Scope.Closeable
  readonly device: { isOnline: boolean; set: (online: boolean) => void }
  readonly refused: Set<keyof Storage>
  isOpen: boolean
}

const reportOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "done"
  const error: any = Option.getOrUndefined(Exit.findErrorOption(exit))
  if (error === undefined) return Exit.hasInterrupts(exit) ? "interrupted" : "failed"
  return error._tag === "OutcomeUnknown" ? "unknown" : error._tag === "OutcomePending" ? "pending" : "failed"
}

const report = (call: Call, exit: Exit.Exit<unknown, unknown>): void => {
  call.reports.push(reportOf(exit))
  if (Exit.isSuccess(exit)) call.before = Number(exit.value)
}

const hours = 60 * 60 * 1000

const settle = Effect.promise(async () => {
  for (let i = 0; i < 6; i++) await new Promise((resolve) => setImmediate(resolve))
})

/** Runs the history of a seed. Rejects with the first violation and the steps that led to it. */
export const run = (seed: number, tally: Tally, sabotage: Sabotage = {}): Promise<void> =>
  Effect.gen(function* () {
    const random = new Random(seed)
    const { object, transport, url } = yield* TestApp
    const built = yield* Layer.build(transport)
    const clock = yield* Clock.Clock
    const memory = Context.get(yield* Layer.build(Outbox.layerMemory), Outbox.OutboxStorage)
    const storage = sabotage.storage?.(memory) ?? memory
    const { network } = object()
    const trace: Array<string> = []
    const wrong = (what: string) => new Violation(`${what}\n${trace.join("\n")}`)
    const count = (what: string) => {
      tally[what] = (tally[what] ?? 0) + 1
    }
    const calls = new Map<string, Call>()
    const callOf = (payload: unknown) => calls.get((payload as { readonly marker: string }).marker)!
    /** How far the clock of the device is ahead. */
    let ahead = 0
    let status: number | undefined
    let isRefusing = false

    const open = Effect.gen(function* () {
      const scope = yield* Scope.make()
      const listeners = new Set<(event: "offline" | "wake") => void>()
      const device = {
        isOnline: true,
        set: (online: boolean) => {
          device.isOnline = online
          for (const listener of [...listeners]) listener(online ? "wake" : "offline")
        }
      }
      const refused = new Set<keyof Storage>()
      const unless = <A, R>(use: keyof Storage, effect: Effect.Effect<A, never, R>) =>
        Effect.suspend(() => (refused.has(use) ? Effect.die(new DOMException("full", "QuotaExceededError")) : effect))
      const flaky: Storage = {
        put: (entry) =>
          unless(
            "put",
            Effect.tap(storage.put(entry), () =>
              Effect.sync(() => {
                callOf(entry.payload).isStored = true
              })
            )
          ),
        remove: (id) => unless("remove", storage.remove(id)),
        entries: unless("entries", storage.entries),
        claim: (client) => unless("claim", storage.claim(client)),
        closed: storage.closed
      }
      const through = Context.get(built, Fetch)
      const currentTimeMillisUnsafe = () => clock.currentTimeMillisUnsafe() + ahead
      const client = yield* Client.make(MarksApi, {
        url,
        outbox: Outbox.make({
          storage: flaky,
          onReplayed: ({ exit, payload }) => Effect.sync(() => report(callOf(payload), exit)),
          onUnstored: ({ payload }) =>
            Effect.sync(() => {
              callOf(payload).isUnstored = true
            })
        })
      }).pipe(
        Effect.provideService(Fetch, async (url, init) => {
          if (status !== undefined) return new Response("no", { status })
          if (sabotage.time === undefined || !url.endsWith("/time")) return through(url, init)
          return Response.json(sabotage.time(currentTimeMillisUnsafe()))
        }),
        Effect.provideContext(built),
        Effect.provideService(DeviceStatus, {
          isOnline: () => device.isOnline,
          listen: (listener) => {
            listeners.add(listener)
            return () => void listeners.delete(listener)
          }
        }),
        Effect.provideService(Clock.Clock, {
          ...clock,
          currentTimeMillisUnsafe,
          currentTimeMillis: Effect.sync(currentTimeMillisUnsafe)
        }),
        Scope.provide(scope)
      )
      const tab: Tab = { client, scope, device, refused, isOpen: true }
      tabs.push(tab)
      return tab
    })
    const tabs: Array<Tab> = []
    const openTabs = () => tabs.filter(({ isOpen }) => isOpen)

    const mutate = Effect.fnUntraced(function* (tab: Tab) {
      const kind = random.pick(["add", "add", "add", "add", "addAndFail", "addAndDie"] as const)
      const marker = `m${calls.size}`
      const call: Call = {
        marker,
        kind,
        tab,
        isStored: false,
        isUnstored: false,
        reports: [],
        before: undefined,
        fiber: undefined
      }
      calls.set(marker, call)
      const timeout = random.chance(0.2) ? { timeout: "3 seconds" } : {}
      call.fiber = yield* tab.client
        .mutate(kind as never, { list: "a", marker } as never, timeout as never)
        .pipe(Effect.forkDetach({ startImmediately: true }))
      call.fiber.addObserver((exit) => report(call, exit))
    })

    network.hold()
    yield* open
    const steps = 30 + random.int(40)
    for (let i = 0; i < steps; i++) {
      const log = (what: string) => {
        trace.push(`${i} ${what}`)
        count(what.split(" ")[0]!)
      }
      const tab = random.pick(openTabs())
      const event = random.int(100)
      if (event < 40) {
        log("step")
        for (let j = random.int(4); j >= 0; j--) {
          network.stepAny((ways) => random.int(ways))
          yield* settle
        }
      } else if (event < 58) {
        log(`mutate m${calls.size}`)
        yield* mutate(tab)
      } else if (event < 66) {
        const wait = random.pick([100, 1000, 5000, 70_000])
        log(`wait ${wait}`)
        yield* TestClock.adjust(wait)
      } else if (event < 70) {
        const wait = random.pick([13, 25])
        log(`sleep ${wait}`)
        yield* TestClock.adjust(wait * hours)
      } else if (event < 74) {
        ahead = random.pick([-30, -3, 0, 3, 30]) * hours
        log(`clock ${ahead / hours}`)
      } else if (event < 80) {
        log("cut")
        network.cut()
      } else if (event < 83) {
        tab.device.set(!tab.device.isOnline)
        log(`device ${tab.device.isOnline}`)
      } else if (event < 86) {
        status = status === undefined ? random.pick([401, 404, 413]) : undefined
        log(`refuse ${status}`)
      } else if (event < 88) {
        const use = random.pick(["put", "remove", "entries", "claim"] as const)
        isRefusing = true
        log(`storage ${use}`)
        if (!tab.refused.delete(use)) tab.refused.add(use)
      } else if (event < 90) {
        log("evict")
        yield* Effect.promise(() => object().evict())
      } else if (event < 92) {
        const call = random.pick([...calls.values(), undefined])
        log(`interrupt ${call?.marker}`)
        if (call?.fiber !== undefined) yield* Effect.forkDetach(Fiber.interrupt(call.fiber))
      } else if (event < 96) {
        log("open")
        if (openTabs().length < 3) yield* open
      } else {
        log("kill")
        tab.isOpen = false
        yield* Scope.close(tab.scope, Exit.void)
        if (openTabs().length === 0) yield* open
      }
      yield* settle
    }

    trace.push("calm")
    status = undefined
    network.release()
    for (const { device, refused } of openTabs()) {
      refused.clear()
      device.set(true)
    }
    const isPending = ({ reports, tab }: Call) => tab.isOpen && reports.length === 0
    for (let i = 0; i < 90; i++) {
      yield* settle
      if (i > 3 && (yield* memory.entries).length === 0 && ![...calls.values()].some(isPending)) break
      yield* TestClock.adjust("1 minute")
      // What a page could not mark or remove is left to the next one.
      if (i !== 30) continue
      for (const tab of openTabs()) {
        tab.isOpen = false
        yield* Scope.close(tab.scope, Exit.void)
      }
      yield* open
    }

    const isWritten = object().database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'marks'").get() !== undefined
    const rows = isWritten
      ? object()
          .database.prepare("SELECT marker FROM marks")
          .all()
          .map(({ marker }) => String(marker))
      : []
    const rest = yield* memory.entries
    if (rest.length > 0) throw wrong(`the outbox is not empty in the end: ${JSON.stringify(rest)}`)
    for (const { isStored, isUnstored, kind, marker, reports } of calls.values()) {
      for (const report of reports) count(report)
      const times = rows.filter((row) => row === marker).length
      const isKnown = reports.includes("unknown")
      if (times > 1) throw wrong(`${marker} was done ${times} times`)
      if (times > 0 && kind !== "add") throw wrong(`${marker} failed and is there`)
      if (reports.includes("done") && times === 0) throw wrong(`${marker} was done and is not there`)
      if (reports.includes("failed") && times > 0) throw wrong(`${marker} failed and is there`)
      if (reports.includes("failed") && kind === "add") throw wrong(`${marker} failed`)
      if (kind === "add" && isStored && !isUnstored && !isKnown && times === 0) {
        throw wrong(`${marker} was stored, and neither done nor reported: ${reports}`)
      }
    }
    // Those of one page run in the order of their calls.
    if (isRefusing) return
    for (const tab of tabs) {
      const own = [...calls.values()].filter(({ before, tab: other }) => other === tab && before !== undefined)
      const order = own.map(({ before }) => before!)
      if (order.some((before, i) => i > 0 && before < order[i - 1]!)) throw wrong(`out of order: ${order}`)
    }
    for (const tab of openTabs()) yield* Scope.close(tab.scope, Exit.void)
  }).pipe(runInVirtualTime(seed))
