/**
 * What accounts do with passkeys in the object: the internal mutations of the actions, and removing one.
 * A passkey is a way to sign in, whose secret is the public key with the counter.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Settings } from "./AccountsOptions.ts"
import { identities, sessions } from "./AccountsTables.ts"
import type { Ceremonies } from "./Ceremonies.ts"
import { LastMethod, NotOffered, SessionEnded } from "./contract/AccountsError.ts"
import * as Internal from "./Internal.ts"
import * as Secrets from "./Secrets.ts"
import { accepted, endSession, find, identityId, opening } from "./TransactionHandlers.ts"

/** The handlers that run in the object. */
export const make = (secret: Redacted.Redacted<string>, settings: Settings, passkeys: Ceremonies | undefined) => {
  const { grace } = settings.sessions
  const open = opening(settings)

  return {
    [Internal.findOwnPasskeys.tag]: Internal.handler(
      secret,
      Internal.findOwnPasskeys,
      Effect.fnUntraced(function* ({ family, presented }, now) {
        const row = yield* accepted(family, presented, now, grace)
        if (row === undefined) return null
        const methods = yield* identities.query("byAccount").eq("account", row.account)
        const named = methods.find(({ method }) => method === "password" || method === "email")
        return {
          account: row.account,
          name: named?.subject ?? null,
          passkeys: methods.flatMap(({ method, secret, subject }) =>
            method === "passkey" && secret !== null ? [{ id: subject, secret }] : []
          )
        }
      })
    ),

    [Internal.addPasskey.tag]: Internal.handler(
      secret,
      Internal.addPasskey,
      Effect.fnUntraced(function* ({ account, family, id: subject, presented, secret: stored, session }, now) {
        const row = yield* accepted(family, presented, now, grace)
        if (row?.account !== account) return { _tag: "Refused" as const, reason: "Ended" as const }
        const id = identityId("passkey", subject)
        const known = yield* find(identities.getMany([id]))
        if (known !== undefined) return { _tag: "Refused" as const, reason: "AlreadyLinked" as const }
        yield* identities.insert({ id, account, method: "passkey", subject, secret: stored })
        return yield* open(account, "passkey", session, now)
      })
    ),

    [Internal.findPasskey.tag]: Internal.handler(
      secret,
      Internal.findPasskey,
      Effect.fnUntraced(function* ({ id }) {
        const known = yield* find(identities.getMany([identityId("passkey", id)]))
        return known === undefined || known.secret === null ? null : { account: known.account, secret: known.secret }
      })
    ),

    "accounts.passkey.remove": Effect.fnUntraced(function* ({
      passkey,
      refreshToken
    }: {
      readonly refreshToken: Redacted.Redacted<string>
      readonly passkey: string
    }) {
      if (passkeys === undefined) return yield* new NotOffered({ method: "passkey" })
      const token = Secrets.readRefreshToken(refreshToken)
      const now = yield* Clock.currentTimeMillis
      const row = token && (yield* accepted(token.family, token.current, now, grace))
      if (row === undefined) return yield* new SessionEnded()
      const methods = yield* identities.query("byAccount").eq("account", row.account)
      const removed = methods.find(({ method, subject }) => method === "passkey" && subject === passkey)
      if (removed === undefined) return
      if (methods.length === 1) return yield* new LastMethod()
      yield* identities.delete(removed.id)
      // Who has lost a device ends what was begun with it.
      for (const other of yield* sessions.query("byAccount").eq("account", row.account)) {
        if (other.method === "passkey" && other.id !== row.id) yield* endSession(other)
      }
    })
  }
}
