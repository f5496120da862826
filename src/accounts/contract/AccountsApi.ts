/**
 * The contract of accounts: what a client can call to sign in, to stay signed in and to sign out.
 * It is the same for every app and runs in a browser; merge it into the app's own with `Api.merge`.
 */
import * as Schema from "effect/Schema"
import * as Action from "../../contract/Action.ts"
import * as Api from "../../contract/Api.ts"
import * as Mutation from "../../contract/Mutation.ts"
import * as Query from "../../contract/Query.ts"
import {
  AlreadyLinked,
  ChallengeExpired,
  InvalidCredentials,
  LastMethod,
  LinkExpired,
  NameTaken,
  NotOffered,
  PasskeyRefused,
  PasswordRefused,
  ProviderRefused,
  SessionEnded
} from "./AccountsError.ts"
import { RegisterOptions, RegisterResponse, SignInOptions, SignInResponse } from "./Passkey.ts"

/** The id of an account, which is the subject of its tokens. */
export const AccountId = Schema.String.pipe(Schema.brand("AccountId"))
/** The id of an account, which is the subject of its tokens. */
export type AccountId = typeof AccountId.Type

/** The id of a session. It is no secret: only its refresh token continues a session. */
export const SessionId = Schema.String.pipe(Schema.brand("SessionId"))
/** The id of a session. It is no secret: only its refresh token continues a session. */
export type SessionId = typeof SessionId.Type

const text = (maxLength: number) => Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(maxLength))

/** A text that no log and no error shows. Passwords of any length arrive, so that those too long get an answer. */
const Secret = Schema.RedactedFromValue(Schema.String.check(Schema.isMaxLength(8192)))

/** The name that belongs to a password. Upper and lower case are the same. */
export const Name = text(254)
/** An email address. Upper and lower case are the same. */
export const Email = Schema.String.check(Schema.isPattern(/^[^\s@]+@[^\s@]+$/), Schema.isMaxLength(254))

/** The hash of a secret that the browser keeps: only the browser that asked can complete what it began. */
const Challenge = text(64)

/** A session that has begun or was continued. */
export class Tokens extends Schema.Class<Tokens>("effect-dormouse/accounts/Tokens")({
  account: AccountId,
  session: SessionId,
  /** The token for calls, `token` of the client. */
  accessToken: Secret,
  /** Milliseconds for which the access token is accepted. */
  expiresIn: Schema.Number,
  /** Continues the session, once: `accounts.refresh` returns the next one. */
  refreshToken: Secret,
  /** The anonymous account that was given up for this one, which the caller had before. */
  merged: Schema.optionalKey(AccountId)
}) {}

/** The ways to sign in that an account has: `password`, `email`, `passkey`, `oidc:<provider>`. None for an anonymous account. */
export const Method = Schema.Struct({
  method: Schema.String,
  /** The name, the email address, the id of the passkey, or the provider's id of the user. */
  subject: Schema.String
})

/** The caller's own account. */
export const Account = Schema.Struct({
  id: AccountId,
  isAnonymous: Schema.Boolean,
  methods: Schema.Array(Method)
})
/** The caller's own account. */
export type Account = typeof Account.Type

/** A session of the caller's account. */
export const Session = Schema.Struct({
  id: SessionId,
  /** How it began: `anonymous`, or a method. */
  method: Schema.String,
  /** What the client said it runs on, such as `Firefox on Linux`. */
  device: Schema.String,
  createdAt: Schema.DateTimeUtcFromMillis,
  /** When an access token of it was last issued. */
  usedAt: Schema.DateTimeUtcFromMillis
})

/** What a client says of the device that a session is on, for the list of sessions. */
const device = { device: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(100))) }

/** The rpcs of accounts. */
export class AccountsApi extends Api.make(
  Action.make("accounts.anonymous", { payload: device, success: Tokens }),
  Action.make("accounts.refresh", { payload: { refreshToken: Secret }, success: Tokens, error: SessionEnded }),

  Action.make("accounts.password.signUp", {
    payload: { name: Name, password: Secret, ...device },
    success: Tokens,
    error: Schema.Union([NameTaken, PasswordRefused, AlreadyLinked, NotOffered])
  }),
  Action.make("accounts.password.signIn", {
    payload: { name: Name, password: Secret, ...device },
    success: Tokens,
    error: Schema.Union([InvalidCredentials, AlreadyLinked, NotOffered])
  }),
  Action.make("accounts.password.set", {
    payload: {
      /** The refresh token of the session, which alone goes on: all others of the account are ended. */
      refreshToken: Secret,
      password: Secret,
      /** The password until now. Not needed within ten minutes after the session began with a link or at a provider. */
      current: Schema.optionalKey(Secret)
    },
    error: Schema.Union([InvalidCredentials, PasswordRefused, SessionEnded, NotOffered])
  }),

  Action.make("accounts.link.send", { payload: { email: Email, challenge: Challenge }, error: NotOffered }),
  Action.make("accounts.link.complete", {
    payload: { token: Secret, verifier: Schema.optionalKey(Secret), ...device },
    success: Tokens,
    error: Schema.Union([LinkExpired, AlreadyLinked, NotOffered])
  }),

  Action.make("accounts.provider.begin", {
    payload: { provider: Schema.String, challenge: Challenge },
    success: Schema.Struct({ url: Schema.String }),
    error: Schema.Union([NotOffered, ProviderRefused])
  }),
  Action.make("accounts.provider.complete", {
    payload: {
      /** What the provider added to the redirect URL. */
      provider: Schema.String,
      state: Schema.String,
      code: Secret,
      iss: Schema.optionalKey(Schema.String),
      verifier: Secret,
      ...device
    },
    success: Tokens,
    error: Schema.Union([LinkExpired, ProviderRefused, AlreadyLinked, NotOffered])
  }),

  Action.make("accounts.passkey.registerOptions", {
    payload: {
      /** The refresh token of the session, whose account gets the passkey. */
      refreshToken: Secret,
      /** What an authenticator shows beside the passkey: the caller's name or email address unless given. */
      name: Schema.optionalKey(Name)
    },
    success: RegisterOptions,
    error: Schema.Union([SessionEnded, NotOffered])
  }),
  Action.make("accounts.passkey.register", {
    payload: { refreshToken: Secret, response: RegisterResponse, ...device },
    success: Tokens,
    error: Schema.Union([ChallengeExpired, PasskeyRefused, AlreadyLinked, SessionEnded, NotOffered])
  }),
  Action.make("accounts.passkey.signInOptions", { payload: {}, success: SignInOptions, error: NotOffered }),
  Action.make("accounts.passkey.signIn", {
    payload: { response: SignInResponse, ...device },
    success: Tokens,
    error: Schema.Union([ChallengeExpired, PasskeyRefused, AlreadyLinked, NotOffered])
  }),
  Mutation.make("accounts.passkey.remove", {
    payload: {
      refreshToken: Secret,
      /** The id of the passkey, which is the `subject` of the method. One that the account does not have is ignored. */
      passkey: Schema.String
    },
    error: Schema.Union([LastMethod, SessionEnded, NotOffered])
  }),

  Query.make("accounts.me", { payload: {}, success: Account }),
  Query.make("accounts.sessions", { payload: {}, success: Schema.Array(Session) }),
  Mutation.make("accounts.sessions.end", { payload: { session: SessionId } }),
  Mutation.make("accounts.signOut", { payload: { refreshToken: Secret } }),
  Mutation.make("accounts.signOutEverywhere", { payload: {} })
) {}
