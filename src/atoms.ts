/** The live queries of a client as atoms of `effect/reactivity`. */
export * as Atoms from "./client/Atoms.ts"
