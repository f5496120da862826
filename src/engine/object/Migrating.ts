/**
 * Goes on with migrations of rows after the start of an object: a step in each turn, and by the alarm when the object was
 * evicted meanwhile. Until the migrations have ended for which calls must wait, the object answers none.
 */
import type { MigrationProgress, MigrationRunner } from "../../services/MigrationRunner.ts"
import type { SharedAlarm } from "../../services/SharedAlarm.ts"

/** What the migrations of an object work with. */
export interface MigratingOptions {
  readonly migrations: MigrationRunner
  /** The alarm, if there was something to run after the start. */
  readonly alarm: SharedAlarm | undefined
  /** Milliseconds since the epoch. */
  readonly time: () => number
  /** Runs a task in a later turn of the object. */
  readonly later: (task: () => void) => void
  /** Calls may be answered from now on. */
  readonly onOpen: () => void
  /** The migrations have ended, or failed. */
  readonly onEnd: () => void
}

/** Rows that a start visits before it answers the first call. More rows are visited in later turns. */
const rowsAtStart = 1000

/** Milliseconds after which the alarm wakes an object that was evicted in the middle of a migration. */
const wakeAfter = 30_000

/** Runs the first steps, before there is anybody who waits for a call. */
export const atStart = (migrations: MigrationRunner): void => {
  for (let visited = 0; migrations.isRunning && visited < rowsAtStart; ) visited += Math.max(1, migrations.step())
}

/** The migrations of one object. */
export class Migrating {
  private readonly options: MigratingOptions
  private isOpen = false
  private isScheduled = false

  constructor(options: MigratingOptions) {
    this.options = options
  }

  /** Why no call is answered now. */
  get refusal(): string | undefined {
    if (this.isOpen) return undefined
    const { detail, state } = this.options.migrations.progress
    return state === "failed"
      ? "a migration of the tenant failed; the cause is in its log"
      : `the tenant is migrating: ${detail}`
  }

  get progress(): MigrationProgress {
    return this.options.migrations.progress
  }

  /** The object has started. */
  start(): void {
    this.openIfDone()
    this.wake()
  }

  /** The object has started, or the alarm went off. */
  wake(): void {
    const { alarm, migrations, time } = this.options
    alarm?.wentOff()
    if (!migrations.isRunning) return
    alarm?.set(time() + wakeAfter)
    this.schedule()
  }

  private schedule(): void {
    if (this.isScheduled) return
    this.isScheduled = true
    this.options.later(() => {
      this.isScheduled = false
      this.options.migrations.step()
      this.openIfDone()
      if (this.options.migrations.isRunning) this.schedule()
      else this.options.onEnd()
    })
  }

  private openIfDone(): void {
    if (this.isOpen || this.progress.isBlocking) return
    this.isOpen = true
    this.options.onOpen()
  }
}
