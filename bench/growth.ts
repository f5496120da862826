/// <reference types="node" />

/**
 * How the cost of an operation grows: with the rows of a table, live queries, tenants and rpcs. In one process, in memory and
 * without sockets. Each line ends with its slope on logarithmic scales: 0 is flat, 1 is linear.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Api, App, Mutation, Query, Table } from "effect-dormouse"
import { Database, Storage, Transactor } from "effect-dormouse/storage"
import { KeepingSocket, makeEngine } from "../test/engine/EngineHarness.ts"
import { median } from "./measure.ts"

/** Named costs at one size, in microseconds. */
type Costs = Readonly<Record<string, number>>

class Item extends Model.Class<Item>("bench/Item")({
  id: Table.key(Schema.String),
  list: Schema.String,
  rank: Schema.NullOr(Schema.Int),
  body: Schema.String
}) {}
const items = Table.make("items", Item, { key: "id", indexes: { byRank: ["list", "rank"] } })

/** The median of some runs, in microseconds. */
const timeOf = async (runs: number, run: (index: number) => Promise<unknown> | unknown): Promise<number> => {
  const times: Array<number> = []
  for (let index = 0; index < runs; index++) {
    const started = performance.now()
    await run(index)
    times.push((performance.now() - started) * 1000)
  }
  return median(times)
}

/** Operations on a table of so many rows, a tenth of them without a rank. */
const rowsOf = async (count: number): Promise<Costs> => {
  const layer = Storage.layer({ tables: [items] }).pipe(Layer.provide(Database.layerMemory()))
  return Effect.gen(function* () {
    const { read, write } = yield* Transactor
    const chunk = 1000
    for (let start = 0; start < count; start += chunk) {
      const rows = Array.from({ length: Math.min(chunk, count - start) }, (_, i) => ({
        id: `k${start + i}`,
        list: "a",
        rank: (start + i) % 10 === 0 ? null : start + i,
        body: "body ".repeat(10)
      }))
      yield* write(items.insertMany(rows))
    }
    const run = <A, E>(effect: Effect.Effect<A, E>) => Effect.runPromise(effect as Effect.Effect<A>)
    const list = items.query("byRank").eq("list", "a")
    const middle = count >> 1
    /** The page of some 50 rows in the middle. */
    const pageOf = Effect.fnUntraced(function* (ordered: typeof list, first: number, last: number) {
      const cursor = (rank: number) =>
        Effect.map(
          read(
            ordered
              .gte("rank", rank)
              .lte("rank", rank + 9)
              .page({ size: 1 })
          ),
          ({ next }) => next
        )
      return ordered.page({ size: 50, after: yield* cursor(first), until: yield* cursor(last) })
    })
    const ascending = yield* pageOf(list, middle, middle + 60)
    const descending = yield* pageOf(list.descending, middle + 60, middle)
    return yield* Effect.promise(async () => ({
      get: await timeOf(500, (i) => run(read(items.get(`k${(i * 7919) % count}`)))),
      "first 50 of an index": await timeOf(200, () => run(read(list.descending.take(50)))),
      "page with both ends": await timeOf(200, () => run(read(ascending))),
      "descending page with both ends": await timeOf(200, () => run(read(descending))),
      "count of 50": await timeOf(200, () => run(read(list.gt("rank", middle).lt("rank", middle + 56).count))),
      insert: await timeOf(500, (i) => run(write(items.insert({ list: "b", rank: i, body: "new" })))),
      patch: await timeOf(500, (i) => run(write(items.patch(`k${(i * 7919) % count}`, { body: `new ${i}` }))))
    }))
  }).pipe(Effect.provide(layer), Effect.scoped, Effect.orDie, Effect.runPromise)
}

class ListsApi extends Api.make(
  Query.make("list", { payload: { list: Schema.String, limit: Schema.Int }, success: Schema.Array(Item) }),
  Mutation.make("add", { payload: { list: Schema.String }, success: Schema.Void })
) {}
const listsApp = App.make({
  api: ListsApi,
  tables: [items],
  handlers: ListsApi.toLayer({
    list: ({ limit, list }) => items.query("byRank").eq("list", list).descending.take(limit),
    add: ({ list }) => Effect.asVoid(items.insert({ list, rank: 1, body: "new" }))
  })
})

