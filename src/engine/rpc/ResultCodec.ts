/**
 * Turns results into JSON text, once: the text of a row is kept with the row, and a list is joined from its rows' texts.
 * Unary answers, live values, snapshots and hashes share the texts.
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { memoize } from "effect/Function"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Checksum from "../../protocol/Checksum.ts"
import { jsonCodec } from "../../protocol/JsonCodec.ts"
import { itemOf } from "../../protocol/RpcCodec.ts"

/** A result as JSON: its text, its value, from which patches are made, and its digest. */
export interface EncodedResult {
  readonly text: string
  /** The value. What did not change since the run before is the same object. */
  readonly json: () => Schema.Json
  /** 256 bits that stand for the value. The digest of a row is kept with the row, and that of a list is made of its rows'. */
  readonly digest: () => Uint8Array
  /** The checksum of the value. Kept and made like the digest. */
  readonly sum: () => number
}

/** The first byte of what is digested: no text has the digest of a list, and no list that of a struct. */
const kinds = { text: 0, list: 1, struct: 2 }

const encoder = new TextEncoder()

const digestOf = (kind: number, parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 1))
  bytes[0] = kind
  let offset = 1
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
  }
  return sha256(bytes)
}

/** A part of a result that is encoded at once. */
class EncodedValue implements EncodedResult {
  readonly text: string
  private readonly value: Schema.Json
  private known: Uint8Array | undefined
  private knownSum: number | undefined

  constructor(value: Schema.Json) {
    this.value = value
    this.text = JSON.stringify(value)
  }

  json(): Schema.Json {
    return this.value
  }

  digest(): Uint8Array {
    this.known ??= digestOf(kinds.text, [encoder.encode(this.text)])
    return this.known
  }

  sum(): number {
    // Of what the client parses: a value of `Schema.Any` need not be JSON.
    this.knownSum ??= Checksum.ofJson(JSON.parse(this.text))
    return this.knownSum
  }
}

/** Encodes results of one rpc. Fails with the issue when one does not fit the rpc's schema. */
export interface Encode {
  (value: unknown): Effect.Effect<EncodedResult, unknown>
  /** The frozen values that were encoded before: the rows that come again in the next run of a list. */
  readonly known?: WeakMap<object, EncodedResult>
}

/** The encoder of an rpc's results. */
export const encoderOf: (rpc: Rpc.AnyWithProps) => Encode = memoize((rpc) => encoderOfSchema(rpc.successSchema))

/** The encoder of a schema: rpcs that return the same rows share their texts. */
const encoderOfSchema: (schema: Schema.Top) => Encode = memoize((schema) => makeEncoder(schema))

const makeEncoder = (schema: Schema.Top): Encode => {
  const item = itemOf(schema)
  if (item !== undefined) return listEncoder(schema, item)
  const fields = fieldsOf(schema)
  if (fields !== undefined) return structEncoder(schema, fields)
  return rowEncoder(schema)
}

/** Whether a schema is one of objects. It decides how a list is digested, so it depends on nothing but the contract. */
const isRow = ({ ast }: Schema.Top): boolean => ast._tag === "Objects" || ast._tag === "Declaration"

/** A list is encoded row by row. The schema refuses a value that is not an array. */
const listEncoder = (schema: Schema.Top, item: Schema.Top): Encode => {
  const encodeItem = encoderOfSchema(item)
  const encodeWhole = plainEncoder(schema)
  const hasRows = isRow(item)
  return (value) => {
    if (!Array.isArray(value)) return encodeWhole(value)
    const items: Array<EncodedResult> = []
    for (const item of value) {
      const known = encodeItem.known?.get(item)
      if (known !== undefined) {
        items.push(known)
        continue
      }
      const encoded = encodeItem(item)
      if (!isSuccess(encoded)) return encodeWhole(value)
      items.push(encoded.value)
    }
    return Exit.succeed(new EncodedList(items, hasRows))
  }
}

class EncodedList implements EncodedResult {
  readonly text: string
  private readonly items: ReadonlyArray<EncodedResult>
  private readonly hasRows: boolean

  constructor(items: ReadonlyArray<EncodedResult>, hasRows: boolean) {
    this.items = items
    this.hasRows = hasRows
    let text = ""
    for (const item of items) text += text === "" ? item.text : `,${item.text}`
    this.text = `[${text}]`
  }

  json(): Schema.Json {
    return this.items.map((item) => item.json())
  }

  digest(): Uint8Array {
    // A digest costs as much as some hundred characters: small items have none of their own.
    const parts = this.hasRows ? this.items.map((item) => item.digest()) : [encoder.encode(this.text)]
    return digestOf(kinds.list, parts)
  }

  sum(): number {
    let sum = Checksum.ofText("[")
    for (const item of this.items) sum = Checksum.add(sum, item.sum())
    return sum
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
      json: () => Object.fromEntries(parts.map(([name, encoded]) => [name, encoded.json()])),
      // The fields are always the same ones, in the same order.
      digest: () =>
        digestOf(
          kinds.struct,
          parts.map(([, encoded]) => encoded.digest())
        ),
      sum: () =>
        parts.reduce((sum, [name, encoded]) => Checksum.addProperty(sum, name, encoded.sum()), Checksum.ofText("{"))
    })
  }
}

/** Rows are frozen, and the next run of a list returns the same objects: each is encoded once. */
const rowEncoder = (schema: Schema.Top): Encode => {
  const encode = plainEncoder(schema)
  const known = new WeakMap<object, EncodedResult>()
  const encodeRow = (value: unknown) => {
    if (typeof value !== "object" || value === null || !Object.isFrozen(value)) return encode(value)
    const kept = known.get(value)
    if (kept !== undefined) return Exit.succeed(kept)
    const encoded = encode(value)
    if (isSuccess(encoded)) known.set(value, encoded.value)
    return encoded
  }
  return Object.assign(encodeRow, { known })
}

const plainEncoder = (schema: Schema.Top): Encode => {
  const encode = Schema.encodeUnknownEffect(jsonCodec(schema))
  return (value) => {
    const encoded = encode(value)
    return isSuccess(encoded) ? Exit.succeed(toResult(encoded.value)) : Effect.map(encoded, toResult)
  }
}

/** A JSON codec returns JSON. The JSON form of `undefined` is null. */
const toResult = (encoded: unknown): EncodedResult => new EncodedValue((encoded ?? null) as Schema.Json)

/** Whether an effect has succeeded already, as that of a schema without services has. */
const isSuccess = <A, E>(effect: Effect.Effect<A, E>): effect is Exit.Success<A, E> =>
  Exit.isExit(effect) && Exit.isSuccess(effect)
