/**
 * The rpcs that no client may call: the engine's own, and those of the app that `Api.internal` marks, which its jobs, crons, queues,
 * workflows, reactors and actions call.
 */
import * as Context from "effect/Context"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"

/** Marks an rpc as internal, for the types. */
export interface Internal {
  readonly "~effect-dormouse/internal": true
}

class Marker extends Context.Service<Marker, true>()("effect-dormouse/Internal") {}

const isMade = (rpc: Rpc.Any): rpc is Rpc.Rpc<any, any, any, any, any, any> => "annotate" in rpc

/** How the tags of the engine's own rpcs begin. */
export const internalPrefix = "~"

/** Whether no client may call an rpc. */
export const isInternal = (rpc: Rpc.Any): boolean =>
  rpc._tag.startsWith(internalPrefix) || (isMade(rpc) && Option.isSome(Context.getOption(rpc.annotations, Marker)))

/**
 * The same rpc, for the app itself: for clients it does not exist. Jobs, crons, queues, workflows, reactors, and actions through
 * `Calls` can call it.
 */
export const internal = <R extends Rpc.Any>(rpc: R): R & Internal => {
  if (!isMade(rpc)) throw new Error(`${rpc._tag} was not made by Rpc.make`)
  const marked: Rpc.Any = rpc.annotate(Marker, true)
  // An annotation does not change the type of an rpc; the mark is for the types alone.
  return marked as unknown as R & Internal
}
