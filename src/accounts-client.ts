/**
 * What a page needs of accounts: their contract and errors, and a session that gives the client its token.
 * Apart from the server's part, so that a page does not load it.
 */
export * as Accounts from "./accounts/client/AccountsClient.ts"
