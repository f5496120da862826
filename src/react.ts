/** React hooks over a client, typed by its contract. */
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
