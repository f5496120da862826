import { describe, expect, it, vi } from "vitest"
import { LiveQueries, type QueryKey, type Subscriber, Subscription } from "../../src/engine/object/LiveQueries.ts"
import { Range } from "../../src/services/storage/KeyOrder.ts"
import { ReadRecorder, WriteRecorder } from "../../src/services/storage/ReadSet.ts"

/** Live queries over one number, which all of them read. */
const start = () => {
  const tasks: Array<() => void> = []
  const state = { n: 0, runs: 0, time: 0, fails: false, readsClock: false }
  const live = new LiveQueries({
    run: () => {
      state.runs++
      const reads = new ReadRecorder()
      reads.range("t", "", Range.point([1]))
      if (state.readsClock) reads.clock()
      if (state.fails) {
        return { result: undefined, failure: { _tag: "Failure", cause: [] }, reads: reads.toReadSet() }
      }
      const { n } = state
      const result = { text: JSON.stringify(n), json: () => n, digest: () => new Uint8Array([n]), sum: () => n }
      return { result, failure: undefined, reads: reads.toReadSet() }
    },
    defer: (task) => void tasks.push(task),
    now: () => state.time
  })
  const write = (n: number) => {
    state.n = n
    const writes = new WriteRecorder()
    writes.key("t", "", [1])
    live.committed(writes)
  }
  const key: QueryKey = { tag: "q", payload: null, identity: "", headers: [] }
  const subscribe = (onNotify?: () => void) => {
    const received: Array<unknown> = []
    const subscriber: Subscriber = {
      identity: "",
      pending: new Set(),
      notify() {
        onNotify?.()
        for (const subscription of subscriber.pending) {
          subscriber.pending.delete(subscription)
          if (!subscription.isDue) continue
          const { failure, result } = subscription.query
          result?.frameFrom(subscription.base, live.flushedVersion)
          subscription.sent = result?.hash
          subscription.base = result
          received.push(failure ?? result!.json())
        }
      }
    }
    const subscription = new Subscription(subscriber, 1)
    live.subscribe(subscription, key)
    live.notify()
    return { received, subscription }
  }
  return { live, state, tasks, write, subscribe }
}

