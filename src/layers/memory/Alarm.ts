/**
 * The `Alarm` port over Effect's clock, for objects in memory.
 * It outlives the heap of its object, as the platform's does.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Alarm } from "../../services/Alarm.ts"

/** An alarm that calls a function. */
export class MemoryAlarm {
  /** The port. */
  readonly service: Alarm["Service"]
  /** When it goes off, in milliseconds since the epoch. */
  at: number | undefined
  private readonly context: Context.Context<never>
  private readonly ring: () => void
  private fiber: Fiber.Fiber<void> | undefined

  constructor(context: Context.Context<never>, ring: () => void) {
    this.context = context
    this.ring = ring
    this.service = {
      set: (at) => this.set(at),
      confirm: (at) => {
        if (this.at !== at) this.set(at)
      }
    }
  }

  /** Sets no alarm any more. */
  stop(): void {
    this.at = undefined
    this.fiber?.interruptUnsafe()
  }

  private set(at: number): void {
    this.stop()
    this.at = at
    const now = Context.get(this.context, Clock.Clock).currentTimeMillisUnsafe()
    // The longest delay of a timer is 2 ** 31 - 1 milliseconds.
    const delay = Math.max(0, Math.min(at - now, maxDelay))
    this.fiber = Effect.runForkWith(this.context)(
      Effect.andThen(
        Effect.sleep(delay),
        Effect.sync(() => (at - now > maxDelay ? this.set(at) : this.goOff()))
      )
    )
  }

  private goOff(): void {
    this.at = undefined
    this.ring()
  }
}

const maxDelay = 2 ** 31 - 1
