/**
 * What accounts do in the Worker: hashing, sending links, talking to providers, issuing tokens.
 * Secrets are made here, and the object gets their hashes.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Rpc from "effect/rpc/Rpc"
import type { RpcsOf, TagOf } from "../contract/Api.ts"
import { CurrentNetwork } from "../contract/Auth.ts"
import { TokenIssuer } from "../contract/TokenIssuer.ts"
import { CallError, Unavailable } from "../protocol/CallError.ts"
import type { Pace, Settings } from "./AccountsOptions.ts"
import { type AccountsApi, Tokens } from "./contract/AccountsApi.ts"
import {
  AlreadyLinked,
  InvalidCredentials,
  LinkExpired,
  NameTaken,
  NotOffered,
  PasswordRefused,
  SessionEnded
} from "./contract/AccountsError.ts"
import * as Internal from "./Internal.ts"
import * as Password from "./Password.ts"
import * as Secrets from "./Secrets.ts"

type Secret = Redacted.Redacted<string>

/** The payload of an rpc of the contract. */
export type PayloadOf<Tag extends TagOf<AccountsRpcs, "action">> = Rpc.Payload<Rpc.ExtractTag<AccountsRpcs, Tag>>
type AccountsRpcs = RpcsOf<typeof AccountsApi>
type OnDevice = PayloadOf<"accounts.anonymous">

/** How long a sign-in at a provider may take, in milliseconds. */
const providerLifetime = 10 * 60_000

/** One form of a name or an email address, so that it belongs to one account. */
const normalize = (text: string): string => text.normalize("NFKC").trim().toLowerCase()

const redacted = (text: string): Secret => Redacted.make(text)

/** A session of an account, as the object answers it. */
export type Opened = Pick<
  Extract<(typeof Internal.rotate.rpc.successSchema)["Type"], { _tag: "Opened" }>,
  "account" | "session" | "claims"
>

/** The tokens of a session. */
export const tokensOf = Effect.fnUntraced(function* (
  settings: Settings,
  { account, claims, session }: Opened,
  refreshToken: Secret,
  merged?: typeof Tokens.Type.merged
) {
  const { issue } = yield* TokenIssuer
  const now = yield* Clock.currentTimeMillis
  const issued = yield* issue({ subject: account, claims, expiresIn: settings.sessions.access, session }).pipe(
    Effect.mapError((reason) => new CallError({ reason }))
  )
  return new Tokens({
    account,
    session,
    accessToken: redacted(issued.token),
    expiresIn: issued.expires - now,
    refreshToken,
    ...(merged !== undefined && { merged })
  })
})

/** Charges attempts in a transaction of their own: what fails later does not take them back. */
export const charging = (secret: Secret, { attempts }: Settings) =>
  Effect.fnUntraced(function* (charges: ReadonlyArray<{ readonly key: string; readonly pace: Pace }>) {
    const network = yield* CurrentNetwork
    const all = [...charges, ...(network === undefined ? [] : [{ key: `network ${network}`, pace: attempts.address }])]
    if (all.length === 0) return
    const payload = all.map(({ key, pace }) => ({ key: `accounts ${Secrets.hash(key)}`, ...pace }))
    yield* Internal.call(secret, Internal.chargeAttempts, payload)
  })

/** Signs a caller in with what it has shown. */
export const entering = (secret: Secret, settings: Settings) =>
  Effect.fnUntraced(function* (
    proof: "anonymous" | "signUp" | "signIn" | "verified",
    method: string,
    subject: string,
    { device = "" }: OnDevice,
    more: { readonly expected?: string; readonly secret?: string } = {}
  ) {
    const { current, family, token } = yield* Secrets.newRefreshToken
    const entered = yield* Internal.call(secret, Internal.enter, {
      proof,
      method,
      subject,
      expected: more.expected ?? null,
      secret: more.secret ?? null,
      session: { family, current, device }
    })
    if (entered._tag === "Opened") return yield* tokensOf(settings, entered, token, entered.merged)
    switch (entered.reason) {
      case "NameTaken":
        return yield* new NameTaken()
      case "InvalidCredentials":
        return yield* new InvalidCredentials()
      default:
        return yield* new AlreadyLinked()
    }
  })

