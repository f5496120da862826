/**
 * What accounts need of a WebAuthn library: whether the answers of browsers are accepted.
 * `effect-dormouse/accounts/passkeys` implements it, so that an app without passkeys does not contain the library.
 */
import type * as Config from "effect/Config"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { PasskeyRefused } from "./contract/AccountsError.ts"
import { type RegisterResponse, type SignInResponse, Transport } from "./contract/Passkey.ts"

/** What is stored of a passkey. */
export const Credential = Schema.Struct({
  /** In COSE, as base64url. */
  publicKey: Schema.String,
  /** How often the authenticator says that it has signed. 0 if it does not count. */
  counter: Schema.Number,
  transports: Schema.Array(Transport)
})
/** What is stored of a passkey. */
export type Credential = typeof Credential.Type

/** The two ceremonies of WebAuthn, for one site: to create a passkey, and to sign with one. */
export interface Ceremonies {
  /** The domain of the passkeys, and the name of the app. */
  readonly rp: { readonly id: string; readonly name: string }
  /** The algorithms that can be verified, by their numbers in COSE. */
  readonly algorithms: ReadonlyArray<number>
  /** Verifies a new passkey; returns what is to be stored of it. */
  readonly register: (response: RegisterResponse, challenge: string) => Effect.Effect<Credential, PasskeyRefused>
  /** Verifies what a passkey has signed; returns what is to be stored of it from now on. */
  readonly signIn: (
    response: SignInResponse,
    challenge: string,
    stored: Credential
  ) => Effect.Effect<Credential, PasskeyRefused>
}

/** Passkeys for one site, made by `Passkeys.make` of `effect-dormouse/accounts/passkeys`. */
export type Passkeys = Effect.Effect<Ceremonies, Config.ConfigError>
