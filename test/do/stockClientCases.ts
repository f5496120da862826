import { expect, layer } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Headers from "effect/http/Headers"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import * as Stream from "effect/Stream"
import { CallError, LimitExceeded } from "../../src/protocol/CallError.ts"
import { type Deployment, newTenant } from "../deployment/Deployment.ts"
import { Denied, Guard, GuardedApi } from "../worker/guarded.ts"
import { Note, NotesApi, Refused, secret, waiting } from "../worker/notes.ts"

/** The deployment that the suite runs against. */
export class Here extends Context.Service<Here, Deployment>()("test/Here") {}

/** Waits, by the machine's clock, until a condition holds. */
const until = (condition: () => boolean) =>
  Effect.promise(async () => {
    await expect.poll(condition).toBe(true)
  })

/** The frames that a live query of Effect's own client gets while notes are added, and how often the object started. */
export const converse = Effect.fnUntraced(function* (here: Deployment) {
  const tenant = newTenant("conversed")
  const frames: Array<unknown> = []
  const built = yield* Layer.build(here.protocol("socket", tenant))
  const rpc = yield* RpcClient.make(NotesApi, { flatten: true }).pipe(Effect.provideContext(built))
  yield* rpc("live:notes.list", {}).pipe(
    Stream.runForEach((frame) => Effect.sync(() => void frames.push(frame))),
    Effect.forkScoped
  )
  yield* until(() => frames.length === 1)
  for (const body of ["one", "two", "three"]) {
    yield* rpc("notes.add", { body })
    // The frame comes with the answer, or is lost.
    for (let i = 0; i < 5; i++) yield* rpc("look", {})
  }
  return { frames: frames.length, starts: here.starts(tenant) }
}, Effect.scoped)

/** L7: a deployment that evicts between every two messages starts its object more often than `least`, and nobody notices. */
export const evictions = (name: string, here: Layer.Layer<Here>, least: number) =>
  layer(here, { excludeTestServices: true })(name, (it) => {
    it.effect("L7 L10: a live query follows, although the object starts before each message", () =>
      Effect.gen(function* () {
        const { frames, starts } = yield* converse(yield* Here)
        expect(frames).toBe(4)
        // 19 requests, 18 exits, 4 frames and their acknowledgements; some find the object as the eviction before left it.
        expect(starts).toBeGreaterThan(least)
      })
    )
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

      it.effect(`L10, ${kind}: a result is an Option`, () =>
        Effect.gen(function* () {
          const rpc = yield* connect
          expect(yield* rpc("notes.first", {})).toEqual(Option.none())
          const added = yield* rpc("notes.add", { body: "one" })
          const first = Option.getOrThrow(yield* rpc("notes.first", {}))
          expect(first).toBeInstanceOf(Note)
          expect(first).toEqual(added)
          expect(yield* Stream.runCollect(Stream.take(rpc("live:notes.first", {}), 1))).toMatchObject([
            { _tag: "Snapshot", value: Option.some(first) }
          ])
        }).pipe(Effect.scoped)
      )

      it.effect(`L10, K5, ${kind}: the author's middleware runs, of the client and of the server`, () =>
        Effect.gen(function* () {
          const protocol = yield* Layer.build((yield* Here).protocol(kind, newTenant("guarded")))
          /** A client whose middleware sends the token. */
          const clientOf = (token: string) =>
            RpcClient.make(GuardedApi, { flatten: true }).pipe(
              Effect.provide(
                RpcMiddleware.layerClient(Guard, ({ next, request }) =>
                  next({ ...request, headers: Headers.set(request.headers, "token", token) })
                )
              ),
              Effect.provideContext(protocol)
            )
          const [ada, nobody] = [yield* clientOf("ada"), yield* clientOf("nobody")]
          expect(yield* ada("guarded.whoami", {})).toBe("ada")
          expect(yield* ada("guarded.add", { text: "one" })).toBe("ada")
          expect(yield* ada("guarded.act", { text: "two" })).toBe("ada")
          expect(yield* Stream.runCollect(ada("guarded.stream", {}))).toEqual(["ada", "ada"])
          for (const tag of ["guarded.add", "guarded.act"] as const) {
            const error = yield* Effect.flip(nobody(tag, { text: "unwritten" }))
            expect(error).toBeInstanceOf(Denied)
            expect(error).toMatchObject({ token: "nobody" })
          }
          const watched = (rpc: typeof ada) => Stream.runCollect(Stream.take(rpc("live:guarded.list", {}), 1))
          expect(yield* watched(ada)).toMatchObject([{ _tag: "Snapshot", value: ["ada: one", "free: two"] }])
          expect(yield* Effect.flip(watched(nobody))).toBeInstanceOf(Denied)
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

    it.effect("L10, socket: a stream stays a few items ahead of its reader", () =>
      Effect.gen(function* () {
        const here = yield* Here
        const tenant = newTenant("stock")
        const protocol = yield* Layer.build(here.protocol("socket", tenant))
        const reader = yield* RpcClient.make(NotesApi, { flatten: true }).pipe(Effect.provideContext(protocol))
        const name = newTenant("ahead")
        const seen: Array<string> = []
        const reading = yield* reader("act.forever", { name, length: 3 }).pipe(
          Stream.runForEach((item) => (seen.push(item) < 5 ? Effect.void : Effect.never)),
          Effect.forkChild
        )
        yield* until(() => seen.length === 5)
        // A stream that does not wait emits thousands while others call.
        yield* Effect.promise(async () => {
          const other = await here.connect(tenant)
          for (let i = 0; i < 100; i++) await other.call("look", {})
        })
        // 5 were read, and the client keeps 16.
        expect(waiting.emitted.get(name)).toBeLessThan(50)
        yield* Fiber.interrupt(reading)
        yield* until(() => waiting.interrupted.has(name))
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
        // 8 MiB of items, and one that is too many.
        expect(waiting.emitted.get(name)).toBeLessThan(30)
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
