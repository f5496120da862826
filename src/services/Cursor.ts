import * as Base64Url from "effect/encoding/Base64Url"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Key } from "./KeyOrder.ts"

const Value = Schema.Union([
  Schema.Null,
  Schema.Finite,
  Schema.String,
  Schema.Struct({ bytes: Schema.Uint8ArrayFromBase64 }),
  Schema.Struct({ infinity: Schema.Literals([1, -1]) })
])

/** A place in the order of one index: the whole key of the row before it. It knows nothing of filters. */
const Place = Schema.fromJsonString(Schema.Tuple([Schema.String, Schema.String, Schema.Array(Value)]))
const encodePlace = Schema.encodeSync(Place)
const decodePlace = Schema.decodeUnknownOption(Place)

export const encode = (place: { readonly table: string; readonly index: string; readonly key: Key }): string =>
  Base64Url.encode(
    encodePlace([
      place.table,
      place.index,
      place.key.map((value) => {
        if (value instanceof Uint8Array) return { bytes: value }
        if (typeof value === "number" && !Number.isFinite(value)) return { infinity: value > 0 ? 1 : -1 }
        return value
      })
    ])
  )

/** The key that a cursor stands for, or `null` when it was not made for this table and index. */
export const decode = (
  cursor: string,
  expected: { readonly table: string; readonly index: string; readonly columns: number }
): Key | null => {
  const text = Base64Url.decodeString(cursor)
  if (Result.isFailure(text)) return null
  const place = decodePlace(text.success)
  if (Option.isNone(place)) return null
  const [table, index, values] = place.value
  if (table !== expected.table || index !== expected.index || values.length !== expected.columns) return null
  return values.map((value) => {
    if (value === null || typeof value !== "object") return value
    return "bytes" in value ? value.bytes : value.infinity * Number.POSITIVE_INFINITY
  })
}
