/**
 * What jobs cost: a mutation with and without a job that it schedules, in one process over SQLite in memory and in workerd; how
 * late a job runs; and what queries wait while 10,000 jobs are due. Medians of interleaved rounds.
 */
import { DatabaseSync } from "node:sqlite"
import { scheduler } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Model from "effect/schema/Model"
import { Api, App, Mutation, Table } from "effect-dormouse"
import { Jobs, Queue, Scheduler } from "effect-dormouse/jobs"
import { ActionHost } from "../src/engine/object/ActionRelay.ts"
import { type Caller, noHeaders } from "../src/engine/object/Executor.ts"
import * as TenantEngine from "../src/engine/object/TenantEngine.ts"
import { MemoryBackground } from "../src/layers/memory/Background.ts"
import * as MemoryDatabase from "../src/layers/memory/Database.ts"
import { Alarm } from "../src/services/Alarm.ts"
import { Background } from "../src/services/Background.ts"
import { Database } from "../src/services/Database.ts"
import { SocketHost } from "../src/services/SocketHost.ts"
import { WorkerdProcess } from "../test/deployment/workerd.ts"

class Message extends Model.Class<Message>("bench/Message")({
  id: Table.key(Schema.String),
  channel: Schema.String,
  author: Schema.String,
  body: Schema.String,
  sentAt: Table.insertedAt
}) {}
const messages = Table.make("messages", Message, { key: "id", indexes: { byChannel: ["channel", "sentAt"] } })

const payload = { channel: Schema.String, author: Schema.String, body: Schema.String }
class BenchApi extends Api.make(
  Mutation.make("send", { payload, success: Message }),
  Mutation.make("sendAndSchedule", { payload, success: Message }),
  Mutation.make("sendAndQueue", { payload, success: Message }),
  Mutation.make("expire", { payload: { id: Schema.String } })
) {}
const Previews = Queue.make("previews", { payload: { id: Schema.String } })

const app = App.make({
  api: BenchApi,
  tables: [messages],
  handlers: BenchApi.toLayer({
    send: (message) => Effect.orDie(messages.insert(message)),
    sendAndSchedule: (message) =>
      Effect.tap(Effect.orDie(messages.insert(message)), ({ id }) =>
        Scheduler.after("1 hour", BenchApi, "expire", { id })
      ),
    sendAndQueue: (message) =>
      Effect.tap(Effect.orDie(messages.insert(message)), ({ id }) => Previews.send({ id }, { delay: "1 hour" })),
    expire: ({ id }) => messages.delete(id)
  }),
  jobs: Jobs.make({ queues: [Previews.toLayer(() => Effect.void)] })
})

const open = async () => {
  const database = MemoryDatabase.make(new DatabaseSync(":memory:", { enableForeignKeyConstraints: true }))
  const host = Layer.mergeAll(
    Layer.succeed(Database, database),
    Layer.succeed(Background, new MemoryBackground(Context.empty()).service),
    Layer.succeed(Alarm, { set: () => {}, confirm: () => {} }),
    Layer.succeed(SocketHost, { sockets: () => [], newId: () => "" }),
    Layer.succeed(ActionHost, {
      runAction: () => {
        throw new Error("no actions here")
      },
      renewSession: () => Promise.reject(new Error("no Worker here"))
    })
  )
  return Effect.runPromise(
    TenantEngine.make(app, { now: Date.now, commitTurn: (turn) => database.transaction(turn) }).pipe(
      Effect.provide(host),
      Scope.provide(Scope.makeUnsafe())
    )
  )
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

const tags = ["send", "sendAndSchedule", "sendAndQueue"] as const
const engines = await Promise.all(tags.map(open))
const caller: Caller = {
  identity: { subject: "ada", claims: {} },
  client: new Rpc.ServerClient(-1),
  annotations: { tenant: "main", subject: "ada" }
}
const payloadOf = () => ({ channel: "general", author: "ada", body: "hello ".repeat(20) })
/** Runs a mutation in a turn of its own, with its commit. */
const run = (engine: TenantEngine.TenantEngine, tag: string) =>
  engine.turn(() => {
    const { executor } = engine
    const decoded = executor.decode(tag, payloadOf())
    if ("_tag" in decoded) throw new Error(JSON.stringify(decoded))
    const { failure } = executor.execute({ ...decoded, caller, headers: noHeaders, requestId: "1" })
    if (failure !== undefined) throw new Error(JSON.stringify(failure))
  })
const times = tags.map((): Array<number> => [])
const rounds = 6000
for (let round = 0; round < rounds; round++) {
  // In turns, so that none always has the caches of another.
  for (let i = 0; i < tags.length; i++) {
    const subject = (round + i) % tags.length
    const started = performance.now()
    run(engines[subject]!, tags[subject]!)
    const taken = performance.now() - started
    if (round * 4 > rounds) times[subject]!.push(taken)
  }
  // What a turn deferred runs now.
  if (round % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 1))
}
const [without, scheduled, queued] = times.map((of) => median(of) * 1000)
console.info(`a mutation ${without!.toFixed(1)} µs`)
console.info(`with a job ${scheduled!.toFixed(1)} µs (${(scheduled! / without!).toFixed(2)})`)
console.info(`with a message ${queued!.toFixed(1)} µs (${(queued! / without!).toFixed(2)})`)

