import { createExecutionContext, env, runInDurableObject } from "cloudflare:test"
import * as Redacted from "effect/Redacted"
import type { Accounts } from "effect-dormouse/accounts"
import { Auth } from "effect-dormouse/auth"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { expect, it } from "vitest"
import { appOf, outside } from "./harness.ts"

/** Accounts in workerd: the Worker of an app and its object, which is evicted between any two calls. */

const tested = Auth.layerFirst(Auth.layerTest, Auth.layerAnonymous)
const local = Auth.layerFirst(
  Auth.layerLocal({ issuer: "https://accounts.test", audience: "https://accounts.test" }),
  Auth.layerAnonymous
)

const deploy = (options?: Accounts.AccountsOptions, auth: typeof tested | typeof local = tested) => {
  const seen = outside()
  const deployment = Cloudflare.serve(appOf(seen, options), { auth, enter: () => true })
  const id = env.PROBE.newUniqueId()
  const stub = {
    call: (...call: Parameters<InstanceType<Cloudflare.Deployment["TenantObject"]>["call"]>) =>
      runInDurableObject(env.PROBE.get(id), async (_, state) => {
        const object = new deployment.TenantObject(state, env)
        await state.blockConcurrencyWhile(async () => {})
        return object.call(...call)
      })
  }
  const fetchFrom = (request: Request, props = {}): Promise<Response> => {
    const ctx = Object.assign(createExecutionContext(), {
      props,
      exports: {
        TenantObject: { getByName: () => stub },
        default: ({ props }: { readonly props: object }) => ({
          fetch: (url: string, init: RequestInit) => fetchFrom(new Request(url, init), props)
        })
      }
    })
    return new deployment.worker(ctx, env).fetch!(request)
  }
  const call = async (tag: string, payload: object, token?: string, address?: string): Promise<any> => {
    const body = JSON.stringify({ _tag: "Request", id: "1", tag, payload, headers: [] })
    const headers = {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(address !== undefined && { "cf-connecting-ip": address })
    }
    const response = await fetchFrom(new Request("https://test/rpc", { method: "POST", body, headers }))
    const answer: any = await response.json()
    return Array.isArray(answer) ? answer[0].exit : answer
  }
  return { call, ...seen }
}

const errorOf = (exit: any) => {
  const { error } = exit.cause.find(({ _tag }: { readonly _tag: string }) => _tag === "Fail")
  return (error.reason ?? error)._tag
}

it("AC1: an anonymous account signs up, signs in and refreshes in workerd", async () => {
  const { call, sent } = deploy()
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
