/**
 * Whether everything that one side sends is understood by the other, from the shapes of both.
 * Sound rather than clever: what is not proved compatible is reported, as refused or as not proved.
 */
import type * as Schema from "effect/Schema"
import type { Check, Literal, Shape } from "./Shape.ts"

/** Where two sides do not agree. */
export interface Mismatch {
  /** The place in the value, such as `items[].title`; empty for the whole value. */
  readonly path: string
  /** `breaking`: the reader refuses values that are sent. `unproved`: nobody can say from the shapes alone. */
  readonly verdict: "breaking" | "unproved"
  /** What is wrong, about the sender and the reader. */
  readonly problem: string
}

/** Who sends and who reads, as the messages name them. */
export interface Parties {
  readonly sender: string
  readonly reader: string
  /** Whether the reader refuses properties that it does not declare. Usually it ignores them. */
  readonly isStrict?: boolean
}

/** What the reader does not understand, or may not; nothing if it understands whatever the sender sends. */
export const mismatches = (sent: Shape, read: Shape, parties: Parties): ReadonlyArray<Mismatch> =>
  new Comparison(sent.$defs ?? {}, read.$defs ?? {}, parties).compare(sent, read, "")

type Definitions = NonNullable<Shape["$defs"]>

class Comparison {
  readonly #sentDefs: Definitions
  readonly #readDefs: Definitions
  readonly #parties: Parties
  /** The pairs that are being compared. A value that contains itself is compatible if everything else in it is. */
  readonly #open = new Set<string>()

  constructor(sentDefs: Definitions, readDefs: Definitions, parties: Parties) {
    this.#sentDefs = sentDefs
    this.#readDefs = readDefs
    this.#parties = parties
  }

