/**
 * The change feeds of an app: `Pubsub.make({ changes: ChangeLog.make() })`. An app whose contract has a feed needs it.
 * An app without feeds does not bundle it.
 */
import * as Duration from "effect/Duration"
import type { Changes } from "../contract/Pubsub.ts"
import { ChangeFeeds } from "./changes/ChangeFeeds.ts"

export type { Changes } from "../contract/Pubsub.ts"

/** What `make` takes. */
export interface ChangeLogOptions {
  /** How long changes are kept at least, 7 days unless given. Later commits delete them, so that they may be kept for longer. */
  readonly retention?: Duration.Input
  /** How many commits are kept at most, about 100 000 unless given. A large commit counts as several. */
  readonly commits?: number
}

/** Records the changes of the tables of all feeds. */
export const make = ({ commits = 100_000, retention = "7 days" }: ChangeLogOptions = {}): Changes => {
  if (!(Number.isInteger(commits) && commits > 0)) throw new Error("commits must be a positive whole number")
  const age = Duration.toMillis(Duration.fromInputUnsafe(retention))
  return { open: (feeds, host, guarded) => new ChangeFeeds(feeds, host, { age, commits }, guarded) }
}
