/**
 * Who is calling: the identity of a caller, the services through which handlers read it, and the layers that verify tokens.
 * `Cloudflare.serve(app, { auth })` takes one of the layers.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { anonymous, Credential, Identity } from "../contract/Auth.ts"
import { TokenIssuer } from "../contract/TokenIssuer.ts"
import { Unauthenticated } from "../protocol/CallError.ts"
import { Authenticator, type Credentials, noCredential, type Refusal, type Verified } from "./Authenticator.ts"

export * from "../contract/Auth.ts"
export { type Revocation, revoke } from "../contract/Revocation.ts"
export { type IssuedToken, TokenIssuer, type TokenRequest } from "../contract/TokenIssuer.ts"
export { Authenticator, type Credentials, noCredential, type Refusal, type Verified } from "./Authenticator.ts"
export { type AppKey, withAppKeys } from "./auth/AppKeys.ts"
export { type JwksOptions, layerJwks } from "./auth/Jwks.ts"
export { type LocalOptions, layerLocal, layerLocalWith } from "./auth/Local.ts"
export { layerSecret, type Secret, type SecretOptions } from "./auth/Secret.ts"
export * as KeyStore from "./KeyStore.ts"

/** Accepts callers without a token, as anonymous. It does not know any token. */
export const layerAnonymous: Layer.Layer<Authenticator> = Layer.succeed(Authenticator, {
  authenticate: ({ token }) =>
    Effect.succeed(token === undefined ? Option.some({ identity: anonymous, credential: noCredential }) : Option.none())
})

/** An authenticator of the author's own. It sees the whole request. */
export const layer = (
  authenticate: (credentials: Credentials) => Effect.Effect<Option.Option<Verified>, Refusal>
): Layer.Layer<Authenticator> => Layer.succeed(Authenticator, { authenticate })

type AnyLayer = Layer.Layer<Authenticator, any, any>

/**
 * Asks several authenticators in order: the first that knows the token decides. What else the layers have, it
 * has too: of two that issue tokens the first does.
 */
export const layerFirst: <const Layers extends readonly [AnyLayer, ...Array<AnyLayer>]>(
  ...layers: Layers
) => Layer.Layer<Layer.Success<Layers[number]>, Layer.Error<Layers[number]>, Layer.Services<Layers[number]>> = (
  ...layers: ReadonlyArray<Layer.Layer<any, any, any>>
) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const built = yield* Effect.forEach(layers, (layer) => Layer.build(layer))
      const all = built.map((context) => Context.get(context, Authenticator))
      const first = <A, E>(
        ask: (authenticator: Authenticator["Service"]) => Effect.Effect<Option.Option<A>, E>
      ): Effect.Effect<Option.Option<A>, E> =>
        Effect.gen(function* () {
          for (const authenticator of all) {
            const answer = yield* ask(authenticator)
            if (Option.isSome(answer)) return answer
          }
          return Option.none()
        })
      return Context.add(Context.mergeAll(...built.toReversed()), Authenticator, {
        authenticate: (credentials) => first(({ authenticate }) => authenticate(credentials)),
        respond: (request) => first(({ respond }) => respond?.(request) ?? Effect.succeed(Option.none()))
      })
    })
  )

const TestToken = Schema.fromJsonString(Schema.Struct({ identity: Identity, credential: Credential }))
const decodeTestToken = Schema.decodeUnknownOption(TestToken)

/**
 * For tests: accepts what `testToken` made, and what actions issue, without any signature, until it expires by the Effect
 * clock.
 */
export const layerTest: Layer.Layer<Authenticator | TokenIssuer> = Layer.succeedContext(
  Context.make(Authenticator, {
    authenticate: Effect.fnUntraced(function* ({ token }) {
      if (token === undefined) return Option.none()
      const decoded = Option.flatMap(Result.getSuccess(Base64Url.decodeString(token)), decodeTestToken)
      if (Option.isNone(decoded)) return yield* new Unauthenticated({ problem: "malformed" })
      const { expires } = decoded.value.credential
      if (expires !== null && expires <= (yield* Clock.currentTimeMillis)) {
        return yield* new Unauthenticated({ problem: "expired" })
      }
      return decoded
    })
  }).pipe(
    Context.add(TokenIssuer, {
      issue: ({ claims, expiresIn, session = null, subject }) =>
        Effect.map(Clock.currentTimeMillis, (issued) => {
          const expires = issued + Duration.toMillis(expiresIn)
          return { token: testToken({ subject, claims, expires, issued, session }), expires }
        })
    })
  )
)

/** A caller in a test: anonymous, with a token that never expires, but for what is given. */
export interface TestCaller extends Partial<Identity>, Partial<Credential> {}

/** A token for `layerTest`. */
export const testToken = ({ claims, subject, ...credential }: TestCaller): string =>
  // A token stands in a header, where only some characters may.
  Base64Url.encode(
    JSON.stringify({
      identity: { ...anonymous, ...(subject !== undefined && { subject }), ...(claims && { claims }) },
      credential: { ...noCredential, ...credential }
    })
  )
