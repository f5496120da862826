/**
 * Topics and presence as atoms of `effect/reactivity`.
 * For applications that already use an `AtomRegistry`; components can use `effect-dormouse/pubsub/react` instead.
 */
export * as TopicAtoms from "./client/TopicAtoms.ts"
