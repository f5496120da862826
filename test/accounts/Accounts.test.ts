import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import type { Accounts } from "effect-dormouse/accounts"
import { TestApp } from "effect-dormouse/testing"
import { identities, sessions } from "../../src/accounts/AccountsTables.ts"
import { InternalApi } from "../../src/accounts/Internal.ts"
import { defaultCost } from "../../src/accounts/Password.ts"
import * as Secrets from "../../src/accounts/Secrets.ts"
import { Transactor } from "../../src/services/Transactor.ts"
import { appOf, cheap, clientOf, failure, hidden, outside, secret } from "./harness.ts"

const password = hidden("correct horse")
const wrong = hidden("correct horsf")

/** Runs a body over a new backend. */
const over = <A, E>(
  body: (outside: ReturnType<typeof import("./harness.ts").outside>) => Effect.Effect<A, E, any>,
  options?: Accounts.AccountsOptions
) => {
  const seen = outside()
  return body(seen).pipe(Effect.provide(TestApp.layer(appOf(seen, options)))) as Effect.Effect<A, E>
}

/** What the object has in a table. */
const rowsOf = <A, E, R>(query: Effect.Effect<A, E, R>) =>
  TestApp.run(Effect.flatMap(Transactor, (transactor) => transactor.read(query)))

