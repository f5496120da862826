/**
 * Passkeys in a page, with the library that asks the browser for them.
 * Apart from `effect-dormouse/accounts/client`, so that a page without passkeys does not contain that library.
 */
export * as Passkeys from "./accounts/client/PasskeyClient.ts"
