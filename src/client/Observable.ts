import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"

/** A value that changes, told to whoever listens in the same turn. */
export class Observable<A> {
  private current: A
  private readonly listeners = new Set<(value: A) => void>()

  constructor(initial: A) {
    this.current = initial
  }

  get value(): A {
    return this.current
  }

  set(value: A): void {
    this.current = value
    for (const listener of [...this.listeners]) listener(value)
  }

  listen(listener: (value: A) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** The value now and after each change; a slow reader misses what was in between. */
  get changes(): Stream.Stream<A> {
    return Stream.callback<A>(
      (queue) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            Queue.offerUnsafe(queue, this.current)
            return this.listen((value) => Queue.offerUnsafe(queue, value))
          }),
          (end) => Effect.sync(end)
        ),
      { bufferSize: 1, strategy: "sliding" }
    )
  }

  /** Waits until the value is one of these. */
  until(predicate: (value: A) => boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      if (predicate(this.current)) return resume(Effect.void)
      const end = this.listen((value) => {
        if (!predicate(value)) return
        end()
        resume(Effect.void)
      })
      return Effect.sync(end)
    })
  }
}
