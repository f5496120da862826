import * as Redacted from "effect/Redacted"
import { expect, it } from "vitest"
import { deploy, errorOf, local } from "./deployment.ts"

/** Accounts in workerd: the Worker of an app and its object, which is evicted between any two calls. */

it("AC1: an anonymous account signs up, signs in and refreshes in workerd", async () => {
  const { call, sent } = deploy({ sessions: { grace: "10 minutes" } })
  const { value: anonymous } = await call("accounts.anonymous", {})
  const password = "correct horse"
  const { value: ada } = await call("accounts.password.signUp", { name: "ada", password }, anonymous.accessToken)
  expect(ada.account).toBe(anonymous.account)
  const wrong = await call("accounts.password.signIn", { name: "ada", password: "correct horsf" })
  expect(errorOf(wrong)).toBe("InvalidCredentials")
  const { value: again } = await call("accounts.password.signIn", { name: "ada", password })
  const { value: refreshed } = await call("accounts.refresh", { refreshToken: again.refreshToken })
  const { value: repeated } = await call("accounts.refresh", { refreshToken: again.refreshToken })
  expect(repeated.refreshToken).toBe(refreshed.refreshToken)
  const { value: me } = await call("accounts.me", {}, refreshed.accessToken)
  expect(me).toEqual({ id: ada.account, isAnonymous: false, methods: [{ method: "password", subject: "ada" }] })
  await call("accounts.link.send", { email: "a@example.com", challenge: "x" })
  const token = Redacted.value(sent[0]!.token)
  expect(errorOf(await call("accounts.link.complete", { token, verifier: "y" }))).toBe("LinkExpired")
})

it("AC7: a refresh token that is used again after its successor ends the session in workerd", async () => {
  const { call } = deploy()
  const { value: first } = await call("accounts.anonymous", {})
  const use = (refreshToken: string) => call("accounts.refresh", { refreshToken })
  const { value: second } = await use(first.refreshToken)
  const { value: third } = await use(second.refreshToken)
  expect(errorOf(await use(first.refreshToken))).toBe("SessionEnded")
  expect(errorOf(await use(third.refreshToken))).toBe("SessionEnded")
})

it("AC9: attempts are charged by name and by network in workerd", async () => {
  const { call } = deploy({ attempts: { address: { limit: 3, window: 3_600_000 } } })
  const attempt = async (name: string, address: string) =>
    errorOf(await call("accounts.password.signIn", { name, password: "correct horse" }, undefined, address))
  for (const name of ["a", "b", "c"]) expect(await attempt(name, "2001:db8::1")).toBe("InvalidCredentials")
  expect(await attempt("d", "2001:db8::2")).toBe("TooManyRequests")
  expect(await attempt("d", "192.0.2.1")).toBe("InvalidCredentials")
})

it("AC8, A9: a token that the deployment signs is accepted, and refused after signing out everywhere, in workerd", async () => {
  const { call } = deploy({}, local)
  const { value: ada } = await call("accounts.password.signUp", { name: "ada", password: "correct horse" })
  const me = { id: ada.account, isAnonymous: false, methods: [{ method: "password", subject: "ada" }] }
  expect((await call("accounts.me", {}, ada.accessToken)).value).toEqual(me)
  const { value: refreshed } = await call("accounts.refresh", { refreshToken: ada.refreshToken })
  expect((await call("accounts.me", {}, refreshed.accessToken)).value).toEqual(me)
  const changed = `${refreshed.accessToken.slice(0, -4)}AAAA`
  expect(await call("accounts.me", {}, changed)).toMatchObject({ problem: "signature" })
  expect((await call("accounts.signOutEverywhere", {}, refreshed.accessToken))._tag).toBe("Success")
  for (const { accessToken } of [ada, refreshed]) {
    expect(JSON.stringify(await call("accounts.me", {}, accessToken))).toContain('"problem":"revoked"')
  }
  expect(errorOf(await call("accounts.refresh", { refreshToken: refreshed.refreshToken }))).toBe("SessionEnded")
})
