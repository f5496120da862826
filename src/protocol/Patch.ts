/**
 * Differences between two JSON values, as a JSON Patch (RFC 6902) of `add`, `remove`, `replace` and `move`, so that any
 * library for that format can apply them. Values are JSON: no `undefined`, no `NaN`. The order of an object's
 * properties is not part of its value, and a patch does not reproduce it.
 */
import * as Data from "effect/Data"
import { escapeToken, unescapeToken } from "effect/JsonPointer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

type Json = Schema.Json

/** One step of a patch. `path` and `from` are JSON Pointers (RFC 6901); `""` is the whole value. */
export type Operation =
  | { readonly op: "add"; readonly path: string; readonly value: Json }
  | { readonly op: "remove"; readonly path: string }
  | { readonly op: "replace"; readonly path: string; readonly value: Json }
  | { readonly op: "move"; readonly from: string; readonly path: string }

/** Steps in the order in which they apply, each to the result of the steps before it. */
export type Patch = ReadonlyArray<Operation>
/** A patch that was received. Its operations are checked when they are applied. */
export const Patch: Schema.Codec<Patch> = Schema.declare((input): input is Patch => Array.isArray(input))

/** Why an operation failed. */
export type PatchErrorReason =
  /** Not an operation of this subset, or a required member is missing. */
  | "InvalidOperation"
  /** Not a JSON Pointer. */
  | "InvalidPointer"
  /** A container on the path, or the value at its end, does not exist. */
  | "PathNotFound"
  /** A token that is not an index, for an array. */
  | "InvalidIndex"
  /** The index is beyond the end of the array. */
  | "IndexOutOfBounds"
  /** The whole value cannot be removed. */
  | "RootRemoved"
  /** A value cannot move into one of its own descendants. */
  | "MovedIntoItself"

/** The patch does not apply: it was made for another value, or it is malformed. A retry fails the same way. */
export class PatchError extends /* @__PURE__ */ Data.TaggedError("PatchError")<{
  /** Position of the failed operation in the patch. */
  readonly index: number
  /** The pointer that failed: the operation's `path`, or `from`. */
  readonly path: string
  readonly reason: PatchErrorReason
}> {
  override get message(): string {
    return `Operation ${this.index} of the patch failed at ${JSON.stringify(this.path)}: ${this.reason}`
  }
}

/**
 * The operations that turn `before` into `after`; none when they are equal.
 *
 * An array whose elements are all objects with a distinct `rowKey`, a string or a number, is compared row by row:
 * missing rows are removed, new rows are added, as few rows as possible move, and the properties of the other rows are
 * compared. Other arrays are compared by index, after their common beginning and end are left out.
 */
export const make = (before: Json, after: Json, rowKey = "id"): Patch => {
  const ops: Array<Operation> = []
  diff(before, after, "", rowKey, ops)
  return ops
}

/**
 * Applies the operations in order. The given value is not changed; parts that the patch does not touch are shared with
 * the result (`===`). Each array or object that the patch touches is copied once, however many operations touch it.
 */
export const apply = (value: Json, patch: Patch): Result.Result<Json, PatchError> => {
  const draft = new Draft(value)
  for (let index = 0; index < patch.length; index++) {
    const failure = draft.run(patch[index]!)
    if (failure !== undefined) return Result.fail(new PatchError({ index, ...failure }))
  }
  return Result.succeed(draft.value)
}

// Making

const diff = (before: Json, after: Json, path: string, rowKey: string, ops: Array<Operation>): void => {
  if (before === after) return
  if (isArray(before) && isArray(after)) diffArrays(before, after, path, rowKey, ops)
  else if (isObject(before) && isObject(after)) diffObjects(before, after, path, rowKey, ops)
  else ops.push({ op: "replace", path, value: after })
}

const diffObjects = (
  before: Schema.JsonObject,
  after: Schema.JsonObject,
  path: string,
  rowKey: string,
  ops: Array<Operation>
): void => {
  for (const key of Object.keys(before)) {
    if (!Object.hasOwn(after, key)) ops.push({ op: "remove", path: `${path}/${escapeToken(key)}` })
  }
  for (const key of Object.keys(after)) {
    const value = after[key]!
    if (!Object.hasOwn(before, key)) ops.push({ op: "add", path: `${path}/${escapeToken(key)}`, value })
    // Most properties do not change: build no path for them.
    else if (before[key] !== value) diff(before[key]!, value, `${path}/${escapeToken(key)}`, rowKey, ops)
  }
}

