/**
 * The live queries and mutations of a client as atoms of `effect/reactivity`.
 * For applications that already use an `AtomRegistry`; components can use the hooks of `effect-dormouse/react` instead.
 */
export * as Atoms from "./client/Atoms.ts"
