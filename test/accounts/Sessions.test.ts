import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import type { Accounts } from "effect-dormouse/accounts"
import { TestApp } from "effect-dormouse/testing"
import { sessions } from "../../src/accounts/AccountsTables.ts"
import * as Decisions from "../../src/accounts/Decisions.ts"
import * as Secrets from "../../src/accounts/Secrets.ts"
import { Transactor } from "../../src/services/Transactor.ts"
import { forAll, forAllAsync, type Random, Violation } from "../random.ts"
import { appOf, clientOf, failure, hidden, outside } from "./harness.ts"

const backend = (options?: Accounts.AccountsOptions) => TestApp.layer(appOf(outside(), options))
const rows = TestApp.run(Effect.flatMap(Transactor, (transactor) => transactor.read(sessions.query())))
const day = 24 * 60 * 60_000

/** What a refresh token may be worth, told from the whole history of the session and not from what is stored. */
class Model {
  /** The tokens of the session in order. */
  readonly tokens: Array<string>
  /** When each token but the last was first used. */
  readonly used: Array<number> = []
  readonly began: number
  last: number
  isOver = false

  constructor(token: string, now: number) {
    this.tokens = [token]
    this.began = now
    this.last = now
  }

  /** The index of the token that a use must return, or undefined if it must be refused. */
  use(index: number, now: number, grace: number): number | undefined {
    const isExpired = now >= Math.min(this.last + 14 * day, this.began + 90 * day)
    const latest = this.tokens.length - 1
    if (this.isOver || isExpired) {
      this.isOver = true
      return undefined
    }
    if (index === latest) {
      this.used.push(now)
      this.last = now
      return latest + 1
    }
    if (index === latest - 1 && now < this.used[index]! + grace) return latest
    this.isOver = true
    return undefined
  }
}

/** One history of one session: uses of any token of it, at any time, by anybody. */
const history = (random: Random, grace: Duration.Input) =>
  Effect.gen(function* () {
    const nobody = yield* clientOf()
    const first = yield* nobody.act("accounts.anonymous", {})
    const model = new Model(Redacted.value(first.refreshToken), yield* Clock.currentTimeMillis)
    for (let step = 0; step < 12; step++) {
      yield* TestClock.adjust(random.pick([0, 0, 1, 5000, 9999, 10_000, 60_000, day, 13 * day, 14 * day]))
      const now = yield* Clock.currentTimeMillis
      const latest = model.tokens.length - 1
      const index = random.chance(0.7) ? latest : Math.max(0, latest - random.int(3))
      const expected = model.use(index, now, 10_000)
      const exit = yield* Effect.exit(nobody.act("accounts.refresh", { refreshToken: hidden(model.tokens[index]!) }))
      if (Exit.isSuccess(exit) !== (expected !== undefined)) {
        throw new Violation(`step ${step}: token ${index} of ${latest} was ${exit._tag}, expected ${expected}`)
      }
      if (Exit.isSuccess(exit) && expected !== undefined) {
        const token = Redacted.value(exit.value.refreshToken)
        model.tokens[expected] ??= token
        if (model.tokens[expected] !== token) throw new Violation(`step ${step}: not the same successor`)
        if (model.tokens.indexOf(token) !== expected) throw new Violation(`step ${step}: a token came again`)
      }
    }
  }).pipe(
    Effect.scoped,
    Effect.provide(backend({ sessions: { grace } })),
    Effect.provide([TestClock.layer(), Logger.layer([])]),
    Effect.runPromise
  )

