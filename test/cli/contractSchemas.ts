/**
 * Random schemas as data, which can be changed a little, and the schemas of Effect that they stand for.
 */
import * as Schema from "effect/Schema"
import type { Random } from "../random.ts"

export type Spec =
  | { readonly is: "text"; readonly least?: number; readonly most?: number }
  | { readonly is: "whole"; readonly least?: number; readonly most?: number }
  | { readonly is: "number"; readonly least?: number }
  | { readonly is: "flag" | "nothing" | "date" | "any" | "trimmed" }
  | { readonly is: "numberFromText"; readonly most?: number }
  | { readonly is: "literals"; readonly values: ReadonlyArray<string> }
  | { readonly is: "list"; readonly item: Spec; readonly least?: number; readonly most?: number }
  | { readonly is: "pair"; readonly items: readonly [Spec, Spec] }
  | { readonly is: "record"; readonly value: Spec }
  | { readonly is: "struct"; readonly fields: ReadonlyArray<Field> }
  | { readonly is: "union"; readonly members: ReadonlyArray<Spec> }
  | { readonly is: "tagged"; readonly tag: string; readonly fields: ReadonlyArray<Field> }
  | { readonly is: "tree"; readonly label: Spec }

export interface Field {
  readonly name: string
  readonly spec: Spec
  readonly optional: boolean
}

const checked = <S extends Schema.Top>(schema: S, ...checks: ReadonlyArray<any>): Schema.Top =>
  checks.filter((check) => check !== undefined).reduce((all: any, check) => all.check(check), schema)

/** The schema that a spec stands for. */
export const toSchema = (spec: Spec): Schema.Top => {
  switch (spec.is) {
    case "text":
      return checked(
        Schema.String,
        spec.least === undefined ? undefined : Schema.isMinLength(spec.least),
        spec.most === undefined ? undefined : Schema.isMaxLength(spec.most)
      )
    case "whole":
      return checked(
        Schema.Int,
        spec.least === undefined ? undefined : Schema.isGreaterThanOrEqualTo(spec.least),
        spec.most === undefined ? undefined : Schema.isLessThan(spec.most)
      )
    case "number":
      return checked(Schema.Number, spec.least === undefined ? undefined : Schema.isGreaterThan(spec.least))
    case "flag":
      return Schema.Boolean
    case "nothing":
      return Schema.Null
    case "date":
      return Schema.DateTimeUtc
    case "any":
      return Schema.Json
    case "trimmed":
      return Schema.Trim
    case "numberFromText":
      return checked(
        Schema.NumberFromString,
        spec.most === undefined ? undefined : Schema.isLessThanOrEqualTo(spec.most)
      )
    case "literals":
      return Schema.Literals(spec.values)
    case "list":
      return checked(
        Schema.Array(toSchema(spec.item)),
        spec.least === undefined ? undefined : Schema.isMinLength(spec.least),
        spec.most === undefined ? undefined : Schema.isMaxLength(spec.most)
      )
    case "pair":
      return Schema.Tuple([toSchema(spec.items[0]), toSchema(spec.items[1])])
    case "record":
      return Schema.Record(Schema.String, toSchema(spec.value))
    case "struct":
      return Schema.Struct(toFields(spec.fields))
    case "union":
      return Schema.Union(spec.members.map(toSchema))
    case "tagged":
      return Schema.TaggedStruct(spec.tag, toFields(spec.fields))
    case "tree": {
      const tree: Schema.Codec<any> = Schema.Struct({
        label: toSchema(spec.label),
        children: Schema.Array(Schema.suspend((): Schema.Codec<any> => tree))
      }) as any
      return tree
    }
  }
}

const toFields = (fields: ReadonlyArray<Field>): Record<string, Schema.Top> =>
  Object.fromEntries(
    fields.map(({ name, optional, spec }) => [name, optional ? Schema.optionalKey(toSchema(spec)) : toSchema(spec)])
  )

const names = ["a", "b", "c", "d"]
const words = ["red", "green", "blue", "black"]

const bound = (random: Random, end: number): number | undefined => (random.chance(0.5) ? random.int(end) : undefined)

const least = (value: number | undefined) => (value === undefined ? {} : { least: value })
const most = (value: number | undefined) => (value === undefined ? {} : { most: value })

/** Two bounds, or one, or none: the first is less than the second, so that there are such values. */
const bounds = (random: Random): { readonly least?: number; readonly most?: number } => {
  const least = bound(random, 4)
  const most = random.chance(0.5) ? (least ?? 0) + 1 + random.int(6) : undefined
  return { ...(least !== undefined && { least }), ...(most !== undefined && { most }) }
}

