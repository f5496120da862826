/**
 * React hooks over a client, typed by its contract.
 * Components that use them see no type of Effect.
 */
export type { Preloaded } from "./client/Preloaded.ts"
export { createHooks } from "./client/React.ts"
export type {
  ActionOptions,
  ActionOutcome,
  ClientProps,
  Hooks,
  LiveState,
  MutationOptions,
  Outcome,
  PagesState,
  PreloadProps,
  QueryState,
  ReadOptions,
  ServerProps,
  Skip
} from "./client/ReactTypes.ts"
