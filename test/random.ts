/// <reference types="node" />
/** A repeatable source of random values (mulberry32). */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  /** From 0 up to 1, exclusive. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** From 0 up to `end`, exclusive. */
  int(end: number): number {
    return Math.floor(this.next() * end)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<A>(items: ReadonlyArray<A>): A {
    return items[this.int(items.length)]!
  }

  array<A>(length: number, item: (index: number) => A): Array<A> {
    return Array.from({ length }, (_, index) => item(index))
  }

  shuffle<A>(items: ReadonlyArray<A>): Array<A> {
    const out = [...items]
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.int(i + 1)
      const item = out[i]!
      out[i] = out[j]!
      out[j] = item
    }
    return out
  }
}

/** What a check of a random test found wrong. Every other exception is a mistake of the test, and no control accepts it. */
export class Violation extends Error {
  override readonly name: string = "Violation"
}

/** The first seed of every random test: `DORMOUSE_SEED`, or another one in each run. */
const firstSeed = Number(process.env["DORMOUSE_SEED"] ?? (Date.now() ^ (Math.random() * 2 ** 31)) >>> 0)

/** Whether `DORMOUSE_LONG=1` asks for the long versions of random tests. */
export const isLong = process.env["DORMOUSE_LONG"] === "1"

/** The first seed, which the test prints as it starts. */
export const startSeed = (): number => {
  console.info(`DORMOUSE_SEED=${firstSeed}`)
  return firstSeed
}

/** The seeds of a test with so many runs, ten times as many in the long version. It prints the first as it starts. */
export const seeds = (runs: number): ReadonlyArray<number> => {
  const first = startSeed()
  return Array.from({ length: isLong ? runs * 10 : runs }, (_, i) => first + i)
}

/** A sixth of many cases, one or another by the seed; all of them in the long version. Of each six neighbours it has one. */
export const sixthOf = <A>(cases: ReadonlyArray<A>): ReadonlyArray<A> => {
  const first = startSeed()
  return isLong ? cases : cases.filter((_, i) => (i + Math.floor(i / 6)) % 6 === first % 6)
}

/** The failure of a run, with its seed: a `Violation` if one of the run's own checks failed. */
const failureOf = (seed: number, cause: unknown): Error => {
  const error = cause instanceof Error ? cause : new Error(String(cause))
  const isCheck = error instanceof Violation || error.name === "AssertionError"
  return new (isCheck ? Violation : Error)(`DORMOUSE_SEED=${seed} fails: ${error.message}`, { cause })
}

/** Runs the property with the first seed, the next one and so on. A failure names its seed. */
export const forAll = (runs: number, property: (random: Random, seed: number) => void): void => {
  for (const seed of seeds(runs)) {
    try {
      property(new Random(seed), seed)
    } catch (cause) {
      throw failureOf(seed, cause)
    }
  }
}

type AsyncProperty = (random: Random, seed: number) => Promise<unknown>

const runWith = async (seed: number, property: AsyncProperty): Promise<void> => {
  try {
    await property(new Random(seed), seed)
  } catch (cause) {
    throw failureOf(seed, cause)
  }
}

/** The same for a property that waits. */
export const forAllAsync = async (runs: number, property: AsyncProperty): Promise<void> => {
  for (const seed of seeds(runs)) await runWith(seed, property)
}

/** Runs the property with more seeds than the first `runs` while something is rare, up to so many. */
export const runMore = async (
  [runs, most]: readonly [runs: number, most: number],
  isRare: () => boolean,
  property: AsyncProperty
): Promise<void> => {
  for (const seed of seeds(most).slice(runs)) {
    if (!isRare()) return
    await runWith(seed, property)
  }
}
