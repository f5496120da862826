/**
 * The port for the keys with which a deployment signs its own tokens. All isolates of the deployment share one store.
 * It keeps keys and decides nothing: `SigningKeys` decides when there is a new one.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Unavailable } from "../protocol/CallError.ts"
import type { SigningKey } from "../system/SystemApi.ts"
import { SystemCalls } from "./SystemCalls.ts"

/** A key with which tokens are signed. Times are milliseconds since the epoch. */
export interface StoredKey {
  readonly id: string
  /** The private key, as the text of a JSON Web Key. */
  readonly jwk: Redacted.Redacted<string>
  /** From this time on the key signs nothing. `null` as long as that is not known. */
  readonly retiresAt: number | null
  readonly createdAt: number
}

/** A key that is not stored yet. */
export interface NewKey extends Omit<StoredKey, "createdAt"> {
  /** The newest key that the caller knows, `null` for none. If it is not the newest one any more, nothing is added. */
  readonly after: string | null
}

/** Keeps the keys. Each method answers with all keys, the oldest first. */
export class KeyStore extends Context.Service<
  KeyStore,
  {
    readonly list: Effect.Effect<ReadonlyArray<StoredKey>, Unavailable>
    /** Adds the next key. Of several callers at the same time only one adds its key, and all get the same keys. */
    readonly add: (key: NewKey) => Effect.Effect<ReadonlyArray<StoredKey>, Unavailable>
    readonly remove: (id: string) => Effect.Effect<ReadonlyArray<StoredKey>, Unavailable>
  }
>()("effect-dormouse/services/KeyStore") {}

/** Keys in memory: they end with the process. */
export const layerMemory: Layer.Layer<KeyStore> = Layer.sync(KeyStore, () => {
  let keys: ReadonlyArray<StoredKey> = []
  return {
    list: Effect.sync(() => keys),
    add: ({ after, ...key }) =>
      Effect.map(Clock.currentTimeMillis, (createdAt) => {
        const isNext = (keys.at(-1)?.id ?? null) === after && !keys.some(({ id }) => id === key.id)
        if (isNext) keys = [...keys, { ...key, createdAt }]
        return keys
      }),
    remove: (id) =>
      Effect.sync(() => {
        keys = keys.filter((key) => key.id !== id)
        return keys
      })
  }
})

const unavailable = new Unavailable({ detail: "the keys that sign tokens cannot be read now" })

/** Keys in the deployment's own object. Whoever can read its storage can sign tokens. */
export const layerSystem: Layer.Layer<KeyStore, never, SystemCalls> = Layer.effect(
  KeyStore,
  Effect.map(SystemCalls, (system) => {
    const stored = <E>(calls: Effect.Effect<ReadonlyArray<SigningKey>, E>) =>
      calls.pipe(
        Effect.tapCause((cause) => Effect.logWarning("the deployment's own object did not answer", cause)),
        Effect.mapError(() => unavailable),
        Effect.map((keys) => keys.map(({ jwk, ...key }) => ({ ...key, jwk: Redacted.make(jwk) })))
      )
    return {
      list: stored(system.query("keys.list", {})),
      add: ({ jwk, ...key }) => stored(system.mutate("keys.add", { ...key, jwk: Redacted.value(jwk) })),
      remove: (id) => stored(system.mutate("keys.remove", { id }))
    }
  })
)
