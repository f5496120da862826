/// <reference types="node" />

/**
 * Runs the workloads and prints their tables.
 *
 *     npm run bench -- [--only name] [--subjects a,b] [--rounds n] [--noise] [--write]
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { performance } from "node:perf_hooks"
import { URL } from "node:url"
import { parseArgs } from "node:util"
import { measureGrowth } from "./growth.ts"
import { Server } from "./harness.ts"
import { deadline, median } from "./measure.ts"
import { copyOf, handwritten, type Subject } from "./subjects.ts"
import type { Measure, Sample, Workload } from "./workload.ts"
import { workloads } from "./workloads.ts"

const { values: options } = parseArgs({
  options: {
    only: { type: "string" },
    subjects: { type: "string" },
    rounds: { type: "string" },
    noise: { type: "boolean", default: false },
    write: { type: "boolean", default: false }
  }
})

type Samples = ReadonlyMap<Subject, ReadonlyArray<Sample> | Error>

const isChosen = (name: string) => options.only === undefined || name.includes(options.only)
const chosen = workloads.filter(({ name }) => isChosen(name))
if (chosen.length === 0 && !isChosen("growth")) {
  throw new Error(`There are ${workloads.map(({ name }) => name).join(", ")}, growth`)
}

for (const workload of chosen) {
  const table = tableOf(workload, await run(workload, subjectsOf(workload)))
  process.stdout.write(`\n${table}\n`)
  if (options.write) writeTable(workload.name, table)
}

if (isChosen("growth")) {
  const table = await measureGrowth((what) => void process.stderr.write(`growth: ${what}\n`))
  process.stdout.write(`\n${table}\n`)
  if (options.write) writeTable("growth", table)
}

function subjectsOf(workload: Workload): ReadonlyArray<Subject> {
  const wanted = options.subjects?.split(",")
  const copies = options.noise ? workload.subjects.filter(isBase).map(copyOf) : []
  return [...workload.subjects, ...copies].filter(
    (subject) => existsSync(subject.entry) && (wanted === undefined || wanted.includes(subject.name))
  )
}

/** Whether this is what the others are measured against. Some workloads have a hand-written worker of their own. */
function isBase({ name }: Subject): boolean {
  return name === handwritten.name
}

/** Every subject once in each round, in an order that rotates, so that a slow spell of the machine falls on all. */
async function run(workload: Workload, subjects: ReadonlyArray<Subject>): Promise<Samples> {
  const rounds = options.rounds === undefined ? workload.rounds : Math.min(Number(options.rounds), maxRounds(workload))
  const sampling = new Map<Subject, () => Promise<Sample>>()
  const samples = new Map<Subject, Array<Sample> | Error>()
  const started = performance.now()
  const report = (what: string) => {
    process.stderr.write(
      `${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s  ${workload.name}: ${what}\n`
    )
  }
  const attempt = async (subject: Subject, what: string, step: () => Promise<void>) => {
    if (samples.get(subject) instanceof Error) return
    report(`${subject.name}, ${what}`)
    try {
      // A worker that never answers is a result too; the longest healthy step takes about a minute.
      await deadline(180_000, what, step())
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown))
      report(`${subject.name} failed: ${error.message}`)
      samples.set(subject, error)
    }
  }

  for (const subject of subjects) {
    await attempt(subject, "setting up", async () => {
      sampling.set(subject, await workload.open(subject))
    })
  }
  for (let round = 0; round < rounds; round++) {
    const sample = (subject: Subject) =>
      attempt(subject, `round ${round + 1} of ${rounds}`, async () => {
        const earlier = samples.get(subject) ?? []
        samples.set(subject, [...(earlier as Array<Sample>), await sampling.get(subject)!()])
      })
    const rotated = subjects.map((_, index) => subjects[(index + round) % subjects.length]!)
    if (workload.together) await Promise.all(rotated.map(sample))
    else for (const subject of rotated) await sample(subject)
  }
  await Server.stopAll()
  return new Map(subjects.map((subject) => [subject, samples.get(subject) ?? []]))
}

function maxRounds({ rounds }: Workload): number {
  // One round says all where nothing varies.
  return rounds === 1 ? 1 : Number.POSITIVE_INFINITY
}

/** With its columns aligned, as the formatter of this repository leaves a table alone. */
function tableOf({ measures }: Workload, samples: Samples): string {
  const subjects = [...samples.keys()]
  const reference = subjects.find(isBase)
  const base = reference && samples.get(reference)
  const targets = measures.some(({ target }) => target !== undefined)
  const rows = [
    ["", ...subjects.map(({ name }) => name), ...(targets ? ["target"] : [])],
    ...measures.map((measure) => [
      measure.label,
      ...subjects.map((subject) => cellOf(measure, samples.get(subject), isBase(subject) ? undefined : base)),
      ...(targets ? [measure.target ?? ""] : [])
    ])
  ]
  const widths = rows[0]!.map((_, column) => Math.max(4, ...rows.map((row) => row[column]!.length)))
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  const [head, ...body] = rows.map((row) =>
    line(row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))))
  )
  const rule = line(widths.map((width, column) => (column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)))
  return [head, rule, ...body].join("\n")
}

/** The median over the rounds, and what it is as a multiple of the hand-written worker's. */
function cellOf(
  { key, unit, ratio }: Measure,
  samples: ReadonlyArray<Sample> | Error | undefined,
  base: typeof samples
): string {
  const value = medianOf(key, samples)
  if (samples instanceof Error) return "failed"
  if (value === undefined) return "–"
  const reference = medianOf(key, base)
  const comparable = ratio !== false && unit !== "" && reference !== undefined && reference !== 0
  return `${format(value, unit)}${comparable ? ` (${ratioOf(value / reference)}×)` : ""}`
}

function ratioOf(ratio: number): string {
  return ratio < 0.1 ? String(Number(ratio.toPrecision(1))) : ratio.toFixed(2)
}

function medianOf(key: string, samples: ReadonlyArray<Sample> | Error | undefined): number | undefined {
  if (samples === undefined || samples instanceof Error) return undefined
  const values = samples.flatMap((sample) => sample[key] ?? [])
  return values.length === 0 ? undefined : median(values)
}

function format(value: number, unit: Measure["unit"]): string {
  const digits = unit === "ms" ? (value < 10 ? 2 : value < 100 ? 1 : 0) : unit === "KB" ? 1 : 0
  const number = value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })
  return unit === "/s" ? `${number}/s` : unit === "" || unit === "bytes" ? number : `${number} ${unit}`
}

/** Puts a table between its own pair of markers in the README. */
function writeTable(name: string, table: string): void {
  const file = new URL("README.md", import.meta.url)
  const text = readFileSync(file, "utf8")
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  const start = text.indexOf(open)
  const end = text.indexOf(close)
  if (start === -1 || end < start) throw new Error(`README.md has no place for ${name}`)
  writeFileSync(file, `${text.slice(0, start + open.length)}\n${table}\n${text.slice(end)}`)
}
