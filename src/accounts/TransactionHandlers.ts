/**
 * What accounts do in the object: the queries and mutations of callers, and the internal mutations of the actions.
 * A refusal that must keep what was written is a value, because a failure rolls back.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { identity } from "../contract/Auth.ts"
import { CallError, Unauthenticated } from "../protocol/CallError.ts"
import * as RateLimits from "../services/RateLimits.ts"
import type { Settings } from "./AccountsOptions.ts"
import { accounts, flows, identities, type SessionRow, sessions } from "./AccountsTables.ts"
import { type Account, AccountId, type SessionId } from "./contract/AccountsApi.ts"
import * as Decisions from "./Decisions.ts"
import * as Internal from "./Internal.ts"
import { revokeAccess } from "./Revocation.ts"
import * as Secrets from "./Secrets.ts"

/** How many expired rows a write deletes. */
const swept = 8

/** How long after a sign-in with a link or at a provider a password can be set without the one until now. */
const freshSignIn = 10 * 60_000

const unauthenticated = new CallError({ reason: new Unauthenticated({ problem: "missing" }) })

/** The id of an identity. No method contains a space. */
export const identityId = (method: string, subject: string): string => `${method} ${subject}`

/** The one row that was asked for, if it exists. */
export const find = <A, E, R>(
  rows: Effect.Effect<ReadonlyArray<Option.Option<A>>, E, R>
): Effect.Effect<A | undefined, E, R> => Effect.map(rows, ([row]) => row && Option.getOrUndefined(row))

/** An account with its methods, as its owner sees it. */
const describe = Effect.fnUntraced(function* (id: AccountId) {
  const methods = yield* identities.query("byAccount").eq("account", id)
  const account: Account = {
    id,
    isAnonymous: methods.length === 0,
    methods: methods.map(({ method, subject }) => ({ method, subject }))
  }
  return account
})

/** The account of the caller, if the caller has one: a token can be of another issuer, or of an account that is gone. */
const callerAccount = Effect.gen(function* () {
  const { subject } = yield* identity
  if (subject === null) return undefined
  const row = yield* find(accounts.getMany([AccountId.make(subject)]))
  return row && (yield* describe(row.id))
})

/** The account of the caller, who must have one. */
const requireAccount = Effect.flatMap(callerAccount, (account) =>
  account === undefined ? Effect.fail(unauthenticated) : Effect.succeed(account)
)

const sessionOf = (family: string) => Effect.map(sessions.query("byFamily").eq("family", family), ([row]) => row)

/** Ends a session. */
export const endSession = ({ account, id }: { readonly account: AccountId; readonly id: SessionId }) =>
  Effect.andThen(sessions.delete(id), revokeAccess({ account, session: id }))

/** The session that a refresh token belongs to, if the token is accepted. */
export const accepted = Effect.fnUntraced(function* (family: string, presented: string, now: number, grace: number) {
  const row = yield* sessionOf(family)
  if (row === undefined) return undefined
  const worth = Decisions.rotation(stateOf(row), presented, now, grace)
  return worth === "Rotate" || worth === "Repeat" ? row : undefined
})

const stateOf = ({ current, expires, previous, usedAt }: SessionRow): Decisions.SessionState => ({
  current,
  previous,
  expires,
  usedAt: DateTime.toEpochMillis(usedAt)
})

const claiming = (settings: Settings) =>
  Effect.fnUntraced(
    function* (account: AccountId) {
      return settings.claims === undefined ? {} : yield* settings.claims(yield* describe(account))
    },
    Effect.catchTag("RowNotFound", Effect.die)
  )