/** In workerd: over sockets, with its commits to disk. */
const millis = (values: ReadonlyArray<number>): string => median(values).toFixed(1)
const p99 = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.99)]!
const timed = async (body: () => Promise<unknown>): Promise<number> => {
  const started = performance.now()
  await body()
  return performance.now() - started
}
const workerd = await WorkerdProcess.start(
  fileURLToPath(new URL("../test/worker/process/jobs.ts", import.meta.url).href)
)
const peers = await Promise.all(["without", "with"].map((tenant) => workerd.deployment.connect(tenant)))
let texts = 0
const write = (subject: number) => ({ text: `text ${texts++}`, ...(subject === 1 && { delay: 1e8 }) })
for (const [name, size, rounds] of [
  ["one after the other", 1, 300],
  ["50 at a time", 50, 60]
] as const) {
  const taken: [Array<number>, Array<number>] = [[], []]
  for (let round = 0; round < rounds; round++) {
    for (const subject of [0, 1] as const) {
      const peer = peers[subject]!
      const time = await timed(() =>
        Promise.all(Array.from({ length: size }, () => peer.exit(peer.ask("write", write(subject)))))
      )
      if (round * 4 > rounds) taken[subject].push((time * 1000) / size)
    }
  }
  const ratio = (median(taken[1]) / median(taken[0])).toFixed(2)
  console.info(`in workerd, ${name}: ${millis(taken[0])} µs, with a job ${millis(taken[1])} µs (${ratio})`)
}

const late = await workerd.deployment.connect("late")
for (let i = 0; i < 40; i++) {
  const due = Date.now() + 100
  await late.call("at", { time: due, text: String(due) })
  await scheduler.wait(130)
}
await scheduler.wait(300)
const { value: lines }: any = await late.call("lines", {})
const delays = lines.map(({ at, text }: { readonly at: number; readonly text: string }) => at - Number(text))
console.info(`from the time that a job is due to its run: ${millis(delays)} ms`)

const drained = await workerd.deployment.connect("drained")
await drained.call("add", { text: "one" })
const query = () => timed(() => drained.call("job", { id: "1" }))
const [idle, busy]: [Array<number>, Array<number>] = [[], []]
for (let i = 0; i < 500; i++) idle.push(await query())
const due = Date.now() + 8000
for (let i = 0; i < 20; i++) {
  const jobs = Array.from({ length: 500 }, (_, k) => ({ what: "touch", text: `${i} ${k}` }))
  await drained.call("after", { delay: Math.max(0, due - Date.now()), jobs })
}
if (Date.now() > due) throw new Error("the jobs were due before all of them were there")
await scheduler.wait(due - Date.now())
const isDrained = async () => ((await drained.call("jobs", {})) as any).value.length === 0
do for (let i = 0; i < 50; i++) busy.push(await query())
while (!(await isDrained()))
console.info(
  `10,000 due jobs took ${((Date.now() - due) / 1000).toFixed(1)} s; a query meanwhile: p50 ${millis(busy)} ms, p99 ` +
    `${p99(busy).toFixed(1)} ms; when idle: p50 ${millis(idle)} ms, p99 ${p99(idle).toFixed(1)} ms (${(p99(busy) / p99(idle)).toFixed(1)})`
)
await workerd.close()
process.exit(0)
