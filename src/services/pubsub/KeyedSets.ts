/**
 * Sets by a key, such as readers by what they read.
 * A set that is empty is not kept.
 */

/** Sets by a key. */
export class KeyedSets<A> {
  private readonly sets = new Map<string, Set<A>>()

  /** Whether there is something under a key. */
  has(key: string): boolean {
    return this.sets.has(key)
  }

  /** What is under a key. */
  of(key: string): Iterable<A> {
    return this.sets.get(key) ?? []
  }

  /** Adds something under a key. */
  add(key: string, value: A): void {
    const set = this.sets.get(key)
    if (set === undefined) this.sets.set(key, new Set([value]))
    else set.add(value)
  }

  /** Removes something from under a key. Returns whether it was the last there. */
  remove(key: string, value: A): boolean {
    const set = this.sets.get(key)
    if (!set?.delete(value) || set.size > 0) return false
    return this.sets.delete(key)
  }
}