describe("accounts", () => {
  it.effect("AC1: an anonymous account keeps its id and its rows when ways to sign in are linked", () =>
    over(({ sent }) =>
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const anonymous = yield* nobody.act("accounts.anonymous", { device: "a test" })
        const ada = yield* clientOf(anonymous)
        expect(yield* ada.query("accounts.me", {})).toEqual({ id: anonymous.account, isAnonymous: true, methods: [] })
        yield* ada.mutate("notes.add", { text: "hello" })

        const named = yield* ada.act("accounts.password.signUp", { name: "Ada", password })
        expect(named.account).toBe(anonymous.account)
        const verifier = "kept"
        yield* ada.act("accounts.link.send", { email: "Ada@Example.com", challenge: Secrets.hash(verifier) })
        const linked = yield* ada.act("accounts.link.complete", { token: sent[0]!.token, verifier: hidden(verifier) })
        expect(linked.account).toBe(anonymous.account)

        const again = yield* nobody.act("accounts.password.signIn", { name: "ADA ", password })
        expect(again.account).toBe(anonymous.account)
        const back = yield* clientOf(again)
        expect(yield* back.query("notes.list", {})).toEqual(["hello"])
        expect((yield* back.query("accounts.me", {})).methods).toEqual([
          { method: "email", subject: "ada@example.com" },
          { method: "password", subject: "ada" }
        ])
      })
    )
  )

  it.effect("AC1: an anonymous caller who signs in to another account takes its rows along, in one mutation", () =>
    over(({ merged }) =>
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const ada = yield* nobody.act("accounts.password.signUp", { name: "ada", password })
        const anonymous = yield* nobody.act("accounts.anonymous", {})
        const guest = yield* clientOf(anonymous)
        yield* guest.mutate("notes.add", { text: "written before" })

        const tokens = yield* guest.act("accounts.password.signIn", { name: "ada", password })
        expect(tokens.account).toBe(ada.account)
        expect(tokens.merged).toBe(anonymous.account)
        expect(merged).toEqual([{ from: anonymous.account, into: ada.account }])
        expect(yield* (yield* clientOf(tokens)).query("notes.list", {})).toEqual(["written before"])
        // The account is gone, and so is its session.
        expect((yield* failure(guest.query("accounts.me", {})))._tag).toBe("Unauthenticated")
        const { refreshToken } = anonymous
        expect((yield* failure(nobody.act("accounts.refresh", { refreshToken })))._tag).toBe("SessionEnded")
      })
    )
  )

  it.effect("AC1: a hook that fails merges nothing and signs nobody in", () =>
    over(
      () =>
        Effect.gen(function* () {
          const nobody = yield* clientOf()
          const ada = yield* nobody.act("accounts.password.signUp", { name: "ada", password })
          const anonymous = yield* nobody.act("accounts.anonymous", {})
          const guest = yield* clientOf(anonymous)
          const exit = yield* Effect.exit(guest.act("accounts.password.signIn", { name: "ada", password }))
          expect(Exit.isFailure(exit)).toBe(true)
          expect((yield* guest.query("accounts.me", {})).id).toBe(anonymous.account)
          const list = yield* (yield* clientOf(ada)).query("accounts.sessions", {})
          expect(list).toHaveLength(1)
        }),
      { merge: () => Effect.die(new Error("the author's mistake")) }
    )
  )

  it.effect("AC1: who is signed in with a name is not signed in to another account", () =>
    over(({ merged, sent }) =>
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        yield* nobody.act("accounts.password.signUp", { name: "ada", password })
        const bo = yield* clientOf(yield* nobody.act("accounts.password.signUp", { name: "bo", password }))
        const other = bo.act("accounts.password.signIn", { name: "ada", password })
        expect((yield* failure(other))._tag).toBe("AlreadyLinked")
        const second = bo.act("accounts.password.signUp", { name: "cy", password })
        expect((yield* failure(second))._tag).toBe("AlreadyLinked")
        expect((yield* failure(nobody.act("accounts.password.signUp", { name: "ada", password })))._tag).toBe(
          "NameTaken"
        )
        expect(merged).toEqual([])

        // Two accounts link one address at once: one gets it.
        const cy = yield* clientOf(yield* nobody.act("accounts.password.signUp", { name: "cy", password }))
        const challenge = Secrets.hash("v")
        for (const client of [bo, cy]) {
          yield* client.act("accounts.link.send", { email: "x@example.com", challenge })
        }
        const exits = yield* Effect.forEach(
          [bo, cy],
          (client, i) =>
            Effect.exit(client.act("accounts.link.complete", { token: sent[i]!.token, verifier: hidden("v") })),
          { concurrency: "unbounded" }
        )
        expect(exits.filter(Exit.isSuccess)).toHaveLength(1)
        expect(yield* rowsOf(identities.query().filter(({ method }) => method === "email"))).toHaveLength(1)
      })
    )
  )

  it.effect("AC2: nobody but the app's actions can call the internal mutations", () =>
    over(() =>
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        yield* nobody.act("accounts.password.signUp", { name: "ada", password })
        const client = yield* TestApp.client(InternalApi)
        const tag = "accounts.internal.findPassword"
        const body = JSON.stringify({ subject: "ada" })
        const forged = (key: string, at: number, signed = body) =>
          client.mutate(tag, { body, at, proof: Secrets.derive(hidden(key), `${tag}\n${at}\n${signed}`) })
        const calls = [
          forged("another secret", 0),
          forged(secret, 0, JSON.stringify({ subject: "bo" })),
          forged(secret, 60_001),
          client.mutate(tag, { body, at: 0, proof: "" })
        ]
        for (const call of calls) expect((yield* failure(call))._tag).toBe("Forbidden")
        // The control: with the secret it is the proof that decides.
        expect((yield* forged(secret, 0)).secret).toMatch(/^\$scrypt/)
        for (const rpc of InternalApi.declared.requests.keys()) {
          const other = client.mutate(rpc as typeof tag, { body, at: 0, proof: "x".repeat(43) })
          expect((yield* failure(other))._tag).toBe("Forbidden")
        }
      })
    )
  )

  it.effect("AC2: no rpc returns a hash, and no row has a secret as it is", () =>
    over(({ sent }) =>
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const tokens = yield* nobody.act("accounts.password.signUp", { name: "ada", password })
        yield* nobody.act("accounts.link.send", { email: "a@example.com", challenge: Secrets.hash("v") })
        const client = yield* clientOf(tokens)
        const shown = JSON.stringify([
          yield* client.query("accounts.me", {}),
          yield* client.query("accounts.sessions", {})
        ])
        const { flows } = yield* Effect.promise(() => import("../../src/accounts/AccountsTables.ts"))
        const stored = [
          ...(yield* rowsOf(identities.query())),
          ...(yield* rowsOf(sessions.query())),
          ...(yield* rowsOf(flows.query()))
        ]
        const secrets = [tokens.refreshToken, tokens.accessToken, sent[0]!.token, password].map(Redacted.value)
        for (const text of secrets) expect(JSON.stringify(stored)).not.toContain(text)
        const [session] = yield* rowsOf(sessions.query())
        const [identity] = yield* rowsOf(identities.query())
        for (const text of [...secrets, session!.family, session!.current, identity!.secret!]) {
          expect(text.length).toBeGreaterThan(8)
          expect(shown).not.toContain(text)
        }
        // What a log would show of the answer.
        expect(String(tokens) + JSON.stringify(Object.values(tokens).map(String))).not.toContain(secrets[0])
      })
    )
  )

  it("AC2: a secret that is too short starts nothing", async () => {
    const short = { secret: Config.succeed(Redacted.make("short")) }
    const call = Effect.scoped(Effect.flatMap(clientOf(), (client) => client.act("accounts.anonymous", {})))
    const exit = await Effect.runPromiseExit(call.pipe(Effect.provide(TestApp.layer(appOf(outside(), short)))))
    expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain("32 characters")
  })

  it.effect("AC3: a hash of another cost is replaced at the next sign-in", () => {
    const seen = outside()
    const dearer = { ...cheap, ln: 5 }
    return Effect.gen(function* () {
      const { object } = yield* TestApp
      const nobody = yield* clientOf()
      yield* nobody.act("accounts.password.signUp", { name: "ada", password })
      const hash = Effect.map(rowsOf(identities.query()), ([row]) => row!.secret!)
      const before = yield* hash
      expect(before).toContain("$ln=4,")
      expect(object()).toBeDefined()
      yield* nobody.act("accounts.password.signIn", { name: "ada", password })
      expect(yield* hash).toBe(before)
      // The same rows, with an app that asks for more.
      const stored = yield* rowsOf(identities.query())
      return yield* Effect.gen(function* () {
        const client = yield* clientOf()
        const { accounts } = yield* Effect.promise(() => import("../../src/accounts/AccountsTables.ts"))
        yield* TestApp.run(
          Effect.flatMap(Transactor, (transactor) =>
            transactor.write(
              Effect.gen(function* () {
                yield* accounts.insert({ id: stored[0]!.account })
                yield* identities.insertMany(stored)
              })
            )
          )
        )
        yield* client.act("accounts.password.signIn", { name: "ada", password })
        expect(yield* hash).toContain("$ln=5,")
        yield* client.act("accounts.password.signIn", { name: "ada", password })
      }).pipe(Effect.provide(TestApp.layer(appOf(seen, { password: { cost: dearer } }))))
    }).pipe(Effect.provide(TestApp.layer(appOf(seen))))
  })

  it.effect("AC3: a password is changed with the one until now, and all other sessions end", () =>
    over(() =>
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const first = yield* nobody.act("accounts.password.signUp", { name: "ada", password })
        const second = yield* nobody.act("accounts.password.signIn", { name: "ada", password })
        const next = hidden("battery staple")
        const set = (current?: Redacted.Redacted<string>, to = next) =>
          nobody.act("accounts.password.set", {
            refreshToken: first.refreshToken,
            password: to,
            ...(current && { current })
          })
        expect((yield* failure(set()))._tag).toBe("InvalidCredentials")
        expect((yield* failure(set(wrong)))._tag).toBe("InvalidCredentials")
        expect(yield* failure(set(password, hidden("short")))).toMatchObject({ problem: "short", minimumLength: 8 })
        expect(yield* failure(set(password, hidden("x".repeat(1025))))).toMatchObject({ problem: "long" })
        yield* set(password)
        const old = nobody.act("accounts.password.signIn", { name: "ada", password })
        expect((yield* failure(old))._tag).toBe("InvalidCredentials")
        yield* nobody.act("accounts.password.signIn", { name: "ada", password: next })
        const other = nobody.act("accounts.refresh", { refreshToken: second.refreshToken })
        expect((yield* failure(other))._tag).toBe("SessionEnded")
        yield* nobody.act("accounts.refresh", { refreshToken: first.refreshToken })
      })
    )
  )

  it.effect("AC3: a password is reset within ten minutes after a link", () =>
    over(({ sent }) =>
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const ada = yield* clientOf(yield* nobody.act("accounts.password.signUp", { name: "ada", password }))
        const challenge = Secrets.hash("v")
        const byLink = (client: typeof ada) =>
          Effect.gen(function* () {
            yield* client.act("accounts.link.send", { email: "a@example.com", challenge })
            const { token } = sent.at(-1)!
            return yield* client.act("accounts.link.complete", { token, verifier: hidden("v") })
          })
        yield* byLink(ada)
        const next = hidden("battery staple")
        const late = yield* byLink(nobody)
        yield* TestClock.adjust("10 minutes")
        const reset = ({ refreshToken }: Accounts.Tokens) =>
          nobody.act("accounts.password.set", { refreshToken, password: next })
        expect((yield* failure(reset(late)))._tag).toBe("InvalidCredentials")
        yield* reset(yield* byLink(nobody))
        yield* nobody.act("accounts.password.signIn", { name: "ada", password: next })
      })
    )
  )

  it.effect("AC3: a sign-in that compared with an older password begins no session", () =>
    over(() =>
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const tokens = yield* nobody.act("accounts.password.signUp", { name: "ada", password })
        const [row] = yield* rowsOf(identities.query())
        const internal = yield* TestApp.client(InternalApi)
        const tag = "accounts.internal.enter"
        const enter = (expected: string, family: string) => {
          const body = JSON.stringify({
            proof: "signIn",
            method: "password",
            subject: "ada",
            expected,
            secret: null,
            session: { family, current: "c", device: "" }
          })
          return internal.mutate(tag, { body, at: 0, proof: Secrets.derive(hidden(secret), `${tag}\n0\n${body}`) })
        }
        const compared = row!.secret!
        expect((yield* enter(compared, "control"))._tag).toBe("Opened")
        yield* nobody.act("accounts.password.set", {
          refreshToken: tokens.refreshToken,
          password: hidden("battery staple"),
          current: password
        })
        expect(yield* enter(compared, "late")).toMatchObject({ _tag: "Refused", reason: "InvalidCredentials" })
      })
    )
  )

  it.effect("AC4: an unknown name gets the answer of a wrong password, and costs as much", () => {
    // What each sign-in writes, reads and computes is counted by the work that is done: one hash at the current cost.
    const cost = { ...cheap }
    let hashes = 0
    const counted: Accounts.Cost = Object.defineProperty({ ...cost }, "ln", {
      get: () => {
        hashes++
        return cost.ln
      }
    })
    return over(
      () =>
        Effect.gen(function* () {
          const nobody = yield* clientOf()
          yield* nobody.act("accounts.password.signUp", { name: "ada", password })
          const answer = (name: string) =>
            Effect.gen(function* () {
              hashes = 0
              const error = yield* failure(nobody.act("accounts.password.signIn", { name, password: wrong }))
              return { error: JSON.stringify(error), hashes }
            })
          const [known, unknown] = [yield* answer("ada"), yield* answer("nobody")]
          expect(unknown.error).toBe(known.error)
          expect(JSON.parse(unknown.error)._tag).toBe("InvalidCredentials")
          // For the unknown name the parameters are read, because a hash is made; for the known one they come from its hash.
          expect([known.hashes, unknown.hashes]).toEqual([0, 1])
        }),
      { password: { cost: counted } }
    )
  })

  it.effect("AC4: a link is sent in the same way whoever has the address", () =>
    over(({ sent }) =>
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const send = (email: string) => nobody.act("accounts.link.send", { email, challenge: Secrets.hash("v") })
        const known = yield* send("a@example.com")
        yield* nobody.act("accounts.link.complete", { token: sent[0]!.token, verifier: hidden("v") })
        expect([yield* send("a@example.com"), yield* send("b@example.com")]).toEqual([known, known])
        expect(sent.map(({ email }) => email)).toEqual(["a@example.com", "a@example.com", "b@example.com"])
      })
    )
  )

  it.effect("AC5: a link works once, for 15 minutes, in the browser that asked", () =>
    over(({ sent }) =>
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const send = nobody.act("accounts.link.send", { email: "a@example.com", challenge: Secrets.hash("mine") })
        const complete = (i: number, verifier?: string) =>
          nobody.act("accounts.link.complete", {
            token: sent[i]!.token,
            ...(verifier !== undefined && { verifier: hidden(verifier) })
          })
        yield* send
        // Another browser does not use it up.
        expect((yield* failure(complete(0, "another")))._tag).toBe("LinkExpired")
        expect((yield* failure(complete(0)))._tag).toBe("LinkExpired")
        const tokens = yield* complete(0, "mine")
        expect((yield* failure(complete(0, "mine")))._tag).toBe("LinkExpired")
        yield* send
        yield* TestClock.adjust("15 minutes")
        expect((yield* failure(complete(1, "mine")))._tag).toBe("LinkExpired")
        yield* send
        yield* TestClock.adjust("14 minutes")
        expect((yield* complete(2, "mine")).account).toBe(tokens.account)
        const forged = nobody.act("accounts.link.complete", { token: hidden("x"), verifier: hidden("mine") })
        expect((yield* failure(forged))._tag).toBe("LinkExpired")
      })
    )
  )

  it.effect("AC5: two completions of one link at once begin one session", () =>
    over(({ sent }) =>
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        yield* nobody.act("accounts.link.send", { email: "a@example.com", challenge: Secrets.hash("v") })
        const complete = nobody.act("accounts.link.complete", { token: sent[0]!.token, verifier: hidden("v") })
        const exits = yield* Effect.all([Effect.exit(complete), Effect.exit(complete)], { concurrency: 2 })
        expect(exits.filter(Exit.isSuccess)).toHaveLength(1)
        expect(yield* rowsOf(sessions.query())).toHaveLength(1)
      })
    )
  )

  it.effect("AC5: a link for any browser, if the author says so; a failure to send it is not shown", () => {
    const seen = outside()
    const { sent } = seen
    const links = {
      isBound: false,
      send: (link: Accounts.Link) =>
        link.email.startsWith("no") ? Effect.fail(new Error("smtp: secret host")) : Effect.sync(() => sent.push(link))
    }
    return Effect.gen(function* () {
      const nobody = yield* clientOf()
      yield* nobody.act("accounts.link.send", { email: "a@example.com", challenge: "x" })
      yield* nobody.act("accounts.link.complete", { token: sent[0]!.token })
      const error = yield* failure(nobody.act("accounts.link.send", { email: "no@example.com", challenge: "x" }))
      expect(error).toMatchObject({ _tag: "Unavailable", detail: "the link could not be sent" })
    }).pipe(
      Effect.provide(TestApp.layer(appOf(seen, { links: { ...links, send: (l) => Effect.asVoid(links.send(l)) } })))
    )
  })

  it.effect("AC9: attempts with one name are charged before the password is compared", () =>
    over(() =>
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        yield* nobody.act("accounts.password.signUp", { name: "ada", password })
        const attempt = (secret: Redacted.Redacted<string>) =>
          nobody.act("accounts.password.signIn", { name: "ada", password: secret })
        for (let i = 0; i < 9; i++) expect((yield* failure(attempt(wrong)))._tag).toBe("InvalidCredentials")
        // Also the right password has to wait: otherwise a guess would be answered.
        expect(yield* failure(attempt(password))).toMatchObject({ _tag: "TooManyRequests", retryAfter: 60_000 })
        yield* TestClock.adjust("59 seconds")
        expect(yield* failure(attempt(password))).toMatchObject({ _tag: "TooManyRequests", retryAfter: 1000 })
        yield* TestClock.adjust("1 second")
        yield* attempt(password)
        expect((yield* failure(attempt(password)))._tag).toBe("TooManyRequests")
        // Names that do not exist are counted as well, and the same name in another form is the same.
        const unknown = (name: string) => nobody.act("accounts.password.signIn", { name, password })
        for (let i = 0; i < 5; i++) for (const name of ["nobody", " NoBody"]) yield* failure(unknown(name))
        expect((yield* failure(unknown("nobody")))._tag).toBe("TooManyRequests")
      })
    )
  )

  it.effect("AC9: attempts of one network address are charged, whatever the names", () => {
    let address: string | undefined = "192.0.2.1"
    const app = appOf(outside(), { attempts: { address: { limit: 3, window: 60_000 } } })
    return Effect.gen(function* () {
      const nobody = yield* clientOf()
      const attempt = (name: string) => failure(nobody.act("accounts.password.signIn", { name, password }))
      for (const name of ["a", "b", "c"]) expect((yield* attempt(name))._tag).toBe("InvalidCredentials")
      expect((yield* attempt("d"))._tag).toBe("TooManyRequests")
      const others = [
        nobody.act("accounts.anonymous", {}),
        nobody.act("accounts.password.signUp", { name: "e", password }),
        nobody.act("accounts.link.send", { email: "a@example.com", challenge: "x" })
      ]
      for (const call of others) expect((yield* failure(call))._tag).toBe("TooManyRequests")
      address = "192.0.2.2"
      expect((yield* attempt("d"))._tag).toBe("InvalidCredentials")
    }).pipe(Effect.provide(TestApp.layer(app, { addressOf: () => address })))
  })

  it.effect("AC9: links to one address are charged, and not sent beyond it", () =>
    over(({ sent }) =>
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const send = nobody.act("accounts.link.send", { email: "a@example.com", challenge: "x" })
        for (let i = 0; i < 5; i++) yield* send
        expect((yield* failure(send))._tag).toBe("TooManyRequests")
        expect(sent).toHaveLength(5)
      })
    )
  )

  it.effect("a way to sign in that the app does not have is not offered", () =>
    over(
      () =>
        Effect.gen(function* () {
          const nobody = yield* clientOf()
          const signUp = nobody.act("accounts.password.signUp", { name: "ada", password })
          expect(yield* failure(signUp)).toMatchObject({ _tag: "NotOffered", method: "password" })
          const begin = nobody.act("accounts.provider.begin", { provider: "google", challenge: "x" })
          expect((yield* failure(begin))._tag).toBe("NotOffered")
        }),
      { password: false }
    )
  )

  it("the default cost is the one that was measured", () => {
    expect(defaultCost).toEqual({ ln: 14, r: 8, p: 5 })
  })
})
