import { expect, it } from "vitest"

/** What publishing does for the app in `topics.ts`, whether its readers are over sockets or in the same process. */

/** Somebody who reads a topic from now on. */
export interface Reading {
  /** What has arrived. */
  readonly items: () => ReadonlyArray<any>
  /** Takes what has arrived, so that what follows can arrive. */
  readonly acknowledge: () => void
  readonly close: () => void
}

/** The mutations of the app, and readers of its topics. */
export interface Broker {
  readonly read: (tag: string, key: unknown) => Promise<Reading>
  /** Calls a mutation. Resolves with its failure, or the reason of that, if it failed. */
  readonly call: (tag: string, payload: unknown) => Promise<unknown>
  readonly close: () => Promise<void>
}

export const publishCases = (open: () => Promise<Broker>): void => {
  const opened = async (body: (broker: Broker, done: (tag: string, payload: unknown) => Promise<void>) => unknown) => {
    const broker = await open()
    await body(broker, async (tag, payload) => expect(await broker.call(tag, payload)).toBe(undefined))
    await broker.close()
  }
  const texts = (reading: Reading) => reading.items().map(({ message }) => message.text ?? message)
  /** Waits for the texts, and takes what has arrived until then. */
  const until = (reading: Reading, expected: ReadonlyArray<unknown>) =>
    expect
      .poll(
        () => {
          reading.acknowledge()
          return texts(reading)
        },
        { interval: 5 }
      )
      .toEqual(expected)

  it("PS1: what a mutation publishes reaches the readers of its key after the commit, in order", () =>
    opened(async ({ read }, done) => {
      const [one, two] = [await read("said", { room: "a" }), await read("said", { room: "b" })]
      await done("say", { room: "a", texts: ["1", "2", "3"] })
      await done("say", { room: "b", texts: ["4"] })
      await done("say", { room: "a", texts: ["5"] })
      await until(one, ["1", "2", "3", "5"])
      await until(two, ["4"])
      one.close()
      two.close()
    }))

  it("PS1: what is rolled back is not published", () =>
    opened(async ({ call, read }, done) => {
      const one = await read("said", { room: "a" })
      expect(await call("rolledBack", { room: "a", how: "fail" })).not.toBe(undefined)
      expect(await call("rolledBack", { room: "a", how: "die" })).not.toBe(undefined)
      await done("partly", { room: "a" })
      await until(one, ["before", "after"])
      one.close()
    }))

  it("PS3: a slow reader loses the oldest messages and is told how many; others lose none", () =>
    opened(async ({ read }, done) => {
      await done("join", { room: "a", subject: "ada" })
      const [slow, fast] = [await read("told", { room: "a" }), await read("told", { room: "a" })]
      const all = Array.from({ length: 30 }, (_, i) => `${i}`)
      for (const [i, text] of all.entries()) {
        await done("tell", { room: "a", texts: [text] })
        await until(fast, all.slice(0, i + 1))
      }
      expect(fast.items().some(({ missed }) => missed !== undefined)).toBe(false)
      expect(texts(slow).length).toBeLessThan(17)
      await until(slow, [...all.slice(0, 16), "27", "28", "29"])
      expect(slow.items().map(({ missed }) => missed)).toEqual([
        ...all.slice(0, 16).fill(undefined!),
        11,
        undefined,
        undefined
      ])
      slow.close()
      fast.close()
    }))

  it("PS3: with a buffer of one a slow reader gets the latest message", () =>
    opened(async ({ read }, done) => {
      const [slow, fast] = [await read("latest", "k"), await read("latest", "k")]
      const all = Array.from({ length: 20 }, (_, i) => i)
      for (const i of all) {
        await done("count", { key: "k", numbers: [i] })
        await until(fast, all.slice(0, i + 1))
      }
      await until(slow, [...all.slice(0, 16), 19])
      slow.close()
      fast.close()
    }))

  it("PS6: a message that is too large is refused", () =>
    opened(async ({ call }, done) => {
      await done("large", { length: 100_000 })
      expect(await call("large", { length: 200_000 })).toMatchObject({
        _tag: "LimitExceeded",
        limit: "topicMessageBytes"
      })
    }))
}
