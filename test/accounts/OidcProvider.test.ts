/// <reference types="node" />
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath, URL } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Accounts } from "effect-dormouse/accounts"
import { TestApp } from "effect-dormouse/testing"
// @ts-expect-error: the package has no types.
import Provider from "oidc-provider"
import { afterAll, beforeAll } from "vitest"
import * as Secrets from "../../src/accounts/Secrets.ts"
import { WorkerdProcess } from "../deployment/workerd.ts"
import { appOf, clientOf, failure, hidden, outside, secret } from "./harness.ts"

/** Sign-in at a certified server of OpenID Connect, over HTTP. */

const redirectUri = "https://app.example/back"
let server: Server
let issuer: string

beforeAll(async () => {
  server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const client = { redirect_uris: [redirectUri], grant_types: ["authorization_code"], response_types: ["code"] }
  const provider = new Provider(issuer, {
    clients: [
      { ...client, client_id: "confidential", client_secret: "a secret: with/odd characters" },
      { ...client, client_id: "public", token_endpoint_auth_method: "none" }
    ],
    cookies: { keys: ["test"] }
  })
  server.on("request", provider.callback())
})

afterAll(() => {
  server.closeAllConnections()
  server.close()
})

/** A browser: follows redirects with its cookies, fills in the forms, and returns the URL outside of the provider. */
const browse = async (start: string, login: string): Promise<URL> => {
  const cookies = new Map<string, string>()
  let [url, form] = [new URL(start), undefined as URLSearchParams | undefined]
  for (let i = 0; i < 20 && url.origin === issuer; i++) {
    const response = await fetch(url, {
      redirect: "manual",
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") },
      ...(form && { method: "POST", body: form })
    })
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie)!
      cookies.set(name!, value!)
    }
    const text = await response.text()
    const location = response.headers.get("location")
    form = undefined
    if (location !== null) url = new URL(location, url)
    else {
      const prompt = /name="prompt" value="(\w+)"/.exec(text)?.[1]
      if (prompt === undefined) throw new Error(`the provider answers ${response.status}: ${text.slice(0, 300)}`)
      url = new URL(/action="([^"]+)"/.exec(text)![1]!, url)
      form = new URLSearchParams({ prompt, ...(prompt === "login" && { login, password: "any" }) })
    }
  }
  return url
}

const confidential = (clientSecret = "a secret: with/odd characters") =>
  Accounts.oidc({
    name: "real",
    issuer,
    clientId: "confidential",
    clientSecret: hidden(clientSecret),
    redirectUri
  })

const open = () => Accounts.oidc({ name: "open", issuer, clientId: "public", redirectUri, scopes: ["openid"] })

/** Runs a body over an app with these providers. */
const over = <A, E>(providers: ReadonlyArray<Accounts.Provider>, body: Effect.Effect<A, E, any>) =>
  Effect.runPromise(
    body.pipe(Effect.scoped, Effect.provide(TestApp.layer(appOf(outside(), { providers })))) as Effect.Effect<A, E>
  )

type TestClient = Effect.Success<ReturnType<typeof clientOf>>

/** What a browser comes back with. */
const visit = (client: TestClient, provider: string, login: string, verifier = "v") =>
  Effect.gen(function* () {
    const { url } = yield* client.act("accounts.provider.begin", { provider, challenge: Secrets.hash(verifier) })
    const back = yield* Effect.promise(() => browse(url, login))
    expect(back.href.startsWith(redirectUri)).toBe(true)
    const { code, iss, state } = Object.fromEntries(back.searchParams)
    return { provider, state: state!, code: hidden(code!), iss: iss!, verifier: hidden(verifier) }
  })