/** One write among so many live queries, on sockets of a thousand each: none, one or all of them read what it writes. */
const liveQueriesOf = async (count: number): Promise<Costs> => {
  const { close, engine, idle, nextTurn, sockets } = await makeEngine(listsApp)
  let ids = 0
  const open = () => {
    const socket = new KeepingSocket()
    sockets.add(socket)
    engine.sockets.open(socket, { tenant: "main", identity: { subject: null, claims: {} } })
    return socket
  }
  const ask = (socket: KeepingSocket, tag: string, payload: unknown) =>
    engine.sockets.message(socket, JSON.stringify({ _tag: "Request", id: `${ids++}`, tag, payload, headers: [] }))
  const acknowledge = () => {
    for (const socket of sockets as Set<KeepingSocket>) {
      for (const { _tag, requestId } of socket.messages.splice(0)) {
        if (_tag === "Chunk") engine.sockets.message(socket, JSON.stringify({ _tag: "Ack", requestId }))
      }
    }
    idle()
  }
  const writer = open()
  ask(writer, "add", { list: "all" })
  let reader = open()
  for (let i = 0; i < count; i++) {
    if (i % 1000 === 999) reader = open()
    ask(reader, "live:list", i % 2 === 0 ? { list: "all", limit: i + 1 } : { list: `own ${i}`, limit: 1 })
    if (i % 500 === 0) acknowledge()
  }
  acknowledge()
  const write = (list: string) => {
    ask(writer, "add", { list })
    idle()
  }
  const none = await timeOf(100, () => write("nobody's"))
  const one = await timeOf(100, () => {
    write("own 1")
    acknowledge()
  })
  const turns: Array<number> = []
  const all = await timeOf(count > 2000 ? 3 : 10, () => {
    ask(writer, "add", { list: "all" })
    let longest = 0
    for (let turn = 0; turn < count; turn++) {
      const started = performance.now()
      nextTurn()
      longest = Math.max(longest, (performance.now() - started) * 1000)
      if (engine.live.needsFlush === false) break
    }
    turns.push(longest)
    acknowledge()
  })
  await close()
  return {
    "a write that none reads": none,
    "a write that one reads": one,
    "a write that half of them read": all,
    "its longest turn": median(turns)
  }
}

/** Starts so many tenants with a row each, and keeps them. */
const tenantsOf = async (count: number): Promise<Costs> => {
  const engines: Array<Awaited<ReturnType<typeof makeEngine>>> = []
  const start = await timeOf(count, async () => {
    const harness = await makeEngine(listsApp)
    const socket = new KeepingSocket()
    harness.sockets.add(socket)
    harness.engine.sockets.open(socket, { tenant: "main", identity: { subject: null, claims: {} } })
    const request = { _tag: "Request", id: "1", tag: "add", payload: { list: "a" }, headers: [] }
    harness.engine.sockets.message(socket, JSON.stringify(request))
    harness.idle()
    engines.push(harness)
  })
  for (const { close } of engines) await close()
  return { "start and first write of one": start }
}

/** Starts an app of so many rpcs, and calls one. */
const rpcsOf = async (count: number): Promise<Costs> => {
  const rpcs = Array.from({ length: count }, (_, i) => Query.make(`q${i}`, { payload: {}, success: Schema.Int }))
  const api = Api.make(...rpcs)
  const handlers = Object.fromEntries(rpcs.map(({ _tag }) => [_tag, () => Effect.succeed(1)]))
  const made = await timeOf(5, async () => {
    const app = App.make({ api, tables: [], handlers: api.toLayer(handlers as any) as any } as any)
    const { close, engine, sockets } = await makeEngine(app as any)
    const socket = new KeepingSocket()
    sockets.add(socket)
    engine.sockets.open(socket, { tenant: "main", identity: { subject: null, claims: {} } })
    engine.sockets.message(
      socket,
      JSON.stringify({ _tag: "Request", id: "1", tag: `q${count - 1}`, payload: {}, headers: [] })
    )
    if (socket.messages.length === 0) throw new Error("no answer")
    await close()
  })
  return { "start and first call": made }
}

const curves = [
  { of: "rows", sizes: [1000, 10_000, 100_000, 1_000_000], measure: rowsOf },
  { of: "live queries", sizes: [10, 100, 1000, 5000, 20_000], measure: liveQueriesOf },
  { of: "tenants", sizes: [1, 10, 100, 500], measure: tenantsOf },
  { of: "rpcs", sizes: [10, 100, 1000], measure: rpcsOf }
]

const format = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(value >= 100 ? 3 : 2)

/** Measures all curves. Reports what it does, and returns a table of each. */
export const measureGrowth = async (report: (what: string) => void): Promise<string> => {
  const tables: Array<string> = []
  for (const { measure, of, sizes } of curves) {
    // The first run is cold.
    await measure(sizes[0]!)
    const columns: Array<Costs> = []
    for (const size of sizes) {
      report(`${size.toLocaleString("en")} ${of}`)
      columns.push(await measure(size))
    }
    const [head, ...body] = [
      [`µs, by ${of}`, ...sizes.map((size) => size.toLocaleString("en")), "slope"],
      ...Object.keys(columns[0]!).map((name) => {
        const [first, last] = [columns[0]![name]!, columns.at(-1)![name]!]
        const slope = Math.log(last / first) / Math.log(sizes.at(-1)! / sizes[0]!)
        return [name, ...columns.map((costs) => format(costs[name]!)), slope.toFixed(2)]
      })
    ]
    const widths = head!.map((_, i) => Math.max(4, ...[head!, ...body].map((row) => row[i]!.length)))
    const line = (cells: ReadonlyArray<string>) =>
      `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[i]!))).join(" | ")} |`
    const rule = `| ${widths.map((width, i) => (i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)).join(" | ")} |`
    tables.push([line(head!), rule, ...body.map(line)].join("\n"))
  }
  return tables.join("\n\n")
}
