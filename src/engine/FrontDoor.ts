import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import { anonymous, type Identity } from "../contract/Auth.ts"
import type { Actions, ObjectFetch } from "./Actions.ts"
import type { App } from "./App.ts"
import type { Session } from "./Host.ts"
import * as Messages from "./HttpMessages.ts"

/** What the author decides about who may come in. */
export interface Options {
  /** Which tenants exist. Every well-formed name unless given; a name that is refused wakes no object. */
  readonly tenants?: (name: string) => boolean
  /** Who is calling, from the request that opens a socket or carries a call. Anonymous unless given. */
  readonly identify?: (request: Request) => Identity | Promise<Identity>
}

export interface Entry {
  readonly request: Request
  /** Who is calling, when that was already established: an object has one of its actions run. */
  readonly session?: Session | undefined
  readonly object: (tenant: string) => ObjectFetch
  readonly actions: Effect.Effect<Actions>
}

/**
 * What stands before the objects: finds tenant and caller, refuses what no object needs to see, runs actions, and hands
 * the rest on.
 */
export const enter = <Rpcs extends Rpc.Any>(
  app: App<Rpcs>,
  options: Options,
  { actions, object, request, session: established }: Entry
): Effect.Effect<Response> =>
  Effect.gen(function* () {
    const url = new URL(request.url)
    // The stock client ends the path with a slash.
    if (url.pathname !== "/rpc" && url.pathname !== "/rpc/") return Messages.refused(404, "not found")
    const session = established ?? (yield* identify(options, request, url))
    if (session === undefined) return Messages.refused(404, "no such tenant")
    const toObject = object(session.tenant)
    const headers = Messages.sessionHeaders(session)
    if (request.method === "GET") {
      if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
        return Messages.refused(426, "GET /rpc opens a WebSocket", { upgrade: "websocket" })
      }
      return yield* Effect.promise(() =>
        toObject(Messages.objectUrl, { headers: { ...headers, upgrade: "websocket" } })
      )
    }
    if (request.method !== "POST") return Messages.refused(405, "use POST", { allow: "GET, POST" })
    const body = yield* Effect.promise(() => Messages.readRequests(request, app.limits))
    if (body instanceof Response) return body
    const routes = Messages.route(app, body.requests)
    const transact = (text: string) =>
      Effect.promise(() => toObject(Messages.objectUrl, { method: "POST", headers, body: text }))
    if (routes.transactions.length > 0 && routes.transactions.length === body.requests.length) {
      return yield* transact(body.text)
    }
    const act = (onMessage?: (message: FromServerEncoded) => Promise<void>) =>
      Effect.flatMap(actions, ({ run }) => run({ requests: routes.actions, session, object: toObject, onMessage }))
    if (established !== undefined && request.headers.get("accept") === Messages.ndjson)
      return Messages.lines(request.signal, act)
    const [fromObject, fromActions] = yield* Effect.all(
      [
        routes.transactions.length === 0
          ? Effect.succeed([])
          : Effect.flatMap(transact(JSON.stringify(routes.transactions)), (response) =>
              Effect.promise(() => response.json() as Promise<ReadonlyArray<FromServerEncoded>>)
            ),
        routes.actions.length === 0 ? Effect.succeed([]) : act()
      ],
      { concurrency: 2 }
    )
    const isRefused = routes.refusals.length > 0 && routes.refusals.length === body.requests.length
    return Messages.answers([...routes.refusals, ...fromObject, ...fromActions], app.limits, isRefused ? 404 : 200)
  })

const identify = (options: Options, request: Request, url: URL): Effect.Effect<Session | undefined> => {
  const tenant = Messages.tenantOf(request, url)
  if (tenant === undefined || options.tenants?.(tenant) === false) return Effect.succeed(undefined)
  if (options.identify === undefined) return Effect.succeed({ tenant, identity: anonymous })
  return Effect.map(
    Effect.promise(async () => options.identify!(request)),
    (identity) => ({ tenant, identity })
  )
}