const diffArrays = (
  before: Schema.JsonArray,
  after: Schema.JsonArray,
  path: string,
  rowKey: string,
  ops: Array<Operation>
): void => {
  const indexBefore = indexByRow(before, rowKey)
  const indexAfter = indexBefore && indexByRow(after, rowKey)
  if (indexBefore === undefined || indexAfter === undefined) diffByIndex(before, after, path, rowKey, ops)
  else diffRows(before, after, [...indexBefore.keys()], indexAfter, path, rowKey, ops)
}

const diffByIndex = (
  before: Schema.JsonArray,
  after: Schema.JsonArray,
  path: string,
  rowKey: string,
  ops: Array<Operation>
): void => {
  let start = 0
  let endBefore = before.length
  let endAfter = after.length
  while (start < endBefore && start < endAfter && equals(before[start]!, after[start]!)) start++
  while (endBefore > start && endAfter > start && equals(before[endBefore - 1]!, after[endAfter - 1]!)) {
    endBefore--
    endAfter--
  }
  const endShared = Math.min(endBefore, endAfter)
  for (let i = start; i < endShared; i++) diff(before[i]!, after[i]!, `${path}/${i}`, rowKey, ops)
  for (let i = endBefore - 1; i >= endShared; i--) ops.push({ op: "remove", path: `${path}/${i}` })
  for (let i = endShared; i < endAfter; i++) ops.push({ op: "add", path: `${path}/${i}`, value: after[i]! })
}

const diffRows = (
  before: Schema.JsonArray,
  after: Schema.JsonArray,
  keysBefore: ReadonlyArray<RowKey>,
  indexAfter: ReadonlyMap<RowKey, number>,
  path: string,
  rowKey: string,
  ops: Array<Operation>
): void => {
  /** For each row that stays, in the old order: its index before and its index after. */
  const kept: Array<{ readonly from: number; readonly to: number }> = []
  for (let from = 0; from < before.length; from++) {
    const to = indexAfter.get(keysBefore[from]!)
    if (to !== undefined) kept.push({ from, to })
  }
  if (kept.length === 0 && before.length + after.length > 0) {
    ops.push({ op: "replace", path, value: after })
    return
  }
  // From the end, so that a removal does not shift the indices of the rows still to be removed.
  for (let i = before.length - 1, k = kept.length - 1; i >= 0; i--) {
    if (k >= 0 && kept[k]!.from === i) k--
    else ops.push({ op: "remove", path: `${path}/${i}` })
  }
  const targets = kept.map((row) => row.to)
  placeRows(targets, after, path, ops)
  for (const row of kept) diff(before[row.from]!, after[row.to]!, `${path}/${row.to}`, rowKey, ops)
}

/**
 * Adds the moves and additions, after the removals. `targets[i]` is the final index of the remaining row i; at least
 * one row remains unless `after` is empty.
 *
 * The rows of a longest increasing subsequence of `targets` do not move. Every other row of `after` is moved or added,
 * from left to right, directly after its predecessor. Rows that are yet to move still take up an index meanwhile, so
 * the index of a place is the number of rows present before it. To count them, every place that a row has now or will
 * have gets a slot, in the order of the list.
 */
const placeRows = (targets: ReadonlyArray<number>, after: Schema.JsonArray, path: string, ops: Array<Operation>) => {
  const still = longestIncreasing(targets)
  if (still.length === after.length) return
  const finalSlots = new Array<number>(after.length)
  const waitingSlots = new Map<number, number>()
  const present: Array<0 | 1> = []
  let next = 0
  let nextStill = 0
  const addSlotsUpTo = (end: number) => {
    for (; next < end; next++) finalSlots[next] = present.push(0) - 1
  }
  // Final places follow the fixed row before them. Those before the first fixed row are at the front.
  addSlotsUpTo(targets[still[0]!]!)
  for (let i = 0; i < targets.length; i++) {
    const slot = present.push(1) - 1
    if (i !== still[nextStill]) {
      waitingSlots.set(targets[i]!, slot)
      continue
    }
    finalSlots[next++] = slot
    nextStill++
    addSlotsUpTo(nextStill < still.length ? targets[still[nextStill]!]! : after.length)
  }

  const counter = new SlotCounter(present)
  const standing = new Set(still.map((i) => targets[i]!))
  for (let index = 0; index < after.length; index++) {
    if (standing.has(index)) continue
    const slot = finalSlots[index]!
    const waiting = waitingSlots.get(index)
    if (waiting === undefined) {
      ops.push({ op: "add", path: `${path}/${counter.before(slot)}`, value: after[index]! })
    } else {
      const from = `${path}/${counter.before(waiting)}`
      counter.change(waiting, -1)
      // RFC 6902: the target index is that of the list without the moved row.
      ops.push({ op: "move", from, path: `${path}/${counter.before(slot)}` })
    }
    counter.change(slot, 1)
  }
}

