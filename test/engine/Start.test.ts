import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Api, App, Query, Table } from "effect-dormouse"
import { expect, it, vi } from "vitest"
import { anonymous } from "../../src/contract/Auth.ts"
import { type Executor, noHeaders } from "../../src/engine/object/Executor.ts"
import { makeEngine } from "./EngineHarness.ts"

const codecs = vi.hoisted(() => ({ made: 0 }))

vi.mock(import("effect/SchemaParser"), async (original) => {
  const actual = await original()
  return {
    ...actual,
    encodeUnknownExit: (...args: Parameters<typeof actual.encodeUnknownExit>) => {
      codecs.made++
      return actual.encodeUnknownExit(...args)
    }
  }
})

/** An app of so many queries and tables. Each query reads its table. */
const appOf = (rpcs: number, tables: number) => {
  const declared = Array.from({ length: tables }, (_, i) => {
    class Row extends Model.Class<Row>(`start/Row${i}`)({
      id: Schema.String,
      at: Schema.DateTimeUtc,
      tags: Schema.Array(Schema.String)
    }) {}
    return Table.make(`t${i}`, Row, { key: "id", indexes: { byAt: ["at"] } })
  })
  const queries = Array.from({ length: rpcs }, (_, i) =>
    Query.make(`q${i}`, { payload: { n: Schema.Int }, success: Schema.Boolean })
  )
  const api = Api.make(...queries)
  const handler = (i: number) => () =>
    tables === 0
      ? Effect.succeed(true)
      : Effect.map(declared[i]!.query("byAt").eq("at", DateTime.makeUnsafe(0)).first, Option.isNone)
  const handlers = api.toLayer(Object.fromEntries(queries.map(({ _tag }, i) => [_tag, handler(i)])) as never)
  return App.make({ api, tables: declared, handlers })
}

const call = (executor: Executor, tag: string) => {
  const decoded = executor.decode(tag, { n: 1 })
  if (!("procedure" in decoded)) throw new Error(`${tag} was refused`)
  const caller = { identity: anonymous, client: new Rpc.ServerClient(1), annotations: {} }
  expect(executor.execute({ ...decoded, caller, headers: noHeaders, requestId: 1 }).result?.text).toBe("true")
}

/** How many entries of maps are set meanwhile: a map that is made of another one sets each of its entries. */
const entriesSet = async (body: () => void | Promise<void>): Promise<number> => {
  const set = vi.spyOn(Map.prototype, "set")
  await body()
  const { length } = set.mock.calls
  set.mockRestore()
  return length
}

it("K8: what the first call of an rpc copies does not grow with the number of rpcs", async () => {
  const copied: Array<number> = []
  for (const rpcs of [100, 1_000]) {
    const { close, engine } = await makeEngine(appOf(rpcs, 0))
    call(engine.executor, "q0")
    copied.push(
      await entriesSet(() => {
        for (let i = 1; i <= 50; i++) call(engine.executor, `q${i}`)
      })
    )
    await close()
  }
  expect(copied[1]).toBe(copied[0])
})

it("K8: a start does the same for each rpc, however many there are", async () => {
  const [one, two, four] = [appOf(100, 0), appOf(200, 0), appOf(400, 0)].map(
    (app) => async () => await (await makeEngine(app)).close()
  )
  await one!()
  const counts = [await entriesSet(one!), await entriesSet(two!), await entriesSet(four!)]
  expect(counts[2]! - counts[1]!).toBe(2 * (counts[1]! - counts[0]!))
})

it("K8: a start makes no codec of values; the first use of a column makes its own", async () => {
  const app = appOf(60, 60)
  const made: Array<number> = []
  for (const tags of [
    ["q0", "q0", "q1"],
    ["q0", "q2"]
  ]) {
    codecs.made = 0
    const { close, engine } = await makeEngine(app)
    made.push(codecs.made)
    for (const tag of tags) {
      call(engine.executor, tag)
      made.push(codecs.made)
    }
    await close()
  }
  expect(made).toEqual([0, 1, 1, 2, 0, 0, 1])
})
