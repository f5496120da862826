/**
 * The queue in front of the object. All that is written in one turn is one commit to disk, so calls that arrive while a
 * commit is on its way wait for the next turn and share the next commit. A lone call is handled at once.
 */

import * as Limits from "../../protocol/Limits.ts"

/** The origin of units: those of one source are handled in their order, and the sources take turns. */
export type Source = object

/** What a turn handles: a message of a socket, or the requests of an HTTP body. */
export interface Unit {
  readonly source: Source
  /** Whether it may commit. A unit that cannot commit waits only for earlier units of its source. */
  readonly mayCommit: boolean
  /** What it was sent as, which is kept while it waits. */
  readonly data: string | ArrayBuffer
  readonly run: () => void
}

/** A unit that waits. Its bytes are counted only now: most units are handled as they come. */
interface Waiting {
  readonly unit: Unit
  readonly bytes: number
}

/** What a queue of turns works with. */
export interface TurnQueueOptions {
  /** Runs a task in a later turn. */
  readonly defer: (task: () => void) => void
  /** Called at the end of each turn: answers leave first, then live queries are flushed. */
  readonly endTurn: () => void
  /** Runs a turn: what it commits is on its way to disk when this returns, and what it sends leaves after that. */
  readonly commitTurn: (turn: () => void) => void
  readonly limits: Pick<Limits.Limits, "queuedMessages" | "queuedBytes">
}

/** Units that are handled in one turn. More wait for the next, so that no turn takes long. */
const unitsPerTurn = 128

/**
 * Units of one source that are handled as they come while nothing else happens in the object. A platform hands over what
 * one socket has sent before it looks at the other sockets, so a source that goes on without a pause is served in turns.
 */
const unitsAtOnce = 64

/** The turns of one object. */
export class TurnQueue {
  private readonly options: TurnQueueOptions
  private readonly queues = new Map<Source, Array<Waiting>>()
  private queued = 0
  private queuedBytes = 0
  /** Whether something was committed in this turn. */
  private hasCommitted = false
  /** Whether a commit is on its way, and the next turn is scheduled. */
  private isScheduled = false
  /** Units that the turn under way has handled. */
  private handled = 0
  private inTurn = false
  /** Units that each source has sent since the last pause. */
  private sent = new WeakMap<Source, number>()
  private readonly pause = (): void => {
    this.sent = new WeakMap()
  }

  constructor(options: TurnQueueOptions) {
    this.options = options
  }

  /** Whether a turn is under way. */
  get isInTurn(): boolean {
    return this.inTurn
  }

  /** Whether the turn under way has handled several units, or units wait: more are likely to come. */
  get isBusy(): boolean {
    return this.handled > 1 || this.queued > 0
  }

  /** A transaction of this turn committed. */
  committed(): void {
    this.hasCommitted = true
  }

  /**
   * Handles a unit: now, or in the next turn when a commit is on its way and the unit may commit as well. Returns the limit
   * that is exceeded when too much is waiting; then the unit is not handled.
   */
  submit(unit: Unit): "queuedMessages" | "queuedBytes" | undefined {
    const queue = this.queues.get(unit.source)
    const goesOn = this.goesOn(unit.source)
    if (queue === undefined && !goesOn && !(unit.mayCommit && (this.isScheduled || this.inTurn))) {
      this.run(unit.run)
      return undefined
    }
    const { queuedBytes, queuedMessages } = this.options.limits
    if (queue !== undefined && queue.length >= queuedMessages) return "queuedMessages"
    const bytes = typeof unit.data === "string" ? Limits.bytesOf(unit.data) : unit.data.byteLength
    if (this.queuedBytes + bytes > queuedBytes) return "queuedBytes"
    this.queued++
    this.queuedBytes += bytes
    if (queue === undefined) this.queues.set(unit.source, [{ unit, bytes }])
    else queue.push({ unit, bytes })
    this.schedule()
    return undefined
  }

  /** Whether a source sends without a pause: the deferred task that would say otherwise has not run yet. */
  private goesOn(source: Source): boolean {
    const sent = (this.sent.get(source) ?? 0) + 1
    this.sent.set(source, sent)
    if (sent === unitsAtOnce) this.options.defer(this.pause)
    return sent > unitsAtOnce
  }

  /** Runs a body as a turn, or as a part of the turn under way. */
  run(body: () => void): void {
    if (this.inTurn) return body()
    this.inTurn = true
    this.handled = 0
    try {
      this.options.commitTurn(() => {
        try {
          body()
        } finally {
          this.options.endTurn()
        }
      })
    } finally {
      this.inTurn = false
      if (this.hasCommitted) this.schedule()
      this.hasCommitted = false
    }
  }

  private schedule(): void {
    if (this.isScheduled) return
    this.isScheduled = true
    this.options.defer(() => {
      this.isScheduled = false
      if (this.queued > 0) this.run(() => this.drain())
    })
  }

  /** Handles what waits, one unit of each source after the other. */
  private drain(): void {
    let left = unitsPerTurn
    let failed: { readonly cause: unknown } | undefined
    while (this.queued > 0 && left > 0) {
      for (const [source, queue] of this.queues) {
        if (left-- === 0) break
        const waiting = queue.shift()
        if (queue.length === 0) this.queues.delete(source)
        if (waiting === undefined) continue
        this.queued--
        this.queuedBytes -= waiting.bytes
        this.handled++
        try {
          waiting.unit.run()
        } catch (cause) {
          // Handle the other units before throwing.
          failed ??= { cause }
        }
      }
    }
    if (this.queued > 0) this.schedule()
    if (failed !== undefined) throw failed.cause
  }
}
