/**
 * Values of SQLite as JSON, and back, for whoever operates an app.
 * JSON has neither bytes nor infinite numbers: they are objects.
 */
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"
import type { Cell } from "../../admin/AdminApi.ts"
import type { SqlValue } from "../Database.ts"

/** A value as JSON. */
export const toCell = (value: SqlValue): Cell => {
  if (value instanceof Uint8Array) return { bytes: Base64.encode(value) }
  if (typeof value !== "number" || Number.isFinite(value)) return value
  return { number: value > 0 ? "Infinity" : "-Infinity" }
}

/** A value from JSON; `undefined` for bytes that are not base64. */
export const fromCell = (cell: Cell): SqlValue | undefined => {
  if (typeof cell !== "object" || cell === null) return cell
  return "number" in cell ? Number(cell.number) : Result.getOrUndefined(Base64.decode(cell.bytes))
}
