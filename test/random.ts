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

/**
 * Runs the property with a new seed each time. A failure reports its seed; pass it as the third argument to repeat the
 * run.
 */
export const forAll = (runs: number, property: (random: Random) => void, seed?: number): void => {
  const first = seed ?? (Date.now() ^ (Math.random() * 2 ** 31)) >>> 0
  for (let i = 0; i < (seed === undefined ? runs : 1); i++) {
    try {
      property(new Random(first + i))
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new Error(`Failed with seed ${first + i}: ${reason}`, { cause })
    }
  }
}
