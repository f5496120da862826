/**
 * What accounts do with passkeys in the Worker: giving out challenges, and verifying what browsers answer.
 * A challenge is a flow, of which the object has the hash; one attempt to answer it uses it up.
 */
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Settings } from "./AccountsOptions.ts"
import { charging, entering, type PayloadOf, tokensOf } from "./ActionHandlers.ts"
import { type Ceremonies, Credential } from "./Ceremonies.ts"
import { AccountId } from "./contract/AccountsApi.ts"
import { AlreadyLinked, ChallengeExpired, NotOffered, PasskeyRefused, SessionEnded } from "./contract/AccountsError.ts"
import type { RegisterOptions, SignInOptions } from "./contract/Passkey.ts"
import * as Internal from "./Internal.ts"
import * as Secrets from "./Secrets.ts"

type Secret = Redacted.Redacted<string>

/** How long a challenge can be answered, in milliseconds. WebAuthn recommends five minutes where a person is verified. */
const challengeLifetime = 5 * 60_000

const notOffered = new NotOffered({ method: "passkey" })

/** What a browser says that it has signed. */
const ClientData = Schema.StringFromBase64Url.pipe(
  Schema.decodeTo(
    Schema.fromJsonString(Schema.Struct({ challenge: Schema.String, crossOrigin: Schema.optional(Schema.Boolean) }))
  )
)

const refused = new PasskeyRefused()

const clientDataOf = (response: { readonly response: { readonly clientDataJSON: string } }) =>
  Effect.mapError(Schema.decodeEffect(ClientData)(response.response.clientDataJSON), () => refused)

const Stored = Schema.fromJsonString(Credential)
const decodeStored = (secret: string) => Effect.orDie(Schema.decodeEffect(Stored)(secret))
const encodeStored = Schema.encodeSync(Stored)

/** The handlers that run in the Worker. */
export const make = (secret: Secret, settings: Settings, passkeys: Ceremonies | undefined) => {
  const { attempts } = settings
  const charge = charging(secret, settings)
  const enter = entering(secret, settings)

  /** Gives out a challenge; `bound` is what else has to be shown with its answer. */
  const challengeFor = Effect.fnUntraced(function* (
    ceremony: "register" | "signIn",
    { bound, subject }: { readonly bound: string; readonly subject: string }
  ) {
    const challenge = yield* Secrets.randomText
    yield* Internal.call(secret, Internal.beginFlow, {
      id: Secrets.hash(challenge),
      method: `passkey:${ceremony}`,
      subject,
      challenge: bound,
      lifetime: challengeLifetime
    })
    return challenge
  })

  const take = Effect.fnUntraced(function* (ceremony: "register" | "signIn", challenge: string, bound: string) {
    const flow = yield* Internal.call(secret, Internal.takeFlow, {
      id: Secrets.hash(challenge),
      method: `passkey:${ceremony}`,
      challenge: bound
    })
    return flow === null ? yield* new ChallengeExpired() : flow.subject
  })

  return {
    "accounts.passkey.registerOptions": Effect.fnUntraced(function* ({
      name,
      refreshToken
    }: PayloadOf<"accounts.passkey.registerOptions">) {
      if (passkeys === undefined) return yield* notOffered
      const token = Secrets.readRefreshToken(refreshToken)
      if (token === undefined) return yield* new SessionEnded()
      yield* charge([])
      const session = { family: token.family, presented: token.current }
      const own = yield* Internal.call(secret, Internal.findOwnPasskeys, session)
      if (own === null) return yield* new SessionEnded()
      const excludeCredentials = yield* Effect.forEach(own.passkeys, ({ id, secret }) =>
        Effect.map(decodeStored(secret), ({ transports }) => ({ type: "public-key" as const, id, transports }))
      )
      const shown = name ?? own.name ?? passkeys.rp.name
      const options: RegisterOptions = {
        challenge: yield* challengeFor("register", { bound: token.family, subject: own.account }),
        rp: passkeys.rp,
        user: { id: Base64Url.encode(own.account), name: shown, displayName: shown },
        pubKeyCredParams: passkeys.algorithms.map((alg) => ({ type: "public-key", alg })),
        timeout: challengeLifetime,
        attestation: "none",
        excludeCredentials,
        authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" }
      }
      return options
    }),

    "accounts.passkey.register": Effect.fnUntraced(function* ({
      device = "",
      refreshToken,
      response
    }: PayloadOf<"accounts.passkey.register">) {
      if (passkeys === undefined) return yield* notOffered
      const token = Secrets.readRefreshToken(refreshToken)
      if (token === undefined) return yield* new SessionEnded()
      yield* charge([{ key: `session ${token.family}`, pace: attempts.name }])
      const { challenge, crossOrigin = false } = yield* clientDataOf(response)
      // Another session does not use the challenge up: its answer cannot be of this one.
      const account = yield* take("register", challenge, token.family)
      if (crossOrigin) return yield* refused
      const credential = yield* passkeys.register(response, challenge)
      const next = yield* Secrets.newRefreshToken
      const added = yield* Internal.call(secret, Internal.addPasskey, {
        family: token.family,
        presented: token.current,
        account: AccountId.make(account),
        id: response.id,
        secret: encodeStored(credential),
        session: { family: next.family, current: next.current, device }
      })
      if (added._tag === "Opened") return yield* tokensOf(settings, added, next.token)
      return yield* added.reason === "Ended" ? new SessionEnded() : new AlreadyLinked()
    }),

    "accounts.passkey.signInOptions": Effect.fnUntraced(function* () {
      if (passkeys === undefined) return yield* notOffered
      yield* charge([])
      const options: SignInOptions = {
        challenge: yield* challengeFor("signIn", { bound: "", subject: "" }),
        rpId: passkeys.rp.id,
        timeout: challengeLifetime,
        userVerification: "required"
      }
      return options
    }),

    "accounts.passkey.signIn": Effect.fnUntraced(function* ({
      response,
      ...device
    }: PayloadOf<"accounts.passkey.signIn">) {
      if (passkeys === undefined) return yield* notOffered
      yield* charge([{ key: `passkey ${response.id}`, pace: attempts.name }])
      const { challenge, crossOrigin = false } = yield* clientDataOf(response)
      yield* take("signIn", challenge, "")
      // Another site shows the app's page in a frame: the person does not see whose passkey it is.
      if (crossOrigin) return yield* refused
      const known = yield* Internal.call(secret, Internal.findPasskey, { id: response.id })
      // The account that the authenticator has stored with the passkey is the one that has it here.
      if (known === null || response.response.userHandle !== Base64Url.encode(known.account)) {
        return yield* refused
      }
      const credential = yield* passkeys.signIn(response, challenge, yield* decodeStored(known.secret))
      // What was verified is compared again: of two sign-ins with one counter, one is refused.
      return yield* enter("signIn", "passkey", response.id, device, {
        expected: known.secret,
        secret: encodeStored(credential)
      }).pipe(
        Effect.catchTag("InvalidCredentials", () => refused),
        Effect.catchTag("NameTaken", Effect.die)
      )
    })
  }
}
