/**
 * The file of an export: a line of JSON that says what it is, one for each row, and one that says that it is complete.
 * `docs/admin.md` describes it.
 */
import { sha256 } from "@noble/hashes/sha2.js"
import { bytesToHex } from "@noble/hashes/utils.js"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type Description, TableDescription } from "../../admin/AdminApi.ts"
import { CommandFailed, type Source } from "./Shared.ts"

/** The first line. */
export const Header = Schema.Struct({
  dormouse: Schema.Literal("export"),
  format: Schema.Literal(1),
  tenant: Schema.String,
  /** The tables of the app that wrote the file. */
  tables: Schema.Array(TableDescription),
  /** The version of the first page. */
  version: Schema.Finite
})
/** The first line. */
export type Header = typeof Header.Type

/** The last line. */
export const Footer = Schema.Struct({
  end: Schema.Literal(true),
  rows: Schema.Int,
  /** Rows by table. */
  tables: Schema.Record(Schema.String, Schema.Int),
  /** Whether nothing was written from the first page to the last: the rows are of one state. */
  isSnapshot: Schema.Boolean,
  /** The SHA-256 of all bytes before this line. */
  sha256: Schema.String
})
/** The last line. */
export type Footer = typeof Footer.Type

/** A line with a row. */
const Row = Schema.Struct({ table: Schema.String, row: Schema.Record(Schema.String, Schema.Json) })

/** Decodes the first line. */
export const decodeHeader = Schema.decodeUnknownOption(Schema.fromJsonString(Header))
/** Decodes the last line. */
export const decodeFooter = Schema.decodeUnknownOption(Schema.fromJsonString(Footer))
const decodeRow = Schema.decodeUnknownOption(Schema.fromJsonString(Row))

const newline = 10
const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** The text of a line; nothing for bytes that are not UTF-8. */
export const textOf = (line: Uint8Array): Option.Option<string> => {
  try {
    return Option.some(decoder.decode(line))
  } catch {
    return Option.none()
  }
}

/** A line of a file, without its newline. */
export interface FileLine {
  readonly bytes: Uint8Array
  /** Whether it ends with a newline: the last line of a file that was cut may not. */
  readonly isEnded: boolean
}

/** The lines of a file, some at a time. Only one chunk, and a line that it cuts, are in memory. */
export const linesOf = (path: string) =>
  Stream.unwrap(
    Effect.map(FileSystem.FileSystem, (fs) => {
      let parts: Array<Uint8Array> = []
      const joined = (): Uint8Array => {
        if (parts.length === 1) return parts[0]!
        const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
        let offset = 0
        for (const part of parts) {
          whole.set(part, offset)
          offset += part.length
        }
        return whole
      }
      const split = (chunk: Uint8Array): ReadonlyArray<FileLine> => {
        const lines: Array<FileLine> = []
        let start = 0
        for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
          parts.push(chunk.subarray(start, end))
          lines.push({ bytes: joined(), isEnded: true })
          parts = []
          start = end + 1
        }
        if (start < chunk.length) parts.push(chunk.slice(start))
        return lines
      }
      const rest = Stream.suspend(() =>
        parts.length === 0 ? Stream.empty : Stream.make([{ bytes: joined(), isEnded: false }])
      )
      return Stream.concat(Stream.map(fs.stream(path), split), rest)
    })
  )

/** A checksum of lines. */
export class Checksum {
  private readonly hash: ReturnType<typeof sha256.create>

  constructor(hash = sha256.create()) {
    this.hash = hash
  }

  /** Adds text as it is. */
  text(text: string): void {
    this.hash.update(encoder.encode(text))
  }

  /** Adds a line with its newline. */
  line({ bytes, isEnded }: FileLine): void {
    this.hash.update(bytes)
    if (isEnded) this.hash.update(Uint8Array.of(newline))
  }

  /** The checksum so far. */
  get hex(): string {
    return bytesToHex(this.hash.clone().digest())
  }
}

/** A file that can be imported. */
export interface Inspected {
  readonly header: Header | undefined
  readonly footer: Footer | undefined
  /** Its number of lines. */
  readonly lines: number
  /** A checksum of all of it. */
  readonly id: string
}

