/**
 * Progress of a long command on the standard error output: a line that changes in a terminal, and plain lines elsewhere.
 * The standard output stays free for what the command prints.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stdio from "effect/Stdio"
import { note } from "./Shared.ts"

/** Milliseconds between two changes of the line, and between two plain lines. */
const intervals = { terminal: 100, plain: 5000 } as const
/** Characters of a bar. */
const width = 24

/** The progress of one command. */
export interface Progress {
  /** More are done. `detail` says of what. */
  readonly add: (count: number, detail: string) => Effect.Effect<void>
  /** Everything is done, or as much as could be. */
  readonly end: Effect.Effect<void>
}

/** A number with separators. */
export const count = (value: number): string => value.toLocaleString("en-US")

const barOf = (done: number, total: number): string => {
  const filled = total === 0 ? width : Math.min(width, Math.floor((done / total) * width))
  return `[${"█".repeat(filled)}${"░".repeat(width - filled)}] `
}

/** Starts to show progress, of rows unless said otherwise. With a total there is a bar. */
export const make = Effect.fnUntraced(function* (label: string, total?: number, unit = "rows") {
  const stdio = yield* Stdio.Stdio
  const isTerminal = yield* stdio.stderrIsTerminal
  const write = (text: string) => Effect.ignore(Effect.provideService(note(text), Stdio.Stdio, stdio))
  const started = yield* Clock.currentTimeMillis
  let shown = isTerminal ? 0 : started
  let done = 0
  let detail = ""
  const text = (now: number): string => {
    const rate = Math.round((done * 1000) / Math.max(1, now - started))
    const bar = total === undefined || !isTerminal ? "" : barOf(done, total)
    const of = total === undefined ? "" : ` of ${count(total)}`
    return `${label} ${bar}${count(done)}${of} ${unit}, ${count(rate)} ${unit}/s${detail === "" ? "" : `, ${detail}`}`
  }
  const show = (isLast: boolean) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (!isLast && now - shown < (isTerminal ? intervals.terminal : intervals.plain)) return Effect.void
      shown = now
      return write(isTerminal ? `\r\u001b[2K${text(now)}${isLast ? "\n" : ""}` : `${text(now)}\n`)
    })
  const progress: Progress = {
    add: (more, of) => {
      done += more
      detail = of
      return show(false)
    },
    end: Effect.suspend(() => {
      detail = ""
      return show(true)
    })
  }
  return progress
})
