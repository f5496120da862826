/**
 * Transactions over a `Database`, as a service: reads, writes, the commits as a stream, and live results.
 * It is what the engine runs handlers in, usable alone in any Effect app. Every effect runs synchronously to its end.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { MutationServices, QueryServices } from "../contract/Kind.ts"
import { touches, type WriteSet } from "./storage/ReadSet.ts"
import type { TransactionRunner } from "./TransactionRunner.ts"

export class Transactor extends Context.Service<
  Transactor,
  {
    /** Runs an effect that reads. An effect that waits for something fails with a defect. */
    readonly read: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, QueryServices>>
    /** Runs an effect that reads and writes. When it fails, dies or is interrupted, nothing that it wrote stays. */
    readonly write: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, MutationServices>>
    /**
     * The result of an effect that reads: now, and again after each commit that wrote what it read. Equal results in a row
     * are given once. A slow reader gets the newest result and misses those between.
     */
    readonly live: <A, E, R>(effect: Effect.Effect<A, E, R>) => Stream.Stream<A, E, Exclude<R, QueryServices>>
    /** What each commit wrote, from the subscription on. */
    readonly commits: Stream.Stream<WriteSet>
  }
>()("effect-dormouse/services/Transactor") {}

/** The transactor of a runner. */
export const make = (runner: TransactionRunner): Transactor["Service"] => ({
  read: (effect) => Effect.contextWith((context: Context.Context<any>) => runner.read(effect, context, false).exit),
  write: (effect) => Effect.contextWith((context: Context.Context<any>) => runner.write(effect, context)),
  live: (effect) =>
    Stream.callback<any, any, any>(
      (queue) =>
        Effect.contextWith((context: Context.Context<any>) =>
          Effect.acquireRelease(
            Effect.sync(() => watch(runner, effect, context, queue)),
            (end) => Effect.sync(end)
          )
        ),
      { bufferSize: 1, strategy: "sliding" }
    ),
  commits: Stream.callback<WriteSet>((queue) =>
    Effect.acquireRelease(
      Effect.sync(() =>
        runner.onCommit((writes) => {
          if (!writes.isEmpty) Queue.offerUnsafe(queue, writes.toWriteSet())
        })
      ),
      (end) => Effect.sync(end)
    )
  )
})

/** Offers the result of an effect now and after each commit that touched it. Gives the function that ends it. */
const watch = <A, E>(
  runner: TransactionRunner,
  effect: Effect.Effect<A, E, any>,
  context: Context.Context<any>,
  queue: Queue.Enqueue<A, E>
): (() => void) => {
  let last: Exit.Exit<A, E> | undefined
  let isScheduled = false
  let hasEnded = false
  const run = () => {
    const { exit, reads } = runner.read(effect, context, true)
    if (Exit.isFailure(exit)) {
      hasEnded = true
      Queue.failCauseUnsafe(queue, exit.cause)
    } else if (last === undefined || Exit.isFailure(last) || !sameValue(last.value, exit.value)) {
      Queue.offerUnsafe(queue, exit.value)
    }
    last = exit
    return reads
  }
  let reads = run()
  const end = runner.onCommit((writes) => {
    if (hasEnded || isScheduled || !touches(reads, writes.toWriteSet())) return
    isScheduled = true
    // After the one who commits has gone on, and once for all that is committed until then.
    queueMicrotask(() => {
      isScheduled = false
      if (!hasEnded) reads = run()
    })
  })
  return () => {
    hasEnded = true
    end()
  }
}

/** Rows that did not change are the same objects: two lists are equal when their rows are. */
const sameValue = (a: unknown, b: unknown): boolean =>
  Array.isArray(a) && Array.isArray(b)
    ? a.length === b.length && a.every((item, i) => Equal.equals(item, b[i]))
    : Equal.equals(a, b)
