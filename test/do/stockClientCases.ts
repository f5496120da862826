import { expect, layer } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import * as Stream from "effect/Stream"
import { CallError, LimitExceeded } from "../../src/protocol/CallError.ts"
import { type Deployment, newTenant } from "../deployment/Deployment.ts"
import { Note, NotesApi, Refused, secret, waiting } from "../worker/notes.ts"

/** The deployment that the suite runs against. */
export class Here extends Context.Service<Here, Deployment>()("test/Here") {}

/** Waits, by the machine's clock, until a condition holds. */
const until = (condition: () => boolean) =>
  Effect.promise(async () => {
    await expect.poll(condition).toBe(true)
  })

/** L10: Effect's own client with a contract, in one deployment. */
export const suite = (name: string, here: Layer.Layer<Here>) =>
  layer(here, { excludeTestServices: true })(name, (it) => {
    for (const kind of ["http", "socket"] as const) {
      const open = (tenant: string) =>
        Effect.gen(function* () {
          const protocol = yield* Layer.build((yield* Here).protocol(kind, tenant))
          return yield* RpcClient.make(NotesApi, { flatten: true }).pipe(Effect.provideContext(protocol))
        })
      const connect = Effect.suspend(() => open(newTenant("stock")))

      it.effect(`L10, ${kind}: calls, with instances of the contract's classes`, () =>
        Effect.gen(function* () {
          const rpc = yield* connect
          const added = yield* rpc("notes.add", { body: "one" })
          expect(added).toBeInstanceOf(Note)
          expect(DateTime.isDateTime(added.at)).toBe(true)
          yield* rpc("notes.add", { body: "two" })
          expect((yield* rpc("notes.list", {})).map(({ body }) => body)).toEqual(["one", "two"])
          expect(yield* rpc("act.add", { body: "three" })).toBeInstanceOf(Note)
        }).pipe(Effect.scoped)
      )

      it.effect(`L10, ${kind}: an rpc without payload and result`, () =>
        Effect.gen(function* () {
          const rpc = yield* connect
          expect(yield* rpc("nothing", undefined)).toBeUndefined()
          expect(yield* rpc("nothingDone", undefined)).toBeUndefined()
          expect(yield* Stream.runCollect(Stream.take(rpc("live:nothing", undefined), 1))).toMatchObject([
            { _tag: "Snapshot", value: undefined }
          ])
        }).pipe(Effect.scoped)
      )

      it.effect(`L10, ${kind}: concurrent calls get their own results`, () =>
        Effect.gen(function* () {
          const rpc = yield* connect
          const values = Array.from({ length: 50 }, (_, i) => i)
          const answers = yield* Effect.forEach(values, (value) => rpc("echo", { value }), { concurrency: "unbounded" })
          expect(answers).toEqual(values)
        }).pipe(Effect.scoped)
      )

      it.effect(`L10, ${kind}: failures of the contract and of calls are typed`, () =>
        Effect.gen(function* () {
          const rpc = yield* connect
          for (const tag of ["end", "notes.addAndEnd", "act.end"] as const) {
            const error = yield* Effect.flip(rpc(tag, { ending: "typed failure" }))
            expect(error).toBeInstanceOf(Refused)
            expect(error).toMatchObject({ why: "because" })
          }
          const error = yield* Effect.flip(rpc("notes.add", { body: "x".repeat(2_000_001) }))
          expect(error).toBeInstanceOf(CallError)
          expect((error as CallError).reason).toBeInstanceOf(LimitExceeded)
          expect(error).toMatchObject({
            isRetryable: false,
            message: expect.stringContaining("limit rowBytes is 2000000")
          })
        }).pipe(Effect.scoped)
      )

      it.effect(`L10, S2, ${kind}: a defect has an id, and its cause does not reach the client`, () =>
        Effect.gen(function* () {
          const rpc = yield* connect
          for (const tag of ["end", "notes.addAndEnd", "act.end"] as const) {
            const exit = yield* Effect.exit(rpc(tag, { ending: "defect" }))
            const { message } = (Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined) as Error
            expect(message).not.toContain(secret)
            const [, id] = /its log under (\w+)$/.exec(message)!
            const log = (yield* Here).logged()
            expect(log).toContain(id)
            expect(log).toContain(secret)
          }
        }).pipe(Effect.scoped)
      )

      it.effect(`S2, ${kind}: a call that is nested too deep fails with the limit, and the others go on`, () =>
        Effect.gen(function* () {
          const rpc = yield* connect
          const nested = (levels: number) => JSON.parse(`${"[".repeat(levels)}${"]".repeat(levels)}`)
          const [error, answer] = yield* Effect.all(
            [Effect.flip(rpc("echo", { value: nested(300) })), rpc("echo", { value: "other" })],
            { concurrency: "unbounded" }
          )
          expect(error).toBeInstanceOf(CallError)
          expect(error).toMatchObject({ reason: { limit: "requestDepth", max: 256 } })
          expect(answer).toBe("other")
          expect(yield* rpc("echo", { value: nested(200) })).toEqual(nested(200))
        }).pipe(Effect.scoped)
      )

      it.effect(`L10, ${kind}: headers reach the handler`, () =>
        Effect.gen(function* () {
          const rpc = yield* connect
          const header = rpc("header", { name: "x-test" })
          expect(yield* header).toBe(null)
          expect(yield* RpcClient.withHeaders(header, { "x-test": "ünï" })).toBe("ünï")
        }).pipe(Effect.scoped)
      )

      it.effect(`L10, ${kind}: an author's stream ends, or fails`, () =>
        Effect.gen(function* () {
          const rpc = yield* connect
          expect(yield* Stream.runCollect(rpc("act.count", { to: 100 }))).toEqual(
            Array.from({ length: 100 }, (_, i) => i + 1)
          )
          const seen: Array<number> = []
          const error = yield* rpc("act.count", { to: 5, failAt: 3 }).pipe(
            Stream.runForEach((n) => Effect.sync(() => seen.push(n))),
            Effect.flip
          )
          expect(error).toBeInstanceOf(Refused)
          expect(seen).toEqual([1, 2])
        }).pipe(Effect.scoped)
      )

      it.effect(`L10, ${kind}: a call whose result is discarded still runs to its end`, () =>
        Effect.gen(function* () {
          const rpc = yield* connect
          yield* rpc("notes.add", { body: "by a mutation" }, { discard: true })
          yield* rpc("act.add", { body: "by an action" }, { discard: true })
          const bodies = Effect.map(rpc("notes.list", {}), (notes) => notes.map(({ body }) => body))
          const run = Effect.runPromiseWith(yield* Effect.context<never>())
          yield* Effect.promise(() => expect.poll(() => run(bodies)).toEqual(["by a mutation", "by an action"]))
        }).pipe(Effect.scoped)
      )
    }

    const connect = (tenant: string) =>
      Effect.gen(function* () {
        const protocol = yield* Layer.build((yield* Here).protocol("socket", tenant))
        return yield* RpcClient.make(NotesApi, { flatten: true }).pipe(Effect.provideContext(protocol))
      })

    it.effect("S2, http: each call of a batch with too many requests fails with the limit, and none runs", () =>
      Effect.gen(function* () {
        const tenant = newTenant("batch")
        const { protocol } = yield* Here
        const clientOf = (maxSize: number) =>
          Effect.gen(function* () {
            const built = yield* Layer.build(protocol("http", tenant, { window: 60_000, maxSize }))
            return yield* RpcClient.make(NotesApi, { flatten: true }).pipe(Effect.provideContext(built))
          })
        const rpc = yield* clientOf(101)
        const errors = yield* Effect.forEach(
          Array.from({ length: 101 }),
          () => Effect.flip(rpc("notes.add", { body: "x" })),
          { concurrency: "unbounded" }
        )
        for (const error of errors) {
          expect(error).toBeInstanceOf(CallError)
          expect(error).toMatchObject({ reason: { limit: "requestsPerBatch", max: 100, actual: 101 } })
        }
        expect(yield* (yield* clientOf(1))("notes.list", {})).toEqual([])
        // The control: one request less is a body like any other.
        const whole = yield* clientOf(100)
        const values = Array.from({ length: 100 }, (_, i) => i)
        const echoed = Effect.forEach(values, (value) => whole("echo", { value }), { concurrency: "unbounded" })
        expect(yield* echoed).toEqual(values)
      }).pipe(Effect.scoped)
    )

    for (const kind of ["http", "socket"] as const) {
      it.effect(`S2, ${kind}: a call that is too large to be read fails with an error of the client`, () =>
        Effect.gen(function* () {
          const protocol = yield* Layer.build((yield* Here).protocol(kind, newTenant("large")))
          const rpc = yield* RpcClient.make(NotesApi, { flatten: true }).pipe(Effect.provideContext(protocol))
          const error = yield* Effect.flip(rpc("notes.add", { body: "x".repeat(4 << 20) }))
          expect(error._tag).toBe("RpcClientError")
          // The limit is in the body of the status 413, which the client does not show, or in the reason of the close.
          if (kind === "socket") expect(error.message).toContain("limit requestBytes is")
        }).pipe(Effect.scoped)
      )
    }

    it.effect("L10, http: a live query is one snapshot and the end", () =>
      Effect.gen(function* () {
        const protocol = yield* Layer.build((yield* Here).protocol("http", newTenant("stock")))
        const rpc = yield* RpcClient.make(NotesApi, { flatten: true }).pipe(Effect.provideContext(protocol))
        yield* rpc("notes.add", { body: "one" })
        const frames = yield* Stream.runCollect(rpc("live:notes.list", {}))
        expect(frames).toMatchObject([{ _tag: "Snapshot", value: [{ body: "one" }] }])
      }).pipe(Effect.scoped)
    )

    it.effect("L10, http: an endless stream is refused with the name of the limit", () =>
      Effect.gen(function* () {
        const protocol = yield* Layer.build((yield* Here).protocol("http", newTenant("stock")))
        const rpc = yield* RpcClient.make(NotesApi, { flatten: true }).pipe(Effect.provideContext(protocol))
        const name = newTenant("endless")
        const error = yield* Effect.flip(Stream.runDrain(rpc("act.forever", { name, length: 500_000 })))
        expect(error).toMatchObject({ _tag: "CallError", reason: { _tag: "LimitExceeded", limit: "resultBytes" } })
        yield* until(() => waiting.interrupted.has(name))
      }).pipe(Effect.scoped)
    )

    it.effect("L10, L7, socket: a live query continues across an eviction", () =>
      Effect.gen(function* () {
        const tenant = newTenant("stock")
        const rpc = yield* connect(tenant)
        const seen: Array<unknown> = []
        const watching = yield* rpc("live:notes.list", {}).pipe(
          Stream.tap((frame) => Effect.sync(() => seen.push(frame))),
          Stream.take(3),
          Stream.runDrain,
          Effect.forkChild
        )
        yield* until(() => seen.length === 1)
        yield* rpc("notes.add", { body: "one" })
        yield* until(() => seen.length === 2)
        const here = yield* Here
        yield* Effect.promise(() => here.evict(tenant))
        yield* rpc("notes.add", { body: "two" })
        yield* Fiber.join(watching)
        expect(seen.at(-1)).toMatchObject({ _tag: "Snapshot", value: [{ body: "one" }, { body: "two" }] })
        expect((seen.at(-1) as any).value[0]).toBeInstanceOf(Note)
        expect(here.starts(tenant)).toBeGreaterThanOrEqual(2)
      }).pipe(Effect.scoped)
    )

    it.effect("L10, socket: a live query fails with the error of its query", () =>
      Effect.gen(function* () {
        const rpc = yield* connect(newTenant("stock"))
        const error = yield* Effect.flip(Stream.runDrain(rpc("live:end", { ending: "typed failure" })))
        expect(error).toBeInstanceOf(Refused)
      }).pipe(Effect.scoped)
    )

    it.effect("L10, socket: a client that stops reading interrupts the stream at its source", () =>
      Effect.gen(function* () {
        const rpc = yield* connect(newTenant("stock"))
        const name = newTenant("stopped")
        const numbers = yield* rpc("act.forever", { name, length: 3 }).pipe(Stream.take(40), Stream.runCollect)
        expect(numbers.map(Number)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1))
        yield* until(() => waiting.interrupted.has(name))
      }).pipe(Effect.scoped)
    )

    it.effect("L10, socket: an action whose result is discarded continues", () =>
      Effect.gen(function* () {
        const name = newTenant("acknowledged")
        yield* Effect.gen(function* () {
          const rpc = yield* connect(newTenant("stock"))
          yield* rpc("act.wait", { name }, { discard: true })
          yield* until(() => waiting.started.has(name))
          // Calls that are answered later prove that it goes on.
          for (let i = 0; i < 20; i++) yield* rpc("act.end", { ending: "promise" })
          expect(waiting.interrupted.has(name)).toBe(false)
        }).pipe(Effect.scoped)
        // As long as its caller is connected.
        yield* until(() => waiting.interrupted.has(name))
      })
    )

    for (const kind of ["http", "socket"] as const) {
      it.effect(`L10, ${kind}: a client that stops waiting interrupts the action`, () =>
        Effect.gen(function* () {
          const protocol = yield* Layer.build((yield* Here).protocol(kind, newTenant("stock")))
          const rpc = yield* RpcClient.make(NotesApi, { flatten: true }).pipe(Effect.provideContext(protocol))
          const name = newTenant("stopped")
          const waitingFor = yield* Effect.forkChild(rpc("act.wait", { name }))
          yield* until(() => waiting.started.has(name))
          yield* Fiber.interrupt(waitingFor)
          yield* until(() => waiting.interrupted.has(name))
          expect(yield* rpc("echo", { value: 1 })).toBe(1)
        }).pipe(Effect.scoped)
      )
    }
  })
