/**
 * What a browser and the server exchange about passkeys: WebAuthn's options and answers in JSON, as far as they are used.
 * Bytes are texts in base64url.
 */
import * as Schema from "effect/Schema"

const bytes = (maxLength: number) =>
  Schema.String.check(Schema.isPattern(/^[A-Za-z0-9_-]+$/), Schema.isMaxLength(maxLength))

/** The id of a passkey: 1,023 bytes at most. */
const CredentialId = bytes(1364)

/** How a browser reaches an authenticator. */
export const Transport = Schema.Literals(["ble", "cable", "hybrid", "internal", "nfc", "smart-card", "usb"])
/** How a browser reaches an authenticator. */
export type Transport = typeof Transport.Type

/** What a browser is asked to create. */
export const RegisterOptions = Schema.Struct({
  challenge: Schema.String,
  rp: Schema.Struct({ id: Schema.String, name: Schema.String }),
  user: Schema.Struct({ id: Schema.String, name: Schema.String, displayName: Schema.String }),
  pubKeyCredParams: Schema.Array(Schema.Struct({ type: Schema.Literal("public-key"), alg: Schema.Number })),
  timeout: Schema.Number,
  attestation: Schema.Literal("none"),
  /** The passkeys that the account has: an authenticator with one of them creates no other. */
  excludeCredentials: Schema.Array(
    Schema.Struct({ type: Schema.Literal("public-key"), id: Schema.String, transports: Schema.Array(Transport) })
  ),
  authenticatorSelection: Schema.Struct({
    residentKey: Schema.Literal("required"),
    requireResidentKey: Schema.Literal(true),
    userVerification: Schema.Literal("required")
  })
})
/** What a browser is asked to create. */
export type RegisterOptions = typeof RegisterOptions.Type

/** What a browser is asked to sign. It names no passkey: the person chooses one. */
export const SignInOptions = Schema.Struct({
  challenge: Schema.String,
  rpId: Schema.String,
  timeout: Schema.Number,
  userVerification: Schema.Literal("required")
})
/** What a browser is asked to sign. */
export type SignInOptions = typeof SignInOptions.Type

const credential = { id: CredentialId, rawId: CredentialId, type: Schema.Literal("public-key") }

/** What a browser answers when it has created a passkey. */
export const RegisterResponse = Schema.Struct({
  ...credential,
  response: Schema.Struct({
    clientDataJSON: bytes(4096),
    attestationObject: bytes(16_384),
    transports: Schema.optional(Schema.Array(Schema.String).check(Schema.isMaxLength(16)))
  })
})
/** What a browser answers when it has created a passkey. */
export type RegisterResponse = typeof RegisterResponse.Type

/** What a browser answers when a passkey has signed. */
export const SignInResponse = Schema.Struct({
  ...credential,
  response: Schema.Struct({
    clientDataJSON: bytes(4096),
    authenticatorData: bytes(4096),
    signature: bytes(4096),
    /** The account, as the authenticator stored it with the passkey. */
    userHandle: Schema.optional(bytes(86))
  })
})
/** What a browser answers when a passkey has signed. */
export type SignInResponse = typeof SignInResponse.Type
