/**
 * A mutable value with listeners, without a runtime: listeners are called synchronously.
 * The connection state and the pages of a list are such values.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"

/** A value that changes. Every `set` calls all listeners before it returns. */
export class Observable<A> {
  #current: A
  readonly #listeners = new Set<(value: A) => void>()

  constructor(initial: A) {
    this.#current = initial
  }

  get value(): A {
    return this.#current
  }

  set(value: A): void {
    this.#current = value
    // A copy: a listener may add or remove listeners.
    for (const listener of [...this.#listeners]) listener(value)
  }

  /** Adds a listener and returns the function that removes it. */
  listen(listener: (value: A) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** The current value, then each change. A slow consumer gets the latest value and misses those in between. */
  get changes(): Stream.Stream<A> {
    return Stream.callback<A>(
      (queue) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            Queue.offerUnsafe(queue, this.#current)
            return this.listen((value) => Queue.offerUnsafe(queue, value))
          }),
          (end) => Effect.sync(end)
        ),
      { bufferSize: 1, strategy: "sliding" }
    )
  }

  /** Completes once the value satisfies the predicate, at once if it already does. */
  until(predicate: (value: A) => boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      if (predicate(this.#current)) return resume(Effect.void)
      const end = this.listen((value) => {
        if (!predicate(value)) return
        end()
        resume(Effect.void)
      })
      return Effect.sync(end)
    })
  }
}
