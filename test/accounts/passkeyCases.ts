import { Passkeys } from "effect-dormouse/accounts/passkeys"
import { expect, it } from "vitest"
import * as Authenticator from "./authenticator.ts"

/** Passkeys, in Node and in workerd: a backend that is called over HTTP, and an authenticator in software. */

/** A backend with the accounts of the harness. */
export interface Backend {
  /** The exit of a call, as it is sent. */
  readonly call: (tag: string, payload: object, token?: string) => Promise<any>
  readonly rowsOf: (table: string) => Promise<ReadonlyArray<unknown>>
}

export const origin = "https://app.example"
export const passkeys = Passkeys.make({
  rpId: "app.example",
  rpName: "An app",
  origins: [origin, "https://admin.app.example"]
})

const failureOf = (exit: any): string => {
  if (exit._tag === "Success") return "Success"
  const { error } = exit.cause.find(({ _tag }: { readonly _tag: string }) => _tag === "Fail")
  return (error.reason ?? error)._tag
}

/** Calls of a backend. The payloads are those of JSON. */
export const callsOf = ({ call, rowsOf }: Backend) => {
  const succeed = async (tag: string, payload: object, token?: string): Promise<any> => {
    const exit = await call(tag, payload, token)
    expect(exit, tag).toMatchObject({ _tag: "Success" })
    return exit.value
  }
  /** The accounts, their ways to sign in and their sessions. */
  const written = async () =>
    JSON.stringify(await Promise.all(["accounts", "accounts_identities", "accounts_sessions"].map(rowsOf)))
  return {
    succeed,
    written,
    failing: async (tag: string, payload: object, token?: string) => failureOf(await call(tag, payload, token)),
    guest: () => succeed("accounts.anonymous", {}),
    registerOptions: ({ refreshToken }: any) => succeed("accounts.passkey.registerOptions", { refreshToken }),
    signInOptions: () => succeed("accounts.passkey.signInOptions", {}),
    /** The tag of the error with which a passkey is not added. */
    register: async ({ refreshToken }: any, response: object) =>
      failureOf(await call("accounts.passkey.register", { refreshToken, response })),
    /** The tag of the error of a sign-in, or `Success`. */
    signIn: async (response: object, token?: string) =>
      failureOf(await call("accounts.passkey.signIn", { response }, token))
  }
}

