import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestApp } from "effect-dormouse/testing"
import { expect, it } from "vitest"
import { AppApi } from "../src/api.ts"
import { app } from "../src/app.ts"
import { TaskId } from "../src/schema.ts"

/** Runs a test against a backend of its own: the real engine, in memory. */
const run = <A, E>(test: Effect.Effect<A, E, TestApp | Scope>): Promise<A> =>
  test.pipe(Effect.scoped, Effect.provide(TestApp.layer(app)), Effect.runPromise)

it("adds, checks and removes tasks", () =>
  run(
    Effect.gen(function* () {
      const client = yield* TestApp.client(AppApi)
      const task = yield* client.mutate("tasks.add", { text: "write a test" })
      yield* client.mutate("tasks.setDone", { id: task.id, done: true })
      expect(yield* client.query("tasks.list", {})).toMatchObject([{ text: "write a test", done: true }])
      yield* client.mutate("tasks.remove", { id: task.id })
      expect(yield* client.query("tasks.list", {})).toEqual([])
    })
  ))

it("refuses to check a task that is gone", () =>
  run(
    Effect.gen(function* () {
      const client = yield* TestApp.client(AppApi)
      const id = TaskId.make("gone")
      const error = yield* Effect.flip(client.mutate("tasks.setDone", { id, done: true }))
      expect(error).toMatchObject({ _tag: "TaskNotFound", id })
    })
  ))

it("shows what another client adds", () =>
  run(
    Effect.gen(function* () {
      const one = yield* TestApp.client(AppApi)
      const other = yield* TestApp.client(AppApi)
      const lists = yield* one.live("tasks.list", {}).pipe(
        Stream.map((tasks) => tasks.map(({ text }) => text)),
        Stream.tap((texts) => (texts.length === 0 ? other.mutate("tasks.add", { text: "from afar" }) : Effect.void)),
        Stream.take(2),
        Stream.runCollect
      )
      expect(lists).toEqual([[], ["from afar"]])
    })
  ))
