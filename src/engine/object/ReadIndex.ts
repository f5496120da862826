/**
 * Finds which of many read sets a write touches.
 * The cost grows with the number of read sets that are touched, and hardly with the number of others.
 */
import {
  compareKeyToPosition,
  comparePositions,
  type Key,
  type Position,
  type Range
} from "../../services/storage/KeyOrder.ts"
import { type ReadSet, readsNothing, type WriteSet, writesNothing } from "../../services/storage/ReadSet.ts"

/** The comparisons that the index is built on. A test passes its own, to count them. */
export interface Order {
  readonly comparePositions: (a: Position, b: Position) => number
  readonly compareKeyToPosition: (key: Key, position: Position) => number
}

/**
 * Read sets by id. `touched` returns exactly the ids whose read set `touches` the write.
 *
 * With n distinct ranges in an index, a written key costs O(log n) comparisons, and each range that it hits adds
 * O(log n) at most. An id that is hit by many keys of a write is found once, not once for each key.
 */
export class ReadIndex<Id> {
  readonly #order: Order
  /** All ids that read something: what a write of everything touches. */
  readonly #reads = new Map<Id, ReadSet>()
  readonly #everything = new Set<Id>()
  readonly #byTable = new Map<string, Set<Id>>()
  /** Ids with ranges in a table, in whichever index: what a raw write of the table touches. */
  readonly #byRangedTable = new Map<string, Set<Id>>()
  readonly #bySpace = new Map<string, IntervalTree<Id>>()

  constructor(order: Order = { comparePositions, compareKeyToPosition }) {
    this.#order = order
  }

