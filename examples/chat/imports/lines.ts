/**
 * Reads the lines of a file that is imported: `name: text`, JSON lines, or CSV with a name, a text and maybe a time.
 * A line that cannot be read is counted and left out.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Body } from "../schema.ts"

/** A message of another chat. */
export const Line = Schema.Struct({
  name: Schema.NonEmptyString.check(Schema.isMaxLength(60)),
  text: Body,
  /** When it was sent, if the file says so. */
  at: Schema.optionalKey(Schema.DateTimeUtcFromMillis)
})
export type Line = typeof Line.Type

/** What a file contains. */
export interface Lines {
  readonly lines: ReadonlyArray<Line>
  /** The numbers of the lines that cannot be read, from 1. */
  readonly broken: ReadonlyArray<number>
}

const decode = Schema.decodeUnknownOption(Line)

/** Reads a file, by the ending of its name. Empty lines are left out. */
export const readLines = (file: string, content: string): Lines => {
  const read = /\.(json|jsonl|ndjson)$/i.test(file) ? readJson : /\.csv$/i.test(file) ? readCsv : readText
  const lines: Array<Line> = []
  const broken: Array<number> = []
  for (const [index, text] of content
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .entries()) {
    if (text.trim() === "") continue
    const line = decode(read(text))
    if (Option.isSome(line)) lines.push(line.value)
    else broken.push(index + 1)
  }
  return { lines, broken }
}

const fieldsOf = (name = "", text = "", time?: unknown) => {
  const at = typeof time === "number" ? time : Date.parse(String(time))
  return { name: name.trim(), text: text.trim(), ...(Number.isFinite(at) && { at }) }
}

const readText = (line: string): unknown => {
  const [, name, text] = /^([^:]+):\s(.+)$/.exec(line) ?? []
  return fieldsOf(name, text)
}

const readJson = (line: string): unknown => {
  try {
    const { name, text, time } = Object(JSON.parse(line))
    return typeof name === "string" && typeof text === "string" ? fieldsOf(name, text, time) : undefined
  } catch {
    return undefined
  }
}

/** A quoted field may contain commas, and quotes that are doubled. */
const readCsv = (line: string): unknown =>
  fieldsOf(
    ...[...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,"]*))(?=,|$)/g)].map(
      ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain
    )
  )
