/**
 * Encodes the payloads, results and exits of one rpc as JSON, and decodes them.
 * Client and server use the same codecs. Each is built once per rpc, when it is first used.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { memoize } from "effect/Function"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { type CallError, orOutdated, outdated } from "./CallError.ts"
import type { EncodedExit } from "./Exit.ts"
import { jsonCodec, untyped } from "./JsonCodec.ts"

/** Whether an rpc has schemas. Every rpc of `Rpc.make` has them; the type `Rpc.Any` does not say so. */
const hasSchemas = (rpc: Rpc.Any): rpc is Rpc.AnyWithProps => "payloadSchema" in rpc

/** The rpc with its schemas and middleware. Throws for an rpc that `Rpc.make` did not make. */
export const withSchemas = (rpc: Rpc.Any): Rpc.AnyWithProps => {
  if (hasSchemas(rpc)) return rpc
  throw new Error(`${rpc._tag} was not made by Rpc.make`)
}

/** The codecs of one rpc. */
export class RpcCodec {
  readonly rpc: Rpc.AnyWithProps
  /** The tag of the rpc. */
  readonly tag: string
  #payload: Codec | undefined
  #exit: Codec | undefined
  #value: ((json: Schema.Json) => unknown) | undefined

  constructor(rpc: Rpc.AnyWithProps) {
    this.rpc = rpc
    this.tag = rpc._tag
  }

  /** Encodes a payload from the input of its schema's constructor. Throws when the input does not fit the schema. */
  encodePayload(input: unknown): Schema.Json {
    return this.normalizePayload(this.makePayload(input))
  }

  /** Encodes a decoded payload. Equal payloads have the same JSON, up to the order of properties in records. */
  normalizePayload(payload: unknown): Schema.Json {
    return Effect.runSync(this.#payloadCodec.encode(payload))
  }

  /** Makes a payload from the input of its schema's constructor, with defaults. Throws when the input does not fit. */
  makePayload(input: unknown): unknown {
    return untyped(this.rpc.payloadSchema).make(input)
  }

  /** Decodes a payload. A schema that uses services finds them in the context of the effect. */
  decodePayload(json: unknown): Effect.Effect<unknown, Schema.SchemaError> {
    return this.#payloadCodec.decode(json)
  }

  /** Encodes an exit. Fails when its value does not fit the rpc's schemas. */
  encodeExit(exit: Exit.Exit<unknown, unknown>): Effect.Effect<EncodedExit, Schema.SchemaError> {
    return this.#exitCodec.encode(exit)
  }

  /** Decodes an exit. Throws when it does not fit the rpc's schemas. */
  decodeExit(json: unknown): Exit.Exit<unknown, unknown> {
    return Effect.runSync(this.#exitCodec.decode(json))
  }

  /**
   * Decodes a successful result. Rows of a list are cached by their JSON object, so that a row that did not change
   * stays the same object. Throws when the JSON does not fit.
   */
  decodeValue(json: Schema.Json): unknown {
    this.#value ??= valueDecoder(this.rpc.successSchema)
    return this.#value(json)
  }

  /** Decodes the failure that ended a live query. Any other exit is a `contractMismatch`. */
  decodeFailure(json: unknown): Cause.Cause<unknown> {
    const decoded = Effect.runSyncExit(this.#exitCodec.decode(json))
    if (Exit.isFailure(decoded)) return contractMismatch(decoded)
    const exit: Exit.Exit<unknown, unknown> = decoded.value
    // A live query ends only with a failure. The client requested no interruption.
    return Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)
      ? contractMismatch(exit)
      : Cause.map(exit.cause, orOutdated)
  }

  get #payloadCodec(): Codec {
    this.#payload ??= codec(this.rpc.payloadSchema, Context.get(this.rpc.annotations, Rpc.ParseOptions))
    return this.#payload
  }

  get #exitCodec(): Codec {
    this.#exit ??= codec(Rpc.exitSchema(this.rpc), Context.get(this.rpc.annotations, Rpc.ParseOptions))
    return this.#exit
  }
}

/** The codecs of an rpc. The same rpc always has the same object. */
export const of: (rpc: Rpc.Any) => RpcCodec = memoize((rpc) => new RpcCodec(withSchemas(rpc)))

/** The failure for something that the server sent and that does not fit the contract. */
export const contractMismatch = (why: unknown): Cause.Cause<CallError> => Cause.fail(outdated(`${why}`))

interface Codec {
  readonly encode: (value: unknown) => Effect.Effect<any, Schema.SchemaError>
  readonly decode: (json: unknown) => Effect.Effect<any, Schema.SchemaError>
}

const codec = (schema: Schema.Top, options?: Parameters<typeof Schema.decodeUnknownEffect>[1]): Codec => {
  const json = jsonCodec(schema)
  return { encode: Schema.encodeUnknownEffect(json, options), decode: Schema.decodeUnknownEffect(json, options) }
}

const valueDecoder = (schema: Schema.Top): ((json: Schema.Json) => unknown) => {
  const item = itemOf(schema)
  if (item === undefined) {
    const { decode } = codec(schema)
    return (json) => Effect.runSync(decode(json))
  }
  const { decode } = codec(item)
  const rows = new WeakMap<object, unknown>()
  return (json) => {
    if (!Array.isArray(json)) throw new Error("not a list")
    return json.map((row) => {
      if (typeof row !== "object" || row === null) return Effect.runSync(decode(row))
      let value = rows.get(row)
      if (value === undefined) {
        value = Effect.runSync(decode(row))
        rows.set(row, value)
      }
      return value
    })
  }
}

const isArraySchema = (schema: Schema.Top): schema is Schema.Top & { readonly value: Schema.Top } =>
  schema.ast._tag === "Arrays" && "value" in schema

/**
 * The schema of a list's items, unless the list has checks or a transformation of its own, which need the whole list.
 */
export const itemOf = (schema: Schema.Top): Schema.Top | undefined =>
  isArraySchema(schema) &&
  schema.ast._tag === "Arrays" &&
  schema.ast.elements.length === 0 &&
  schema.ast.rest.length === 1 &&
  schema.ast.checks === undefined &&
  schema.ast.encoding === undefined
    ? schema.value
    : undefined
