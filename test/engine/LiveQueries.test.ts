import { describe, expect, it, vi } from "vitest"
import { LiveQueries, type QueryKey, type Subscriber, Subscription } from "../../src/engine/object/LiveQueries.ts"
import { Range } from "../../src/services/storage/KeyOrder.ts"
import { ReadRecorder, WriteRecorder } from "../../src/services/storage/ReadSet.ts"

/** Live queries over one number, which every query reads. */
const start = () => {
  const tasks: Array<() => void> = []
  const state = { n: 0, runs: 0, time: 0, fails: false }
  const live = new LiveQueries({
    run: () => {
      state.runs++
      const reads = new ReadRecorder()
      reads.range("t", "", Range.point([1]))
      if (state.fails) {
        return { result: undefined, failure: { _tag: "Failure", cause: [] }, reads: reads.toReadSet() }
      }
      const { n } = state
      const result = { text: JSON.stringify(n), json: () => n }
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
    const got: Array<unknown> = []
    const subscriber: Subscriber = {
      identity: "",
      pending: new Set(),
      notify() {
        onNotify?.()
        for (const subscription of subscriber.pending) {
          subscriber.pending.delete(subscription)
          if (!subscription.isDue) continue
          const { failure, result } = subscription.query
          result?.frameFrom(subscription.base)
          subscription.sent = result?.hash
          subscription.base = result
          got.push(failure ?? result!.json())
        }
      }
    }
    const subscription = new Subscription(subscriber, 1)
    live.subscribe(subscription, key)
    live.notify()
    return { got, subscription }
  }
  return { live, state, tasks, write, subscribe }
}

describe("LiveQueries", () => {
  it("L4: a crowd is told in turns, and who is told later is told the newest", () => {
    const { live, state, subscribe, tasks, write } = start()
    const crowd = Array.from({ length: 2250 }, () => subscribe())
    state.runs = 0
    const told = () => crowd.filter(({ got }) => got.at(-1) === state.n).length
    write(1)
    live.flush()
    expect([told(), tasks.length]).toEqual([1000, 1])
    // Somebody else writes between two turns.
    write(2)
    live.flush()
    expect([told(), tasks.length]).toEqual([0, 1])
    while (tasks.length > 0) tasks.shift()!()
    expect(told()).toBe(2250)
    expect(state.runs).toBe(2)
    const seen = new Set(crowd.map(({ got }) => JSON.stringify(got)))
    expect([...seen].toSorted()).toEqual(["[0,1,2]", "[0,2]"])
  })

  it("L3: a result and its patch are encoded once, however many get them", () => {
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

  it("L1: a subscriber that cannot be told does not keep the others from it", () => {
    const { live, subscribe, write } = start()
    let isBroken = false
    subscribe(() => {
      if (isBroken) throw new Error("broken")
    })
    const other = subscribe()
    isBroken = true
    write(1)
    expect(() => live.flush()).toThrow("broken")
    expect(other.got).toEqual([0, 1])
  })

  it("L1: a write in the middle of a delivery is flushed by itself", () => {
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
    expect([first.got, second.got]).toEqual([
      [0, 1],
      [0, 1]
    ])
    expect(live.needsFlush).toBe(true)
    live.flush()
    expect([first.got, second.got]).toEqual([
      [0, 1, 2],
      [0, 1, 2]
    ])
  })

  it("L5: versions grow with every commit, with time, and never back", () => {
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

  it("L1: a failure ends, a later success is a value again, and a failed query is run anew for who comes", () => {
    const { live, state, subscribe, write } = start()
    const { got } = subscribe()
    state.fails = true
    write(1)
    live.flush()
    expect(got).toEqual([0, { _tag: "Failure", cause: [] }])
    state.fails = false
    expect(subscribe().got).toEqual([1])
    expect(got.at(-1)).toBe(1)
  })

  it("L3: nothing is kept of a question that nobody asks any more", () => {
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
