/**
 * Sends the lines of a file to a tenant, in batches that the tenant imports one after the other.
 * The tenant knows how far it is: after a cut, the same file goes on where it stopped.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Description, ImportState, ImportStep, OnConflict } from "../../admin/AdminApi.ts"
import type { AdminClient } from "../../admin/AdminClient.ts"
import { type FileLine, type Inspected, linesOf, textOf } from "./ExportFormat.ts"
import * as Progress from "./Progress.ts"
import { CommandFailed, checkTenant, note, repeatable, type Source } from "./Shared.ts"

/** Which file is imported where, and how. */
export interface TransferOptions {
  readonly call: AdminClient
  readonly description: Description
  readonly tenant: string
  readonly source: Source
  readonly inspected: Inspected
  readonly onConflict: OnConflict
  readonly isSeed: boolean
  /** Whether a file that was imported before is imported again. */
  readonly again: boolean
}

/** Imports a file, and says what became of it. */
export const transfer = Effect.fnUntraced(function* (options: TransferOptions) {
  const { again, call, inspected, isSeed, source } = options
  const tenant = yield* checkTenant(options.tenant)
  const { footer, header } = inspected
  // A seed and an import of one file differ in what they write.
  const id = `${isSeed ? "seed" : "import"}:${inspected.id}`
  const begun = yield* again
    ? call("import.begin", { tenant, id, again })
    : repeatable(call("import.begin", { tenant, id }))
  if (begun.isDone)
    return yield* note(`${source.name}: nothing to do, ${tenant} has it already; --again imports it again\n`)
  const rows = inspected.lines - (header === undefined ? 0 : 1) - (footer === undefined ? 0 : 1)
  const progress = yield* Progress.make(tenant, rows)
  const isHeaderSent = header !== undefined && begun.line > 0
  if (begun.line > 0) yield* progress.add(begun.line - (isHeaderSent ? 1 : 0), "imported before")
  yield* sendLines(options, id, begun.line, progress)
  const { skipped, written } = yield* settle(call, tenant, id)
  yield* progress.end
  const left = skipped === 0 ? "" : `, ${Progress.count(skipped)} left out because their keys were there`
  yield* note(`${source.name}: ${Progress.count(written)} rows written to ${tenant}${left}\n`)
})

/** Sends all lines that the tenant does not have. */
const sendLines = (
  { call, description, inspected, isSeed, onConflict, source, tenant }: TransferOptions,
  id: string,
  from: number,
  progress: Progress.Progress
) =>
  Effect.gen(function* () {
    const { batch } = description
    let number = 0
    let pending: Array<string> = []
    let characters = 0
    const send = Effect.suspend(() => {
      const [after, lines] = [number - pending.length, pending]
      pending = []
      characters = 0
      const sent = call("import.batch", { tenant, id, after, lines: lines.join("\n"), onConflict, isSeed })
      return Effect.andThen(repeatable(sent), progress.add(lines.filter((line) => line !== "").length, ""))
    })
    const isRow = () =>
      !(number === 1 && inspected.header !== undefined) &&
      !(number === inspected.lines && inspected.footer !== undefined)
    const take = (lines: ReadonlyArray<FileLine>) =>
      Effect.gen(function* () {
        for (const { bytes } of lines) {
          number++
          if (number <= from) continue
          const text = isRow() ? textOf(bytes) : Option.some("")
          if (Option.isNone(text))
            return yield* new CommandFailed({ message: `${source.name}: line ${number} is not UTF-8` })
          pending.push(text.value)
          characters += text.value.length
          if (pending.length >= batch.lines || characters >= batch.characters) yield* send
        }
      })
    yield* Stream.runForEach(linesOf(source.path), take)
    if (pending.length > 0) yield* send
  })

/** Has the tenant import the rows that wait for others, round after round. */
const settle = Effect.fnUntraced(function* (call: AdminClient, tenant: string, id: string) {
  let before: number | null = null
  let settled = 0
  for (;;) {
    const step: ImportStep = yield* repeatable(call("import.finish", { tenant, id, before, together: false }))
    settled += step.settled
    before = step.next
    if (step.state.isDone) return step.state
    if (before !== null) continue
    if (settled === 0) {
      // Each of them refers to another one.
      const last: { readonly state: ImportState } = yield* repeatable(
        call("import.finish", { tenant, id, before: null, together: true })
      )
      return last.state
    }
    settled = 0
  }
})
