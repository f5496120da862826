/**
 * What an upload costs: 100 MB through the Worker in parts, with their checksums, against one `R2.put` of the same bytes behind the
 * same workerd. Interleaved rounds, medians; and the memory of workerd, which also stores the bytes here.
 */
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Uploads } from "effect-dormouse/files/client"
import { WorkerdProcess } from "../test/deployment/workerd.ts"
import { workerdMemory } from "./processMemory.ts"

const megabytes = Number(process.argv[2] ?? 100)
const rounds = Number(process.argv[3] ?? 7)
const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

const entry = fileURLToPath(new URL("filesWorker.ts", import.meta.url).href)
const workerd = await WorkerdProcess.start(entry, {}, {}, { FILES: "files" })
const file = new Blob(
  [crypto.getRandomValues(new Uint8Array(65_536))].flatMap((part) => Array(megabytes * 16).fill(part))
)

const memory = () => workerdMemory(workerd.group)

const bare = async () => {
  const response = await fetch(`${workerd.url}/bare`, { method: "PUT", body: file })
  if (!response.ok) throw new Error(await response.text())
}

const dormouse = async () => {
  const payload = { new: { name: "a.bin", type: "application/octet-stream", bytes: file.size } }
  const response = await fetch(`${workerd.url}/rpc`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ _tag: "Request", id: "1", tag: "begin", payload, headers: [] })
  })
  const messages = (await response.json()) as ReadonlyArray<any>
  const upload = messages.find(({ _tag }) => _tag === "Exit").exit.value
  await Effect.runPromise(Stream.runDrain(Uploads.send(upload, file, { url: workerd.url })))
}

const subjects = { bare, dormouse }
const taken = { bare: [] as Array<number>, dormouse: [] as Array<number> }
const grown = { bare: 0, dormouse: 0 }
for (let round = 0; round <= rounds; round++) {
  for (const name of round % 2 === 0 ? (["bare", "dormouse"] as const) : (["dormouse", "bare"] as const)) {
    const before = memory()
    const watching = setInterval(() => {
      grown[name] = Math.max(grown[name], round === 0 ? 0 : memory() - before)
    }, 50)
    const started = performance.now()
    await subjects[name]()
    clearInterval(watching)
    if (round > 0) taken[name].push(performance.now() - started)
  }
}
const [plain, own] = [median(taken.bare), median(taken.dormouse)]
const speed = (millis: number) => `${((megabytes * 1000) / millis).toFixed(0)} MB/s`
console.info(
  `${megabytes} MB: R2.put ${speed(plain)}, in parts with checksums ${speed(own)}, ratio ${(plain / own).toFixed(2)}`
)
console.info(
  `workerd grew by at most ${grown.bare.toFixed(0)} MB for R2.put, ${grown.dormouse.toFixed(0)} MB for parts`
)
await workerd.close()
