/// <reference types="node" />
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath, URL } from "node:url"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Action, Api, Calls, Mutation } from "effect-dormouse"
import { Jobs, Queue, Scheduler } from "effect-dormouse/jobs"
import { Database, Transactor } from "effect-dormouse/storage"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { notes } from "../../examples/embed/schema.ts"
import { turns } from "../deployment/memory.ts"

/** Jobs and queues in a program without the engine. */

let folder = ""
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "dormouse-jobs-"))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const ran: Array<string> = []
const run = (text: string) => Effect.sync(() => void ran.push(text))

class Broken extends Schema.TaggedError<Broken>("test/Broken")("Broken", {}) {}
class EmbeddedApi extends Api.make(
  Mutation.make("mutate", { payload: { text: Schema.String } }),
  Mutation.make("fail", { payload: {}, error: Broken }),
  Action.make("act", { payload: { text: Schema.String } })
) {}
const Messages = Queue.make("messages", { payload: { text: Schema.String } })
const handlers = EmbeddedApi.toLayer({
  mutate: ({ text }) => Effect.andThen(notes.insert({ text }).pipe(Effect.orDie), run(`mutate ${text}`)),
  fail: () => Effect.andThen(notes.insert({ text: "not kept" }).pipe(Effect.orDie), Effect.fail(new Broken())),
  act: Effect.fnUntraced(function* ({ text }) {
    yield* run(`act ${text}`)
    const { mutate } = yield* Calls.of(EmbeddedApi)
    yield* mutate("mutate", { text })
    // In an action the queue acts at once.
    yield* Messages.send({ text })
  })
})
const receive = (text: string, attempt: number) =>
  Effect.andThen(
    run(`message ${text}`),
    text === "long" && attempt === 1 ? Effect.onInterrupt(Effect.never, () => run("interrupted")) : Effect.void
  )
const layer = (path: string) =>
  Jobs.layer({
    tables: [notes],
    api: EmbeddedApi,
    handlers,
    jobs: Jobs.make({ queues: [Messages.toLayer(({ text }, { attempt }) => receive(text, attempt))] })
  }).pipe(Layer.provide(Database.layerMemory({ path })), Layer.provideMerge(TestClock.layer()))

const settled = Effect.promise(turns)
const start = <A, E>(path: string, program: Effect.Effect<A, E, any>): Promise<A> =>
  Effect.runPromise(Effect.provide(program, layer(path)) as Effect.Effect<A>)

describe("Jobs.layer", () => {
  it("J1 J2 J5: what a transaction schedules runs once, after a restart of the program as well, and never after a rollback", async () => {
    const path = join(folder, "restart.sqlite")
    ran.length = 0
    await start(
      path,
      Effect.gen(function* () {
        const { write } = yield* Transactor
        yield* write(
          Effect.gen(function* () {
            yield* Scheduler.after("1 hour", EmbeddedApi, "mutate", { text: "later" })
            yield* Scheduler.after(0, EmbeddedApi, "act", { text: "now" })
          })
        )
        const rolledBack = Effect.andThen(
          Scheduler.after(0, EmbeddedApi, "mutate", { text: "never" }),
          Effect.fail("no")
        )
        expect(yield* Effect.flip(write(rolledBack))).toBe("no")
        yield* settled
        yield* settled
        expect(ran).toEqual(["act now", "mutate now", "message now"])
      })
    )
    ran.length = 0
    await start(
      path,
      Effect.gen(function* () {
        yield* settled
        expect(ran).toEqual([])
        yield* TestClock.adjust("1 hour")
        yield* settled
        expect(ran).toEqual(["mutate later"])
        yield* TestClock.adjust("1 day")
        yield* settled
        expect(ran).toEqual(["mutate later"])
      })
    )
  })

  it("S1: a call whose stored payload does not fit is kept with the schema's issue alone", async () => {
    const path = join(folder, "payload.sqlite")
    ran.length = 0
    await start(
      path,
      Transactor.use(({ write }) => write(Scheduler.after("1 hour", EmbeddedApi, "mutate", { text: "later" })))
    )
    const database = new DatabaseSync(path)
    // What a version of the program stored whose payload was another one.
    database.exec(`UPDATE _dormouse_outbox SET payload = '{"text":1}'`)
    await start(path, Effect.andThen(TestClock.adjust("1 hour"), settled))
    const { reason, state } = database.prepare("SELECT state, reason FROM _dormouse_outbox").get() as any
    database.close()
    expect([ran, state]).toEqual([[], "failed"])
    const { detail, kind } = JSON.parse(reason)
    expect([kind, JSON.parse(detail).reason.issue]).toEqual(["payload", 'Expected string\n  at ["text"]'])
  })

  it("J5: what runs when the scope closes is interrupted, and the next start takes it up", async () => {
    const path = join(folder, "scope.sqlite")
    ran.length = 0
    await start(
      path,
      Effect.gen(function* () {
        const { write } = yield* Transactor
        yield* write(Messages.send({ text: "long" }))
        yield* settled
        expect(ran).toEqual(["message long"])
      })
    )
    await turns()
    // Its end is not written: the database is closed. A rejection that nobody handles would fail this run.
    expect(ran).toEqual(["message long", "interrupted"])
    await start(
      path,
      Effect.gen(function* () {
        yield* settled
        expect(ran).toHaveLength(2)
        yield* TestClock.adjust("1 hour")
        yield* settled
        expect(ran).toEqual(["message long", "interrupted", "message long"])
      })
    )
  })

  it("J6: a mutation that fails leaves no row, and is kept with its reason", async () => {
    await start(
      join(folder, "fails.sqlite"),
      Effect.gen(function* () {
        const { read, write } = yield* Transactor
        yield* write(Scheduler.after(0, EmbeddedApi, "fail", {}))
        yield* settled
        expect(yield* read(notes.query().count)).toBe(0)
        expect(yield* read(Scheduler.list({ state: "failed" }))).toMatchObject([
          { target: "fail", attempts: 1, reason: { kind: "failed", detail: '{"_tag":"Broken"}' } }
        ])
      })
    )
  })
})

it("J5: the example keeps what it has promised when it is killed", async () => {
  const program = fileURLToPath(new URL("../../examples/embed/jobs.ts", import.meta.url))
  /** Runs the program, and kills it when it has said something. */
  const lines = (path: string, killAfter?: string): Promise<ReadonlyArray<string>> =>
    new Promise((resolve) => {
      const child = spawn(process.execPath, ["--conditions=source", program, path], {
        stdio: ["ignore", "pipe", "ignore"]
      })
      let text = ""
      child.stdout.on("data", (chunk) => {
        text += chunk
        if (killAfter !== undefined && text.includes(killAfter)) child.kill("SIGKILL")
      })
      child.once("close", () => resolve(text.trim().split("\n")))
    })
  const reminders = async (path: string, killAfter?: string) =>
    (await lines(path, killAfter)).filter((line) => line.startsWith("reminder")).length
  let path: string
  // A kill that comes after the reminder shows nothing.
  do path = join(folder, `killed-${crypto.randomUUID()}.sqlite`)
  while ((await reminders(path, "a note")) > 0)
  expect(await reminders(path)).toBe(2)
})