  compare(sent: Shape, read: Shape, path: string): ReadonlyArray<Mismatch> {
    if (sent.$ref !== undefined || read.$ref !== undefined) {
      const pair = JSON.stringify([sent, read])
      if (this.#open.has(pair)) return []
      this.#open.add(pair)
      const found = this.compare(resolve(sent, this.#sentDefs), resolve(read, this.#readDefs), path)
      this.#open.delete(pair)
      return found
    }
    if (sent.not !== undefined) return []
    return [...this.#conditions(sent, read, path), ...this.#structure(sent, read, path)]
  }

  /** What no keyword of JSON Schema says: these conditions must be the sender's, too. */
  #conditions(sent: Shape, read: Shape, path: string): ReadonlyArray<Mismatch> {
    const found: Array<Mismatch> = []
    const { reader } = this.#parties
    if (read["x-decoded"] !== undefined) {
      const same = sent["x-decoded"] !== undefined && this.#isSame(sent["x-decoded"], read["x-decoded"])
      if (!same) found.push(unproved(path, `${reader} decodes it in another way`))
    }
    const has = sent["x-checks"] ?? []
    for (const check of read["x-checks"] ?? []) {
      if (has.some((other) => isSameCheck(other, check))) continue
      const isNew = check.id.startsWith("effect/schema/is") && sent.enum === undefined && isUnconditional(sent)
      found.push((isNew ? breaking : unproved)(path, `${reader} requires ${nameOf(check)}`))
    }
    return found
  }

  #structure(sent: Shape, read: Shape, path: string): ReadonlyArray<Mismatch> {
    const alternatives = alternativesOf(sent)
    if (alternatives !== undefined) {
      return distinct(alternatives.flatMap((each) => this.#structure(resolve(each, this.#sentDefs), read, path)))
    }
    if (sent.not !== undefined) return []
    const readers = alternativesOf(read)
    if (readers !== undefined) {
      return this.#oneOf(
        sent,
        readers.map((each) => resolve(each, this.#readDefs)),
        path
      )
    }
    if (read.enum !== undefined) return this.#literal(sent, read.enum, path)
    if (read.not !== undefined) return [this.#refuses(path, describe(sent))]
    if (read.type === undefined) return []
    if (sent.enum !== undefined) return this.#literalOf(sent.enum[0]!, read, path)
    if (sent.type !== read.type && !(sent.type === "integer" && read.type === "number")) {
      return [this.#refuses(path, describe(sent))]
    }
    switch (read.type) {
      case "object":
        // Another tag: it is not the same kind of object, and its fields say nothing.
        return this.#mayMeet(sent, read) ? this.#object(sent, read, path) : [this.#refuses(path, describe(sent))]
      case "array":
        return this.#array(sent, read, path)
      default:
        return this.#plain(sent, read, path)
    }
  }

  /** A reader with alternatives. One of them has to understand all that is sent. */
  #oneOf(sent: Shape, readers: ReadonlyArray<Shape>, path: string): ReadonlyArray<Mismatch> {
    const attempts: Array<ReadonlyArray<Mismatch>> = []
    for (const reader of readers) {
      if (!this.#mayMeet(sent, reader)) continue
      const found = this.compare(sent, reader, path)
      if (found.length === 0) return []
      attempts.push(found)
    }
    if (attempts.length === 0) return [this.#refuses(path, describe(sent))]
    if (attempts.length === 1) return attempts[0]!
    const { reader } = this.#parties
    // Together they may understand what none of them understands alone. A single value needs one of them.
    return sent.enum !== undefined && attempts.every((found) => found.some(({ verdict }) => verdict === "breaking"))
      ? [this.#refuses(path, describe(sent))]
      : [unproved(path, `none of the ${attempts.length} alternatives of ${reader} takes every ${describe(sent)}`)]
  }

  /** Whether some value can be of both shapes, as far as types and tags tell. */
  #mayMeet(sent: Shape, read: Shape): boolean {
    const types = [typesOf(sent, this.#sentDefs), typesOf(read, this.#readDefs)] as const
    if (types[0] === undefined || types[1] === undefined) return true
    if (!types[0].some((type) => types[1]!.includes(type))) return false
    if (sent.enum !== undefined && read.enum !== undefined) return sent.enum.some((value) => read.enum!.includes(value))
    if (sent.type !== "object" || read.type !== "object") return true
    return (read.required ?? []).every((name) => {
      const one = literalsOf(sent.properties?.[name], this.#sentDefs)
      const other = literalsOf(read.properties?.[name], this.#readDefs)
      return one === undefined || other === undefined || one.some((value) => other.includes(value))
    })
  }

  #literal(sent: Shape, literals: ReadonlyArray<Literal>, path: string): ReadonlyArray<Mismatch> {
    const value = sent.enum?.[0]
    if (value === undefined) return [this.#refuses(path, `any ${describe(sent)} but ${literals.map(quote).join(", ")}`)]
    return literals.includes(value) ? [] : [this.#refuses(path, quote(value))]
  }

  #literalOf(value: Literal, read: Shape, path: string): ReadonlyArray<Mismatch> {
    if (typeOf(value) !== read.type && !(Number.isInteger(value) && read.type === "integer")) {
      return [this.#refuses(path, quote(value))]
    }
    const sent: Shape =
      typeof value === "string"
        ? { type: "string", minLength: value.length, maxLength: value.length }
        : typeof value === "number"
          ? { type: Number.isInteger(value) ? "integer" : "number", minimum: value, maximum: value }
          : { type: typeOf(value) }
    const matches = read.pattern === undefined || (typeof value === "string" && new RegExp(read.pattern).test(value))
    const divides = read.multipleOf === undefined || (typeof value === "number" && value % read.multipleOf === 0)
    if (!matches || !divides) return [this.#refuses(path, quote(value))]
    const { multipleOf: _, pattern: __, ...bounds } = read
    return this.#plain(sent, bounds, path)
  }

  #plain(sent: Shape, read: Shape, path: string): ReadonlyArray<Mismatch> {
    const found: Array<Mismatch> = []
    const report = (condition: string) =>
      found.push((isUnconditional(sent) ? breaking : unproved)(path, `${this.#parties.reader} requires ${condition}`))
    const one = boundsOf(sent)
    const other = boundsOf(read)
    if (isBelow(one.least, other.least)) report(`${other.least!.open ? "more than" : "at least"} ${other.least!.value}`)
    if (isAbove(one.most, other.most)) report(`${other.most!.open ? "less than" : "at most"} ${other.most!.value}`)
    if ((read.minLength ?? 0) > (sent.minLength ?? 0)) report(`at least ${read.minLength} characters`)
    if (exceeds(sent.maxLength, read.maxLength)) report(`at most ${read.maxLength} characters`)
    if (read.pattern !== undefined && read.pattern !== sent.pattern) report(`the pattern ${read.pattern}`)
    const step = sent.multipleOf ?? (sent.type === "integer" ? 1 : undefined)
    if (read.multipleOf !== undefined && !isMultiple(step, read.multipleOf)) {
      report(`a multiple of ${read.multipleOf}`)
    }
    if (sent["x-nonFinite"] === true && read["x-nonFinite"] !== true) report("a finite number")
    return found
  }

  #array(sent: Shape, read: Shape, path: string): ReadonlyArray<Mismatch> {
    const found: Array<Mismatch> = []
    const report = (condition: string) =>
      found.push((isUnconditional(sent) ? breaking : unproved)(path, `${this.#parties.reader} requires ${condition}`))
    const fixed = sent.prefixItems ?? []
    const most = sent.items?.not === undefined ? sent.maxItems : Math.min(sent.maxItems ?? fixed.length, fixed.length)
    const limit =
      read.items?.not === undefined
        ? read.maxItems
        : Math.min(read.maxItems ?? Number.POSITIVE_INFINITY, read.prefixItems?.length ?? 0)
    if ((read.minItems ?? 0) > (sent.minItems ?? 0)) report(`at least ${read.minItems} items`)
    if (exceeds(most, limit)) report(`at most ${limit} items`)
    const at = (index: number): Shape => read.prefixItems?.[index] ?? read.items ?? {}
    const length = Math.min(Math.max(fixed.length, read.prefixItems?.length ?? 0), limit ?? Number.POSITIVE_INFINITY)
    for (let index = 0; index < length; index++) {
      const item = fixed[index] ?? sent.items
      if (item !== undefined) found.push(...this.compare(item, at(index), `${path}[${index}]`))
    }
    // Beyond the limit nothing is read; that it is sent was reported above.
    if (sent.items !== undefined && (limit === undefined || limit > length)) {
      found.push(...this.compare(sent.items, at(length), `${path}[]`))
    }
    return found
  }

  #object(sent: Shape, read: Shape, path: string): ReadonlyArray<Mismatch> {
    const { isStrict, reader, sender } = this.#parties
    const found: Array<Mismatch> = []
    const within = (name: string) => (path === "" ? name : `${path}.${name}`)
    const mine = sent.properties ?? {}
    const theirs = read.properties ?? {}
    for (const name of read.required ?? []) {
      if (sent.required?.includes(name) === true) continue
      const always = name in mine || sent.additionalProperties !== undefined ? "may leave it out" : "do not have it"
      found.push(breaking(within(name), `${reader} requires it, and ${sender} ${always}`))
    }
    for (const [name, shape] of Object.entries(mine)) {
      if (Object.hasOwn(theirs, name)) found.push(...this.compare(shape, theirs[name]!, within(name)))
      else if (isStrict === true && read.additionalProperties === undefined) {
        found.push(breaking(within(name), `${reader} does not declare it, and refuses what it does not declare`))
      }
      if (read.additionalProperties !== undefined) {
        found.push(...this.compare(shape, read.additionalProperties, within(name)))
      }
    }
    const hasKeys = sent["x-checks"]?.some(({ id }) => id === "keys") === true
    for (const name of hasKeys ? Object.keys(theirs).filter((name) => !Object.hasOwn(mine, name)) : []) {
      found.push(unproved(within(name), `it may be one of the keys that ${sender} send`))
    }
    if (sent.additionalProperties === undefined) return found
    if (isStrict === true && read.additionalProperties === undefined) {
      found.push(breaking(path, `${sender} send a record, and ${reader} refuses what it does not declare`))
    }
    for (const [name, shape] of Object.entries(theirs)) {
      if (!Object.hasOwn(mine, name)) found.push(...this.compare(sent.additionalProperties, shape, within(name)))
    }
    if (read.additionalProperties !== undefined) {
      found.push(...this.compare(sent.additionalProperties, read.additionalProperties, `${path}{}`))
    }
    return found
  }

  #refuses(path: string, what: string): Mismatch {
    const { reader, sender } = this.#parties
    return breaking(path, `${sender} send ${what}, which ${reader} ${reader.endsWith("s") ? "do" : "does"} not take`)
  }

  /** Whether two shapes say the same. Those that refer to themselves are followed. */
  #isSame(one: unknown, other: unknown): boolean {
    if (Array.isArray(one) || Array.isArray(other)) {
      return (
        Array.isArray(one) &&
        Array.isArray(other) &&
        one.length === other.length &&
        one.every((each, i) => this.#isSame(each, other[i]))
      )
    }
    if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return one === other
    const left: Shape = one
    const right: Shape = other
    if (left.$ref !== undefined || right.$ref !== undefined) {
      const pair = JSON.stringify(["same", one, other])
      if (this.#open.has(pair)) return true
      this.#open.add(pair)
      const same = this.#isSame(resolve(left, this.#sentDefs), resolve(right, this.#readDefs))
      this.#open.delete(pair)
      return same
    }
    const names = new Set([...Object.keys(one), ...Object.keys(other)])
    return [...names].every((name) => this.#isSame(Reflect.get(one, name), Reflect.get(other, name)))
  }
}

const breaking = (path: string, problem: string): Mismatch => ({ path, verdict: "breaking", problem })
const unproved = (path: string, problem: string): Mismatch => ({ path, verdict: "unproved", problem })

const distinct = (found: ReadonlyArray<Mismatch>): ReadonlyArray<Mismatch> => [
  ...new Map(found.map((each) => [JSON.stringify(each), each])).values()
]

/** A shape without its reference. */
const resolve = (shape: Shape, defs: Definitions): Shape => {
  const { $ref, ...rest } = shape
  if ($ref === undefined) return shape
  const target = defs[$ref.replace("#/$defs/", "")]
  // A file that was edited by hand: what is not known fits nothing, and is understood by nobody.
  return target === undefined ? { "x-checks": [{ id: $ref, payload: null }] } : resolve({ ...target, ...rest }, defs)
}

/** The alternatives of a shape, if it has some; the members of a union, of a boolean and of several literals. */
const alternativesOf = (shape: Shape): ReadonlyArray<Shape> | undefined => {
  if (shape.anyOf !== undefined) return shape.anyOf
  if (shape.type === "boolean") return [{ enum: [true] }, { enum: [false] }]
  if (shape.enum !== undefined && shape.enum.length > 1) return shape.enum.map((value) => ({ enum: [value] }))
  return undefined
}

/** The types that values of a shape can have; `undefined` if that is not known. */
const typesOf = (shape: Shape, defs: Definitions): ReadonlyArray<string> | undefined => {
  const resolved = resolve(shape, defs)
  if (resolved.anyOf !== undefined) {
    const types = resolved.anyOf.map((each) => (each.$ref === undefined ? typesOf(each, defs) : undefined))
    return types.every((each) => each !== undefined) ? types.flat() : undefined
  }
  if (resolved.enum !== undefined) return resolved.enum.map(typeOf)
  if (resolved.type === undefined) return undefined
  return resolved["x-nonFinite"] === true
    ? ["number", "string"]
    : [resolved.type === "integer" ? "number" : resolved.type]
}

const literalsOf = (shape: Shape | undefined, defs: Definitions): ReadonlyArray<Literal> | undefined =>
  shape === undefined ? undefined : resolve(shape, defs).enum

const typeOf = (value: Literal): "null" | "boolean" | "string" | "number" =>
  value === null ? "null" : typeof value === "boolean" ? "boolean" : typeof value === "number" ? "number" : "string"

/** Whether nothing but its keywords limits what is sent: then a stricter reader surely refuses something. */
const isUnconditional = (shape: Shape): boolean =>
  shape["x-checks"] === undefined &&
  shape["x-decoded"] === undefined &&
  shape.pattern === undefined &&
  shape.multipleOf === undefined

interface Bound {
  readonly value: number
  readonly open: boolean
}

/** The least and the most of a number. Whole numbers have no open bounds. */
const boundsOf = (shape: Shape): { readonly least: Bound | undefined; readonly most: Bound | undefined } => {
  const isWhole = shape.type === "integer"
  const above = shape.exclusiveMinimum
  const below = shape.exclusiveMaximum
  const least = [
    ...(shape.minimum === undefined
      ? []
      : [{ value: isWhole ? Math.ceil(shape.minimum) : shape.minimum, open: false }]),
    ...(above === undefined
      ? []
      : [isWhole ? { value: Math.floor(above) + 1, open: false } : { value: above, open: true }])
  ]
  const most = [
    ...(shape.maximum === undefined
      ? []
      : [{ value: isWhole ? Math.floor(shape.maximum) : shape.maximum, open: false }]),
    ...(below === undefined
      ? []
      : [isWhole ? { value: Math.ceil(below) - 1, open: false } : { value: below, open: true }])
  ]
  return {
    least: least.reduce<Bound | undefined>((one, other) => (isBelow(one, other) ? other : one), undefined),
    most: most.reduce<Bound | undefined>((one, other) => (isAbove(one, other) ? other : one), undefined)
  }
}

/** Whether the first bound lets something through that is below the second. */
const isBelow = (one: Bound | undefined, other: Bound | undefined): boolean =>
  other !== undefined &&
  (one === undefined || one.value < other.value || (one.value === other.value && other.open && !one.open))

const isAbove = (one: Bound | undefined, other: Bound | undefined): boolean =>
  other !== undefined &&
  (one === undefined || one.value > other.value || (one.value === other.value && other.open && !one.open))

const exceeds = (most: number | undefined, limit: number | undefined): boolean =>
  limit !== undefined && (most === undefined || most > limit)

const isMultiple = (of: number | undefined, other: number): boolean =>
  of !== undefined && Number.isInteger(of) && Number.isInteger(other) && of % other === 0

const isSameCheck = (one: Check, other: Check): boolean =>
  one.id === other.id && sorted(one.payload) === sorted(other.payload)

/** JSON with the properties of every object in one order. */
const sorted = (json: Schema.Json): string =>
  JSON.stringify(json, (_, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value
  )

const quote = (value: Literal): string => JSON.stringify(value)

const nameOf = ({ id, payload }: Check): string => {
  const name = id.replace("effect/schema/", "")
  if (id === "own") return typeof payload === "string" ? `a check of yours (${payload})` : "a check of yours"
  return payload === null ? name : `${name} ${JSON.stringify(payload)}`
}

/** What a shape is called in a message. */
const describe = (shape: Shape): string => {
  if (shape.enum !== undefined) return shape.enum.map(quote).join(", ")
  const tag = shape.properties?.["_tag"]?.enum?.[0]
  if (tag !== undefined) return String(tag)
  return shape.type ?? "any JSON"
}
