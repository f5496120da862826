import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Auth } from "effect-dormouse/auth"
import { SystemCalls } from "../../src/services/SystemCalls.ts"

/** The header that names a key of the deployment: the caller's subject is the list of all keys. */
export const keyHeader = "x-test-key"

/** The header that names the newest key that its caller knows; what the deployment has unless given. */
export const afterHeader = "x-test-after"

/** Adds the key that a request names, unless the deployment has it. Knows no other requests. */
export const auth = Layer.effect(
  Auth.Authenticator,
  Effect.map(SystemCalls, (system) => ({
    authenticate: Effect.fnUntraced(function* ({ request }: Auth.Credentials) {
      const id = request.headers.get(keyHeader)
      if (id === null) return Option.none()
      const known = yield* Effect.orDie(system.query("keys.list", {}))
      const key = {
        id,
        jwk: `{"kid":"${id}"}`,
        retiresAt: null,
        after: request.headers.get(afterHeader) ?? known.at(-1)?.id ?? null
      }
      const keys = yield* Effect.orDie(system.mutate("keys.add", key))
      const subject = keys.map((key) => key.id).join()
      return Option.some({ identity: { subject, claims: {} }, credential: Auth.noCredential })
    })
  }))
)
