import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import type { Accounts } from "effect-dormouse/accounts"
import { Accounts as AccountsClient } from "effect-dormouse/accounts/client"
import { TestApp } from "effect-dormouse/testing"
import { appOf, ClientApi, hidden, outside } from "./harness.ts"

/** A storage in memory, like `localStorage`. */
const memory = (): AccountsClient.SessionStorage & { readonly items: Map<string, string> } => {
  const items = new Map<string, string>()
  return {
    items,
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key)
  }
}

/** A session whose client counts its calls, and can be made to wait. */
const counted = (storage: AccountsClient.SessionStorage, options?: AccountsClient.SessionOptions) =>
  Effect.gen(function* () {
    const client = yield* TestApp.client(AccountsClient.AccountsApi)
    const calls: Array<string> = []
    const held = { before: Effect.void as Effect.Effect<void>, after: Effect.void as Effect.Effect<void> }
    const act: any = (tag: any, payload: any) => {
      calls.push(tag)
      const called: Effect.Effect<unknown, unknown> = client.act(tag as "accounts.anonymous", payload)
      return Effect.suspend(() => held.before).pipe(
        Effect.andThen(called),
        Effect.tap(() => held.after)
      )
    }
    const session = yield* AccountsClient.session({ ...client, act }, storage, options)
    return { session, calls, held }
  })

const password = hidden("correct horse")
const backend = (options?: Accounts.AccountsOptions) => TestApp.layer(appOf(outside(), options))

describe("the session of a client", () => {
  it.effect("AC10: makes an anonymous account once, and refreshes once, whoever asks at the same time", () =>
    Effect.gen(function* () {
      const storage = memory()
      const { calls, session } = yield* counted(storage)
      expect(yield* session.signedIn).toEqual(Option.none())
      const many = Effect.all(
        Array.from({ length: 5 }, () => session.token),
        { concurrency: "unbounded" }
      )
      expect(new Set(yield* many).size).toBe(1)
      expect(calls).toEqual(["accounts.anonymous"])
      const before = Option.getOrThrow(yield* session.signedIn)
      yield* TestClock.adjust("539 seconds")
      yield* many
      expect(calls).toHaveLength(1)
      yield* TestClock.adjust("1 second")
      const renewed = yield* many
      expect(new Set(renewed).size).toBe(1)
      expect(calls).toEqual(["accounts.anonymous", "accounts.refresh"])
      expect(yield* session.signedIn).toEqual(Option.some(before))
      // The token is one that the server accepts, and of the account.
      const client = yield* TestApp.client(ClientApi, { token: session.token })
      expect((yield* client.query("accounts.me", {})).id).toBe(before.account)
    }).pipe(Effect.provide(backend()))
  )

  it.effect("AC10: tabs that share a storage refresh at once and stay signed in", () =>
    Effect.gen(function* () {
      const storage = memory()
      const [a, b] = [yield* counted(storage), yield* counted(storage)]
      yield* a.session.token
      const before = yield* b.session.signedIn
      for (let i = 0; i < 3; i++) {
        yield* TestClock.adjust("9 minutes")
        const tokens = yield* Effect.all([a.session.token, b.session.token], { concurrency: 2 })
        expect(tokens[0]).toBe(tokens[1])
      }
      expect(yield* a.session.signedIn).toEqual(before)
      expect(b.calls.filter((tag) => tag === "accounts.refresh").length).toBeGreaterThan(0)
    }).pipe(Effect.provide(backend()))
  )

  it.effect("AC10: an answer that arrives late does not replace a session that began meanwhile", () =>
    Effect.gen(function* () {
      const storage = memory()
      const [slow, other] = [yield* counted(storage), yield* counted(storage)]
      yield* slow.session.token
      yield* TestClock.adjust("9 minutes")
      const chat = yield* TestApp.client(ClientApi)
      // While the refresh of one tab is answered, the user signs in in another one.
      slow.held.after = Effect.suspend(() => {
        slow.held.after = Effect.void
        return Effect.flatMap(
          Effect.orDie(chat.act("accounts.password.signUp", { name: "ada", password })),
          other.session.keep
        )
      })
      const token = yield* slow.session.token
      const signedIn = Option.getOrThrow(yield* slow.session.signedIn)
      const ada = yield* TestApp.client(ClientApi, { token })
      const me = yield* ada.query("accounts.me", {})
      expect(me.id).toBe(signedIn.account)
      expect(me.isAnonymous).toBe(false)
    }).pipe(Effect.provide(backend()))
  )

  it.effect("AC10: a session that was ended elsewhere is reported, and an anonymous one takes its place", () =>
    Effect.gen(function* () {
      let ended = 0
      const storage = memory()
      const { session } = yield* counted(storage, { onEnded: Effect.sync(() => ended++) })
      const chat = yield* TestApp.client(ClientApi, { token: session.token })
      yield* Effect.flatMap(chat.act("accounts.password.signUp", { name: "ada", password }), session.keep)
      const before = Option.getOrThrow(yield* session.signedIn)
      yield* chat.mutate("accounts.signOutEverywhere", {})
      yield* TestClock.adjust("9 minutes")
      yield* session.token
      expect(ended).toBe(1)
      expect(Option.getOrThrow(yield* session.signedIn).account).not.toBe(before.account)
    }).pipe(Effect.provide(backend()))
  )

  it.effect("AC10: signing out forgets the session here and ends it at the server", () =>
    Effect.gen(function* () {
      const storage = memory()
      const { calls, session } = yield* counted(storage)
      yield* session.token
      const old = storage.items.get("dormouse/session")!
      yield* session.signOut
      expect(storage.items.size).toBe(0)
      storage.items.set("dormouse/session", old)
      yield* TestClock.adjust("9 minutes")
      yield* session.token
      expect(calls).toEqual(["accounts.anonymous", "accounts.refresh", "accounts.anonymous"])
    }).pipe(Effect.provide(backend()))
  )

  it.effect("AC10: a storage that refuses, or has something else, keeps the session for the page", () =>
    Effect.gen(function* () {
      const broken: AccountsClient.SessionStorage = {
        getItem: () => null,
        setItem: () => {
          throw new Error("full")
        },
        removeItem: () => Promise.reject(new Error("blocked"))
      }
      const { calls, session } = yield* counted(broken)
      expect(yield* session.token).toBe(yield* session.token)
      expect(calls).toHaveLength(1)
      yield* session.signOut
      expect(yield* session.signedIn).toEqual(Option.none())
      const other = memory()
      other.items.set("dormouse/session", '{"account":1}')
      const second = yield* counted(other)
      yield* second.session.token
      expect(second.calls).toEqual(["accounts.anonymous"])
    }).pipe(Effect.provide(backend()))
  )

  it.effect("AC10: keeps the secret that completes a link", () => {
    const seen = outside()
    return Effect.gen(function* () {
      const { session } = yield* counted(memory())
      const chat = yield* TestApp.client(ClientApi, { token: session.token })
      const anonymous = Option.map(yield* Effect.andThen(session.token, session.signedIn), ({ account }) => account)
      yield* chat.act("accounts.link.send", { email: "a@example.com", challenge: yield* session.challenge })
      const tokens = yield* chat.act("accounts.link.complete", {
        token: seen.sent[0]!.token,
        verifier: yield* session.verifier
      })
      yield* session.keep(tokens)
      expect(Option.some(tokens.account)).toEqual(anonymous)
    }).pipe(Effect.provide(TestApp.layer(appOf(seen))))
  })
})
