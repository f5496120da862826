/**
 * Divides the one alarm of an object between two users, such as jobs and presence: it is set to the earlier of their times.
 * When it goes off both are asked, and both set it again.
 */
import type { Alarm } from "./Alarm.ts"

/** An alarm with two users. */
export class SharedAlarm {
  /** The port of the other user. */
  readonly other: Alarm["Service"]
  private readonly alarm: Alarm["Service"]
  private ownAt = Number.POSITIVE_INFINITY
  private otherAt = Number.POSITIVE_INFINITY

  constructor(alarm: Alarm["Service"]) {
    this.alarm = alarm
    this.other = {
      set: (at) => {
        this.otherAt = at
        this.apply((at) => alarm.set(at))
      },
      confirm: (at) => {
        this.otherAt = at
        this.apply((at) => alarm.confirm(at))
      }
    }
  }

  /** Sets the time of this user. */
  set(at: number): void {
    this.ownAt = at
    this.apply((at) => this.alarm.set(at))
  }

  /** The alarm went off. */
  wentOff(): void {
    this.ownAt = Number.POSITIVE_INFINITY
    this.otherAt = Number.POSITIVE_INFINITY
  }

  private apply(set: (at: number) => void): void {
    set(Math.min(this.ownAt, this.otherAt))
  }
}
