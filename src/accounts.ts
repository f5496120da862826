/**
 * Accounts: sign-in with passwords, links and providers, and sessions that are continued and ended.
 * An optional part, made of ordinary tables and rpcs. Its client is `effect-dormouse/accounts/client`.
 */
export * as Accounts from "./accounts/Accounts.ts"
