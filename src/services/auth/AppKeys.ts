/**
 * A gate in front of another layer: only the author's own apps may call, each with its publishable key and from its own
 * origins. A key is no secret: it says which app calls, and the layer behind it says who.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Forbidden } from "../../protocol/CallError.ts"
import { Authenticator } from "../Authenticator.ts"

/** An app that may call. */
export interface AppKey {
  /** Publishable: it is in the code of the page. */
  readonly key: string
  /** The origins of its pages, such as `https://app.example.org`; `*` for all. A caller that is no browser has none. */
  readonly origins: ReadonlyArray<string>
}

/** The header with the key of an app. On a socket, where browsers cannot set headers, the key is `?key=`. */
export const appKeyHeader = "x-dormouse-key"

/** Whether a request has a key of the list, and comes from one of its origins if it comes from a browser. */
export const isAllowed = (keys: ReadonlyArray<AppKey>, request: Request): boolean => {
  const key = request.headers.get(appKeyHeader) ?? new URL(request.url).searchParams.get("key")
  const app = keys.find((app) => app.key === key)
  const origin = request.headers.get("origin")
  return app !== undefined && (origin === null || app.origins.includes(origin) || app.origins.includes("*"))
}

/** Refuses requests without a key of the list, or from elsewhere, with `Forbidden`: before their token is looked at. */
export const withAppKeys = <A, E, R>(
  layer: Layer.Layer<A | Authenticator, E, R>,
  keys: ReadonlyArray<AppKey>
): Layer.Layer<A | Authenticator, E, R> =>
  Layer.effectContext(
    Effect.map(Layer.build(layer), (built) => {
      const guarded = Context.get(built, Authenticator)
      return Context.add(built, Authenticator, {
        ...guarded,
        authenticate: (credentials) =>
          // The app of an open socket was looked at when it was opened.
          credentials.isRenewal || isAllowed(keys, credentials.request)
            ? guarded.authenticate(credentials)
            : Effect.fail(new Forbidden())
      })
    })
  )