/** The handlers that run in the Worker. */
export const make = (secret: Secret, settings: Settings) => {
  const { attempts, links, password: passwords, providers } = settings
  const charge = charging(secret, settings)
  const enter = entering(secret, settings)

  const nameKey = (name: string) => `name ${name}`

  /** The same for an identity that a link or a provider has proved. */
  const enterVerified = (method: string, subject: string, device: OnDevice) =>
    enter("verified", method, subject, device).pipe(Effect.catchTag(["NameTaken", "InvalidCredentials"], Effect.die))

  return {
    "accounts.anonymous": (device: OnDevice) =>
      Effect.andThen(
        charge([]),
        // Such an account has no credentials that could be refused.
        enter("anonymous", "anonymous", "", device).pipe(
          Effect.catchTag(["NameTaken", "InvalidCredentials", "AlreadyLinked"], Effect.die)
        )
      ),

    "accounts.refresh": Effect.fnUntraced(function* ({ refreshToken }: PayloadOf<"accounts.refresh">) {
      const token = Secrets.readRefreshToken(refreshToken)
      if (token === undefined) return yield* new SessionEnded()
      const next = yield* Secrets.successorOf(token)
      const rotated = yield* Internal.call(secret, Internal.rotate, {
        family: token.family,
        presented: token.current,
        next: next.current,
        sealed: next.sealed
      })
      if (rotated._tag === "Ended") return yield* new SessionEnded()
      const successor = rotated.repeated === null ? next : Secrets.unsealed(token, rotated.repeated)
      return yield* tokensOf(settings, rotated, successor.token)
    }),

    "accounts.password.signUp": Effect.fnUntraced(function* ({
      name: given,
      password,
      ...device
    }: PayloadOf<"accounts.password.signUp">) {
      if (passwords === undefined) return yield* new NotOffered({ method: "password" })
      const name = normalize(given)
      const { cost, minimumLength } = passwords
      const problem = Password.problemOf(password, { minimumLength, name })
      if (problem !== undefined) return yield* new PasswordRefused({ problem, minimumLength })
      yield* charge([{ key: nameKey(name), pace: attempts.name }])
      const hash = yield* Password.hash(password, cost)
      return yield* enter("signUp", "password", name, device, { secret: hash }).pipe(
        Effect.catchTag("InvalidCredentials", Effect.die)
      )
    }),

    "accounts.password.signIn": Effect.fnUntraced(function* ({
      name: given,
      password,
      ...device
    }: PayloadOf<"accounts.password.signIn">) {
      if (passwords === undefined) return yield* new NotOffered({ method: "password" })
      const name = normalize(given)
      yield* charge([{ key: nameKey(name), pace: attempts.name }])
      const { secret: stored } = yield* Internal.call(secret, Internal.findPassword, { subject: name })
      const { cost } = passwords
      const isRight = yield* Password.verify(password, stored ?? undefined, cost)
      if (!isRight || stored === null) return yield* new InvalidCredentials()
      const more = Password.isOutdated(stored, cost) ? { secret: yield* Password.hash(password, cost) } : {}
      return yield* enter("signIn", "password", name, device, {
        expected: stored,
        ...more
      }).pipe(Effect.catchTag("NameTaken", Effect.die))
    }),

    "accounts.password.set": Effect.fnUntraced(function* ({
      current,
      password,
      refreshToken
    }: PayloadOf<"accounts.password.set">) {
      if (passwords === undefined) return yield* new NotOffered({ method: "password" })
      const token = Secrets.readRefreshToken(refreshToken)
      if (token === undefined) return yield* new SessionEnded()
      const session = { family: token.family, presented: token.current }
      const own = yield* Internal.call(secret, Internal.findOwnPassword, session)
      if (own === null) return yield* new SessionEnded()
      const { cost, minimumLength } = passwords
      const problem = Password.problemOf(password, { minimumLength, name: own.name })
      if (problem !== undefined) return yield* new PasswordRefused({ problem, minimumLength })
      if (own.secret === null) return yield* new InvalidCredentials()
      if (!own.isFresh || current !== undefined) {
        yield* charge([{ key: nameKey(own.name), pace: attempts.name }])
        const isRight = yield* Password.verify(current ?? redacted(""), own.secret, cost)
        if (!isRight) return yield* new InvalidCredentials()
      }
      const hash = yield* Password.hash(password, cost)
      const payload = { ...session, expected: own.secret, secret: hash }
      const isStored = yield* Internal.call(secret, Internal.storePassword, payload)
      if (!isStored) return yield* new InvalidCredentials()
    }),

    "accounts.link.send": Effect.fnUntraced(function* ({ challenge, email: given }: PayloadOf<"accounts.link.send">) {
      if (links === undefined) return yield* new NotOffered({ method: "email" })
      const email = normalize(given)
      yield* charge([{ key: `email ${email}`, pace: attempts.email }])
      const token = yield* Secrets.randomText
      yield* Internal.call(secret, Internal.beginFlow, {
        id: Secrets.hash(token),
        method: "email",
        subject: email,
        challenge,
        lifetime: links.lifetime
      })
      yield* links
        .send({ email, token: redacted(token) })
        .pipe(
          Effect.catchCause((cause) =>
            Effect.andThen(
              Effect.logError("the link could not be sent", cause),
              new CallError({ reason: new Unavailable({ detail: "the link could not be sent" }) })
            )
          )
        )
    }),

    "accounts.link.complete": Effect.fnUntraced(function* ({
      token,
      verifier,
      ...device
    }: PayloadOf<"accounts.link.complete">) {
      if (links === undefined) return yield* new NotOffered({ method: "email" })
      const flow = yield* Internal.call(secret, Internal.takeFlow, {
        id: Secrets.hash(Redacted.value(token)),
        method: "email",
        challenge: links.isBound ? Secrets.hash(verifier === undefined ? "" : Redacted.value(verifier)) : null
      })
      if (flow === null) return yield* new LinkExpired()
      return yield* enterVerified("email", flow.subject, device)
    }),

    "accounts.provider.begin": Effect.fnUntraced(function* ({
      challenge,
      provider: name
    }: PayloadOf<"accounts.provider.begin">) {
      const provider = providers.get(name)
      if (provider === undefined) return yield* new NotOffered({ method: "provider" })
      yield* charge([])
      const state = yield* Secrets.randomText
      const codeChallenge = Secrets.hash(Secrets.derive(secret, `code verifier\n${state}`))
      const nonce = Secrets.derive(secret, `nonce\n${state}`)
      const url = yield* provider.begin({ state, nonce, codeChallenge })
      yield* Internal.call(secret, Internal.beginFlow, {
        id: Secrets.hash(state),
        method: `oidc:${name}`,
        subject: "",
        challenge,
        lifetime: providerLifetime
      })
      return { url }
    }),

    "accounts.provider.complete": Effect.fnUntraced(function* ({
      code,
      iss,
      provider: name,
      state,
      verifier,
      ...device
    }: PayloadOf<"accounts.provider.complete">) {
      const provider = providers.get(name)
      if (provider === undefined) return yield* new NotOffered({ method: "provider" })
      const method = `oidc:${name}`
      const flow = yield* Internal.call(secret, Internal.takeFlow, {
        id: Secrets.hash(state),
        method,
        challenge: Secrets.hash(Redacted.value(verifier))
      })
      if (flow === null) return yield* new LinkExpired()
      const { subject } = yield* provider.complete({
        code,
        iss,
        nonce: Secrets.derive(secret, `nonce\n${state}`),
        codeVerifier: Secrets.derive(secret, `code verifier\n${state}`)
      })
      return yield* enterVerified(method, subject, device)
    })
  }
}
