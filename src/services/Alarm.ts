/**
 * The port to a platform's one alarm: it wakes the object at a time, also when nothing else does.
 * The rows of the outbox are the truth. The alarm is a hint that is set with them, and again at each start.
 */
import * as Context from "effect/Context"

/** Wakes the object. */
export class Alarm extends Context.Service<
  Alarm,
  {
    /** Sets the alarm, in milliseconds since the epoch, instead of the one before. Durable with the writes of this turn. */
    readonly set: (at: number) => void
    /** Sets the alarm unless it is set to this time already. */
    readonly confirm: (at: number) => void
  }
>()("effect-dormouse/services/Alarm") {}

/** Milliseconds after which the alarm of an object that could not start goes off again. The platform forgets it otherwise. */
export const alarmAgain = 60_000
