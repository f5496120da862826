/**
 * The app of the deployment's own object: tables and handlers of `SystemApi`.
 * It runs on the engine that runs the author's app, in an object of the same class.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as App from "../contract/App.ts"
import * as Table from "../contract/Table.ts"
import { SigningKey, SystemApi, type SystemRpcs } from "./SystemApi.ts"

const keys = Table.make("keys", SigningKey, { key: "id", indexes: { byAge: ["createdAt"] } })

const list = keys.query("byAge")

const handlers = () =>
  SystemApi.toLayer({
    "keys.list": () => list,

    "keys.add": Effect.fnUntraced(function* ({ after, ...key }) {
      const known = yield* list
      const isLate = after !== undefined && after !== (known.at(-1)?.id ?? null)
      if (isLate || known.some(({ id }) => id === key.id)) return known
      // The next key is the newest one even if the clock stands still or goes back.
      const createdAt = Math.max(yield* Clock.currentTimeMillis, (known.at(-1)?.createdAt ?? 0) + 1)
      const added = yield* keys.insert({ ...key, createdAt })
      return [...known, added]
    }),

    "keys.remove": ({ id }) => Effect.andThen(keys.delete(id), list)
  })

let made: App.App<SystemRpcs> | undefined

/** The app of the deployment's own object. It is made when that object first starts here: tenants do not need it. */
export const systemApp = (): App.App<SystemRpcs> => {
  made ??= App.make({ api: SystemApi, tables: [keys], handlers: handlers() })
  return made
}
