import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import { anonymous, type Identity } from "../contract/Auth.ts"
import * as Limits from "../protocol/Limits.ts"
import type { Actions, ObjectFetch } from "./Actions.ts"
import { conceal } from "./Answer.ts"
import type { App } from "./App.ts"
import type { Session } from "./Host.ts"
import * as Messages from "./HttpMessages.ts"

/** What the author decides about who may come in. */
export interface Options {
  /** Which tenants exist. Every well-formed name unless given; a name that is refused wakes no object. */
  readonly tenants?: (name: string) => boolean
  /** Who is calling, from the request that opens a socket or carries a call. Anonymous unless given. */
  readonly identify?: (request: Request) => Identity | Promise<Identity>
  /**
   * Who may see `GET /rpc/explain`: what each live query of a tenant read, what last woke it, how often it ran and how
   * often in vain, and what it sent. Nobody unless given.
   */
  readonly explain?: (request: Request) => boolean | Promise<boolean>
}

export interface Entry {
  readonly request: Request
  /** Who is calling, when that was already established: an object has one of its actions run. */
  readonly session?: Session | undefined
  readonly object: (tenant: string) => ObjectFetch
  readonly actions: Effect.Effect<Actions>
  /** Keeps what runs here alive for a while when the caller is gone. */
  readonly waitUntil?: (work: Promise<unknown>) => void
}

/**
 * What stands before the objects: finds tenant and caller, refuses what no object needs to see, runs actions, and hands
 * the rest on.
 */
export const enter = <Rpcs extends Rpc.Any>(app: App<Rpcs>, options: Options, entry: Entry): Effect.Effect<Response> =>
  Effect.catchCause(answer(app, options, entry), (cause) =>
    Effect.map(conceal("front door", cause), ({ id, message }) =>
      Response.json({ error: message, id }, { status: 500 })
    )
  )

const answer = Effect.fnUntraced(function* <Rpcs extends Rpc.Any>(
  app: App<Rpcs>,
  options: Options,
  { actions, object, request, session: established, waitUntil = () => {} }: Entry
) {
  const url = new URL(request.url)
  // The stock client ends the path with a slash.
  const isExplain = url.pathname === Messages.explainPath && (yield* mayExplain(options, request))
  if (url.pathname !== "/rpc" && url.pathname !== "/rpc/" && !isExplain) return Messages.refused(404, "not found")
  const session = established ?? (yield* identify(options, request, url))
  if (session instanceof Response) return session
  const headers = Messages.sessionHeaders(session)
  const toObject = object(session.tenant)
  if (isExplain) return yield* Effect.promise(() => toObject(`${Messages.objectUrl}/explain`, { headers }))
  if (request.method === "GET") {
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
      return Messages.refused(426, "GET /rpc opens a WebSocket", { upgrade: "websocket" })
    }
    // A client that offers the protocol, with its token beside it, must be answered with it.
    const offered =
      request.headers
        .get("sec-websocket-protocol")
        ?.split(",")
        .map((name) => name.trim()) ?? []
    const protocol = offered.includes(Messages.subprotocol) ? { [Messages.protocolHeader]: Messages.subprotocol } : {}
    return yield* ask(toObject, { headers: { ...headers, ...protocol, upgrade: "websocket" } }).pipe(
      Effect.catch(() => Effect.succeed(Messages.refused(503, "the tenant's object did not answer")))
    )
  }
  if (request.method !== "POST") return Messages.refused(405, "use POST", { allow: "GET, POST" })
  const body = yield* Effect.promise(() => Messages.readRequests(request, app.limits))
  if (body instanceof Response) return body
  const routes = Messages.route(app, body.requests)
  const transact = (text: string) =>
    ask(toObject, { method: "POST", headers, body: text }).pipe(
      Effect.catch(() => Effect.succeed(Messages.unavailable(routes.transactions, app.limits)))
    )
  if (routes.transactions.length > 0 && routes.transactions.length === body.requests.length) {
    return yield* transact(body.text)
  }
  const act = (onMessage?: (message: FromServerEncoded) => Promise<void>) =>
    Effect.flatMap(actions, ({ run }) => run({ requests: routes.actions, session, object: toObject, onMessage }))
  if (established !== undefined && request.headers.get("accept") === Messages.ndjson) {
    return Messages.lines(request.signal, waitUntil, act)
  }
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

/** An object may be reset while it answers, or not be able to start. */
const ask = (object: ObjectFetch, init: RequestInit): Effect.Effect<Response, Cause.UnknownError> =>
  Effect.tryPromise(() => object(Messages.objectUrl, init)).pipe(
    Effect.tapError((error) => Effect.logWarning("the object did not answer", error)),
    Effect.filterOrFail(
      (response) => response.status !== 503,
      () => new Cause.UnknownError(undefined, "the object could not start")
    )
  )

/** Who comes to which tenant, or the answer to one who may not. */
const identify = (options: Options, request: Request, url: URL): Effect.Effect<Session | Response> =>
  Effect.gen(function* () {
    const tenant = Messages.tenantOf(request, url)
    if (tenant === undefined || options.tenants?.(tenant) === false) return Messages.refused(404, "no such tenant")
    if (options.identify === undefined) return { tenant, identity: anonymous }
    const identity = yield* Effect.promise(async () => options.identify!(request))
    const actual = Limits.bytesBeyond(JSON.stringify(identity), Limits.identityBytes)
    return actual === undefined
      ? { tenant, identity }
      : Messages.refused(431, Limits.describe("identityBytes", Limits.identityBytes, actual))
  })

const mayExplain = (options: Options, request: Request): Effect.Effect<boolean> =>
  Effect.promise(async () => (await options.explain?.(request)) ?? false)
