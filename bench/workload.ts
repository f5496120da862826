import type { Subject } from "./subjects.ts"

/** One line of a table. */
export interface Measure {
  readonly key: string
  readonly label: string
  readonly unit: "/s" | "ms" | "bytes" | "KB" | ""
  readonly target?: string
  /** Absent where a multiple of the hand-written worker's value would say nothing. */
  readonly ratio?: false
}

/** Measured values by the keys of the workload's measures; one that a subject cannot have is left out. */
export type Sample = Readonly<Record<string, number>>

export interface Workload {
  readonly name: string
  readonly subjects: ReadonlyArray<Subject>
  readonly rounds: number
  /** Whether the subjects may be sampled at the same time, because a sample is spent waiting. */
  readonly together?: boolean
  readonly measures: ReadonlyArray<Measure>
  /** Starts the servers, which whoever calls stops, and gives what a round does. */
  readonly open: (subject: Subject) => Promise<() => Promise<Sample>>
}

export const perSecond = (count: number, milliseconds: number): number => (count / milliseconds) * 1000
