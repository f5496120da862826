/**
 * What a change feed costs the mutations of its tables: the same app with a feed and without, in workerd, over one socket each,
 * interleaved rounds, medians. Half of the mutations insert a row, half change one and delete another. The calls of a round are sent
 * together, so that the time is that of the object and not of the way to it.
 */
import { fileURLToPath } from "node:url"
import { WorkerdProcess } from "../test/deployment/workerd.ts"

const rounds = Number(process.argv[2] ?? 60)
const calls = 200
const entry = (path: string) => fileURLToPath(new URL(path, import.meta.url).href)
const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

const open = async (worker: string) => {
  const workerd = await WorkerdProcess.start(entry(worker))
  const socket = new WebSocket(`${workerd.url.replace("http", "ws")}/rpc?tenant=main`)
  await new Promise((resolve) => socket.addEventListener("open", resolve))
  let left = 0
  let finished = () => {}
  socket.addEventListener("message", ({ data }) => {
    const parsed = JSON.parse(String(data))
    for (const { _tag } of Array.isArray(parsed) ? parsed : [parsed]) {
      if (_tag === "Exit" && --left === 0) finished()
    }
  })
  let requests = 0
  return {
    /** The milliseconds of one call, in a round of several. */
    round: async (): Promise<number> => {
      const started = performance.now()
      left = calls
      const done = new Promise<void>((resolve) => {
        finished = resolve
      })
      for (let i = 0; i < calls; i++) {
        const payload = i % 2 === 0 ? { list: "bench", text: `text ${i}` } : { list: "bench" }
        const tag = i % 2 === 0 ? "add" : "tick"
        socket.send(JSON.stringify({ _tag: "Request", id: `${requests++}`, tag, payload, headers: [] }))
      }
      await done
      return (performance.now() - started) / calls
    },
    stop: async () => {
      socket.close()
      await workerd.close()
    }
  }
}

const subjects = { without: await open("changesPlain.ts"), with: await open("changesRecorded.ts") }
const taken = { without: [] as Array<number>, with: [] as Array<number> }
for (let round = 0; round < rounds; round++) {
  for (const name of round % 2 === 0 ? (["without", "with"] as const) : (["with", "without"] as const)) {
    const millis = await subjects[name].round()
    if (round >= rounds / 5) taken[name].push(millis)
  }
}
const [without, recorded] = [median(taken.without), median(taken.with)]
console.info(`a mutation without a feed ${without.toFixed(3)} ms, with one ${recorded.toFixed(3)} ms`)
console.info(`ratio ${(recorded / without).toFixed(2)}`)
for (const { stop } of Object.values(subjects)) await stop()