/** Begins a session of an account. */
export const opening = (settings: Settings) => {
  const { absolute, idle } = settings.sessions
  const claimsOf = claiming(settings)
  return Effect.fnUntraced(function* (
    account: AccountId,
    method: string,
    { current, device, family }: { readonly family: string; readonly current: string; readonly device: string },
    now: number
  ) {
    for (const { id } of yield* sessions.query("byExpiry").lte("expires", now).take(swept)) yield* sessions.delete(id)
    const at = DateTime.makeUnsafe(now)
    const ends = now + absolute
    const row = yield* sessions.insert({
      account,
      method,
      device,
      family,
      current,
      previous: null,
      sealed: null,
      createdAt: at,
      usedAt: at,
      expires: Math.min(now + idle, ends),
      ends
    })
    return { _tag: "Opened" as const, account, session: row.id, claims: yield* claimsOf(account) }
  })
}

/** The handlers that run in the object. */
export const make = (secret: Redacted.Redacted<string>, settings: Settings) => {
  const { grace, idle } = settings.sessions

  const claimsOf = claiming(settings)
  const open = opening(settings)

  return {
    [Internal.chargeAttempts.tag]: Internal.handler(secret, Internal.chargeAttempts, (charges) =>
      Effect.forEach(charges, (charge) => RateLimits.charge({ ...charge, algorithm: "token-bucket" }), {
        discard: true
      })
    ),

    [Internal.enter.tag]: Internal.handler(
      secret,
      Internal.enter,
      Effect.fnUntraced(
        function* ({ expected, method, proof, session, subject, secret: stored }, now) {
          const caller = yield* callerAccount
          const id = identityId(method, subject)
          const known = yield* find(identities.getMany([id]))
          // The password was changed while it was compared.
          if (proof === "signIn" && known?.secret !== expected) {
            return { _tag: "Refused" as const, reason: "InvalidCredentials" as const }
          }
          const entrance = Decisions.entrance({
            proof,
            method,
            caller: caller && { account: caller.id, methods: caller.methods.map(({ method }) => method) },
            owner: known?.account
          })
          const link = (account: AccountId) => identities.insert({ id, account, method, subject, secret: stored })
          if (known !== undefined && proof === "signIn" && stored !== null && entrance._tag !== "AlreadyLinked") {
            yield* identities.patch(id, { secret: stored })
          }
          switch (entrance._tag) {
            case "Create": {
              const account = yield* accounts.insert({})
              if (proof !== "anonymous") yield* link(account.id)
              return yield* open(account.id, method, session, now)
            }
            case "Link": {
              yield* link(entrance.account)
              return yield* open(entrance.account, method, session, now)
            }
            case "SignIn":
              return yield* open(entrance.account, method, session, now)
            case "Merge": {
              const { from, into } = entrance
              if (settings.merge !== undefined) yield* settings.merge({ from, into })
              yield* accounts.delete(from)
              yield* revokeAccess({ account: from })
              return { ...(yield* open(into, method, session, now)), merged: from }
            }
            default:
              return { _tag: "Refused" as const, reason: entrance._tag }
          }
        },
        Effect.catchTag("RowNotFound", Effect.die)
      )
    ),

    [Internal.rotate.tag]: Internal.handler(
      secret,
      Internal.rotate,
      Effect.fnUntraced(
        function* ({ family, next, presented, sealed }, now) {
          const row = yield* sessionOf(family)
          const worth = row && Decisions.rotation(stateOf(row), presented, now, grace)
          if (row === undefined || worth === undefined) return { _tag: "Ended" as const }
          if (worth === "Expired" || worth === "Reuse") {
            if (worth === "Reuse") {
              const details = { account: row.account, session: row.id }
              yield* Effect.logWarning("a refresh token was used twice: its session is ended").pipe(
                Effect.annotateLogs(details)
              )
            }
            yield* endSession(row)
            return { _tag: "Ended" as const }
          }
          if (worth === "Rotate") {
            yield* sessions.patch(row.id, {
              current: next,
              previous: presented,
              sealed,
              usedAt: DateTime.makeUnsafe(now),
              expires: Math.min(now + idle, row.ends)
            })
          }
          return {
            _tag: "Opened" as const,
            account: row.account,
            session: row.id,
            claims: yield* claimsOf(row.account),
            repeated: worth === "Repeat" ? row.sealed : null
          }
        },
        Effect.catchTag("RowNotFound", Effect.die)
      )
    ),

    [Internal.findPassword.tag]: Internal.handler(
      secret,
      Internal.findPassword,
      Effect.fnUntraced(function* ({ subject }) {
        const known = yield* find(identities.getMany([identityId("password", subject)]))
        return { secret: known?.secret ?? null }
      })
    ),

    [Internal.findOwnPassword.tag]: Internal.handler(
      secret,
      Internal.findOwnPassword,
      Effect.fnUntraced(function* ({ family, presented }, now) {
        const row = yield* accepted(family, presented, now, grace)
        if (row === undefined) return null
        const [password] = yield* identities.query("byAccount").eq("account", row.account).eq("method", "password")
        const isProved = row.method === "email" || row.method.startsWith("oidc:")
        return {
          name: password?.subject ?? "",
          secret: password?.secret ?? null,
          isFresh: isProved && now < DateTime.toEpochMillis(row.createdAt) + freshSignIn
        }
      })
    ),

    [Internal.storePassword.tag]: Internal.handler(
      secret,
      Internal.storePassword,
      Effect.fnUntraced(
        function* ({ expected, family, presented, secret: stored }, now) {
          const row = yield* accepted(family, presented, now, grace)
          if (row === undefined) return false
          const [password] = yield* identities.query("byAccount").eq("account", row.account).eq("method", "password")
          if (password === undefined || password.secret !== expected) return false
          yield* identities.patch(password.id, { secret: stored })
          for (const other of yield* sessions.query("byAccount").eq("account", row.account)) {
            if (other.id !== row.id) yield* endSession(other)
          }
          return true
        },
        Effect.catchTag("RowNotFound", Effect.die)
      )
    ),

    [Internal.beginFlow.tag]: Internal.handler(
      secret,
      Internal.beginFlow,
      Effect.fnUntraced(function* ({ challenge, id, lifetime, method, subject }, now) {
        for (const row of yield* flows.query("byExpiry").lte("expires", now).take(swept)) yield* flows.delete(row.id)
        yield* flows.insert({ id, method, subject, challenge, expires: now + lifetime })
      })
    ),

    [Internal.takeFlow.tag]: Internal.handler(
      secret,
      Internal.takeFlow,
      Effect.fnUntraced(function* ({ challenge, id, method }, now) {
        const row = yield* find(flows.getMany([id]))
        if (row === undefined || row.method !== method || row.expires <= now) return null
        // Another browser does not use the link up: mail servers open links.
        if (challenge !== null && !Secrets.equal(row.challenge, challenge)) return null
        yield* flows.delete(id)
        return { subject: row.subject }
      })
    ),

    "accounts.me": () => requireAccount,

    "accounts.sessions": Effect.fnUntraced(function* () {
      const { id } = yield* requireAccount
      return yield* sessions.query("byAccount").eq("account", id)
    }),

    "accounts.sessions.end": Effect.fnUntraced(function* ({ session }: { readonly session: SessionId }) {
      const { id } = yield* requireAccount
      const row = yield* find(sessions.getMany([session]))
      if (row?.account === id) yield* endSession(row)
    }),

    "accounts.signOut": Effect.fnUntraced(function* ({
      refreshToken
    }: {
      readonly refreshToken: Redacted.Redacted<string>
    }) {
      const token = Secrets.readRefreshToken(refreshToken)
      if (token === undefined) return
      // Whoever has any token of the session can end it: the latest one may be lost.
      const row = yield* sessionOf(token.family)
      if (row !== undefined) yield* endSession(row)
    }),

    "accounts.signOutEverywhere": Effect.fnUntraced(function* () {
      const { id } = yield* requireAccount
      for (const row of yield* sessions.query("byAccount").eq("account", id)) yield* sessions.delete(row.id)
      yield* revokeAccess({ account: id })
    })
  }
}
