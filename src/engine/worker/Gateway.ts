/**
 * The Worker in front of the objects: finds tenant and caller (`Admission.ts`), rejects requests that need no object, and hands
 * the others on: calls to `CallBodies.ts`, files to `FileGate.ts`, topics and sockets to the tenant's object.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import type { App } from "../../contract/App.ts"
import type { TenantCalls } from "../../contract/Calls.ts"
import { filesPath } from "../../contract/Files.ts"
import { timePath } from "../../protocol/MutationId.ts"
import { tenantsName } from "../../system/Names.ts"
import { keysOf, retryHeaders, tooManyExit } from "../rpc/CallRates.ts"
import { toInternalError } from "../rpc/ErrorBoundary.ts"
import {
  answerAll,
  errorResponse,
  joinMessages,
  limitsInside,
  messagesResponse,
  readRequests
} from "../rpc/HttpBody.ts"
import { ndjson } from "../rpc/Ndjson.ts"
import type { ValueRequest } from "../rpc/ObjectStub.ts"
import { explainPath, type RequestSession } from "../rpc/SessionHeader.ts"
import { isAdminPath } from "./AdminAccess.ts"
import { answerAdmin } from "./AdminGate.ts"
import { Admission, type InsideHost } from "./Admission.ts"
import { answerBody } from "./CallBodies.ts"
import { answerForFile } from "./FileGate.ts"
import type { GatewayHost, GatewayOptions, GatewayRequest } from "./GatewayOptions.ts"
import { connect, connectInside, reach } from "./ObjectReach.ts"
import { isCallPath, OriginRules, queryPath } from "./Origins.ts"
import { closeRefused, isRpcPath, noSuchTenant } from "./Refusal.ts"
import type { AnswerRoute } from "./Routes.ts"
import { route } from "./Routing.ts"
import { Missing } from "./Tenancy.ts"
import { topicOf } from "./TopicRequests.ts"
import { workerCalls } from "./WorkerCalls.ts"

export type { AuthServices, Entering, GatewayHost, GatewayOptions, GatewayRequest } from "./GatewayOptions.ts"

/** Answers the requests to the Worker of an app. */
export class Gateway<Rpcs extends Rpc.Any> {
  private readonly app: App<Rpcs>
  private readonly options: GatewayOptions
  private readonly admission: Admission
  private readonly origins: OriginRules

  constructor(app: App<Rpcs>, options: GatewayOptions) {
    this.app = app
    this.options = options
    this.admission = new Admission(app, options)
    this.origins = new OriginRules(options)
  }

  /** Calls of the app's tenants by code of the Worker. */
  calls(host: InsideHost): TenantCalls["Service"] {
    return workerCalls(this.app, this.admission, host)
  }

  /**
   * Answers a request. Never rejects: what goes wrong here is logged, and answered with 500 and the id of the log entry. A
   * socket that is refused is closed with a code.
   */
  async handle(host: GatewayHost, asked: GatewayRequest): Promise<Response> {
    const { request } = asked
    const answered = await this.orLog(host, () => this.answer(host, asked))
    // What the object or a Worker of ours has asked is read by no page.
    const isOwn = asked.trustedSession !== undefined || asked.renews !== undefined
    const readable = isOwn ? answered : await this.orLog(host, async () => this.origins.allow(request, answered))
    return closeRefused(request, readable, host.closeSocket)
  }

  private async orLog(host: GatewayHost, answer: () => Promise<Response>): Promise<Response> {
    try {
      return await answer()
    } catch (cause) {
      if (cause instanceof Missing) return noSuchTenant()
      const { id, message } = await host.run(toInternalError("gateway", Cause.die(cause)))
      return Response.json({ error: message, id }, { status: 500 })
    }
  }

  private async answer(
    host: GatewayHost,
    { isCollected = false, renews, request, trustedSession }: GatewayRequest
  ): Promise<Response> {
    if (renews !== undefined) return this.admission.renew(host, request, renews)
    const url = new URL(request.url)
    const answered = trustedSession === undefined ? this.origins.answer(request, url) : undefined
    if (answered !== undefined) return answered
    if (url.pathname === timePath && request.method === "GET") return timeResponse(host)
    const { admin } = this.options
    if (admin !== undefined && isAdminPath(url.pathname)) {
      return answerAdmin(this.admission, { admin, app: this.app, host, request })
    }
    const isExplain = url.pathname === explainPath && ((await this.options.explain?.(request)) ?? false)
    const { files } = this.app
    if (files !== undefined && url.pathname.startsWith(filesPath)) {
      return answerForFile(this.admission, { files, host, request, url })
    }
    if (
      !isRpcPath(url.pathname) &&
      !isExplain &&
      topicOf(this.app, url) === undefined &&
      this.queriesAt(url) === undefined
    ) {
      return this.respond(host, request, url)
    }
    const session = trustedSession ?? (await this.admission.open(host, request, url))
    if (session instanceof Response) return session
    const { tenancy } = host
    if (session.tenant === tenantsName && tenancy !== undefined) {
      const registry: GatewayHost = { ...host, actions: tenancy.actions, tenancy: undefined }
      const gateway = new Gateway(tenancy.app, {})
      return gateway.serve(registry, session, url, isExplain, { isCollected, request, trustedSession })
    }
    return this.serve(host, session, url, isExplain, { isCollected, request, trustedSession })
  }

