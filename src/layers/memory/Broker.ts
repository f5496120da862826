/**
 * A broker in memory, under Effect's clock, for `TestApp.layer(app, { broker })`. Its author decides what becomes of each call: it
 * is refused, lost, late, or delivered twice. Like the platform's queues it delivers again what could not be handled.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Broker, CarriedCall } from "../../contract/Jobs.ts"

/** What becomes of a call. */
export interface Fate {
  /** The broker does not take it. */
  readonly isRefused?: boolean
  /** Milliseconds until each delivery: none when it is lost, two when it is delivered twice. One at once unless given. */
  readonly after?: ReadonlyArray<number>
}

/** How a broker in memory behaves. */
export interface MemoryBrokerOptions {
  /** The names of the queues that it carries. */
  readonly queues: Iterable<string>
  /** What becomes of each call. Unless given, it is delivered at once. */
  readonly fate?: (call: CarriedCall) => Fate
}

/** Delivers what was delivered. Whether it is to be delivered again. */
type Deliver = (body: unknown) => Effect.Effect<boolean>

/** Milliseconds until a call is delivered again that could not be handled, and how often that is done. */
const retryDelay = 1_000
const maxRetries = 3

/** Carries calls in memory. */
export class MemoryBroker implements Broker {
  readonly queues: ReadonlySet<string>
  /** All that was taken, in its order. */
  readonly taken: Array<CarriedCall> = []
  private readonly fate: NonNullable<MemoryBrokerOptions["fate"]>
  private readonly deliveries = new Set<Fiber.Fiber<void>>()
  private consumer: { readonly context: Context.Context<never>; readonly deliver: Deliver } | undefined

  constructor({ fate = () => ({}), queues }: MemoryBrokerOptions) {
    this.queues = new Set(queues)
    this.fate = fate
  }

  /** Sets what handles the calls. */
  connect(context: Context.Context<never>, deliver: Deliver): void {
    this.consumer = { context, deliver }
  }

  readonly send: Broker["send"] = async (_queue, calls) => {
    const fates = calls.map((call) => ({ call, fate: this.fate(call) }))
    for (const { call, fate } of fates) {
      if (fate.isRefused === true) continue
      this.taken.push(call)
      for (const millis of fate.after ?? [0]) this.deliver(call, millis)
    }
    // Of some calls nobody knows whether it took them.
    if (fates.some(({ fate }) => fate.isRefused)) throw new Error("the broker is away")
  }

  /** Delivers anything after some milliseconds, also what no object has sent. */
  deliver(body: unknown, millis = 0): void {
    const deliver = Effect.suspend(() => this.consumer?.deliver(body) ?? Effect.succeed(false))
    const attempt = (retries: number): Effect.Effect<void> =>
      Effect.flatMap(deliver, (isAgain) =>
        isAgain && retries < maxRetries ? Effect.delay(attempt(retries + 1), retryDelay) : Effect.void
      )
    if (this.consumer === undefined) return
    const delivery = Effect.runForkWith(this.consumer.context)(Effect.delay(attempt(0), millis))
    this.deliveries.add(delivery)
    delivery.addObserver(() => this.deliveries.delete(delivery))
  }

  /** What consumes is lost, with all that it handles. What was not delivered yet is lost as well. */
  crash(): void {
    for (const delivery of this.deliveries) delivery.interruptUnsafe()
  }
}