describe("sessions", () => {
  it("AC7: random histories of refreshes agree with the model", () =>
    forAllAsync(40, (random) => history(random, "10 seconds")))

  it("AC7: control: the model notices a grace that is a moment longer", async () => {
    const run = forAllAsync(1000, (random) => history(random, "10001 millis"))
    await expect(run).rejects.toBeInstanceOf(Violation)
  })

  it.effect("AC7: a token that was stolen ends the session for both, whoever uses it first", () =>
    Effect.gen(function* () {
      const nobody = yield* clientOf()
      const first = yield* nobody.act("accounts.anonymous", {})
      const use = (refreshToken: Accounts.Tokens["refreshToken"]) => nobody.act("accounts.refresh", { refreshToken })
      const thief = yield* use(first.refreshToken)
      yield* TestClock.adjust("10 seconds")
      expect((yield* failure(use(first.refreshToken)))._tag).toBe("SessionEnded")
      expect((yield* failure(use(thief.refreshToken)))._tag).toBe("SessionEnded")
      expect(yield* rows).toEqual([])
    }).pipe(Effect.provide(backend()))
  )

  it.effect("AC7: two refreshes at once get the same token, and only its owner can read it from the database", () =>
    Effect.gen(function* () {
      const nobody = yield* clientOf()
      const { refreshToken } = yield* nobody.act("accounts.anonymous", {})
      const use = nobody.act("accounts.refresh", { refreshToken })
      const [a, b] = yield* Effect.all([use, use], { concurrency: 2 })
      expect(Redacted.value(a.refreshToken)).toBe(Redacted.value(b.refreshToken))
      expect(Redacted.value(a.refreshToken)).not.toBe(Redacted.value(refreshToken))
      const [row] = yield* rows
      const token = Secrets.readRefreshToken(refreshToken)!
      expect(Redacted.value(Secrets.unsealed(token, row!.sealed!).token)).toBe(Redacted.value(a.refreshToken))
      const other = yield* Secrets.newRefreshToken
      expect(Secrets.unsealed(other, row!.sealed!).current).not.toBe(row!.current)
    }).pipe(Effect.provide(backend()))
  )

  it.effect("AC7: what is no refresh token, or is of no session, is refused", () =>
    Effect.gen(function* () {
      const nobody = yield* clientOf()
      yield* nobody.act("accounts.anonymous", {})
      const { token } = yield* Secrets.newRefreshToken
      for (const text of ["", "x", "!".repeat(64), "A".repeat(63), Redacted.value(token)]) {
        const call = nobody.act("accounts.refresh", { refreshToken: hidden(text) })
        expect((yield* failure(call))._tag).toBe("SessionEnded")
      }
      expect(yield* rows).toHaveLength(1)
    }).pipe(Effect.provide(backend()))
  )

  it.effect("AC7: a session that is used every day ends after 90 days", () =>
    Effect.gen(function* () {
      const nobody = yield* clientOf()
      let { refreshToken } = yield* nobody.act("accounts.anonymous", {})
      for (let i = 0; i < 9; i++) {
        yield* TestClock.adjust(i < 8 ? "10 days" : "9 days")
        refreshToken = (yield* nobody.act("accounts.refresh", { refreshToken })).refreshToken
      }
      yield* TestClock.adjust("1 day")
      expect((yield* failure(nobody.act("accounts.refresh", { refreshToken })))._tag).toBe("SessionEnded")
    }).pipe(Effect.provide(backend()))
  )

  it.effect("AC7: expired sessions are deleted as new ones begin", () =>
    Effect.gen(function* () {
      const nobody = yield* clientOf()
      for (let i = 0; i < 5; i++) yield* nobody.act("accounts.anonymous", {})
      yield* TestClock.adjust("14 days")
      yield* nobody.act("accounts.anonymous", {})
      expect(yield* rows).toHaveLength(1)
    }).pipe(Effect.provide(backend()))
  )

  it.effect("AC8: the access tokens of a session that was ended are refused, and those of others are not", () =>
    Effect.gen(function* () {
      const nobody = yield* clientOf()
      const password = hidden("correct horse")
      const one = yield* nobody.act("accounts.password.signUp", { name: "ada", password })
      const two = yield* nobody.act("accounts.password.signIn", { name: "ada", password })
      const other = yield* clientOf(yield* nobody.act("accounts.anonymous", {}))
      const [phone, desk] = [yield* clientOf(one), yield* clientOf(two)]
      const refused = (client: typeof phone) =>
        Effect.map(failure(client.query("accounts.me", {})), ({ _tag, problem }) => [_tag, problem])
      yield* desk.query("accounts.me", {})

      yield* phone.mutate("accounts.sessions.end", { session: two.session })
      expect(yield* refused(desk)).toEqual(["Unauthenticated", "revoked"])
      yield* phone.query("accounts.me", {})

      yield* TestClock.adjust("1 minute")
      yield* phone.mutate("accounts.signOutEverywhere", {})
      expect(yield* refused(phone)).toEqual(["Unauthenticated", "revoked"])
      yield* other.query("accounts.me", {})
    }).pipe(Effect.scoped, Effect.provide(backend()))
  )

  it.effect("AC8: sessions are listed and ended: another one, this one, all", () =>
    Effect.gen(function* () {
      const nobody = yield* clientOf()
      const password = hidden("correct horse")
      const one = yield* nobody.act("accounts.password.signUp", { name: "ada", password, device: "phone" })
      const sign = (device: string) => nobody.act("accounts.password.signIn", { name: "ada", password, device })
      const [two, three] = [yield* sign("desk"), yield* sign("cafe")]
      const bo = yield* clientOf(yield* nobody.act("accounts.password.signUp", { name: "bo", password }))
      const ada = yield* clientOf(one)
      const list = Effect.map(ada.query("accounts.sessions", {}), (list) => list.map(({ device }) => device).sort())
      expect(yield* list).toEqual(["cafe", "desk", "phone"])
      const refused = ({ refreshToken }: Accounts.Tokens) =>
        Effect.map(failure(nobody.act("accounts.refresh", { refreshToken })), ({ _tag }) => _tag)

      // Nobody ends the session of somebody else.
      yield* bo.mutate("accounts.sessions.end", { session: two.session })
      expect(yield* list).toEqual(["cafe", "desk", "phone"])
      yield* ada.mutate("accounts.sessions.end", { session: two.session })
      expect(yield* list).toEqual(["cafe", "phone"])
      expect(yield* refused(two)).toBe("SessionEnded")

      yield* nobody.mutate("accounts.signOut", { refreshToken: three.refreshToken })
      expect(yield* refused(three)).toBe("SessionEnded")
      expect(yield* list).toEqual(["phone"])
      yield* sign("desk")
      yield* ada.mutate("accounts.signOutEverywhere", {})
      expect(yield* refused(one)).toBe("SessionEnded")
      expect((yield* rows).map(({ account }) => account === one.account)).toEqual([false])
      for (const call of [
        nobody.query("accounts.me", {}),
        nobody.query("accounts.sessions", {}),
        nobody.mutate("accounts.signOutEverywhere", {}),
        nobody.mutate("accounts.sessions.end", { session: one.session })
      ]) {
        expect((yield* failure(call))._tag).toBe("Unauthenticated")
      }
    }).pipe(Effect.provide(backend()))
  )

  it("AC1: no proof signs a caller with a way to sign in into another account", () =>
    forAll(300, (random) => {
      const methods = random.pick([[], ["password"], ["email"], ["password", "email"]])
      const caller = random.chance(0.7) ? { account: random.int(3), methods } : undefined
      const owner = random.chance(0.7) ? random.int(3) : undefined
      const proof = random.pick(["anonymous", "signUp", "signIn", "verified"] as const)
      const method = random.pick(["password", "email"])
      const entrance = Decisions.entrance({ proof, method, caller, owner })
      if (entrance._tag === "SignIn") {
        expect(entrance.account).toBe(owner)
        if (caller !== undefined) expect(entrance.account).toBe(caller.account)
      }
      if (entrance._tag === "Link") expect([entrance.account, owner]).toEqual([caller?.account, undefined])
      if (entrance._tag === "Merge") {
        expect(entrance).toEqual({ _tag: "Merge", from: caller?.account, into: owner })
        expect(caller?.methods).toEqual([])
        expect(entrance.from).not.toBe(entrance.into)
      }
      if (proof === "signUp") expect(["SignIn", "Merge"]).not.toContain(entrance._tag)
      if (proof === "signIn") expect(["Create", "Link"]).not.toContain(entrance._tag)
    }))
})
