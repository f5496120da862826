import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { TestApp } from "effect-dormouse/testing"
import { memory } from "../deployment/memory.ts"
import { app, limited, NotesApi } from "../worker/notes.ts"
import { suite } from "./transactionCases.ts"

suite("Transactions in memory", async () => {
  const [deployment, small] = await Promise.all([memory(app), memory(limited)])
  return {
    deployment,
    limited: small,
    close: async () => {
      await Promise.all([deployment.close(), small.close()])
    }
  }
})

it.effect("K4: the time of transactions does not go back", () =>
  Effect.gen(function* () {
    const rpc = yield* TestApp.rpc(NotesApi)
    const seen: Array<number> = []
    for (const time of [1000, 2000, 500, 2500]) {
      yield* TestClock.setTime(time)
      seen.push((yield* rpc("lookAndAdd", {})).times[0]!)
    }
    expect(seen).toEqual([1000, 2000, 2000, 2500])
  }).pipe(Effect.provide(TestApp.layer(app)))
)
