/**
 * The errors of accounts that a caller can act on. They say no more than the caller needs: not which names exist, and not
 * what a provider answered.
 */
import * as Schema from "effect/Schema"

/** The name or the password is wrong, or there is no such account. */
export class InvalidCredentials extends Schema.TaggedError<InvalidCredentials>(
  "effect-dormouse/accounts/InvalidCredentials"
)("InvalidCredentials", {}) {}

/** Another account has this name. */
export class NameTaken extends Schema.TaggedError<NameTaken>("effect-dormouse/accounts/NameTaken")("NameTaken", {}) {}

/** The password cannot be chosen: it is too short, longer than 1,024 bytes, or the name. */
export class PasswordRefused extends Schema.TaggedError<PasswordRefused>("effect-dormouse/accounts/PasswordRefused")(
  "PasswordRefused",
  { problem: Schema.Literals(["short", "long", "name"]), minimumLength: Schema.Number }
) {}

/** The link or the code does not exist, was used, has expired, or was asked for by another browser. */
export class LinkExpired extends Schema.TaggedError<LinkExpired>("effect-dormouse/accounts/LinkExpired")(
  "LinkExpired",
  {}
) {}

/** The provider did not confirm who the caller is, or its answer is not valid. */
export class ProviderRefused extends Schema.TaggedError<ProviderRefused>("effect-dormouse/accounts/ProviderRefused")(
  "ProviderRefused",
  {}
) {}

/** The challenge that a passkey has answered does not exist, was answered before, has expired, or is of another session. */
export class ChallengeExpired extends Schema.TaggedError<ChallengeExpired>("effect-dormouse/accounts/ChallengeExpired")(
  "ChallengeExpired",
  {}
) {}

/** No account has the passkey, or its answer is not accepted. */
export class PasskeyRefused extends Schema.TaggedError<PasskeyRefused>("effect-dormouse/accounts/PasskeyRefused")(
  "PasskeyRefused",
  {}
) {}

/** It is the only way to sign in to the account. */
export class LastMethod extends Schema.TaggedError<LastMethod>("effect-dormouse/accounts/LastMethod")(
  "LastMethod",
  {}
) {}

/** The caller is signed in, and the credentials belong to another account. Or it has a password and wants a second one. */
export class AlreadyLinked extends Schema.TaggedError<AlreadyLinked>("effect-dormouse/accounts/AlreadyLinked")(
  "AlreadyLinked",
  {}
) {}

/** The session has expired or was ended. The caller has to sign in again. */
export class SessionEnded extends Schema.TaggedError<SessionEnded>("effect-dormouse/accounts/SessionEnded")(
  "SessionEnded",
  {}
) {}

/** The app does not offer this way to sign in. */
export class NotOffered extends Schema.TaggedError<NotOffered>("effect-dormouse/accounts/NotOffered")("NotOffered", {
  method: Schema.String
}) {}
