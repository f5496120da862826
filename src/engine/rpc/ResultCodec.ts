/**
 * Turns results into JSON text, once: the text of a row is kept with the row, and a list is joined from its rows' texts.
 * Unary answers, live values, snapshots and hashes share the texts.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { jsonCodec } from "../../protocol/JsonCodec.ts"
import { itemOf } from "../../protocol/RpcCodec.ts"

/** A result as JSON: its text, and its value for who makes a patch of it. */
export interface EncodedResult {
  readonly text: string
  /** The value. What did not change since the run before is the same object. */
  readonly json: () => Schema.Json
}

/** Encodes results of one rpc. Fails with the issue when one does not fit the rpc's schema. */
export type Encode = (value: unknown) => Effect.Effect<EncodedResult, unknown>

const byRpc = new WeakMap<Rpc.AnyWithProps, Encode>()

/** The encoder of an rpc's results. */
export const encoderOf = (rpc: Rpc.AnyWithProps): Encode => {
  let encode = byRpc.get(rpc)
  if (encode === undefined) {
    encode = encoderOfSchema(rpc.successSchema)
    byRpc.set(rpc, encode)
  }
  return encode
}

const bySchema = new WeakMap<Schema.Top, Encode>()

/** The encoder of a schema: rpcs that give the same rows share their texts. */
const encoderOfSchema = (schema: Schema.Top): Encode => {
  let encode = bySchema.get(schema)
  if (encode === undefined) {
    encode = makeEncoder(schema)
    bySchema.set(schema, encode)
  }
  return encode
}

const makeEncoder = (schema: Schema.Top): Encode => {
  const item = itemOf(schema)
  if (item !== undefined) return listEncoder(schema, encoderOfSchema(item))
  const fields = fieldsOf(schema)
  if (fields !== undefined) return structEncoder(schema, fields)
  return rowEncoder(schema)
}

/** A list is encoded row by row. Anything that is no array is left to the schema, which refuses it. */
const listEncoder = (schema: Schema.Top, encodeItem: Encode): Encode => {
  const encodeWhole = plainEncoder(schema)
  return (value) => {
    if (!Array.isArray(value)) return encodeWhole(value)
    const items: Array<EncodedResult> = []
    for (const item of value) {
      const encoded = encodeItem(item)
      if (!isSuccess(encoded)) return encodeWhole(value)
      items.push(encoded.value)
    }
    return Exit.succeed(new EncodedList(items))
  }
}

class EncodedList implements EncodedResult {
  readonly text: string
  private readonly items: ReadonlyArray<EncodedResult>

  constructor(items: ReadonlyArray<EncodedResult>) {
    this.items = items
    let text = ""
    for (const item of items) text += text === "" ? item.text : `,${item.text}`
    this.text = `[${text}]`
  }

  json(): Schema.Json {
    return this.items.map((item) => item.json())
  }
}

/** The fields of a struct that holds a list of rows, such as a page, when the struct is nothing but its fields. */
const fieldsOf = (schema: Schema.Top): ReadonlyArray<readonly [name: string, schema: Schema.Top]> | undefined => {
  const { ast } = schema
  if (ast._tag !== "Objects" || ast.checks !== undefined || ast.encoding !== undefined) return undefined
  if (ast.indexSignatures.length > 0 || !("fields" in schema)) return undefined
  const fields: Array<readonly [name: string, schema: Schema.Top]> = []
  for (const [name, field] of Object.entries(schema.fields ?? {})) {
    if (!Schema.isSchema(field) || field.ast.context !== undefined || field.ast.encoding !== undefined) return undefined
    fields.push([name, field])
  }
  return fields.some(([, field]) => itemOf(field) !== undefined) ? fields : undefined
}

const structEncoder = (
  schema: Schema.Top,
  fields: ReadonlyArray<readonly [name: string, schema: Schema.Top]>
): Encode => {
  const encodeWhole = plainEncoder(schema)
  const encoders = fields.map(([name, field]) => ({ name, key: JSON.stringify(name), encode: encoderOfSchema(field) }))
  return (value) => {
    if (typeof value !== "object" || value === null) return encodeWhole(value)
    const given: Readonly<Record<string, unknown>> = { ...value }
    const parts: Array<readonly [name: string, encoded: EncodedResult]> = []
    const texts: Array<string> = []
    for (const { encode, key, name } of encoders) {
      const encoded = encode(given[name])
      if (!isSuccess(encoded)) return encodeWhole(value)
      parts.push([name, encoded.value])
      texts.push(`${key}:${encoded.value.text}`)
    }
    return Exit.succeed({
      text: `{${texts.join(",")}}`,
      json: () => Object.fromEntries(parts.map(([name, encoded]) => [name, encoded.json()]))
    })
  }
}

/** Rows are frozen and come again in the next run of a list: each is encoded once. */
const rowEncoder = (schema: Schema.Top): Encode => {
  const encode = plainEncoder(schema)
  const known = new WeakMap<object, Exit.Exit<EncodedResult, unknown>>()
  return (value) => {
    if (typeof value !== "object" || value === null || !Object.isFrozen(value)) return encode(value)
    const kept = known.get(value)
    if (kept !== undefined) return kept
    const encoded = encode(value)
    if (isSuccess(encoded)) known.set(value, encoded)
    return encoded
  }
}

const plainEncoder = (schema: Schema.Top): Encode => {
  const encode = Schema.encodeUnknownEffect(jsonCodec(schema))
  return (value) => {
    const encoded = encode(value)
    return isSuccess(encoded) ? Exit.succeed(toResult(encoded.value)) : Effect.map(encoded, toResult)
  }
}

const toResult = (encoded: unknown): EncodedResult => {
  // The JSON form of a value that is not there is null.
  const text = JSON.stringify(encoded) ?? "null"
  // A JSON codec gives JSON.
  return { text, json: () => (encoded ?? null) as Schema.Json }
}

/** Whether an effect has succeeded already. Schemas that use no services give their results so. */
const isSuccess = <A, E>(effect: Effect.Effect<A, E>): effect is Exit.Success<A, E> =>
  Exit.isExit(effect) && Exit.isSuccess(effect)
