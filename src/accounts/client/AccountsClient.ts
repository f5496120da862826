/**
 * What a page uses of accounts: the contract, its errors, and a session.
 * It imports nothing of the server's part.
 */
export * from "../contract/AccountsApi.ts"
export * from "../contract/AccountsError.ts"
export { type Session as ClientSession, type SessionOptions, type SessionStorage, session } from "./ClientSession.ts"
