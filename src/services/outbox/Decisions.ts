/**
 * What follows a delivery that failed: another attempt, or none.
 * Plain decisions over what is known of it.
 */
import type { FailureReason } from "../../contract/Outbox.ts"

/** Whether an attempt failed in a way in which each further one would fail as well. */
const isFinal = ({ kind }: FailureReason): boolean => kind === "unknown" || kind === "payload" || kind === "rejected"

/** Why an attempt failed, and the delay that its handler asked for, in milliseconds. */
export type FailedWith = FailureReason & { readonly after?: number | undefined }

/** What is known of an attempt that failed. */
export interface FailedAttempt {
  /** The number of the attempt, from 1. */
  readonly attempt: number
  /** Milliseconds before each retry; `null` when there is to be none. */
  readonly delays: ReadonlyArray<number> | null
  readonly reason: FailureReason
}

/** How often a mutation may take its object with it, beside the attempts that it has. */
const losses = 3

/** Whether a mutation has been begun so often, without an end, that it is not begun again. */
export const isLost = ({ attempts, delays }: { readonly attempts: number; readonly delays: FailedAttempt["delays"] }) =>
  attempts >= losses + (delays?.length ?? 0)

/** Milliseconds until the next attempt; `undefined` when there is none. */
export const retryAfter = ({ attempt, delays, reason }: FailedAttempt): number | undefined =>
  isFinal(reason) ? undefined : delays?.[attempt - 1]
