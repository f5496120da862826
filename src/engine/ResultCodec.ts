import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaParser from "effect/SchemaParser"

type Codec = Schema.Codec<unknown, unknown>
type Encode = (value: unknown) => Exit.Exit<unknown, unknown>

const encoders = new WeakMap<object, Encode>()

/**
 * Encodes the results of an rpc. Rows are frozen and come again in the next run of a list: each is encoded once, by the
 * schema of the result or of its items.
 */
export const encoderOf = (rpc: Rpc.AnyWithProps): Encode => {
  let encode = encoders.get(rpc)
  if (encode === undefined) {
    encode = make(rpc.successSchema)
    encoders.set(rpc, encode)
  }
  return encode
}

const make = (schema: Schema.Top): Encode => {
  if (!isList(schema)) return memoized(schema)
  const encodeItem = memoized(schema.schema)
  // An array may have checks of its own.
  const encodeList = schema.ast.checks === undefined ? undefined : encodeWith(schema)
  return (value) => {
    if (!Array.isArray(value) || encodeList !== undefined) return (encodeList ?? encodeWith(schema))(value)
    const items: Array<unknown> = []
    for (const item of value) {
      const encoded = encodeItem(item)
      if (Exit.isFailure(encoded)) return encoded
      items.push(encoded.value)
    }
    return Exit.succeed(items)
  }
}

const memoized = (schema: Schema.Top): Encode => {
  const encode = encodeWith(schema)
  const known = new WeakMap<object, Exit.Exit<unknown, unknown>>()
  return (value) => {
    if (typeof value !== "object" || value === null || !Object.isFrozen(value)) return encode(value)
    let exit = known.get(value)
    if (exit === undefined) {
      exit = encode(value)
      known.set(value, exit)
    }
    return exit
  }
}

const encodeWith = (schema: Schema.Top): Encode =>
  SchemaParser.encodeUnknownExit(Schema.toCodecJson(schema as unknown as Codec))

const isList = (schema: Schema.Top): schema is Schema.Top & { readonly schema: Schema.Top } =>
  schema.ast._tag === "Arrays" && schema.ast.elements.length === 0 && schema.ast.rest.length === 1 && "schema" in schema

/** The codecs that an `RpcServer` of this group uses: Effect's own, but for the results of calls that succeed. */
export const codecFor = (group: RpcGroup.RpcGroup<any>): RpcSerialization.CodecFor => {
  const byExit = new Map<unknown, Rpc.AnyWithProps>()
  for (const rpc of group.requests.values() as Iterable<Rpc.AnyWithProps>) {
    if (!RpcSchema.isStreamSchema(rpc.successSchema)) byExit.set(Rpc.exitSchema(rpc as Rpc.Any), rpc)
  }
  return ((schema: Schema.Top) => {
    const codec = RpcSerialization.json.codecFor(schema)
    const rpc = byExit.get(schema)
    if (rpc === undefined) return codec
    const encodeResult = encoderOf(rpc)
    const encodeExit = SchemaParser.encodeUnknownEffect(codec as unknown as Codec)
    return Schema.Unknown.pipe(
      Schema.encodeTo(Schema.Unknown, {
        decode: SchemaGetter.forbidden(() => "a server does not read exits"),
        encode: SchemaGetter.transformEffect((exit: unknown) => {
          if (Exit.isExit(exit) && Exit.isSuccess(exit)) {
            const encoded = encodeResult(exit.value)
            if (Exit.isSuccess(encoded)) return Effect.succeed({ _tag: "Success", value: encoded.value })
          }
          return encodeExit(exit)
        })
      })
    )
  }) as RpcSerialization.CodecFor
}
