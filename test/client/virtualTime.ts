import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as EffectRandom from "effect/Random"
import type { Scope } from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { TestApp } from "effect-dormouse/testing"
import { app } from "./mutationApp.ts"

/** Runs an effect on the mutation app in memory, under virtual time, with the randomness of a seed and without a log. */
export const runInVirtualTime =
  (seed: number) =>
  <A, E>(effect: Effect.Effect<A, E, TestApp | Scope>): Promise<A> =>
    effect.pipe(
      Effect.scoped,
      Effect.provide(TestApp.layer(app)),
      EffectRandom.withSeed(seed),
      Effect.provide(TestClock.layer()),
      Effect.provide(Logger.layer([])),
      Effect.runPromise
    )
