/**
 * Pages of other origins: which of them may read answers (CORS), and which may call at all.
 * A browser says in `Origin` which page sends a request. What is not a browser sends none, and is not concerned.
 */
import * as Duration from "effect/Duration"
import { filesPath } from "../../contract/Files.ts"
import { errorResponse } from "../rpc/HttpBody.ts"
import { isRpcPath, isUpgrade } from "./Refusal.ts"

/** Origins, as browsers send them, such as `https://chat.example`. A page without one, such as a file, sends `null`. */
export type Origins = ReadonlyArray<string> | ((origin: string) => boolean)

/** Which pages of other origins may read the answers of `/rpc` and of `/files`. */
export interface CorsOptions {
  /** `"*"` is every page. */
  readonly origins: Origins | "*"
  /** Whether requests may have cookies. Not with `"*"`. They may not unless given. */
  readonly credentials?: boolean
  /** For how long a browser remembers what it was allowed. An hour unless given. */
  readonly maxAge?: Duration.Input
}

const has = (origins: Origins, origin: string): boolean =>
  typeof origins === "function" ? origins(origin) : origins.includes(origin)

/** How the paths of queries begin, and of all that is beside them. */
export const queryPath = "/rpc/"

/** Whether a path is one of calls, or of what is beside them. No route of an author answers it. */
export const isCallPath = ({ pathname }: URL): boolean => isRpcPath(pathname) || pathname.startsWith(queryPath)

/** Whether pages of other origins are answered at a path. */
const isShared = (url: URL): boolean => isCallPath(url) || url.pathname.startsWith(filesPath)

/** Headers of answers that pages may read. */
const exposed =
  "etag, retry-after, www-authenticate, content-range, content-disposition, accept-ranges, content-length, location"

/** Names of headers, as a browser lists them. */
const headerNames = /^[\w!#$%&'*+.^`|~-]+(\s*,\s*[\w!#$%&'*+.^`|~-]+)*$/

/** What the options of a deployment say about the pages of origins. */
export class OriginRules {
  private readonly cors: CorsOptions | undefined
  private readonly callers: Origins | undefined
  private readonly maxAge: string

  /** Throws for options that contradict each other. */
  constructor({ cors, origins }: { readonly cors?: CorsOptions; readonly origins?: Origins }) {
    if (cors?.origins === "*" && cors.credentials === true) {
      throw new Error("cors: with credentials, list the origins: every page could act for its visitors otherwise")
    }
    this.cors = cors
    this.callers = origins
    this.maxAge = String(Math.floor(Duration.toSeconds(Duration.fromInputUnsafe(cors?.maxAge ?? "1 hour"))))
  }

  /**
   * The answer that a request gets before anything else is looked at: a preflight is answered, and a call or a socket of a page
   * that may not call is refused.
   */
  answer(request: Request, url: URL): Response | undefined {
    if (!isShared(url)) return undefined
    if (this.cors !== undefined && isPreflight(request)) return this.preflight(request, this.cors)
    return this.refuse(request, url)
  }

  /** A page that may not call, unless the request is for a file: that has a signature. */
  private refuse(request: Request, url: URL): Response | undefined {
    const origin = request.headers.get("origin")
    if (this.callers === undefined || origin === null || url.pathname.startsWith(filesPath)) return undefined
    if (origin === url.origin || has(this.callers, origin)) return undefined
    return errorResponse(403, "pages of this origin may not call")
  }

  private preflight(request: Request, cors: CorsOptions): Response {
    const headers = this.headers(request, cors)
    if (headers["access-control-allow-origin"] === undefined) return new Response(null, { status: 204, headers })
    const asked = request.headers.get("access-control-request-headers") ?? ""
    return new Response(null, {
      status: 204,
      headers: {
        ...headers,
        "access-control-allow-methods": "GET, HEAD, POST, PUT, DELETE",
        ...(headerNames.test(asked) && { "access-control-allow-headers": asked }),
        "access-control-max-age": this.maxAge,
        vary: "origin, access-control-request-headers"
      }
    })
  }

  private headers(request: Request, { credentials = false, origins }: CorsOptions): Record<string, string> {
    if (origins === "*") return { "access-control-allow-origin": "*" }
    const origin = request.headers.get("origin")
    if (origin === null || !has(origins, origin)) return { vary: "origin" }
    return {
      "access-control-allow-origin": origin,
      ...(credentials && { "access-control-allow-credentials": "true" }),
      vary: "origin"
    }
  }

  /** The response with what lets a page of another origin read it. */
  allow(request: Request, response: Response): Response {
    const { cors } = this
    if (cors === undefined || isUpgrade(request) || !isShared(new URL(request.url)) || isPreflight(request)) {
      return response
    }
    const allowed = this.headers(request, cors)
    const headers = new Headers(response.headers)
    for (const [name, value] of Object.entries(allowed)) {
      if (name === "vary") headers.append(name, value)
      else headers.set(name, value)
    }
    if (headers.has("access-control-allow-origin")) headers.set("access-control-expose-headers", exposed)
    return new Response(response.body, { status: response.status, headers })
  }
}

const isPreflight = (request: Request): boolean =>
  request.method === "OPTIONS" && request.headers.has("origin") && request.headers.has("access-control-request-method")
