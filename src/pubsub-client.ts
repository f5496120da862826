/**
 * Topics and presence for clients of a contract.
 * A page that uses neither does not bundle it.
 */
export * as Topics from "./client/Topics.ts"
