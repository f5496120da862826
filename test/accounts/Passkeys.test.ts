/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import { gzipSync } from "node:zlib"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as TestClock from "effect/testing/TestClock"
import type { Accounts } from "effect-dormouse/accounts"
import { Passkeys } from "effect-dormouse/accounts/passkeys"
import { TestApp } from "effect-dormouse/testing"
import * as Esbuild from "esbuild"
import { afterEach, describe, expect, it } from "vitest"
import * as Tables from "../../src/accounts/AccountsTables.ts"
import { Transactor } from "../../src/services/Transactor.ts"
import * as Authenticator from "./authenticator.ts"
import { appOf, outside } from "./harness.ts"
import { type Backend, callsOf, origin, passkeys, suite } from "./passkeyCases.ts"

const tables = {
  accounts: Tables.accounts,
  accounts_identities: Tables.identities,
  accounts_sessions: Tables.sessions
}

/** What ends with the test. */
const open: Array<() => Promise<void>> = []
afterEach(async () => {
  for (const close of open.splice(0)) await close()
})

/** A backend over memory, whose clock stands still. */
const start = (options: Accounts.AccountsOptions = { passkeys }) => {
  const layer = TestApp.layer(appOf(outside(), options)).pipe(Layer.provideMerge(TestClock.layer()))
  const runtime = ManagedRuntime.make(layer)
  open.push(() => runtime.dispose())
  const post = Effect.fnUntraced(function* (body: string, token: string | undefined) {
    const { transport, url } = yield* TestApp
    const request = HttpClientRequest.post(`${url}/rpc`, {
      ...(token !== undefined && { headers: { authorization: `Bearer ${token}` } })
    }).pipe(HttpClientRequest.bodyText(body, "application/json"))
    const [answer] = (yield* Effect.flatMap(HttpClient.execute(request), ({ json }) => json).pipe(
      Effect.provide(transport)
    )) as any
    return answer.exit
  })
  const backend: Backend = {
    call: (tag, payload, token) =>
      runtime.runPromise(post(JSON.stringify({ _tag: "Request", id: "1", tag, payload, headers: [] }), token)),
    rowsOf: (table) =>
      runtime.runPromise(
        TestApp.run(
          Effect.flatMap(Transactor, ({ read }) => read<any, any, any>(tables[table as keyof typeof tables].query()))
        ) as Effect.Effect<any, any, TestApp>
      )
  }
  return { ...backend, pass: (minutes: number) => runtime.runPromise(TestClock.adjust(`${minutes} minutes`)) }
}

