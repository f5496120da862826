/** Who uses this browser: an account that is made on the first visit and kept in `localStorage`, for all tabs. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { Accounts } from "effect-dormouse/accounts/client"
import { Client } from "effect-dormouse/client"

// The page uses its session until it is closed.
const session = Effect.runSync(
  Effect.flatMap(Client.make(Accounts.AccountsApi, { url: location.origin }), (accounts) =>
    Accounts.session(accounts, localStorage, { key: "dormouse-kanban-session" })
  ).pipe(Scope.provide(Scope.makeUnsafe()))
)

/** The token of the caller. */
export const token = session.token

/** The id of the caller's account, which is made if there is none. */
export const account: Effect.Effect<string> = Effect.andThen(
  token,
  Effect.map(session.signedIn, (signedIn) => Option.getOrThrow(signedIn).account)
)
