import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { Accounts } from "effect-dormouse/accounts/client"
import { Passkeys } from "effect-dormouse/accounts/passkeys/client"
import { Client } from "effect-dormouse/client"
import { useSyncExternalStore } from "react"
import { home } from "../tenants.ts"

/**
 * Who uses this browser: one session for all its tabs, in `localStorage`. Who has none gets an account without a name and
 * a password, to which both can be added later.
 */

/** The key of the session. */
const stored = "dormouse-chat-session"
/** The key of a text that changes whenever somebody signs in or out: all tabs then begin anew. */
const changed = "dormouse-chat-changed"
const listeners = new Set<() => void>()
const tell = () => {
  for (const listener of listeners) listener()
}
window.addEventListener("storage", ({ key }) => key === changed && tell())

const change = Effect.sync(() => {
  localStorage.setItem(changed, crypto.randomUUID())
  tell()
})

/** Another text after each sign-in and sign-out. */
export const useSessionKey = (): string =>
  useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => localStorage.getItem(changed) ?? ""
  )

/** The page uses its clients until it is closed. */
const forever = <A>(effect: Effect.Effect<A, never, Scope.Scope>): A =>
  Effect.runSync(Scope.provide(effect, Scope.makeUnsafe()))

// Accounts are in one tenant, whichever the page shows.
const server = { url: location.origin, tenant: home }
const session = forever(
  Effect.flatMap(Client.make(Accounts.AccountsApi, server), (accounts) =>
    Accounts.session(accounts, localStorage, { key: stored, onEnded: change })
  )
)
const accounts = forever(Client.make(Accounts.AccountsApi, { ...server, token: session.token }))

/** The token of the caller. */
export const token = session.token

/** The id of the caller's account, which is made if there is none. */
export const account: Effect.Effect<string> = Effect.andThen(
  token,
  Effect.map(session.signedIn, (signedIn) => Option.getOrThrow(signedIn).account)
)

/** A name and a password. */
export interface Credentials {
  readonly name: string
  readonly password: string
}

/** Begins anew as a guest: the server does not accept the session any more. */
export const forget = (): void => {
  localStorage.removeItem(stored)
  Effect.runSync(change)
}

/** Gives the caller's account a name and a password: what it has written stays its own. Returns what went wrong. */
export const signUp = (credentials: Credentials): Promise<string | undefined> =>
  keep(accounts.act("accounts.password.signUp", redacted(credentials)))

/** Continues with the account that has this name and password. Returns what went wrong. */
export const signIn = (credentials: Credentials): Promise<string | undefined> =>
  keep(accounts.act("accounts.password.signIn", redacted(credentials)))

/** Continues with the account of a passkey that the user chooses. Returns what went wrong. */
export const signInWithPasskey = (): Promise<string | undefined> => finish(Passkeys.signIn(accounts, session))

/** Adds a passkey to the account, which the browser shows with this name. Returns what went wrong. */
export const addPasskey = (name: string): Promise<string | undefined> => told(Passkeys.add(accounts, session, { name }))

/** Ends the session of this browser. Returns what went wrong. */
export const signOut = (): Promise<string | undefined> => finish(session.signOut)

/** Ends all sessions of the account. Returns what went wrong. */
export const signOutEverywhere = (): Promise<string | undefined> =>
  finish(Effect.andThen(accounts.mutate("accounts.signOutEverywhere", {}), Effect.ignore(session.signOut)))

const redacted = ({ name, password }: Credentials) => ({ name, password: Redacted.make(password) })

type Failure =
  | Effect.Error<ReturnType<typeof accounts.act<"accounts.password.signUp" | "accounts.password.signIn">>>
  | Effect.Error<typeof session.signOut>
  | Effect.Error<ReturnType<typeof Passkeys.add | typeof Passkeys.signIn>>

const keep = (signingIn: Effect.Effect<Accounts.Tokens, Failure>) => finish(Effect.flatMap(signingIn, session.keep))

const finish = (work: Effect.Effect<unknown, Failure>) => told(Effect.andThen(work, change))

/** Runs the work. Returns what went wrong. */
const told = (work: Effect.Effect<unknown, Failure>): Promise<string | undefined> =>
  work.pipe(
    Effect.as(undefined),
    Effect.catch((error) => Effect.succeed(sentenceOf(error))),
    Effect.catchDefect(() => Effect.succeed("Something went wrong on the server.")),
    Effect.runPromise
  )

const sentenceOf = (error: Failure): string => {
  switch (error._tag) {
    case "NameTaken":
      return "This name is taken."
    case "PasswordRefused":
      return refusalOf(error)
    case "InvalidCredentials":
      return "The name or the password is wrong."
    case "AlreadyLinked":
      return "This belongs to another account, or your account has a name and a password already."
    case "PasskeyNotUsed":
      return refusalOfBrowser[error.problem]
    case "PasskeyRefused":
      return "The passkey is not accepted."
    case "ChallengeExpired":
      return "It took too long. Try again."
    case "CallError":
      return error.reason._tag === "TooManyRequests"
        ? "There were too many attempts. Try again in a few minutes."
        : "The server could not be reached."
    default:
      return "The server did not answer."
  }
}

const refusalOfBrowser: Readonly<Record<Passkeys.PasskeyNotUsed["problem"], string>> = {
  cancelled: "No passkey was chosen.",
  known: "There is a passkey for this account already.",
  unsupported: "This browser has no passkeys.",
  failed: "The browser could not use a passkey here."
}

const refusalOf = ({ minimumLength, problem }: Accounts.PasswordRefused): string => {
  switch (problem) {
    case "short":
      return `A password needs ${minimumLength} characters or more.`
    case "long":
      return "The password is too long."
    case "name":
      return "The password must not be the name."
  }
}
