import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { describe, expect, it, vi } from "vitest"
import { CurrentIdentity, type Identity } from "../../src/contract/Auth.ts"
import { Executor } from "../../src/engine/object/Executor.ts"
import * as RpcCodec from "../../src/protocol/RpcCodec.ts"
import { request } from "../deployment/Deployment.ts"
import { forAllAsync, type Random, Violation } from "../random.ts"
import { type EngineHarness, idsIn, KeepingSocket, makeEngine } from "./EngineHarness.ts"
import { makeRandomApp, type QueryCall, type RandomApp, randomRead, randomWrite } from "./randomApp.ts"

const identities: ReadonlyArray<Identity> = [
  { subject: null, claims: {} },
  { subject: "ada", claims: { team: "a" } }
]

/** One value, or one failure, as text; the four ways of asking must agree on it. */
const successText = (value: unknown): string => `value ${JSON.stringify(value)}`
const failureText = (cause: unknown): string => `failure ${JSON.stringify(cause)}`
const exitText = (exit: any): string => (exit._tag === "Success" ? successText(exit.value) : failureText(exit.cause))

let ids = 0

/** Asks one question in the four ways. */
const ask = async (
  { engine, idle, sockets }: EngineHarness,
  world: RandomApp,
  identity: Identity,
  query: QueryCall
): Promise<Readonly<Record<string, string>>> => {
  const session = { tenant: "main", identity }
  const http = async (tag: string): Promise<ReadonlyArray<any>> => {
    const answer = engine.http.call(session, JSON.stringify(request(ids++, tag, query.payload)))
    idle()
    return JSON.parse((await answer).body)
  }
  const [unary] = await http(query.tag)
  const [first, second] = await http(`live:${query.tag}`)
  const snapshot = first._tag === "Chunk" ? successText(first.values[0].value) : exitText(first.exit)
  if (first._tag === "Chunk") expect(second.exit._tag).toBe("Success")

  const socket = new KeepingSocket()
  sockets.add(socket)
  engine.sockets.open(socket, session)
  engine.sockets.message(socket, JSON.stringify(request("live", `live:${query.tag}`, query.payload)))
  idle()
  const [frame] = socket.messages
  const live = frame._tag === "Chunk" ? successText(frame.values[0].value) : exitText(frame.exit)
  engine.sockets.closed(socket)
  sockets.delete(socket)

  const codec = RpcCodec.of(world.app.api.declared.requests.get(query.tag)!)
  const read = engine.transactor
    .read(world.handlerOf(query))
    .pipe(Effect.provideService(CurrentIdentity, identity), Effect.result)
  const result = Effect.runSync(read)
  const encoded = codec.encodeExit(
    Result.isSuccess(result) ? Exit.succeed(result.success) : Exit.fail(result.failure)
  ) as Effect.Effect<any>
  return { unary: exitText(unary.exit), snapshot, live, transactor: exitText(Effect.runSync(encoded)) }
}

const queryAtRandom = (random: Random, world: RandomApp): QueryCall =>
  random.chance(0.5)
    ? { tag: "read", payload: { program: randomRead(random, world) } }
    : {
        tag: `rows.${random.int(world.specs.length)}`,
        payload: { descending: random.chance(0.5), take: random.int(20) }
      }

const holds = async (random: Random): Promise<void> => {
  const world = makeRandomApp(random)
  const harness = await makeEngine(world.app)
  world.keysIn = (table) => idsIn(harness.sqlite, `t${table}`)
  try {
    for (let step = 0; step < 60; step++) {
      if (random.chance(0.6)) {
        const program = randomWrite(random, world)
        const answer = harness.engine.http.call(
          { tenant: "main", identity: random.pick(identities) },
          JSON.stringify(request(ids++, "write", { program }))
        )
        harness.idle()
        await answer
        continue
      }
      const query = queryAtRandom(random, world)
      const answers = await ask(harness, world, random.pick(identities), query)
      const [unary, ...others] = Object.values(answers)
      if (others.some((other) => other !== unary)) {
        throw new Violation(`${JSON.stringify(query)} has several answers: ${JSON.stringify(answers, null, 1)}`)
      }
    }
  } finally {
    await harness.close()
  }
}

describe("one state of the database has one answer", () => {
  it("K7: unary call, live query, snapshot over HTTP and transactor give the same value", async () => {
    await forAllAsync(40, holds)
  })

  it("control: the law fails when one of the ways leaves something out", async () => {
    const { start } = Executor.prototype
    const spy = vi.spyOn(Executor.prototype, "start").mockImplementation(function (this: Executor, call) {
      return start.call(this, { ...call, caller: { ...call.caller, identity: identities[0]! } })
    })
    try {
      await expect(forAllAsync(1000, holds)).rejects.toThrow(Violation)
    } finally {
      spy.mockRestore()
    }
  })
})
