import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { Auth } from "effect-dormouse/auth"
import { TestApp } from "effect-dormouse/testing"
import { decodeJwt } from "jose"
import { appOf, clientOf, failure, hidden, outside } from "./harness.ts"

/** Accounts whose tokens the deployment itself signs and verifies. */

const issuer = "https://app.test"
const tokens = (audience: string) => Auth.layerFirst(Auth.layerLocal({ issuer, audience }), Auth.layerAnonymous)
const backend = TestApp.layer(appOf(outside()), { auth: tokens("https://app.test"), enter: () => true })

it.effect("AC8, A9: a token of a sign-up is accepted, refreshed, and refused after signing out everywhere", () =>
  Effect.gen(function* () {
    yield* TestClock.setTime(1_800_000_000_000)
    const nobody = yield* clientOf()
    const signedUp = yield* nobody.act("accounts.password.signUp", { name: "ada", password: hidden("correct horse") })
    const claims = decodeJwt(Redacted.value(signedUp.accessToken))
    expect(claims).toMatchObject({ iss: issuer, sub: signedUp.account, sid: signedUp.session })

    // The deployment verifies what it has signed.
    const ada = yield* clientOf(signedUp)
    const me = { id: signedUp.account, isAnonymous: false, methods: [{ method: "password", subject: "ada" }] }
    expect(yield* ada.query("accounts.me", {})).toEqual(me)
    yield* ada.mutate("notes.add", { text: "mine" })
    expect(yield* nobody.query("notes.list", {})).toEqual([])

    // The access token ends, and the refresh token gives another one.
    yield* TestClock.adjust("11 minutes")
    expect(yield* failure(ada.query("accounts.me", {}))).toMatchObject({ _tag: "Unauthenticated", problem: "expired" })
    const refreshed = yield* nobody.act("accounts.refresh", { refreshToken: signedUp.refreshToken })
    const again = yield* clientOf(refreshed)
    expect(yield* again.query("notes.list", {})).toEqual(["mine"])

    // A token that was changed is refused.
    const [header, payload, signature] = Redacted.value(refreshed.accessToken).split(".")
    const forged = yield* clientOf({
      ...refreshed,
      accessToken: hidden(`${header}.${payload}.${signature!.slice(0, -4)}AAAA`)
    })
    expect(yield* failure(forged.query("accounts.me", {}))).toMatchObject({ problem: "signature" })

    // `iat` has whole seconds: the sign-out of the same second would refuse a later token as well.
    yield* TestClock.adjust("1 second")
    yield* again.mutate("accounts.signOutEverywhere", {})
    expect(yield* failure(again.query("accounts.me", {}))).toMatchObject({
      _tag: "Unauthenticated",
      problem: "revoked"
    })
    expect((yield* failure(nobody.act("accounts.refresh", { refreshToken: refreshed.refreshToken })))._tag).toBe(
      "SessionEnded"
    )
    yield* TestClock.adjust("2 seconds")
    const back = yield* nobody.act("accounts.password.signIn", { name: "ada", password: hidden("correct horse") })
    expect(yield* (yield* clientOf(back)).query("notes.list", {})).toEqual(["mine"])
  }).pipe(Effect.orDie, Effect.provide(backend))
)
