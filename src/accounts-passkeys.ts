/**
 * Passkeys for accounts, with the library that verifies them.
 * Apart from `effect-dormouse/accounts`, so that an app without passkeys does not contain that library.
 */
export * as Passkeys from "./accounts/Passkeys.ts"
