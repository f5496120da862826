import * as Base64Url from "effect/encoding/Base64Url"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Key, SqlValue } from "./KeyOrder.ts"
import * as RowCodec from "./RowCodec.ts"

/** The order that a cursor belongs to. It says nothing of filters, and nothing of the index's name. */
export interface Order {
  readonly table: string
  readonly columns: ReadonlyArray<RowCodec.Column>
  readonly descending: boolean
}

const Value = Schema.Union([
  Schema.Null,
  Schema.Finite,
  Schema.String,
  Schema.Struct({ bytes: Schema.Uint8ArrayFromBase64 }),
  Schema.Struct({ infinity: Schema.Literals([1, -1]) })
])

/** A place in an order: the whole key of the row before it. */
const Place = Schema.fromJsonString(
  Schema.Struct({
    table: Schema.String,
    columns: Schema.Array(Schema.String),
    descending: Schema.Boolean,
    key: Schema.Array(Value)
  })
)
const encodePlace = Schema.encodeSync(Place)
const decodePlace = Schema.decodeUnknownOption(Place)

const toValue = (value: SqlValue): typeof Value.Type => {
  if (value instanceof Uint8Array) return { bytes: value }
  if (typeof value === "number" && !Number.isFinite(value)) return { infinity: value > 0 ? 1 : -1 }
  return value
}

const fromValue = (value: typeof Value.Type): SqlValue => {
  if (value === null || typeof value !== "object") return value
  return "bytes" in value ? value.bytes : value.infinity * Number.POSITIVE_INFINITY
}

/** Opaque, not secret: the values of the order's columns can be read from it. */
export const encode = ({ columns, descending, table }: Order, key: Key): string =>
  Base64Url.encode(
    encodePlace({ table, columns: columns.map((column) => column.name), descending, key: key.map(toValue) })
  )

/** The key that a cursor stands for. Cursors come from outside; `None` is for one that was not made for this order. */
export const decode = (order: Order, cursor: string): Option.Option<Key> =>
  Option.flatMap(Option.flatMap(Result.getSuccess(Base64Url.decodeString(cursor)), decodePlace), (place) => {
    const key = place.key.map(fromValue)
    const fits =
      place.table === order.table &&
      place.descending === order.descending &&
      place.columns.length === order.columns.length &&
      key.length === order.columns.length &&
      order.columns.every((column, i) => column.name === place.columns[i] && RowCodec.fits(column, key[i]!))
    return fits ? Option.some(key) : Option.none()
  })
