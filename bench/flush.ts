/**
 * What one changed row costs in a live query of 50 and of 1,000 rows: the object's part (encoding, hash, checksum, patch) and
 * the client's (applying the frame, checksum, decoding). In one process, without sockets; prints medians in microseconds.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Api, Query } from "effect-dormouse"
import { LiveValues } from "../src/client/LiveValues.ts"
import { QueryResult } from "../src/engine/object/QueryResult.ts"
import * as ResultCodec from "../src/engine/rpc/ResultCodec.ts"
import * as RpcCodec from "../src/protocol/RpcCodec.ts"

const Row = Schema.Struct({
  id: Schema.String,
  channel: Schema.String,
  author: Schema.String,
  body: Schema.String,
  sentAt: Schema.Int
})
class RowsApi extends Api.make(Query.make("rows", { payload: {}, success: Schema.Array(Row) })) {}
const rpc = RpcCodec.withSchemas(RowsApi.requests.get("rows")!)

const row = (id: number, sentAt: number): typeof Row.Type =>
  Object.freeze({ id: `row-${id}`, channel: "general", author: "ada", body: `message ${id} `.repeat(8), sentAt })

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

const measure = (size: number, rounds: number): { readonly object: number; readonly client: number; bytes: number } => {
  const encode = ResultCodec.encoderOf(rpc)
  let version = 1
  const run = (rows: ReadonlyArray<typeof Row.Type>) => new QueryResult(Effect.runSync(encode(rows)), ++version)
  const live = new LiveValues({
    onFirst: () => {},
    onStarted: () => {},
    onLast: () => {},
    onCurrent: () => {},
    contains: () => false,
    onDelivered: () => [],
    onProtocolError: () => {
      throw new Error("the client refused a frame")
    }
  })
  live.opened(() => {})
  const watched = live.watch(RpcCodec.of(rpc), {}, () => {})
  const idText = JSON.stringify(watched.live.requestId)
  const receive = (texts: ReadonlyArray<string>) => {
    for (const text of texts) live.publish(live.receive([JSON.parse(text)]))
  }
  let rows = Array.from({ length: size }, (_, id) => row(id, 0))
  let base = run(rows)
  receive(base.messagesFrom(undefined, idText, version))
  const times = { object: [] as Array<number>, client: [] as Array<number> }
  let bytes = 0
  for (let round = 1; round <= rounds; round++) {
    const changed = (round * 7) % size
    rows = rows.with(changed, row(changed, round))
    const started = performance.now()
    const result = run(rows)
    const texts = result.hash === base.hash ? [] : result.messagesFrom(base, idText, version)
    const sent = performance.now()
    receive(texts)
    const received = performance.now()
    base = result
    bytes = texts[0]!.length
    if (watched.live.version !== version) throw new Error("the client did not apply the frame")
    if (round * 4 < rounds) continue
    times.object.push(sent - started)
    times.client.push(received - sent)
  }
  return { object: median(times.object) * 1000, client: median(times.client) * 1000, bytes }
}

for (const size of [50, 1000]) {
  const { bytes, client, object } = measure(size, size === 50 ? 6000 : 2000)
  console.info(`${size} rows: object ${object.toFixed(1)}, client ${client.toFixed(1)}, ${bytes} bytes`)
}
