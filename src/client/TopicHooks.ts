/**
 * React hooks for topics and presence, over those of the contract.
 * In a module of its own: a page without topics does not bundle it.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { useEffect, useInsertionEffect, useRef } from "react"
import type { PublicTagOf } from "../contract/Api.ts"
import type { Presence } from "../contract/Presence.ts"
import type { Hooks } from "./ReactTypes.ts"
import * as Topics from "./Topics.ts"

/** The hooks of a contract's topics. */
export interface TopicHooks<in out Rpcs extends Rpc.Any> {
  /**
   * Calls `onItem` with each item of a topic while the component is mounted. Returns how the reader was refused. The payload is
   * the key of the topic, and for one with a history `{ key, after }`.
   */
  readonly useTopic: <Tag extends PublicTagOf<Rpcs, "topic">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>,
    onItem: (item: Topics.ItemOf<Rpcs, Tag>) => void
  ) => Topics.FailureOf<Rpcs, Tag> | undefined
  /**
   * Is present while the component is mounted, with this state. Returns how the caller was refused. The peers are the value of
   * the query: `useLive(Here.tag, key)`.
   */
  readonly usePresence: <Tag extends string, Key extends Schema.Top, State extends Schema.Top>(
    presence: Presence<Tag, Key, State, any> & Topics.Declares<Rpcs, `${NoInfer<Tag>}.join`>,
    key: Key["~type.make.in"],
    state: State["~type.make.in"]
  ) => Topics.FailureOf<Rpcs, `${Tag}.join`> | undefined
}

/** Makes the hooks of a contract's topics from those of `createHooks`. Call it once, outside of components. */
export const createTopicHooks = <Rpcs extends Rpc.Any>({ useClient }: Hooks<Rpcs>): TopicHooks<Rpcs> => {
  const useTopic = (tag: any, payload: any, onItem: (item: any) => void): any => {
    const latest = useRef(onItem)
    useInsertionEffect(() => {
      latest.current = onItem
    })
    return useClient(
      (client) =>
        Stream.runForEach(Topics.lasting(client, tag, payload), (item) => Effect.sync(() => latest.current(item))),
      [tag, JSON.stringify(payload)]
    )
  }
  const usePresence = (presence: any, key: any, state: unknown): any => {
    const states = useRef<Queue.Queue<unknown>>(undefined)
    const latest = useRef<unknown>(state)
    const text = JSON.stringify(state)
    // biome-ignore lint/correctness/useExhaustiveDependencies: states with the same JSON are the same state
    useEffect(() => {
      latest.current = state
      if (states.current !== undefined) Queue.offerUnsafe(states.current, state)
    }, [text])
    return useClient(
      (client) =>
        Effect.flatMap(Queue.sliding<unknown>(1), (queue) => {
          states.current = queue
          Queue.offerUnsafe(queue, latest.current)
          return Topics.join<any, any, any, any>(client, presence, key, Stream.fromQueue(queue))
        }),
      [presence, JSON.stringify(key)]
    )
  }
  // The functions above work for any contract; the type gives each tag the types of its rpc.
  return { useTopic, usePresence }
}
