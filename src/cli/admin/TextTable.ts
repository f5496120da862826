/**
 * Rows as a table of text, for a terminal.
 * Long values are cut so that a table stays readable; `--json` prints all of them.
 */
import { displayWidth } from "effect/cli/CliOutput"
import type { Cell } from "../../admin/AdminApi.ts"

/** Columns that a value takes at most. */
const maxWidth = 60

const escape = (character: string): string => {
  const escaped = JSON.stringify(character).slice(1, -1)
  return escaped === character ? `\\u${character.codePointAt(0)!.toString(16).padStart(4, "0")}` : escaped
}

/** A value as text. Control characters are shown, because a terminal would obey them. */
export const show = (cell: Cell): string => {
  if (cell === null) return "NULL"
  if (typeof cell === "object") return "bytes" in cell ? `base64:${cell.bytes}` : cell.number
  return String(cell).replace(/[\p{Cc}\p{Cf}]/gu, escape)
}

const cut = (text: string): string => {
  if (displayWidth(text) <= maxWidth) return text
  let kept = ""
  for (const character of text) {
    if (displayWidth(kept + character) >= maxWidth) break
    kept += character
  }
  return `${kept}…`
}

const pad = (text: string, width: number, isRight: boolean): string => {
  const space = " ".repeat(Math.max(0, width - displayWidth(text)))
  return isRight ? space + text : text + space
}

/** The lines of a table. Numbers are aligned to the right. */
export const lines = (
  columns: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<Cell>>
): ReadonlyArray<string> => {
  const texts = rows.map((row) => row.map((cell) => cut(show(cell))))
  const heads = columns.map((column) => cut(show(column)))
  const widths = heads.map((head, i) => Math.max(displayWidth(head), ...texts.map((row) => displayWidth(row[i] ?? ""))))
  const isNumeric = columns.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === "number"))
  const line = (row: ReadonlyArray<string>) =>
    row
      .map((text, i) => pad(text, widths[i]!, isNumeric[i]!))
      .join("  ")
      .trimEnd()
  return [line(heads), widths.map((width) => "─".repeat(width)).join("  "), ...texts.map(line)]
}