/** Reads a whole file to see what it is, and whether it is complete. */
export const inspect = Effect.fnUntraced(function* ({ name, path }: Source) {
  const checksum = new Checksum()
  let header: Header | undefined
  let lines = 0
  let last: FileLine | undefined
  yield* Stream.runForEach(linesOf(path), (some) =>
    Effect.sync(() => {
      for (const line of some) {
        if (last !== undefined) checksum.line(last)
        if (lines === 0) header = Option.getOrUndefined(Option.flatMap(textOf(line.bytes), decodeHeader))
        last = line
        lines++
      }
    })
  )
  const footer = last && Option.getOrUndefined(Option.flatMap(textOf(last.bytes), decodeFooter))
  if (header !== undefined && footer !== undefined && footer.sha256 !== checksum.hex) {
    return yield* new CommandFailed({ message: `${name} was changed: its checksum is not that of its last line` })
  }
  if (last !== undefined) checksum.line(last)
  return { header, footer, lines, id: checksum.hex } satisfies Inspected
})

/** A file whose export was cut. */
export interface Partial {
  readonly header: Header
  readonly isComplete: boolean
  /** The bytes of its complete lines. */
  readonly bytes: number
  readonly checksum: Checksum
  readonly rows: Record<string, number>
  /** Where the export goes on. */
  readonly cursor: string | null
}

/** Reads a file whose export may have been cut. Nothing if it does not even have a first line. */
export const readPartial = Effect.fnUntraced(function* (path: string) {
  const checksum = new Checksum()
  const rows: Record<string, number> = {}
  let header: Header | undefined
  let isComplete = false
  let bytes = 0
  let cursor: string | null = null
  let number = 0
  let wrong: number | undefined
  const take = (line: FileLine): void => {
    number++
    if (!line.isEnded || wrong !== undefined) return
    const text = Option.getOrElse(textOf(line.bytes), () => "")
    if (number === 1) header = Option.getOrUndefined(decodeHeader(text))
    else if (Option.isSome(decodeFooter(text))) isComplete = true
    else {
      const found = Option.getOrUndefined(decodeRow(text))
      const key = header?.tables.find(({ name }) => name === found?.table)?.key
      if (found === undefined || key === undefined || found.row[key] === undefined) {
        wrong = number
        return
      }
      cursor = JSON.stringify([found.table, found.row[key]])
      rows[found.table] = (rows[found.table] ?? 0) + 1
    }
    if (isComplete) return
    checksum.line(line)
    bytes += line.bytes.length + 1
  }
  yield* Stream.runForEach(linesOf(path), (lines) => Effect.sync(() => lines.forEach(take)))
  if (number > 1 && header === undefined) {
    return yield* new CommandFailed({ message: `${path} is not an export: choose another file, or --force` })
  }
  if (wrong !== undefined)
    return yield* new CommandFailed({ message: `${path} is not an export: see its line ${wrong}` })
  return header && ({ header, isComplete, bytes, checksum, rows, cursor } satisfies Partial)
})

/** What keeps rows of a file from being imported into an app: tables and columns that differ. */
export const differences = (from: ReadonlyArray<TableDescription>, to: Description["tables"]): ReadonlyArray<string> =>
  from.flatMap((table) => {
    const own = to.find(({ name }) => name === table.name)
    if (own === undefined) return [`the app has no table ${table.name}`]
    const found: Array<string> = []
    if (own.key !== table.key) found.push(`the key of ${table.name} is ${own.key}, not ${table.key}`)
    for (const { kind, name } of table.columns) {
      const column = own.columns.find((column) => column.name === name)
      if (column === undefined) found.push(`table ${table.name} has no column ${name}`)
      else if (column.kind !== kind) found.push(`${table.name}.${name} holds ${column.kind}, not ${kind}`)
    }
    for (const { name, required } of own.columns) {
      if (required && !table.columns.some((column) => column.name === name)) {
        found.push(`${table.name}.${name} is required, and the file does not have it`)
      }
    }
    return found
  })