/** The positions of a longest increasing subsequence of distinct numbers, in O(n log n). */
const longestIncreasing = (values: ReadonlyArray<number>): ReadonlyArray<number> => {
  /** `ends[k]`: the last position of the subsequence of length k + 1 with the smallest last value. */
  const ends: Array<number> = []
  const previous = new Array<number>(values.length)
  for (let i = 0; i < values.length; i++) {
    let low = 0
    let high = ends.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (values[ends[middle]!]! < values[i]!) low = middle + 1
      else high = middle
    }
    previous[i] = low === 0 ? -1 : ends[low - 1]!
    ends[low] = i
  }
  const found = new Array<number>(ends.length)
  let at = ends.at(-1) ?? -1
  for (let k = ends.length - 1; k >= 0; k--) {
    found[k] = at
    at = previous[at]!
  }
  return found
}

/** A Fenwick tree: counts and changes in O(log n). */
class SlotCounter {
  readonly #sums: Array<number>

  constructor(values: ReadonlyArray<number>) {
    this.#sums = [0, ...values]
    for (let i = 1; i < this.#sums.length; i++) {
      const parent = i + (i & -i)
      if (parent < this.#sums.length) this.#sums[parent]! += this.#sums[i]!
    }
  }

  /** The sum of all slots before this one. */
  before(slot: number): number {
    let sum = 0
    for (let i = slot; i > 0; i -= i & -i) sum += this.#sums[i]!
    return sum
  }

  change(slot: number, by: number): void {
    for (let i = slot + 1; i < this.#sums.length; i += i & -i) this.#sums[i]! += by
  }
}

type RowKey = string | number

/** Indices by row key. `undefined` when an element is not an object, has no row key, or shares it with another. */
const indexByRow = (rows: Schema.JsonArray, rowKey: string): ReadonlyMap<RowKey, number> | undefined => {
  const index = new Map<RowKey, number>()
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!
    if (!isObject(row) || !Object.hasOwn(row, rowKey)) return undefined
    const key = row[rowKey]!
    if ((typeof key !== "string" && typeof key !== "number") || index.has(key)) return undefined
    index.set(key, i)
  }
  return index
}

const equals = (a: Json, b: Json): boolean => {
  if (a === b) return true
  if (isArray(a)) return isArray(b) && a.length === b.length && a.every((item, i) => equals(item, b[i]!))
  if (!isObject(a) || !isObject(b)) return false
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && equals(a[key]!, b[key]!))
}

// Applying

type Container = Array<Json> | Record<string, Json>

interface Location {
  readonly container: Container
  /** The last token of the pointer. The container may not have it. */
  readonly token: string
}

interface Failure {
  readonly path: string
  readonly reason: PatchErrorReason
}

/** The value while operations are applied to it. Discard it after a failure. */
class Draft {
  /**
   * Holds the value under the empty token with which a pointer starts, so that the whole value is a location like others.
   */
  readonly #root: Record<string, Json>
  /** Copies made here, which may be changed. All other containers belong to the caller. */
  readonly #own = new Map<unknown, Container>()

  constructor(value: Json) {
    this.#root = { "": value }
  }

  get value(): Json {
    return this.#root[""]!
  }