describe("a provider of OpenID Connect", () => {
  it.each(["real", "open"])("AC6: signs the same user in to the same account: %s", (name) =>
    over(
      [confidential(), open()],
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const sign = (login: string) =>
          Effect.flatMap(visit(nobody, name, login), (back) => nobody.act("accounts.provider.complete", back))
        const [ada, bo, again] = [yield* sign("ada"), yield* sign("bo"), yield* sign("ada")]
        expect(ada.account).not.toBe(bo.account)
        expect(again.account).toBe(ada.account)
        const me = yield* (yield* clientOf(ada)).query("accounts.me", {})
        expect(me.methods).toEqual([{ method: `oidc:${name}`, subject: "ada" }])
      })
    )
  )

  it("AC6: is linked to the account of the caller, who keeps it", () =>
    over(
      [confidential()],
      Effect.gen(function* () {
        const anonymous = yield* (yield* clientOf()).act("accounts.anonymous", {})
        const client = yield* clientOf(anonymous)
        const tokens = yield* client.act("accounts.provider.complete", yield* visit(client, "real", "ada"))
        expect(tokens.account).toBe(anonymous.account)
      })
    ))

  it("AC6: state and code work once, and only for the browser that began", () =>
    over(
      [confidential()],
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const back = yield* visit(nobody, "real", "ada")
        const complete = (given: Partial<typeof back>) =>
          nobody.act("accounts.provider.complete", { ...back, ...given })
        expect((yield* failure(complete({ verifier: hidden("another") })))._tag).toBe("LinkExpired")
        expect((yield* failure(complete({ state: "forged" })))._tag).toBe("LinkExpired")
        yield* complete({})
        expect((yield* failure(complete({})))._tag).toBe("LinkExpired")
        // The code that was used, with a state that was not.
        const other = yield* visit(nobody, "real", "bo")
        expect((yield* failure(complete({ state: other.state })))._tag).toBe("ProviderRefused")
      })
    ))

  it("AC6: a code of another sign-in is refused by PKCE", () =>
    over(
      [confidential()],
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const [mine, stolen] = [yield* visit(nobody, "real", "ada"), yield* visit(nobody, "real", "victim")]
        const injected = nobody.act("accounts.provider.complete", { ...mine, code: stolen.code })
        expect((yield* failure(injected))._tag).toBe("ProviderRefused")
        // The control: the code itself is good.
        const next = yield* visit(nobody, "real", "victim")
        expect((yield* nobody.act("accounts.provider.complete", next)).account).toBeDefined()
      })
    ))

  it("AC6: an app with a wrong client secret is refused", () =>
    over(
      [confidential("wrong")],
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const back = yield* visit(nobody, "real", "ada")
        expect((yield* failure(nobody.act("accounts.provider.complete", back)))._tag).toBe("ProviderRefused")
      })
    ))

  it("AC6: a redirect that names another issuer is refused", () =>
    over(
      [confidential()],
      Effect.gen(function* () {
        const nobody = yield* clientOf()
        const mixed = { ...(yield* visit(nobody, "real", "ada")), iss: "https://evil.example" }
        expect((yield* failure(nobody.act("accounts.provider.complete", mixed)))._tag).toBe("ProviderRefused")
      })
    ))
})

const entry = fileURLToPath(new URL("../worker/process/oidc.ts", import.meta.url))

/** Signs in by the Worker of a process of workerd, which has this secret of the client. Gives a function that calls it. */
const inWorkerd = async (
  clientSecret: string,
  body: (call: (tag: string, payload: object, token?: string) => any) => Promise<void>
) => {
  const server = await WorkerdProcess.start(entry, {
    ISSUER: issuer,
    CLIENT_SECRET: clientSecret,
    ACCOUNTS_SECRET: secret
  })
  try {
    await body(async (tag: string, payload: object, token?: string) => {
      const message = JSON.stringify({ _tag: "Request", id: "1", tag, payload, headers: [] })
      const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` }
      const response = await server.deployment.fetch("/rpc", { method: "POST", headers, body: message })
      return ((await response.json()) as any)[0].exit
    })
  } finally {
    await server.close()
  }
}

describe("a provider of OpenID Connect, from workerd", () => {
  const sign = async (call: (tag: string, payload: object) => any, login: string) => {
    const begin = { provider: "real", challenge: Secrets.hash("v") }
    const back = await browse((await call("accounts.provider.begin", begin)).value.url, login)
    const { code, iss, state } = Object.fromEntries(back.searchParams)
    return call("accounts.provider.complete", { provider: "real", state, code, iss, verifier: "v" })
  }

  it("AC6: signs the same user in to the same account, with a token that the Worker accepts", () =>
    inWorkerd("a secret: with/odd characters", async (call) => {
      const { value: ada } = await sign(call, "ada")
      const me = { id: ada.account, isAnonymous: false, methods: [{ method: "oidc:real", subject: "ada" }] }
      expect((await call("accounts.me", {}, ada.accessToken)).value).toEqual(me)
      expect((await sign(call, "ada")).value.account).toBe(ada.account)
      expect((await sign(call, "bo")).value.account).not.toBe(ada.account)
    }))

  it("AC6: refuses a Worker with a wrong client secret", () =>
    inWorkerd("wrong", async (call) => {
      const exit = await sign(call, "ada")
      expect(exit.cause).toMatchObject([{ _tag: "Fail", error: { _tag: "ProviderRefused" } }])
    }))
})