describe("LiveQueries", () => {
  it("L5: a result that changes without a commit, because it reads the time, has a version of its own", () => {
    const { live, state, subscribe } = start()
    state.readsClock = true
    const first = subscribe()
    const version = live.flushedVersion
    subscribe()
    // Nothing has changed.
    expect([first.received, live.flushedVersion]).toEqual([[0], version])
    state.n = 1
    subscribe()
    expect(first.received).toEqual([0, 1])
    expect(live.flushedVersion).toBeGreaterThan(version)
  })

  it("L4: many subscribers are notified over several turns, and later ones get the latest result", () => {
    const { live, state, subscribe, tasks, write } = start()
    const subscribers = Array.from({ length: 2250 }, () => subscribe())
    state.runs = 0
    const notified = () => subscribers.filter(({ received }) => received.at(-1) === state.n).length
    write(1)
    live.flush()
    expect([notified(), tasks.length]).toEqual([1000, 1])
    // Another write between two turns.
    write(2)
    live.flush()
    expect([notified(), tasks.length]).toEqual([0, 1])
    while (tasks.length > 0) tasks.shift()!()
    expect(notified()).toBe(2250)
    expect(state.runs).toBe(2)
    const seen = new Set(subscribers.map(({ received }) => JSON.stringify(received)))
    expect([...seen].toSorted()).toEqual(["[0,1,2]", "[0,2]"])
  })

  it("L3: a result and its patch are encoded once for any number of subscribers", () => {
    const encodings = (subscribers: number) => {
      const { live, subscribe, write } = start()
      for (let i = 0; i < subscribers; i++) subscribe()
      const stringify = vi.spyOn(JSON, "stringify")
      write(1)
      live.flush()
      const { length } = stringify.mock.calls
      stringify.mockRestore()
      return length
    }
    expect(encodings(500)).toBe(encodings(1))
    expect(encodings(1)).toBeGreaterThan(0)
  })

  it("L1: a subscriber that throws does not prevent the notification of others", () => {
    const { live, subscribe, write } = start()
    let isBroken = false
    subscribe(() => {
      if (isBroken) throw new Error("broken")
    })
    const other = subscribe()
    isBroken = true
    write(1)
    expect(() => live.flush()).toThrow("broken")
    expect(other.received).toEqual([0, 1])
  })

  it("L1: a write in the middle of a delivery is flushed separately", () => {
    const { live, subscribe, write } = start()
    let isWriting = false
    const first = subscribe(() => {
      if (isWriting) write(2)
      isWriting = false
    })
    const second = subscribe()
    isWriting = true
    write(1)
    live.flush()
    expect([first.received, second.received]).toEqual([
      [0, 1],
      [0, 1]
    ])
    expect(live.needsFlush).toBe(true)
    live.flush()
    expect([first.received, second.received]).toEqual([
      [0, 1, 2],
      [0, 1, 2]
    ])
  })

  it("L5: versions grow with every commit and with time, and never decrease", () => {
    const { live, state, subscribe, write } = start()
    subscribe()
    const versions = [live.currentVersion]
    for (const time of [0, 0, 5, 5, 3, 0, 7]) {
      state.time = time
      write(time)
      versions.push(live.currentVersion)
      live.flush()
    }
    live.atLeast(1)
    versions.push(live.currentVersion)
    live.atLeast(1_000_000)
    versions.push(live.currentVersion)
    write(9)
    versions.push(live.currentVersion)
    expect(versions).toEqual([1, 2, 3, 5120, 5121, 5122, 5123, 7168, 7168, 1_000_000, 1_000_001])
  })

  it("L1: after a failure a later success is sent, and a new subscriber runs a failed query again", () => {
    const { live, state, subscribe, write } = start()
    const { received } = subscribe()
    state.fails = true
    write(1)
    live.flush()
    expect(received).toEqual([0, { _tag: "Failure", cause: [] }])
    state.fails = false
    expect(subscribe().received).toEqual([1])
    expect(received.at(-1)).toBe(1)
  })

  it("L3: nothing is kept of a query without subscribers", () => {
    const { live, state, subscribe, write } = start()
    const { subscription } = subscribe()
    live.unsubscribe(subscription)
    expect(live.explain()).toEqual([])
    state.runs = 0
    write(1)
    live.flush()
    expect(state.runs).toBe(0)
  })
})

/** Live queries over numbered cells, of which each query reads one; a flush runs three of them in one turn. */
const startCells = () => {
  const cells = new Map<number, number>()
  const ran: Array<unknown> = []
  const live = new LiveQueries({
    run: ({ payload }) => {
      ran.push(payload)
      const reads = new ReadRecorder()
      reads.range("t", "", Range.point([payload as number]))
      const n = cells.get(payload as number) ?? 0
      const result = { text: JSON.stringify(n), json: () => n, digest: () => new Uint8Array([n]), sum: () => n }
      return { result, failure: undefined, reads: reads.toReadSet() }
    },
    defer: () => {},
    now: () => 0,
    queriesPerSlice: 3
  })
  /** Writes the same to some cells, in one commit. */
  const write = (n: number, ...written: ReadonlyArray<number>) => {
    const writes = new WriteRecorder()
    for (const cell of written) {
      cells.set(cell, n)
      writes.key("t", "", [cell])
    }
    live.committed(writes)
  }
  const received: Array<readonly [cell: unknown, value: unknown]> = []
  const subscribe = (cell: number) => {
    const subscriber: Subscriber = {
      identity: "",
      pending: new Set(),
      notify() {
        for (const subscription of subscriber.pending) {
          subscriber.pending.delete(subscription)
          if (!subscription.isDue) continue
          const { key, result } = subscription.query
          subscription.sent = result?.hash
          subscription.base = result
          received.push([key.payload, result?.json()])
        }
      }
    }
    const subscription = new Subscription(subscriber, 1)
    live.subscribe(subscription, { tag: "q", payload: cell, identity: "", headers: [] })
    live.notify()
    return subscription
  }
  const tenCells = Array.from({ length: 10 }, (_, cell) => cell)
  const subscriptions = tenCells.map(subscribe)
  received.length = 0
  ran.length = 0
  return { live, ran, received, subscribe, subscriptions, tenCells, write }
}

