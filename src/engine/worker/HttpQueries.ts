/**
 * Queries over plain HTTP: `GET /rpc/<tag>` with an `ETag` for caches, and `GET /rpc/live/<tag>` as Server-Sent Events.
 * The option `queries` of a deployment; an app without it does not bundle it. Nothing but a query can be called by a `GET`.
 */
import * as Duration from "effect/Duration"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Api from "../../contract/Api.ts"
import { isInternal } from "../../contract/Internal.ts"
import { kindOf } from "../../contract/Kind.ts"
import type { EventHost } from "../../contract/Pubsub.ts"
import type * as Limits from "../../protocol/Limits.ts"
import * as LiveEvents from "../../services/LiveEvents.ts"
import { errorResponse } from "../rpc/HttpBody.ts"
import type { ObjectStub } from "../rpc/ObjectStub.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import { queryPath } from "./Origins.ts"
import { failureResponse } from "./QueryFailure.ts"
import { payloadIn } from "./QueryPayload.ts"
import { noAnswer } from "./Refusal.ts"

/** How long caches may keep the value of a query without asking. */
export interface CacheOptions {
  /** For how long. */
  readonly maxAge: Duration.Input
  /** For how long after that a cache may still show the old value while it asks for the new one. Not at all unless given. */
  readonly staleWhileRevalidate?: Duration.Input
  /**
   * Whether caches that several callers share may keep it. A value is only ever public for callers without an identity, and
   * if the query did not look at the caller: in all other answers `public` becomes `private`. Not public unless given.
   */
  readonly public?: boolean
}

/** What `make` takes. */
export interface HttpQueriesOptions<Rpcs extends Rpc.Any> extends LiveEvents.LiveEventsOptions {
  /** By the tag of a query. Unless given, caches ask each time whether their value is current: `private, no-cache`. */
  readonly cache?: { readonly [Tag in Api.PublicTagOf<Rpcs, "query">]?: CacheOptions }
}

/** A request of a caller who may be here. */
export interface QueryRequest {
  readonly request: Request
  readonly url: URL
  /** The app's contract and limits. */
  readonly app: { readonly api: Api.Declared<any>; readonly limits: Limits.Limits }
  readonly session: RequestSession
  /** What the object answers; `undefined` when it does not. */
  readonly readQuery: (
    request: Parameters<ObjectStub["readQuery"]>[1]
  ) => Promise<Awaited<ReturnType<ObjectStub["readQuery"]>> | undefined>
  readonly events: EventHost
}

/** Queries over plain HTTP, from `make`. */
export interface HttpQueries {
  /** Answers a request whose path is one of queries. */
  readonly respond: (request: QueryRequest) => Promise<Response>
}

/** How the paths of live queries begin. */
const livePath = `${queryPath}live/`

const reading = "GET, HEAD"

/** Lets clients read the queries of a contract by `GET`. Queries of the app that are not in the contract stay as they are. */
export const make = <Rpcs extends Rpc.Any>(
  api: Api.Declared<Rpcs>,
  options: HttpQueriesOptions<Rpcs> = {}
): HttpQueries => {
  const tags: ReadonlySet<string> = new Set(api.declared.requests.keys())
  const cache = new Map<string, CacheOptions | undefined>(Object.entries(options.cache ?? {}))
  const events = LiveEvents.make(options)
  return {
    respond: async (asked) => {
      const { app, request, url } = asked
      const isLive = url.pathname.startsWith(livePath)
      const tag = tagIn(url.pathname.slice((isLive ? livePath : queryPath).length))
      const rpc: Rpc.Any | undefined =
        tag !== undefined && tags.has(tag) ? app.api.declared.requests.get(tag) : undefined
      if (tag === undefined || rpc === undefined || isInternal(rpc)) return errorResponse(404, "no such query")
      const kind = kindOf(rpc)
      if (kind !== "query") return errorResponse(405, `${tag} is no query: use POST /rpc`)
      if (request.method !== "GET" && (isLive || request.method !== "HEAD")) {
        return errorResponse(405, "a query is read by GET", { allow: isLive ? "GET" : reading })
      }
      const payload = payloadIn(rpc, url.searchParams, app.limits)
      if (payload instanceof Response) return payload
      if (isLive) {
        const refuse = (exit: string) => failureResponse(rpc, exit)
        return events.respond({ request, url, tag, payload: payload.value, host: asked.events, refuse })
      }
      const answer = await get(asked, rpc, payload.value, cache.get(tag))
      return request.method === "HEAD" ? new Response(null, answer) : answer
    }
  }
}

const tagIn = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** The value of a query, or that the caller has it. */
const get = async (
  { readQuery, request, session }: QueryRequest,
  rpc: Rpc.Any,
  payload: unknown,
  cache: CacheOptions | undefined
): Promise<Response> => {
  const value = await readQuery({ tag: rpc._tag, payload, have: hashesIn(request.headers.get("if-none-match")) })
  if (value === undefined) return errorResponse(503, noAnswer, { "cache-control": "no-store" })
  const { body, hash, isPersonal = true, retryAfter, status } = value
  if (hash === undefined) return failureResponse(rpc, body, retryAfter)
  const headers = {
    etag: `"${hash}"`,
    "cache-control": cacheControl(cache, isPersonal || session.identity.subject !== null),
    // What tells callers and tenants apart.
    vary: "authorization, cookie, x-dormouse-tenant"
  }
  if (status === 304) return new Response(null, { status, headers })
  return new Response(body, { headers: { ...headers, "content-type": "application/json" } })
}

/** The hashes in `If-None-Match`. A weak tag is as good: a proxy that compresses weakens tags. */
const hashesIn = (header: string | null): ReadonlyArray<string> => {
  if (header === null) return []
  if (header.trim() === "*") return ["*"]
  return header.split(",").flatMap((tag) => /^\s*(?:W\/)?"([^"]*)"\s*$/.exec(tag)?.[1] ?? [])
}

/** `Cache-Control` of a value. One that may be another one for another caller is never public. */
export const cacheControl = (cache: CacheOptions | undefined, isPersonal: boolean): string => {
  if (cache === undefined) return "private, no-cache"
  const seconds = (input: Duration.Input) => Math.floor(Duration.toSeconds(Duration.fromInputUnsafe(input)))
  const { maxAge, public: isPublic = false, staleWhileRevalidate } = cache
  const scope = isPublic && !isPersonal ? "public" : "private"
  const stale = staleWhileRevalidate === undefined ? "" : `, stale-while-revalidate=${seconds(staleWhileRevalidate)}`
  return `${scope}, max-age=${seconds(maxAge)}${stale}`
}
