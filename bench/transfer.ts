/**
 * What an export and an import cost: rows of the minimal chat, out of one tenant and into another, by the commands as a user runs them,
 * over a real workerd. Medians of rounds; and how much this process and workerd grow.
 *
 * node --conditions=source bench/transfer.ts [rows] [rounds]
 */
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { command } from "../test/admin/commands.ts"
import { WorkerdProcess } from "../test/deployment/workerd.ts"
import { workerdMemory } from "./processMemory.ts"

const rows = Number(process.argv[2] ?? 100_000)
const rounds = Number(process.argv[3] ?? 3)
const key = "the-key-of-the-benchmark"
const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

const entry = fileURLToPath(new URL("transferWorker.ts", import.meta.url).href)
// The memory of an isolate on Cloudflare. Without a limit the collector lets the heap grow while there is memory.
process.env["MINIFLARE_WORKERD_V8_FLAGS"] = "--max-old-space-size=128"
const workerd = await WorkerdProcess.start(entry, { DORMOUSE_KEY: key })
const folder = mkdtempSync(join(tmpdir(), "dormouse-transfer-"))
const run = command({ env: { DORMOUSE_KEY: key, DORMOUSE_URL: workerd.url } })

const dormouse = async (...args: ReadonlyArray<string>): Promise<void> => {
  const { err, isSuccess } = await run(...args)
  if (!isSuccess) throw new Error(err)
}

/** The megabytes of both processes at their largest, while something runs. */
const watched = async (work: () => Promise<void>): Promise<{ millis: number; client: number; server: number }> => {
  const largest = { client: 0, server: 0 }
  const look = () => {
    largest.client = Math.max(largest.client, process.memoryUsage().rss / 1024 / 1024)
    largest.server = Math.max(largest.server, workerdMemory(workerd.group))
  }
  const watching = setInterval(look, 50)
  const started = performance.now()
  await work()
  const millis = performance.now() - started
  clearInterval(watching)
  return { millis, ...largest }
}

await dormouse("run", "channels.create", '{"name":"general"}')
const numbers = (from: number, to: number) =>
  `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${to}) ` +
  "INSERT INTO messages (id, channel, author, body, sentAt) " +
  "SELECT printf('%012d', i), (SELECT id FROM channels), 'author ' || (i % 100), hex(zeroblob(50)) || i, 1700000000000 + i FROM n"
// A mutation writes 10,000 rows at most.
for (let from = 1; from <= rows; from += 10_000) {
  await dormouse("sql", "--write", numbers(from, Math.min(rows, from + 9_999)))
}

const taken = { export: [] as Array<number>, import: [] as Array<number> }
for (let round = 0; round < rounds; round++) {
  const file = join(folder, `${round}.ndjson`)
  const exported = await watched(() => dormouse("export", file))
  const imported = await watched(() => dormouse("import", file, "--tenant", `copy-${round}`))
  taken.export.push(exported.millis)
  taken.import.push(imported.millis)
  for (const [name, { client, millis, server }] of Object.entries({ export: exported, import: imported })) {
    console.info(
      `round ${round} ${name}: ${Math.round((rows * 1000) / millis)} rows/s, ` +
        `command ${client.toFixed(0)} MB, workerd ${server.toFixed(0)} MB at most`
    )
  }
}
const size = statSync(join(folder, "0.ndjson")).size / 1024 / 1024
for (const [name, millis] of Object.entries(taken)) {
  const middle = median(millis)
  console.info(
    `${name} of ${rows} rows (${size.toFixed(1)} MB): ${Math.round((rows * 1000) / middle)} rows/s, median of ${rounds}`
  )
}
rmSync(folder, { recursive: true, force: true })
await workerd.close()
