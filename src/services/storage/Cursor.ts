/**
 * Page cursors: the key of the last row of a page, with the order that it belongs to, as text.
 * A cursor is not secret: it shows the values of the order's columns.
 */
import * as Base64Url from "effect/encoding/Base64Url"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Key, SqlValue } from "./KeyOrder.ts"
import * as RowCodec from "./RowCodec.ts"

/** The order that a cursor belongs to. Filters and the name of the index are not part of it. */
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

/** The content of a cursor: an order, and the whole key of the row before the cursor. */
const Content = Schema.fromJsonString(
  Schema.Struct({
    table: Schema.String,
    columns: Schema.Array(Schema.String),
    descending: Schema.Boolean,
    key: Schema.Array(Value)
  })
)
const encodeContent = Schema.encodeSync(Content)
const decodeContent = Schema.decodeUnknownOption(Content)

const toValue = (value: SqlValue): typeof Value.Type => {
  if (value instanceof Uint8Array) return { bytes: value }
  if (typeof value === "number" && !Number.isFinite(value)) return { infinity: value > 0 ? 1 : -1 }
  return value
}

const fromValue = (value: typeof Value.Type): SqlValue => {
  if (value === null || typeof value !== "object") return value
  return "bytes" in value ? value.bytes : value.infinity * Number.POSITIVE_INFINITY
}

/** Makes the cursor after a key. */
export const encode = ({ columns, descending, table }: Order, key: Key): string =>
  Base64Url.encode(
    encodeContent({ table, columns: columns.map((column) => column.name), descending, key: key.map(toValue) })
  )

/** The key in a cursor. Cursors come from clients: `None` for text that is not a cursor of this order. */
export const decode = (order: Order, cursor: string): Option.Option<Key> =>
  Option.flatMap(Option.flatMap(Result.getSuccess(Base64Url.decodeString(cursor)), decodeContent), (content) => {
    const key = content.key.map(fromValue)
    const fits =
      content.table === order.table &&
      content.descending === order.descending &&
      content.columns.length === order.columns.length &&
      key.length === order.columns.length &&
      order.columns.every((column, i) => column.name === content.columns[i] && RowCodec.fits(column, key[i]!))
    return fits ? Option.some(key) : Option.none()
  })
