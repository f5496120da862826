/**
 * Transactions over a `Database` as a service: reads, writes, live results and a stream of commits.
 * Usable without the engine in any Effect app. Every effect runs synchronously to its end.
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

/** Runs effects as transactions. */
export class Transactor extends Context.Service<
  Transactor,
  {
    /** Runs an effect that reads. An asynchronous effect fails with a defect. */
    readonly read: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, QueryServices>>
    /** Runs an effect that reads and writes. If it fails, dies or is interrupted, its writes are rolled back. */
    readonly write: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, MutationServices>>
    /**
     * The result of an effect that reads, now and after each commit that wrote what it read. Consecutive equal results
     * are emitted once. A slow consumer gets the latest result and skips older ones.
     */
    readonly live: <A, E, R>(effect: Effect.Effect<A, E, R>) => Stream.Stream<A, E, Exclude<R, QueryServices>>
    /** The writes of each commit, from the subscription on. */
    readonly commits: Stream.Stream<WriteSet>
  }
>()("effect-dormouse/services/Transactor") {}

/** A transactor over a runner. */
export const make = (runner: TransactionRunner): Transactor["Service"] => ({
  read: (effect) => Effect.contextWith((context: Context.Context<any>) => runner.read(effect, context, false).exit),
  write: (effect) => Effect.contextWith((context: Context.Context<any>) => runner.write(effect, context)),
  live: (effect) =>
    Stream.callback<any, any, any>(
      (queue) =>
        Effect.contextWith((context: Context.Context<any>) =>
          Effect.acquireRelease(
            Effect.sync(() => watch(runner, effect, context, queue)),
            (stop) => Effect.sync(stop)
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
      (unsubscribe) => Effect.sync(unsubscribe)
    )
  )
})

/**
 * Offers the result of an effect, now and after each commit that invalidates it. Returns the function that stops it.
 */
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
  const unsubscribe = runner.onCommit((writes) => {
    if (hasEnded || isScheduled || !touches(reads, writes.toWriteSet())) return
    isScheduled = true
    // In a microtask: after the writer has continued, and once for all commits until then.
    queueMicrotask(() => {
      isScheduled = false
      if (!hasEnded) reads = run()
    })
  })
  return () => {
    hasEnded = true
    unsubscribe()
  }
}

/** Compares lists by element: rows that did not change are cached, and so the same objects. */
const sameValue = (a: unknown, b: unknown): boolean =>
  Array.isArray(a) && Array.isArray(b)
    ? a.length === b.length && a.every((item, i) => Equal.equals(item, b[i]))
    : Equal.equals(a, b)
