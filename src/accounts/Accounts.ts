/**
 * Accounts: who signs in, how, and for how long. `make` gives a contract, its tables and its handlers, to merge into an app.
 * AC1 to AC14 in docs/guarantees.md say what is promised; `TransactionHandlers.ts` and `ActionHandlers.ts` do it.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Api from "../contract/Api.ts"
import type * as Table from "../contract/Table.ts"
import * as RateLimits from "../services/RateLimits.ts"
import { type AccountsOptions, settingsOf } from "./AccountsOptions.ts"
import { accounts, flows, identities, sessions } from "./AccountsTables.ts"
import * as ActionHandlers from "./ActionHandlers.ts"
import { AccountsApi } from "./contract/AccountsApi.ts"
import { InternalApi } from "./Internal.ts"
import * as PasskeyActions from "./PasskeyActions.ts"
import * as PasskeyTransactions from "./PasskeyTransactions.ts"
import * as TransactionHandlers from "./TransactionHandlers.ts"

export type { AccountsOptions, Link } from "./AccountsOptions.ts"
export { accounts as table } from "./AccountsTables.ts"
export * from "./contract/AccountsApi.ts"
export * from "./contract/AccountsError.ts"
export type { Cost } from "./Password.ts"
export { type Oauth2Options, type OidcOptions, oauth2, oidc, type Provider, type ProviderOptions } from "./Provider.ts"

/** The contract of the server: that of clients, and the mutations that only the handlers call. */
const ServerApi = Api.merge(AccountsApi, InternalApi)

const shortSecret = new Error(
  "ACCOUNTS_SECRET must have 32 characters or more: make one with `openssl rand -base64 32`"
)

/**
 * Makes the accounts of an app:
 *
 *     const accounts = Accounts.make({ links: { send } })
 *     App.make({
 *       api: Api.merge(ChatApi, accounts.api),
 *       tables: [messages, ...accounts.tables],
 *       handlers: Handlers.merge(ChatHandlers, accounts.handlers),
 *       transactional: accounts.transactional,
 *       …
 *     })
 *
 * Its actions require a `TokenIssuer`. A client has `AccountsApi` of `effect-dormouse/accounts/client` in its contract.
 */
export const make = (options: AccountsOptions = {}) => {
  const settings = settingsOf(options)
  const handlers = ServerApi.toLayer(
    Effect.gen(function* () {
      const secret = yield* Effect.orDie(options.secret ?? Config.Redacted("ACCOUNTS_SECRET"))
      if (Redacted.value(secret).length < 32) return yield* Effect.die(shortSecret)
      const passkeys = options.passkeys && (yield* Effect.orDie(options.passkeys))
      return {
        ...TransactionHandlers.make(secret, settings),
        ...PasskeyTransactions.make(secret, settings, passkeys),
        ...ActionHandlers.make(secret, settings),
        ...PasskeyActions.make(secret, settings, passkeys)
      }
    })
  )
  const tables: ReadonlyArray<Table.Any> = [accounts, identities, sessions, flows]
  return { api: ServerApi, tables, handlers, transactional: [RateLimits.transactional] as const }
}