  run(operation: Operation): Failure | undefined {
    switch (operation?.op) {
      case "add":
        return failAt(operation.path, this.#add(operation.path, operation.value))
      case "remove":
        return failAt(operation.path, operation.path === "" ? "RootRemoved" : this.#remove(operation.path))
      case "replace":
        return failAt(operation.path, this.#replace(operation.path, operation.value))
      case "move":
        return this.#move(operation.from, operation.path)
      default:
        return { path: "", reason: "InvalidOperation" }
    }
  }

  #add(path: string, value: Json): PatchErrorReason | undefined {
    if (value === undefined) return "InvalidOperation"
    const location = this.#locate(path)
    if (typeof location === "string") return location
    const { container, token } = location
    if (!Array.isArray(container)) {
      write(container, token, value)
      return undefined
    }
    if (token === "-") {
      container.push(value)
      return undefined
    }
    if (!isIndex(token)) return "InvalidIndex"
    if (Number(token) > container.length) return "IndexOutOfBounds"
    container.splice(Number(token), 0, value)
    return undefined
  }

  #remove(path: string): PatchErrorReason | undefined {
    const location = this.#locateExisting(path)
    if (typeof location === "string") return location
    if (Array.isArray(location.container)) location.container.splice(Number(location.token), 1)
    else delete location.container[location.token]
    return undefined
  }

  #replace(path: string, value: Json): PatchErrorReason | undefined {
    if (value === undefined) return "InvalidOperation"
    const location = this.#locateExisting(path)
    if (typeof location === "string") return location
    write(location.container, location.token, value)
    return undefined
  }

  #move(from: string, path: string): Failure | undefined {
    const location = this.#locateExisting(from)
    if (typeof location === "string") return failAt(from, location)
    if (path === from) return undefined
    if (!isPointer(path)) return failAt(path, "InvalidPointer")
    if (path.startsWith(`${from}/`)) return failAt(path, "MovedIntoItself")
    const value = read(location.container, location.token)
    return failAt(from, this.#remove(from)) ?? failAt(path, this.#add(path, value))
  }

  /** The location of a pointer, in a container that may be changed: the containers on the path are copied, once. */
  #locate(pointer: string): Location | PatchErrorReason {
    if (!isPointer(pointer)) return "InvalidPointer"
    const tokens = pointer.split("/").map(unescapeToken)
    const last = tokens.pop()!
    let container: Container = this.#root
    for (const token of tokens) {
      const reason = whyAbsent(container, token)
      if (reason !== undefined) return reason
      const child = this.#claim(read(container, token))
      if (child === undefined) return "PathNotFound"
      write(container, token, child)
      container = child
    }
    return { container, token: last }
  }

  #locateExisting(pointer: string): Location | PatchErrorReason {
    const location = this.#locate(pointer)
    return typeof location === "string" ? location : (whyAbsent(location.container, location.token) ?? location)
  }

  /** A copy of a container that may be changed. `undefined` for a value that is not a container. */
  #claim(value: Json): Container | undefined {
    if (!isArray(value) && !isObject(value)) return undefined
    const own = this.#own.get(value)
    if (own !== undefined) return own
    const copy: Container = isArray(value) ? value.slice() : { ...value }
    this.#own.set(copy, copy)
    return copy
  }
}

const failAt = (path: string, reason: PatchErrorReason | undefined): Failure | undefined =>
  reason === undefined ? undefined : { path: String(path), reason }

const whyAbsent = (container: Container, token: string): PatchErrorReason | undefined => {
  if (!Array.isArray(container)) return Object.hasOwn(container, token) ? undefined : "PathNotFound"
  if (!isIndex(token)) return "InvalidIndex"
  return Number(token) < container.length ? undefined : "IndexOutOfBounds"
}

/** Reads a token for which `whyAbsent` returned `undefined`. */
const read = (container: Container, token: string): Json =>
  Array.isArray(container) ? container[Number(token)]! : container[token]!

const write = (container: Container, token: string, value: Json): void => {
  if (Array.isArray(container)) container[Number(token)] = value
  // An assignment would set the prototype and not a property.
  else if (token === "__proto__") {
    Object.defineProperty(container, token, { value, writable: true, enumerable: true, configurable: true })
  } else container[token] = value
}

const isPointer = (pointer: string): boolean =>
  typeof pointer === "string" && (pointer === "" || pointer.startsWith("/")) && !/~(?![01])/.test(pointer)

/** RFC 6901: no sign, no leading zero. */
const isIndex = (token: string): boolean => /^(?:0|[1-9][0-9]*)$/.test(token)

const isArray = (value: Json): value is Schema.JsonArray => Array.isArray(value)

const isObject = (value: Json): value is Schema.JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)
