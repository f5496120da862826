/**
 * Passkeys in a page: asks the browser for one with `@simplewebauthn/browser`, and has the server verify the answer.
 * An entry of its own, `effect-dormouse/accounts/passkeys/client`: a page without passkeys does not contain the library.
 */
import {
  browserSupportsWebAuthn,
  startAuthentication,
  startRegistration,
  WebAuthnAbortService
} from "@simplewebauthn/browser"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Client } from "../../client/ClientTypes.ts"
import type * as Api from "../../contract/Api.ts"
import type { AccountsApi } from "../contract/AccountsApi.ts"
import { SessionEnded } from "../contract/AccountsError.ts"
import type { Session } from "./ClientSession.ts"

/** The browser gave no passkey. */
export class PasskeyNotUsed extends Schema.TaggedError<PasskeyNotUsed>("effect-dormouse/accounts/PasskeyNotUsed")(
  "PasskeyNotUsed",
  {
    /**
     * `cancelled`: the person did not want to, took too long, or has no passkey here; browsers do not say which. `known`: the
     * authenticator has a passkey of this account. `unsupported`: neither the browser nor an authenticator can do it.
     */
    problem: Schema.Literals(["cancelled", "known", "unsupported", "failed"]),
    cause: Schema.Defect()
  }
) {}

const problems: Readonly<Record<string, PasskeyNotUsed["problem"]>> = {
  NotAllowedError: "cancelled",
  AbortError: "cancelled",
  InvalidStateError: "known",
  NotSupportedError: "unsupported",
  ConstraintError: "unsupported"
}

/** Asks the browser. Its dialog is closed when the caller is interrupted. */
const ask = <A>(start: () => Promise<A>): Effect.Effect<A, PasskeyNotUsed> =>
  Effect.suspend(() => {
    if (!browserSupportsWebAuthn()) {
      return new PasskeyNotUsed({ problem: "unsupported", cause: new Error("the browser has no passkeys") })
    }
    return Effect.tryPromise({
      try: start,
      catch: (cause) =>
        new PasskeyNotUsed({ problem: (cause instanceof Error && problems[cause.name]) || "failed", cause })
    })
  }).pipe(Effect.onInterrupt(() => Effect.sync(() => WebAuthnAbortService.cancelCeremony())))

type AccountsClient = Client<Api.RpcsOf<typeof AccountsApi>>

/** Whether the browser has passkeys. */
export const isSupported: Effect.Effect<boolean> = Effect.sync(browserSupportsWebAuthn)

/**
 * Adds a passkey to the account that is signed in, and keeps the session that begins with it. `name` is what the authenticator
 * shows; the name or the email address of the account unless given.
 */
export const add = (
  client: AccountsClient,
  session: Session,
  { device, name }: { readonly name?: string; readonly device?: string } = {}
) => {
  // Another tab may continue the session while the browser asks: then it has another token.
  const refreshToken = Effect.flatMap(
    session.refreshToken,
    Option.match({ onNone: () => new SessionEnded(), onSome: Effect.succeed })
  )
  return Effect.gen(function* () {
    const options = yield* client.act("accounts.passkey.registerOptions", {
      refreshToken: yield* refreshToken,
      ...(name !== undefined && { name })
    })
    const { excludeCredentials, pubKeyCredParams } = options
    const response = yield* ask(() =>
      startRegistration({
        optionsJSON: {
          ...options,
          pubKeyCredParams: [...pubKeyCredParams],
          excludeCredentials: excludeCredentials.map((known) => ({ ...known, transports: [...known.transports] }))
        }
      })
    )
    const tokens = yield* client.act("accounts.passkey.register", {
      refreshToken: yield* refreshToken,
      response,
      ...(device !== undefined && { device })
    })
    yield* session.keep(tokens)
    return tokens
  })
}

/**
 * Signs in with a passkey that the person chooses, and keeps the session. With `autofill` the browser offers the passkeys in
 * an input whose `autocomplete` ends with `webauthn`, and waits until one is chosen.
 */
export const signIn = (
  client: AccountsClient,
  session: Session,
  { autofill = false, device }: { readonly autofill?: boolean; readonly device?: string } = {}
) =>
  Effect.gen(function* () {
    const optionsJSON = yield* client.act("accounts.passkey.signInOptions", {})
    const response = yield* ask(() => startAuthentication({ optionsJSON, useBrowserAutofill: autofill }))
    const tokens = yield* client.act("accounts.passkey.signIn", {
      response,
      ...(device !== undefined && { device })
    })
    yield* session.keep(tokens)
    return tokens
  })