  /** Stores what `id` read, in place of what it read before. */
  set(id: Id, reads: ReadSet): void {
    this.delete(id)
    if (readsNothing(reads)) return
    this.#reads.set(id, reads)
    if (reads.everything) this.#everything.add(id)
    for (const table of reads.tables) addTo(this.#byTable, table, id)
    for (const [space, { table, ranges }] of reads.ranges) {
      addTo(this.#byRangedTable, table, id)
      let tree = this.#bySpace.get(space)
      if (tree === undefined) {
        tree = new IntervalTree(this.#order)
        this.#bySpace.set(space, tree)
      }
      for (const range of ranges) tree.add(range, id)
    }
  }

  delete(id: Id): void {
    const reads = this.#reads.get(id)
    if (reads === undefined) return
    this.#reads.delete(id)
    this.#everything.delete(id)
    for (const table of reads.tables) removeFrom(this.#byTable, table, id)
    for (const [space, { table, ranges }] of reads.ranges) {
      removeFrom(this.#byRangedTable, table, id)
      const tree = this.#bySpace.get(space)!
      for (const range of ranges) tree.remove(range, id)
      if (tree.isEmpty) this.#bySpace.delete(space)
    }
  }

  /** The ids whose read set the write touches. */
  touched(writes: WriteSet): Set<Id> {
    if (writesNothing(writes)) return new Set()
    if (writes.everything) return new Set(this.#reads.keys())
    const ids = new Set(this.#everything)
    for (const table of writes.rowTables) addAll(ids, this.#byTable.get(table))
    for (const table of writes.rawTables) {
      addAll(ids, this.#byTable.get(table))
      addAll(ids, this.#byRangedTable.get(table))
    }
    for (const [space, { keys }] of writes.keys) this.#bySpace.get(space)?.collect(keys, ids)
    return ids
  }
}

interface Node<Id> {
  range: Range
  /** All ids with exactly this range, so that thousands of the same are one node. */
  ids: Set<Id>
  left: Node<Id> | undefined
  right: Node<Id> | undefined
  height: number
  /** The farthest `to` in this subtree. */
  end: Position
}

/** An AVL tree of ranges, by `from` and then `to`. Its height bounds the recursion: 29 levels for a million ranges. */
class IntervalTree<Id> {
  readonly #order: Order
  #root: Node<Id> | undefined

  constructor(order: Order) {
    this.#order = order
  }

  get isEmpty(): boolean {
    return this.#root === undefined
  }

  add(range: Range, id: Id): void {
    this.#root = this.#add(this.#root, range, id)
  }

  remove(range: Range, id: Id): void {
    this.#root = this.#remove(this.#root, range, id)
  }

  /** Adds to `ids` those whose range contains one of the keys, which must be ascending. */
  collect(keys: ReadonlyArray<Key>, ids: Set<Id>): void {
    this.#collect(this.#root, keys, 0, keys.length, ids)
  }

  #add(node: Node<Id> | undefined, range: Range, id: Id): Node<Id> {
    if (node === undefined) {
      return { range, ids: new Set([id]), left: undefined, right: undefined, height: 1, end: range.to }
    }
    const order = this.#compareRanges(range, node.range)
    if (order === 0) {
      node.ids.add(id)
      return node
    }
    if (order < 0) node.left = this.#add(node.left, range, id)
    else node.right = this.#add(node.right, range, id)
    return this.#balance(node)
  }

  #remove(node: Node<Id> | undefined, range: Range, id: Id): Node<Id> | undefined {
    if (node === undefined) return undefined
    const order = this.#compareRanges(range, node.range)
    if (order < 0) node.left = this.#remove(node.left, range, id)
    else if (order > 0) node.right = this.#remove(node.right, range, id)
    else {
      node.ids.delete(id)
      if (node.ids.size > 0) return node
      if (node.left === undefined) return node.right
      if (node.right === undefined) return node.left
      let next = node.right
      while (next.left !== undefined) next = next.left
      node.range = next.range
      node.ids = next.ids
      node.right = this.#removeFirst(node.right)
    }
    return this.#balance(node)
  }

  #removeFirst(node: Node<Id>): Node<Id> | undefined {
    if (node.left === undefined) return node.right
    node.left = this.#removeFirst(node.left)
    return this.#balance(node)
  }

  /**
   * Searches `keys[first..last)` only, and narrows them on the way down to those that can still hit. A subtree is
   * entered if one of its keys alone would have led there, so a batch never visits more nodes than its keys one by one.
   */
  #collect(node: Node<Id> | undefined, keys: ReadonlyArray<Key>, first: number, last: number, ids: Set<Id>): void {
    if (node === undefined || first === last) return
    const beforeEnd = this.#firstAfter(keys, first, last, node.end)
    if (first === beforeEnd) return
    this.#collect(node.left, keys, first, beforeEnd, ids)
    // All ranges to the right start where this one does, or later.
    const started = this.#firstAfter(keys, first, beforeEnd, node.range.from)
    if (started === beforeEnd) return
    if (this.#order.compareKeyToPosition(keys[started]!, node.range.to) < 0) addAll(ids, node.ids)
    this.#collect(node.right, keys, started, beforeEnd, ids)
  }

  /** The first of `keys[first..last)` that is after the position, or `last`. */
  #firstAfter(keys: ReadonlyArray<Key>, first: number, last: number, position: Position): number {
    let low = first
    let high = last
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#order.compareKeyToPosition(keys[middle]!, position) > 0) high = middle
      else low = middle + 1
    }
    return low
  }

  #compareRanges(a: Range, b: Range): number {
    return this.#order.comparePositions(a.from, b.from) || this.#order.comparePositions(a.to, b.to)
  }

  #balance(node: Node<Id>): Node<Id> {
    const lean = height(node.left) - height(node.right)
    if (lean > 1) {
      const left = node.left!
      if (height(left.left) < height(left.right)) node.left = this.#rotateLeft(left)
      return this.#rotateRight(node)
    }
    if (lean < -1) {
      const right = node.right!
      if (height(right.right) < height(right.left)) node.right = this.#rotateRight(right)
      return this.#rotateLeft(node)
    }
    return this.#summarize(node)
  }

  #rotateLeft(node: Node<Id>): Node<Id> {
    const top = node.right!
    node.right = top.left
    top.left = this.#summarize(node)
    return this.#summarize(top)
  }

  #rotateRight(node: Node<Id>): Node<Id> {
    const top = node.left!
    node.left = top.right
    top.right = this.#summarize(node)
    return this.#summarize(top)
  }

  #summarize(node: Node<Id>): Node<Id> {
    node.height = 1 + Math.max(height(node.left), height(node.right))
    node.end = this.#later(this.#later(node.range.to, node.left?.end), node.right?.end)
    return node
  }

  #later(a: Position, b: Position | undefined): Position {
    return b !== undefined && this.#order.comparePositions(a, b) < 0 ? b : a
  }
}

const height = (node: Node<unknown> | undefined): number => (node === undefined ? 0 : node.height)

const addAll = <A>(target: Set<A>, source: ReadonlySet<A> | undefined): void => {
  if (source !== undefined) for (const item of source) target.add(item)
}

const addTo = <A>(sets: Map<string, Set<A>>, key: string, item: A): void => {
  const known = sets.get(key)
  if (known === undefined) sets.set(key, new Set([item]))
  else known.add(item)
}

const removeFrom = <A>(sets: Map<string, Set<A>>, key: string, item: A): void => {
  const known = sets.get(key)
  if (known?.delete(item) && known.size === 0) sets.delete(key)
}