describe("passkeys", () => {
  suite(({ isOffered = true } = {}) => start(isOffered ? { passkeys } : {}))

  it("AC11, AC12: a challenge can be answered for five minutes", async () => {
    const { pass, ...backend } = start()
    const { guest, register, registerOptions, signIn, signInOptions, written } = callsOf(backend)
    const device = Authenticator.make(origin)
    const ada = await guest()
    const late = await device.create(await registerOptions(ada))
    await pass(5)
    const before = await written()
    expect(await register(ada, late)).toBe("ChallengeExpired")
    expect(await written()).toBe(before)
    const inTime = await device.create(await registerOptions(ada))
    await pass(4)
    expect(await register(ada, inTime)).toBe("Success")

    const tooLate = await device.get(await signInOptions())
    await pass(5)
    expect(await signIn(tooLate)).toBe("ChallengeExpired")
    const soon = await device.get(await signInOptions())
    await pass(4)
    expect(await signIn(soon)).toBe("Success")
  })

  it("AC9: attempts with one passkey are charged before it is verified", async () => {
    const { pass, ...backend } = start()
    const { guest, register, registerOptions, signIn, signInOptions } = callsOf(backend)
    const device = Authenticator.make(origin)
    const ada = await guest()
    await register(ada, await device.create(await registerOptions(ada)))
    const signWith = await Authenticator.strangerKey()
    for (let i = 0; i < 10; i++) {
      expect(await signIn(await device.get(await signInOptions(), { signWith }))).toBe("PasskeyRefused")
    }
    expect(await signIn(await device.get(await signInOptions()))).toBe("TooManyRequests")
    await pass(1)
    expect(await signIn(await device.get(await signInOptions()))).toBe("Success")
    const answer = async () => register(ada, await device.create(await registerOptions(ada), { isVerified: false }))
    for (let i = 0; i < 10; i++) expect(await answer()).toBe("PasskeyRefused")
    expect(await answer()).toBe("TooManyRequests")
  })

  it("AC3: a session that began with a passkey does not set a password without the one until now", async () => {
    const { failing, guest, register, registerOptions, signInOptions, succeed } = callsOf(start())
    const device = Authenticator.make(origin)
    const ada = await guest()
    await succeed("accounts.password.signUp", { name: "ada", password: "correct horse" }, ada.accessToken)
    expect(await register(ada, await device.create(await registerOptions(ada)))).toBe("Success")
    const response = await device.get(await signInOptions())
    const { refreshToken } = await succeed("accounts.passkey.signIn", { response })
    const set = { refreshToken, password: "battery staple" }
    expect(await failing("accounts.password.set", set)).toBe("InvalidCredentials")
    await succeed("accounts.password.set", { ...set, current: "correct horse" })
  })

  it("AC2: no rpc shows more of a passkey than its id", async () => {
    const backend = start()
    const { guest, registerOptions, succeed } = callsOf(backend)
    const device = Authenticator.make(origin)
    const { refreshToken } = await guest()
    const options = await registerOptions({ refreshToken })
    const tokens = await succeed("accounts.passkey.register", { refreshToken, response: await device.create(options) })
    const [identity] = (await backend.rowsOf("accounts_identities")) as ReadonlyArray<{ readonly secret: string }>
    const { publicKey } = JSON.parse(identity!.secret)
    expect(publicKey).toMatch(/^[\w-]{80,}$/)
    const shown = [await succeed("accounts.me", {}, tokens.accessToken), await registerOptions({ refreshToken })]
    expect(JSON.stringify(shown)).not.toContain(publicKey)
  })

  it.each([
    ["an origin that is not secure", "http://app.example"],
    ["an origin of another domain", "https://app.example.evil.test"],
    ["an origin with a path", "https://app.example/"],
    ["a domain that only ends alike", "https://myapp.example"],
    ["no address", "app.example"]
  ])("AC12: a site that cannot have the passkeys is refused when the app starts: %s", async (_, wrong) => {
    const make = (origins: ReadonlyArray<string>) =>
      Effect.runPromise(Passkeys.make({ rpId: "app.example", rpName: "An app", origins }))
    await expect(make([origin, wrong])).rejects.toThrow("cannot be used by the origin")
    await expect(make([])).rejects.toThrow("need the origins")
    await make([origin, "https://deep.app.example:8443"])
  })
})

describe("the bundle", () => {
  const bundled = async (code: string) => {
    const { outputFiles } = await Esbuild.build({
      stdin: { contents: code, resolveDir: fileURLToPath(new URL("../..", import.meta.url)), loader: "ts" },
      bundle: true,
      minify: true,
      write: false,
      format: "esm",
      target: "es2024",
      conditions: ["source", "workerd", "worker", "browser"],
      external: ["cloudflare:*"]
    })
    return outputFiles[0]!.text
  }

  // Texts of errors of the libraries for servers and for browsers.
  const [server, browser] = ["Unexpected authentication response", "Authentication was not completed"]

  it("AC14: only a Worker that imports the passkeys has the library", async () => {
    const without = await bundled(`
      import { Accounts } from "effect-dormouse/accounts"
      export const accounts = Accounts.make()
    `)
    const withPasskeys = await bundled(`
      import { Accounts } from "effect-dormouse/accounts"
      import { Passkeys } from "effect-dormouse/accounts/passkeys"
      const passkeys = Passkeys.make({ rpId: "app.example", rpName: "An app", origins: ["https://app.example"] })
      export const accounts = Accounts.make({ passkeys })
    `)
    expect(withPasskeys).toContain(server)
    expect(without).not.toContain(server)
    expect(withPasskeys).not.toContain(browser)
    console.info(`accounts ${gzipSync(without).length} bytes, with passkeys ${gzipSync(withPasskeys).length}`)
  })

  it("AC14: only a page that imports the passkeys has the library", async () => {
    const without = await bundled(`
      import { Accounts } from "effect-dormouse/accounts/client"
      export const { session } = Accounts
    `)
    const withPasskeys = await bundled(`
      import { Accounts } from "effect-dormouse/accounts/client"
      import { Passkeys } from "effect-dormouse/accounts/passkeys/client"
      export const { session } = Accounts
      export const { add, signIn } = Passkeys
    `)
    expect(withPasskeys).toContain(browser)
    expect(without).not.toContain(browser)
    expect(withPasskeys).not.toContain(server)
    console.info(`a page ${gzipSync(without).length} bytes, with passkeys ${gzipSync(withPasskeys).length}`)
  })
})
