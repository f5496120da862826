/// <reference types="node" />
import { performance } from "node:perf_hooks"
import { clearTimeout, setTimeout } from "node:timers"

/** Does `run` for 0 to `count` - 1, `width` at a time, each in a lane; gives the milliseconds it took. */
export async function inFlight(
  width: number,
  count: number,
  run: (index: number, lane: number) => Promise<unknown>
): Promise<number> {
  const start = performance.now()
  let next = 0
  const work = async (lane: number) => {
    while (next < count) await run(next++, lane)
  }
  await Promise.all(Array.from({ length: Math.min(width, count) }, (_, lane) => work(lane)))
  return performance.now() - start
}

export async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await run()
  return performance.now() - start
}

/** The median time of one after the other. */
export async function timedEach(count: number, run: (index: number) => Promise<unknown>): Promise<number> {
  const times: Array<number> = []
  for (let index = 0; index < count; index++) times.push(await timed(() => run(index)))
  return median(times)
}

export function median(values: ReadonlyArray<number>): number {
  if (values.length === 0) return Number.NaN
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function deadline<A>(milliseconds: number, what: string, promise: Promise<A>): Promise<A> {
  let timer: NodeJS.Timeout
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${milliseconds} ms`)), milliseconds)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