export const suite = (start: (options?: { readonly isOffered?: boolean }) => Backend) => {
  /** An account with a passkey. */
  const begin = async (options?: Parameters<typeof Authenticator.make>[1]) => {
    const calls = callsOf(start())
    const device = Authenticator.make(origin, options)
    const guest = await calls.guest()
    const response = await device.create(await calls.registerOptions(guest))
    const { refreshToken } = guest
    const ada = await calls.succeed("accounts.passkey.register", { refreshToken, response, device: "a test" })
    return { ...calls, ada, device, guest }
  }

  it("AC11: an anonymous account gets a passkey, keeps its id, and signs in with the passkey alone", async () => {
    const { ada, device, guest, signInOptions, succeed } = await begin()
    expect(ada.account).toBe(guest.account)
    const [passkey] = device.passkeys
    const methods = [{ method: "passkey", subject: passkey!.id }]
    expect(await succeed("accounts.me", {}, ada.accessToken)).toEqual({ id: ada.account, isAnonymous: false, methods })
    const response = await device.get(await signInOptions())
    const again = await succeed("accounts.passkey.signIn", { response, device: "another" })
    expect(again.account).toBe(guest.account)
    const sessions = await succeed("accounts.sessions", {}, again.accessToken)
    expect(sessions.map((session: any) => [session.method, session.device])).toEqual([
      ["anonymous", ""],
      ["passkey", "a test"],
      ["passkey", "another"]
    ])
    await succeed("accounts.refresh", { refreshToken: again.refreshToken })
  })

  it("AC11: a browser is asked for a passkey that needs no name, is verified, and is not there yet", async () => {
    const { ada, device, failing, registerOptions, signInOptions, succeed } = await begin()
    const options = await registerOptions(ada)
    expect(options).toMatchObject({
      rp: { id: "app.example", name: "An app" },
      user: { id: device.passkeys[0]!.userHandle, name: "An app" },
      attestation: "none",
      excludeCredentials: [{ type: "public-key", id: device.passkeys[0]!.id, transports: ["internal"] }],
      authenticatorSelection: { residentKey: "required", userVerification: "required" }
    })
    expect(await signInOptions()).toMatchObject({ rpId: "app.example", userVerification: "required" })
    expect((await registerOptions(ada)).challenge).not.toBe(options.challenge)
    const { refreshToken } = ada
    const named = await succeed("accounts.passkey.registerOptions", { refreshToken, name: "Ada" })
    expect(named.user.name).toBe("Ada")
    expect(await failing("accounts.passkey.registerOptions", { refreshToken: "x" })).toBe("SessionEnded")
  })

  it("AC11: a challenge adds one passkey, to the session that asked for it", async () => {
    const { ada, device, guest, register, registerOptions, signInOptions, succeed, written } = await begin()
    const bo = await succeed("accounts.anonymous", {})
    const options = await registerOptions(ada)
    const response = await device.create(options)
    const before = await written()
    // Another account, another session of the account, and an answer to a challenge of a sign-in.
    expect(await register(bo, response)).toBe("ChallengeExpired")
    expect(await register(guest, response)).toBe("ChallengeExpired")
    expect(await register(ada, await device.create({ ...options, challenge: (await signInOptions()).challenge }))).toBe(
      "ChallengeExpired"
    )
    expect(await register(ada, await device.create({ ...options, challenge: "AAAA" }))).toBe("ChallengeExpired")
    expect(await written()).toBe(before)
    expect(await register(ada, response)).toBe("Success")
    const after = await written()
    expect(after).not.toBe(before)
    expect(await register(ada, response)).toBe("ChallengeExpired")
    expect(await register(ada, await device.create(options))).toBe("ChallengeExpired")
    expect(await written()).toBe(after)
  })

  it("AC11: of two answers to one challenge at once, one adds a passkey", async () => {
    const { ada, device, register, registerOptions } = await begin()
    const options = await registerOptions(ada)
    const [a, b] = [await device.create(options), await device.create(options)]
    expect((await Promise.all([register(ada, a), register(ada, b)])).sort()).toEqual(["ChallengeExpired", "Success"])
  })

  it("AC11: a session that has ended adds no passkey", async () => {
    const { ada, device, register, registerOptions, succeed } = await begin()
    const response = await device.create(await registerOptions(ada))
    await succeed("accounts.signOut", { refreshToken: ada.refreshToken })
    expect(await register(ada, response)).toBe("SessionEnded")
  })

  type Case = readonly [string, Authenticator.Claims]
  const wrong: ReadonlyArray<Case> = [
    ["another origin", { origin: "https://app.example.evil.test" }],
    ["an origin of the domain that is no page of the app", { origin: "https://other.app.example" }],
    ["another domain", { rpId: "example" }],
    ["a page in a frame of another site", { crossOrigin: true }],
    ["nobody present", { isPresent: false }],
    ["nobody verified", { isVerified: false }]
  ]

  it.each<Case>([
    ...wrong,
    ["a signature of a sign-in", { type: "webauthn.get" }],
    ["an algorithm that was not asked for", { algorithm: -65_535 }]
  ])("AC11: a new passkey is refused: %s", async (_, claims) => {
    const { ada, device, register, registerOptions, written } = await begin()
    const options = await registerOptions(ada)
    const before = await written()
    expect(await register(ada, await device.create(options, claims))).toBe("PasskeyRefused")
    expect(await written()).toBe(before)
    // The control: the same without that.
    expect(await register(ada, await device.create(await registerOptions(ada)))).toBe("Success")
  })

  it("AC11: a new passkey that cannot be read is refused", async () => {
    const { ada, device, register, registerOptions, written } = await begin()
    const before = await written()
    const change = async (change: (response: any) => object) => {
      const response = await device.create(await registerOptions(ada))
      return register(ada, { ...response, ...change(response) })
    }
    const inside = (fields: object) => change(({ response }) => ({ response: { ...response, ...fields } }))
    expect(await inside({ attestationObject: "AAAA" })).toBe("PasskeyRefused")
    expect(await inside({ attestationObject: btoa("\xff".repeat(30)).replaceAll("/", "_") })).toBe("PasskeyRefused")
    expect(await inside({ clientDataJSON: "AAAA" })).toBe("PasskeyRefused")
    expect(await inside({ clientDataJSON: btoa("{}").replaceAll("=", "") })).toBe("PasskeyRefused")
    expect(await change(() => ({ id: "AAAA", rawId: "AAAA" }))).toBe("PasskeyRefused")
    expect(await change(() => ({ rawId: "AAAA" }))).toBe("PasskeyRefused")
    // What is not of the schema does not reach the handler.
    for (const fields of [{ id: "no base64url!" }, { id: "A".repeat(2000) }, { type: "password" }, { response: {} }]) {
      expect(await change(() => fields)).toBe("PayloadInvalid")
    }
    expect(await inside({ attestationObject: "A".repeat(20_000) })).toBe("PayloadInvalid")
    expect(await written()).toBe(before)
  })

  it("AC11: the statement of an attestation is not read, whatever its format", async () => {
    const { ada, device, register, registerOptions } = await begin()
    for (const format of ["tpm", "packed", "android-safetynet", "of the future"]) {
      expect(await register(ada, await device.create(await registerOptions(ada), { format }))).toBe("Success")
    }
  })

  it("AC11: a passkey that an account has is added to no account", async () => {
    const { ada, device, guest, register, registerOptions, succeed, written } = await begin()
    const bo = await succeed("accounts.anonymous", {})
    const before = await written()
    const { id } = device.passkeys[0]!
    for (const session of [bo, ada]) {
      expect(await register(session, await device.create(await registerOptions(session), { id }))).toBe("AlreadyLinked")
    }
    expect(await written()).toBe(before)
    expect(ada.account).toBe(guest.account)
  })

  it.each<Case>([
    ...wrong,
    ["an answer to the creation of a passkey", { type: "webauthn.create" }],
    ["no account", { userHandle: undefined }],
    ["another account", { userHandle: btoa("another").replaceAll("=", "") }]
  ])("AC12: a sign-in is refused: %s", async (_, claims) => {
    const { device, signIn, signInOptions, written } = await begin()
    const before = await written()
    const options = await signInOptions()
    expect(await signIn(await device.get(options, claims))).toBe("PasskeyRefused")
    // The challenge is used up.
    expect(await signIn(await device.get(options))).toBe("ChallengeExpired")
    expect(await written()).toBe(before)
    expect(await signIn(await device.get(await signInOptions()))).toBe("Success")
  })

  it("AC12: a signature of another key, and what was changed after it was signed, are refused", async () => {
    const { device, signIn, signInOptions, written } = await begin()
    const before = await written()
    const signWith = await Authenticator.strangerKey()
    expect(await signIn(await device.get(await signInOptions(), { signWith }))).toBe("PasskeyRefused")
    const [mine, other] = [await device.get(await signInOptions()), await device.get(await signInOptions())]
    const response = { ...mine.response, authenticatorData: other.response.authenticatorData }
    expect(await signIn({ ...mine, response })).toBe("PasskeyRefused")
    expect(await signIn({ ...other, response: { ...other.response, signature: "MAAA" } })).toBe("PasskeyRefused")
    expect(await signIn({ ...other, response: { ...other.response, signature: "?" } })).toBe("PayloadInvalid")
    expect(await written()).toBe(before)
  })

  it.each(["ES256", "EdDSA", "RS256"] as const)("AC12: keys of %s sign in, and only they do", async (algorithm) => {
    const { device, signIn, signInOptions } = await begin({ algorithm })
    const response = await device.get(await signInOptions())
    expect(await signIn(response)).toBe("Success")
    const { signature } = response.response
    const other = await device.get(await signInOptions())
    expect(await signIn({ ...other, response: { ...other.response, signature } })).toBe("PasskeyRefused")
  })

  it("AC12: a passkey that no account has is refused, with the answer of a wrong signature", async () => {
    const { call } = start()
    const calls = callsOf({ call, rowsOf: async () => [] })
    const device = Authenticator.make(origin)
    const guest = await calls.guest()
    await device.create(await calls.registerOptions(guest))
    const unknown = await call("accounts.passkey.signIn", { response: await device.get(await calls.signInOptions()) })
    const response = await device.create(await calls.registerOptions(guest))
    await calls.succeed("accounts.passkey.register", { refreshToken: guest.refreshToken, response })
    const signWith = await Authenticator.strangerKey()
    const signed = await device.get(await calls.signInOptions(), { signWith })
    const wrong = await call("accounts.passkey.signIn", { response: signed })
    expect(failureOf(unknown)).toBe("PasskeyRefused")
    expect(unknown).toEqual(wrong)
  })

  it("AC12: a passkey of another account signs in to that account alone", async () => {
    const { ada, device, guest, registerOptions, signIn, signInOptions, succeed } = await begin()
    const bo = await succeed("accounts.anonymous", {})
    const response = await device.create(await registerOptions(bo))
    await succeed("accounts.passkey.register", { refreshToken: bo.refreshToken, response })
    const [first, second] = device.passkeys
    const { userHandle } = second!
    expect(await signIn(await device.get(await signInOptions(), { userHandle }, first))).toBe("PasskeyRefused")
    // The id of one passkey with the signature of the other.
    const { id, rawId } = await device.get(await signInOptions(), {}, first)
    const signed = await device.get(await signInOptions(), { userHandle: first!.userHandle }, second)
    expect(await signIn({ ...signed, id, rawId })).toBe("PasskeyRefused")
    const tokens = await succeed("accounts.passkey.signIn", {
      response: await device.get(await signInOptions(), {}, first)
    })
    expect([tokens.account, ada.account]).toEqual([guest.account, guest.account])
  })

  it("AC12: a challenge is answered once", async () => {
    const { ada, device, registerOptions, signIn, signInOptions, written } = await begin()
    const response = await device.get(await signInOptions())
    expect(await signIn(response)).toBe("Success")
    const after = await written()
    expect(await signIn(response)).toBe("ChallengeExpired")
    const { challenge } = await registerOptions(ada)
    expect(await signIn(await device.get({ challenge }))).toBe("ChallengeExpired")
    expect(await signIn(await device.get({ challenge: "AAAA" }))).toBe("ChallengeExpired")
    expect(await written()).toBe(after)
  })

  it("AC12: of two attempts with one challenge at once, one begins a session", async () => {
    const { device, signIn, signInOptions } = await begin({ isCounting: false })
    const response = await device.get(await signInOptions())
    expect((await Promise.all([signIn(response), signIn(response)])).sort()).toEqual(["ChallengeExpired", "Success"])
  })

  it("AC12: a counter that does not grow is refused", async () => {
    const { device, signIn, signInOptions, written } = await begin()
    const attempt = async (counter: number) => signIn(await device.get(await signInOptions(), { counter }))
    expect(await attempt(7)).toBe("Success")
    const before = await written()
    for (const counter of [7, 6, 0]) expect(await attempt(counter)).toBe("PasskeyRefused")
    expect(await written()).toBe(before)
    expect(await attempt(8)).toBe("Success")
  })

  it("AC12: of two copies of a passkey that sign at once, one is signed in", async () => {
    const { device, signIn, signInOptions } = await begin()
    const answers = [await signInOptions(), await signInOptions()].map((options) => device.get(options, { counter: 9 }))
    const [a, b] = await Promise.all(answers)
    expect((await Promise.all([signIn(a!), signIn(b!)])).sort()).toEqual(["PasskeyRefused", "Success"])
  })

  it("AC12: an authenticator that does not count is accepted again and again", async () => {
    const { device, signIn, signInOptions } = await begin({ isCounting: false })
    for (let i = 0; i < 3; i++) expect(await signIn(await device.get(await signInOptions()))).toBe("Success")
  })

  it("AC12: a guest who signs in with a passkey is merged, and who has another account is not signed in", async () => {
    const { ada, device, failing, guest, signIn, signInOptions, succeed } = await begin()
    const bo = await succeed("accounts.anonymous", {})
    const response = await device.get(await signInOptions())
    const tokens = await succeed("accounts.passkey.signIn", { response }, bo.accessToken)
    expect(tokens).toMatchObject({ account: guest.account, merged: bo.account })
    expect(await failing("accounts.me", {}, bo.accessToken)).toBe("Unauthenticated")
    const named = await succeed("accounts.password.signUp", { name: "cy", password: "correct horse" })
    expect(await signIn(await device.get(await signInOptions()), named.accessToken)).toBe("AlreadyLinked")
    expect(await signIn(await device.get(await signInOptions()), ada.accessToken)).toBe("Success")
  })

  it("AC13: a passkey is removed, not the last way to sign in, and the other sessions of passkeys end", async () => {
    const { ada, device, failing, registerOptions, signIn, signInOptions, succeed, written } = await begin()
    const lost = await succeed("accounts.passkey.signIn", { response: await device.get(await signInOptions()) })
    const [passkey] = device.passkeys
    const remove = { refreshToken: ada.refreshToken, passkey: passkey!.id }
    expect(await failing("accounts.passkey.remove", remove)).toBe("LastMethod")
    const before = await written()
    // Another account removes nothing, and neither does a session that has ended.
    const bo = await succeed("accounts.password.signUp", { name: "bo", password: "correct horse" })
    const rows = await written()
    await succeed("accounts.passkey.remove", { ...remove, refreshToken: bo.refreshToken })
    await succeed("accounts.passkey.remove", { ...remove, passkey: "unknown" })
    expect(await failing("accounts.passkey.remove", { ...remove, refreshToken: "x" })).toBe("SessionEnded")
    expect(await written()).toBe(rows)
    expect(rows).not.toBe(before)

    const second = await device.create(await registerOptions(ada))
    await succeed("accounts.passkey.register", { refreshToken: ada.refreshToken, response: second })
    const byName = await succeed(
      "accounts.password.signUp",
      { name: "ada", password: "correct horse" },
      ada.accessToken
    )
    await succeed("accounts.passkey.remove", remove)
    expect(await failing("accounts.refresh", { refreshToken: lost.refreshToken })).toBe("SessionEnded")
    expect(await failing("accounts.me", {}, lost.accessToken)).toBe("Unauthenticated")
    await succeed("accounts.refresh", { refreshToken: ada.refreshToken })
    await succeed("accounts.refresh", { refreshToken: byName.refreshToken })
    expect(await signIn(await device.get(await signInOptions(), {}, passkey))).toBe("PasskeyRefused")
    expect(await signIn(await device.get(await signInOptions()))).toBe("Success")
  })

  it("AC14: an app without passkeys does not offer them", async () => {
    const { failing, guest } = callsOf(start({ isOffered: false }))
    const { refreshToken } = await guest()
    const device = Authenticator.make(origin)
    const options = { challenge: "AAAA", rp: { id: "app.example" }, user: { id: "AAAA" } }
    const created = await device.create(options)
    const calls: ReadonlyArray<readonly [string, object]> = [
      ["registerOptions", { refreshToken }],
      ["register", { refreshToken, response: created }],
      ["signInOptions", {}],
      ["signIn", { response: await device.get(options) }],
      ["remove", { refreshToken, passkey: "AAAA" }]
    ]
    for (const [tag, payload] of calls)
      expect(await failing(`accounts.passkey.${tag}`, payload), tag).toBe("NotOffered")
  })
}