  /** Answers a request of a caller who may be here. */
  private async serve(
    host: GatewayHost,
    session: RequestSession,
    url: URL,
    isExplain: boolean,
    { isCollected = false, request, trustedSession }: GatewayRequest
  ): Promise<Response> {
    // What the object or a Worker of ours has run here was admitted before.
    const entered =
      trustedSession === undefined ? host.tenancy?.stub(session, (work) => host.waitUntil(work)) : undefined
    const object = entered ?? host.object(session.object ?? session.tenant)
    if (isExplain) {
      await entered?.verify()
      return Response.json(await object.explain(session))
    }
    const isCounted = trustedSession === undefined
    const { admission } = this
    const topic = topicOf(this.app, url)
    const queries = topic === undefined ? this.queriesAt(url) : undefined
    if (queries !== undefined || request.method === "GET") {
      const refused = isCounted ? await admission.refuse(host, keysOf(session)) : undefined
      if (refused !== undefined) return refused
      const events = { ...host, connect: () => connectInside(host, object, session) }
      if (topic !== undefined) return topic.events.respond(request, topic.tag, events)
      if (queries === undefined) return connect(host, object, session, request)
      const readQuery = (asked: ValueRequest) => reach(host, () => object.readQuery(session, asked))
      return queries.respond({ request, url, app: this.app, session, readQuery, events })
    }
    if (request.method !== "POST") return errorResponse(405, "use POST", { allow: "GET, POST" })
    // Object and Worker have checked the requests of actions that they have run here.
    const { limits } = this.app
    const body = await readRequests(request, trustedSession === undefined ? limits : limitsInside(limits))
    if (body instanceof Response) return body
    const { requests } = body
    const refused = isCounted ? await admission.tooMany(host, keysOf(session), requests.length) : undefined
    if (refused !== undefined) {
      const answers = answerAll(requests, tooManyExit(refused))
      return messagesResponse(joinMessages(answers), 429, retryHeaders(refused.retryAfter))
    }
    const isStream = trustedSession !== undefined && request.headers.get("accept") === ndjson
    // Actions run without the object, which could otherwise say that the tenant is suspended.
    if (entered !== undefined && route(this.app, requests).actions.length > 0) await entered.verify()
    const { signal } = request
    return answerBody(this.app, { ...body, host, object, session, isStream, isCollected, signal })
  }

  /** What answers the path of a query. Topics have paths of their own among them, and so has what is read of live queries. */
  private queriesAt({ pathname }: URL): GatewayOptions["queries"] {
    return pathname.startsWith(queryPath) && !ownPaths.has(pathname) ? this.options.queries : undefined
  }

  /**
   * Answers a request to another path, if a route of the author's is for it, or the author's authenticator has an answer. Keys and
   * the like come first: a route for all paths must not hide them.
   */
  private async respond(host: GatewayHost, request: Request, url: URL): Promise<Response> {
    const authenticator = () => this.askAuthenticator(host, request)
    const routes = () => (isCallPath(url) ? undefined : askRoutes(host, request))
    for (const ask of url.pathname.startsWith(wellKnownPath) ? [authenticator, routes] : [routes, authenticator]) {
      const response = await ask()
      if (response !== undefined) return response
    }
    return errorResponse(404, "not found")
  }

  private async askAuthenticator(host: GatewayHost, request: Request): Promise<Response | undefined> {
    const authenticator = await host.authenticator?.()
    const answer = authenticator?.respond && (await host.run(authenticator.respond(request)))
    return answer?.pipe(Option.getOrUndefined)
  }
}

const wellKnownPath = "/.well-known/"

/** Paths that begin as those of queries do, and are none. */
const ownPaths: ReadonlySet<string> = new Set(["/rpc/", timePath, explainPath])

/** What a route of the author's answers. Routes that cannot be built are logged, and built again with the next request. */
const askRoutes = async (host: GatewayHost, request: Request): Promise<Response | undefined> => {
  if (host.routes === undefined) return undefined
  let routes: AnswerRoute
  try {
    routes = await host.routes()
  } catch (cause) {
    await host.run(Effect.logError(couldNotStart, Cause.die(cause)))
    return errorResponse(500, `${couldNotStart}; the cause is in its log`)
  }
  return routes(request)
}

/** What is said of a Worker whose services, or routes, cannot be built. */
export const couldNotStart = "the Worker could not start"

/** What time it is, for clients that store mutations. */
const timeResponse = async (host: GatewayHost): Promise<Response> =>
  Response.json(Math.floor(await host.run(Clock.currentTimeMillis)), { headers: { "cache-control": "no-store" } })
