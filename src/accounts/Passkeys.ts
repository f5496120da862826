/**
 * Passkeys with `@simplewebauthn/server`, which verifies what browsers answer.
 * An entry of its own, `effect-dormouse/accounts/passkeys`: only an app that offers passkeys contains the library.
 */
import { verifyAuthenticationResponse, verifyRegistrationResponse } from "@simplewebauthn/server"
import { decodeAttestationObject, isoCBOR } from "@simplewebauthn/server/helpers"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Ceremonies, Passkeys } from "./Ceremonies.ts"
import { PasskeyRefused } from "./contract/AccountsError.ts"
import { Transport } from "./contract/Passkey.ts"

export type { Ceremonies, Credential, Passkeys } from "./Ceremonies.ts"

/** The site whose passkeys these are. */
export interface Site {
  /** The domain of the passkeys: `example.com`, also for pages of `app.example.com`. No passkey works after it has changed. */
  readonly rpId: string
  /** The name of the app, which browsers and authenticators may show. */
  readonly rpName: string
  /** The origins of the app's pages: `https://app.example.com`. */
  readonly origins: ReadonlyArray<string>
}

/** ES256, EdDSA and RS256: every authenticator has one of them, and Node and workerd verify them. */
const algorithms = [-7, -8, -257]

const refused = new PasskeyRefused()

const decode = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(Result.getOrThrow(Base64Url.decode(text)))

/** The log says why, the caller does not learn it. */
const verified = <A>(verify: () => Promise<A>): Effect.Effect<A, PasskeyRefused> =>
  Effect.tryPromise({ try: verify, catch: (cause) => (cause instanceof Error ? cause.message : String(cause)) }).pipe(
    Effect.catch((problem) =>
      Effect.andThen(Effect.logWarning(`a passkey is refused: ${problem}`), Effect.fail(refused))
    )
  )

/**
 * The same attestation without its statement. None was asked for, so nothing depends on one; with it, a caller could make the
 * library read certificates and fetch the lists of revoked ones from addresses of the caller's choice.
 */
const withoutStatement = (attestationObject: string): string => {
  const authData = decodeAttestationObject(decode(attestationObject)).get("authData")
  const parts: ReadonlyArray<readonly [string, string | Map<string, string> | Uint8Array]> = [
    ["fmt", "none"],
    ["attStmt", new Map()],
    ["authData", authData]
  ]
  return Base64Url.encode(isoCBOR.encode(new Map(parts)))
}

const isTransport = Schema.is(Transport)

const wrongSite = ({ origins, rpId }: Site): string | undefined => {
  const isOf = (origin: string) => {
    const url = URL.canParse(origin) ? new URL(origin) : undefined
    const { hostname = "", protocol = "" } = url ?? {}
    const isSecure = protocol === "https:" || (protocol === "http:" && hostname === "localhost")
    return url?.origin === origin && isSecure && (hostname === rpId || hostname.endsWith(`.${rpId}`))
  }
  const wrong = origins.find((origin) => !isOf(origin))
  if (origins.length === 0) return "passkeys need the origins of the app's pages"
  return wrong === undefined ? undefined : `passkeys of ${rpId} cannot be used by the origin ${wrong}`
}

const ceremoniesOf = ({ origins, rpId, rpName }: Site): Ceremonies => {
  const expected = { expectedOrigin: [...origins], expectedRPID: rpId, requireUserVerification: true }
  return {
    rp: { id: rpId, name: rpName },
    algorithms,

    register: ({ id, rawId, response, type }, challenge) =>
      verified(async () => {
        const { registrationInfo } = await verifyRegistrationResponse({
          response: {
            id,
            rawId,
            type,
            response: {
              clientDataJSON: response.clientDataJSON,
              attestationObject: withoutStatement(response.attestationObject)
            },
            clientExtensionResults: {}
          },
          expectedChallenge: challenge,
          ...expected,
          supportedAlgorithmIDs: algorithms
        })
        if (registrationInfo?.credential.id !== id) throw new Error("the id is not that of the passkey")
        const { counter, publicKey } = registrationInfo.credential
        return {
          publicKey: Base64Url.encode(publicKey),
          counter,
          transports: (response.transports ?? []).filter(isTransport)
        }
      }),

    signIn: ({ id, rawId, response, type }, challenge, stored) =>
      verified(async () => {
        const { authenticatorData, clientDataJSON, signature } = response
        const { authenticationInfo, verified } = await verifyAuthenticationResponse({
          response: {
            id,
            rawId,
            type,
            response: { authenticatorData, clientDataJSON, signature },
            clientExtensionResults: {}
          },
          expectedChallenge: challenge,
          ...expected,
          // A counter that does not grow is refused, if the authenticator counts.
          credential: { id, publicKey: decode(stored.publicKey), counter: stored.counter }
        })
        if (!verified) throw new Error("the signature is wrong")
        return { ...stored, counter: authenticationInfo.newCounter }
      })
  }
}

/**
 * Passkeys of a site, for `Accounts.make`:
 *
 *     Accounts.make({
 *       passkeys: Passkeys.make({ rpId: "example.com", rpName: "Example", origins: ["https://app.example.com"] })
 *     })
 *
 * The site can be a `Config`, where it depends on the deployment.
 */
export const make = (site: Site | Config.Config<Site>): Passkeys =>
  Effect.flatMap(Config.isConfig(site) ? site : Effect.succeed(site), (site) => {
    const problem = wrongSite(site)
    return problem === undefined ? Effect.succeed(ceremoniesOf(site)) : Effect.die(new Error(problem))
  })
