/**
 * Atoms of `effect/reactivity` in React components: the provider of a registry, and hooks.
 * For the atoms of `effect-dormouse/atoms` and for any others.
 */
export {
  RegistryProvider,
  type RegistryProviderProps,
  type SetAtom,
  useAtom,
  useAtomMount,
  useAtomRefresh,
  useAtomSet,
  useAtomSuspense,
  useAtomValue,
  useRegistry
} from "./client/AtomsReact.ts"
