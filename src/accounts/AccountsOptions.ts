/**
 * What an author decides about accounts: which ways to sign in there are, how long sessions last, what their tokens say.
 * The defaults are here as well.
 */
import type * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import type * as Redacted from "effect/Redacted"
import type { Identity } from "../contract/Auth.ts"
import type { Calls } from "../contract/CallsTag.ts"
import type { MutationServices } from "../contract/Kind.ts"
import type { RowNotFound, StorageError } from "../contract/Storage.ts"
import type { Passkeys } from "./Ceremonies.ts"
import type { Account, AccountId } from "./contract/AccountsApi.ts"
import { type Cost, defaultCost } from "./Password.ts"
import type { Provider } from "./Provider.ts"

/** A link that is to be sent. The token belongs into the link, and only there. */
export interface Link {
  readonly email: string
  readonly token: Redacted.Redacted<string>
}

/** What `Accounts.make` takes. */
export interface AccountsOptions {
  /**
   * A secret of 32 characters or more that Worker and object have, by which an object knows the calls of this module's
   * actions. The variable `ACCOUNTS_SECRET` unless given. Everybody stays signed in when it changes.
   */
  readonly secret?: Config.Config<Redacted.Redacted<string>>
  /** Passwords. `false` if there are none. */
  readonly password?:
    | false
    | {
        /** Characters of a new password, 8 unless given. NIST SP 800-63B asks for 15 where the password is the only factor. */
        readonly minimumLength?: number
        /** What one hash costs. Stored hashes of another cost are replaced at the next sign-in. */
        readonly cost?: Cost
      }
  /** Links by email. There are none unless given. */
  readonly links?: {
    /** Sends a link. A failure is logged, and the caller gets `Unavailable`. */
    readonly send: (link: Link) => Effect.Effect<void, unknown, HttpClient.HttpClient | Calls>
    /** How long a link can be used, 15 minutes unless given. */
    readonly lifetime?: Duration.Input
    /** Whether only the browser that asked for a link can use it. It can unless this is `false`. */
    readonly isBound?: boolean
  }
  /** Passkeys, made by `Passkeys.make` of `effect-dormouse/accounts/passkeys`. There are none unless given. */
  readonly passkeys?: Passkeys
  /** Providers, made by `Accounts.oidc` and `Accounts.oauth2`. */
  readonly providers?: ReadonlyArray<Provider>
  readonly sessions?: {
    /** How long an access token is accepted, 10 minutes unless given. */
    readonly access?: Duration.Input
    /** How long a session lasts without being used, 14 days unless given. */
    readonly idle?: Duration.Input
    /** How long a session lasts in any case, 90 days unless given. */
    readonly absolute?: Duration.Input
    /** How long a used refresh token gets the same answer again, because the first may be lost: 10 seconds unless given. */
    readonly grace?: Duration.Input
  }
  /** How many attempts are accepted with one name, for one email address, and of one network address. */
  readonly attempts?: { readonly [Key in keyof typeof defaultPaces]?: Pace }
  /** The claims of the tokens of an account, `{}` unless given. It runs whenever a token is issued, in a transaction. */
  readonly claims?: (
    account: Account
  ) => Effect.Effect<Identity["claims"], StorageError | RowNotFound, MutationServices>
  /**
   * Runs when an anonymous caller signs in to an account that exists: `from` is deleted after it, in the same transaction. It
   * can move rows from one to the other.
   */
  readonly merge?: (accounts: {
    readonly from: AccountId
    readonly into: AccountId
  }) => Effect.Effect<void, StorageError | RowNotFound, MutationServices>
}

/** How many attempts are accepted in any window (milliseconds); a part of the window returns a part of them. */
export interface Pace {
  readonly limit: number
  readonly window: number
}

/**
 * A person mistypes a password a few times; a program that guesses gets 1,440 guesses a day for one name. An address can be
 * that of a whole company.
 */
const defaultPaces: Readonly<Record<"name" | "email" | "address", Pace>> = {
  /** Sign-ins with one name or one passkey. */
  name: { limit: 10, window: 10 * 60_000 },
  /** Links to one email address. */
  email: { limit: 5, window: 30 * 60_000 },
  /** All of this of one network address, and new accounts. */
  address: { limit: 100, window: 10 * 60_000 }
}

/** The options with their defaults. */
export const settingsOf = ({ attempts, claims, links, merge, password, providers, sessions }: AccountsOptions) => ({
  password:
    password === false
      ? undefined
      : { minimumLength: password?.minimumLength ?? 8, cost: password?.cost ?? defaultCost },
  links: links && {
    send: links.send,
    lifetime: Duration.toMillis(links.lifetime ?? "15 minutes"),
    isBound: links.isBound ?? true
  },
  providers: new Map((providers ?? []).map((provider) => [provider.name, provider])),
  sessions: {
    access: Duration.toMillis(sessions?.access ?? "10 minutes"),
    idle: Duration.toMillis(sessions?.idle ?? "14 days"),
    absolute: Duration.toMillis(sessions?.absolute ?? "90 days"),
    grace: Duration.toMillis(sessions?.grace ?? "10 seconds")
  },
  attempts: { ...defaultPaces, ...attempts },
  claims,
  merge
})

/** The options with their defaults. */
export type Settings = ReturnType<typeof settingsOf>