export const randomSpec = (random: Random, depth: number): Spec => {
  const leaves = [
    "text",
    "whole",
    "number",
    "flag",
    "nothing",
    "date",
    "any",
    "trimmed",
    "numberFromText",
    "literals"
  ] as const
  const branches = ["list", "pair", "record", "struct", "union", "tagged", "tree"] as const
  const is = depth === 0 || random.chance(0.3) ? random.pick(leaves) : random.pick(branches)
  const inner = () => randomSpec(random, depth - 1)
  switch (is) {
    case "text":
      return { is, ...bounds(random) }
    case "whole":
      return { is, ...bounds(random) }
    case "number":
      return { is, ...least(bound(random, 5)) }
    case "numberFromText":
      return { is, ...most(bound(random, 9)) }
    case "literals":
      return { is, values: words.slice(0, 1 + random.int(words.length)) }
    case "list":
      return {
        is,
        item: inner(),
        ...bounds(random)
      }
    case "pair":
      return { is, items: [inner(), inner()] }
    case "record":
      return { is, value: inner() }
    case "struct":
      return { is, fields: randomFields(random, depth) }
    case "union":
      return { is, members: random.array(1 + random.int(3), inner) }
    case "tagged":
      return { is, tag: random.pick(words), fields: randomFields(random, depth) }
    case "tree":
      return { is, label: inner() }
    default:
      return { is }
  }
}

const randomFields = (random: Random, depth: number): ReadonlyArray<Field> =>
  random
    .shuffle(names)
    .slice(0, 1 + random.int(3))
    .map((name) => ({ name, spec: randomSpec(random, depth - 1), optional: random.chance(0.3) }))

/** The same spec with one small change, somewhere. */
export const change = (random: Random, spec: Spec): Spec => {
  if (random.chance(0.1)) return randomSpec(random, 1)
  switch (spec.is) {
    case "list":
      return random.chance(0.5)
        ? { ...spec, item: change(random, spec.item) }
        : { is: "list", item: spec.item, ...bounds(random) }
    case "pair": {
      const [one, other] = spec.items
      return random.chance(0.2)
        ? { is: "list", item: one }
        : { is: "pair", items: random.chance(0.5) ? [change(random, one), other] : [one, change(random, other)] }
    }
    case "record":
      return { ...spec, value: change(random, spec.value) }
    case "tree":
      return { ...spec, label: change(random, spec.label) }
    case "union":
      return random.chance(0.5)
        ? { ...spec, members: changeOne(random, spec.members, (member) => change(random, member)) }
        : random.chance(0.5)
          ? { ...spec, members: [...spec.members, randomSpec(random, 1)] }
          : { ...spec, members: spec.members.slice(0, Math.max(1, spec.members.length - 1)) }
    case "struct":
    case "tagged":
      return { ...spec, fields: changeFields(random, spec.fields) }
    case "literals":
      return { is: "literals", values: words.slice(random.int(2), 1 + random.int(words.length)).concat("white") }
    default:
      return random.chance(0.3) ? { is: "union", members: [spec, { is: "nothing" }] } : leafLike(random, spec)
  }
}

/** Another leaf of the same kind, with other bounds. */
const leafLike = (random: Random, { is }: Spec): Spec => {
  switch (is) {
    case "text":
      return { is, ...bounds(random) }
    case "whole":
      return { is, ...bounds(random) }
    case "number":
      return { is, ...least(bound(random, 5)) }
    case "numberFromText":
      return { is, ...most(bound(random, 9)) }
    default:
      return randomSpec(random, 0)
  }
}

const changeFields = (random: Random, fields: ReadonlyArray<Field>): ReadonlyArray<Field> => {
  if (random.chance(0.2)) return fields.slice(1)
  const unused = names.find((name) => !fields.some((field) => field.name === name))
  if (random.chance(0.2) && unused !== undefined) {
    return [...fields, { name: unused, spec: randomSpec(random, 0), optional: random.chance(0.6) }]
  }
  return changeOne(random, fields, (field) =>
    random.chance(0.3) ? { ...field, optional: !field.optional } : { ...field, spec: change(random, field.spec) }
  )
}

const changeOne = <A>(random: Random, items: ReadonlyArray<A>, f: (item: A) => A): ReadonlyArray<A> => {
  const at = random.int(Math.max(1, items.length))
  return items.map((item, i) => (i === at ? f(item) : item))
}