describe("a flush of many queries", () => {
  it("L4 L5: runs them in slices, and notifies after the last", () => {
    const { live, ran, received, tenCells, write } = startCells()
    write(1, ...tenCells)
    const before = live.flushedVersion
    const slices: Array<number> = []
    while (live.needsFlush) {
      expect([received.length, live.flushedVersion]).toEqual([0, before])
      live.flush()
      slices.push(ran.splice(0).length)
    }
    expect(slices).toEqual([3, 3, 3, 1])
    expect(received).toEqual(tenCells.map((cell) => [cell, 1]))
    expect(live.flushedVersion).toBe(live.currentVersion)
  })

  it("L1 L5: what a commit between two slices touched runs again, and nobody is sent what was before it", () => {
    const { live, ran, received, tenCells, write } = startCells()
    write(1, ...tenCells)
    live.flush()
    // The first has run, the last has not.
    write(2, 0, 9)
    while (live.needsFlush) live.flush()
    expect(ran).toEqual([...tenCells, 0])
    expect(received.toSorted(([a], [b]) => Number(a) - Number(b))).toEqual([
      [0, 2],
      ...tenCells.slice(1, 9).map((cell) => [cell, 1]),
      [9, 2]
    ])
  })

  it("L4: commits that follow each other do not keep it from ending", () => {
    const { live, ran, received, tenCells, write } = startCells()
    write(1, ...tenCells)
    let flushes = 0
    for (let n = 2; received.length === 0; n++) {
      live.flush()
      write(n, ...tenCells)
      if (++flushes > 100) throw new Error("the flush does not end")
    }
    expect(ran.length).toBeLessThan(4 * tenCells.length)
    expect(new Set(received.map(([, value]) => value)).size).toBe(1)
  })

  it("control: without a limit on what is added to it, it does not end", () => {
    const { live, received, tenCells, write } = startCells()
    write(1, ...tenCells)
    for (let n = 2; n < 100; n++) {
      live.flush()
      ;(live as any).growthLeft = 100
      write(n, ...tenCells)
    }
    expect(received).toEqual([])
  })

  it("L1 L4: who subscribes between two slices is sent the first value after the last", () => {
    const { live, ran, received, subscribe, tenCells, write } = startCells()
    write(1, ...tenCells)
    live.flush()
    // One has run, one has not, one is new.
    for (const cell of [0, 9, 20]) subscribe(cell)
    expect([ran.length, received.length]).toEqual([3, 0])
    write(2, 20)
    while (live.needsFlush) live.flush()
    expect(received.slice().toSorted(([a], [b]) => Number(a) - Number(b))).toEqual([
      ...[0, 0].map((cell) => [cell, 1]),
      ...tenCells.slice(1).map((cell) => [cell, 1]),
      [9, 1],
      [20, 2]
    ])
    expect(ran.filter((cell) => cell === 20)).toHaveLength(1)
  })

  it("L3: what is unsubscribed between two slices does not run, and the flush ends", () => {
    const { live, ran, received, subscriptions, tenCells, write } = startCells()
    write(1, ...tenCells)
    live.flush()
    for (const subscription of subscriptions.slice(1)) live.unsubscribe(subscription)
    expect(live.needsFlush).toBe(true)
    live.flush()
    expect([live.needsFlush, ran, received]).toEqual([false, [0, 1, 2], [[0, 1]]])
  })
})
