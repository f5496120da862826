/**
 * Topics for an app: `App.make({ pubsub: Pubsub.make() })`. An app whose contract has topics, or whose handlers publish, does
 * not compile without it.
 */
import * as Duration from "effect/Duration"
import type { Changes, Events, Pubsub } from "../contract/Pubsub.ts"
import { handlers, PubsubApi, servicesOver } from "./pubsub/PubsubApi.ts"
import { Topics } from "./pubsub/Topics.ts"

export type { Pubsub, PubsubHost, PubsubRuntime } from "../contract/Pubsub.ts"

/** What `make` takes. */
export interface PubsubOptions {
  /**
   * After which time a client counts as gone that was not heard of: its socket is closed. 60 seconds unless given: a client of
   * Dormouse pings after 20 seconds without a message. While somebody is here, the object wakes twice in this time.
   */
  readonly presenceTimeout?: Duration.Input
  /** Records changes for the change feeds of the contract, from `ChangeLog.make` of `effect-dormouse/changes`. */
  readonly changes?: Changes
  /** Lets topics be read as Server-Sent Events, from `EventStream.make`. */
  readonly events?: Events
}

/** Makes the topics and the presence of an app. */
export const make = ({ changes, events, presenceTimeout = "60 seconds" }: PubsubOptions = {}): Pubsub => ({
  api: PubsubApi,
  handlers,
  servicesOver,
  events,
  open: (app) => new Topics(app, Duration.toMillis(Duration.fromInputUnsafe(presenceTimeout)), changes)
})
