/**
 * Verifies tokens that are signed with a secret which the issuer and this deployment share: `Auth.layerSecret`.
 * Whoever can verify such a token can also make one.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Authenticator } from "../Authenticator.ts"
import { fromSecrets } from "./KeySet.ts"
import * as RefreshingKeys from "./RefreshingKeys.ts"
import { requireAudience, type TokenOptions, verifierOptions } from "./TokenOptions.ts"
import * as TokenVerifier from "./TokenVerifier.ts"

/** A secret, or the variable that has it. */
export type Secret = Redacted.Redacted<string> | Config.Config<Redacted.Redacted<string>>

/** The secret, and whose tokens are accepted. */
export interface SecretOptions extends TokenOptions {
  /** At least 32 bytes. */
  readonly secret: Secret
  /** The secret before this one, while tokens are around that it has signed. */
  readonly previous?: Secret
}

/** Bytes of a secret: those of the digest (RFC 7518, 3.2). */
const minBytes = 32

/** Verifies tokens that are signed with a secret, by HS256. */
export const layerSecret = (options: SecretOptions): Layer.Layer<Authenticator, Config.ConfigError> =>
  Layer.effect(
    Authenticator,
    Effect.gen(function* () {
      requireAudience(options)
      const secrets = [yield* bytesOf(options.secret)]
      if (options.previous !== undefined) secrets.push(yield* bytesOf(options.previous))
      const source = RefreshingKeys.fixed(fromSecrets(secrets))
      return yield* TokenVerifier.make(source, { ...verifierOptions(options), algorithms: ["HS256"] })
    })
  )

const bytesOf = Effect.fnUntraced(function* (secret: Secret) {
  const bytes = new TextEncoder().encode(Redacted.value(Config.isConfig(secret) ? yield* secret : secret))
  if (bytes.length >= minBytes) return bytes
  return yield* Effect.die(new Error(`a secret of Auth has at least ${minBytes} bytes`))
})
