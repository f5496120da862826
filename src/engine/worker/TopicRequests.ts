/**
 * Topics over HTTP: which topic an URL names.
 * The events that answer are made by `services/EventStream.ts`, which an app without them does not bundle.
 */
import type * as Rpc from "effect/rpc/Rpc"
import type { App } from "../../contract/App.ts"
import { isInternal } from "../../contract/Internal.ts"
import { kindOf } from "../../contract/Kind.ts"
import type { Events } from "../../contract/Pubsub.ts"

/** A topic that an URL names, and what answers with its events. */
export interface AskedTopic {
  readonly events: Events
  readonly tag: string
}

/** The topic whose events an URL names. Nothing else may be called by it: a `GET` must not change anything. */
export const topicOf = ({ api, pubsub }: Pick<App<any>, "api" | "pubsub">, url: URL): AskedTopic | undefined => {
  const events = pubsub?.events
  const tag = events?.tagOf(url)
  const rpc: Rpc.Any | undefined = tag === undefined ? undefined : api.declared.requests.get(tag)
  return events && tag && rpc && kindOf(rpc) === "topic" && !isInternal(rpc) ? { events, tag } : undefined
}
