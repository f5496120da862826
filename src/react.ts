/**
 * React hooks over a client, typed by its contract.
 * Components that use them see no type of Effect.
 */
export {
  type ClientProps,
  createHooks,
  type Hooks,
  type LiveState,
  type MutationOptions,
  type Outcome,
  type PagesState,
  type ServerProps
} from "./client/React.ts"
