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
import { Admission, type InsideHost, tooManyResponse } from "./Admission.ts"
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
    const { admin, tenants } = this.options
    if (admin !== undefined && isAdminPath(url.pathname)) {
      return answerAdmin(this.admission, { admin, app: this.app, host, request, tenants })
    }
    const isExplain = url.pathname === explainPath && ((await this.options.explain?.(request)) ?? false)
    const { files } = this.app
    if (files !== undefined && url.pathname.startsWith(filesPath)) {
      return answerForFile(this.admission, { files, host, request, url, tenants })
    }
    if (!isRpcPath(url.pathname) && !isExplain && topicOf(this.app, url) === undefined && !this.isQuery(url)) {
      return this.respond(host, request, url)
    }
    const session = trustedSession ?? (await this.admission.open(host, request, url))
    if (session instanceof Response) return session
    const { tenancy } = host
    if (session.tenant === tenantsName && tenancy !== undefined) {
      const registry: GatewayHost = { ...host, actions: tenancy.actions, tenancy: undefined }
      return new Gateway(tenancy.app, {}).serve(registry, session, isExplain, { isCollected, request, trustedSession })
    }
    return this.serve(host, session, isExplain, { isCollected, request, trustedSession })
  }

  /** Answers a request of a caller who may be here. */
  private async serve(
    host: GatewayHost,
    session: RequestSession,
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
    const isCounted = trustedSession === undefined && host.now !== undefined
    const { admission } = this
    const url = new URL(request.url)
    const { queries } = this.options
    if (queries !== undefined && this.isQuery(url) && topicOf(this.app, url) === undefined) {
      const refused = isCounted ? await admission.tooMany(host, keysOf(session), 1) : undefined
      if (refused !== undefined) return tooManyResponse(refused)
      const readQuery = (asked: ValueRequest) => reach(host, () => object.readQuery(session, asked))
      const events = { ...host, connect: () => connectInside(host, object, session) }
      return queries.respond({ request, url, app: this.app, session, readQuery, events })
    }
    if (request.method === "GET") {
      const refused = isCounted ? await admission.tooMany(host, keysOf(session), 1) : undefined
      if (refused !== undefined) return tooManyResponse(refused)
      const topic = topicOf(this.app, url)
      if (topic === undefined) return connect(host, object, session, request)
      return topic.events.respond(request, topic.tag, { ...host, connect: () => connectInside(host, object, session) })
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

  /** Whether a path is one of queries. Topics have paths of their own among them, and so has what is read of live queries. */
  private isQuery({ pathname }: URL): boolean {
    return this.options.queries !== undefined && pathname.startsWith(queryPath) && !ownPaths.has(pathname)
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
<<<<<<< HEAD
    return answer?.pipe(Option.getOrUndefined)
=======
    return answer?.pipe(Option.getOrUndefined) ?? errorResponse(404, "not found")
  }

  /** Answers a request for a file: its URL says who may do what. */
  private async answerForFile({ api }: Files, host: GatewayHost, request: Request, url: URL): Promise<Response> {
    const address = host.addressOf?.(request)
    const refused = host.now === undefined ? undefined : await this.tooMany(host, filesAt(address), 1)
    if (refused !== undefined) return tooManyResponse(refused)
    const served = (await host.actions()).files
    const { tenants } = this.options
    const exists = (tenant: string) => typeof tenants !== "function" || tenants(tenant)
    const hasRegistry = host.tenancy !== undefined
    const callsOf = fileCalls({ api, object: host.object, address, exists, hasRegistry })
    return (await served?.respond({ request, url, callsOf })) ?? noSuchTenant()
  }

  /** Has requests answered: by the object, by the actions here, or by both. `text` is their text as it came. */
  private async run(
    host: GatewayHost,
    object: ObjectStub,
    session: RequestSession,
    { requests, text }: Pick<RequestBody, "requests"> & { readonly text?: string },
    options: { readonly isStream: boolean; readonly isCollected: boolean; readonly signal: AbortSignal }
  ): Promise<Response> {
    // Only object and Worker ask for a stream.
    const routes = route(this.app, requests, options.isStream)
    if (routes.transactions.length > 0 && routes.transactions.length === requests.length) {
      const { body, retryAfter, status } = await this.transact(host, object, session, requests, text)
      return messagesResponse(body, status, retryAfter === undefined ? {} : retryHeaders(retryAfter))
    }
    const isUnknown = routes.unknown.length > 0 && routes.unknown.length === requests.length
    return this.mixed(host, object, session, routes, { ...options, isUnknown })
  }

  /** Counts calls of a caller. Returns why they must not run. */
  private async tooMany(host: GatewayHost, keys: CallerKeys, calls: number): Promise<TooMany | undefined> {
    this.rates ??= new CallRates(await host.run(configured(this.app.limits)))
    return this.rates.charge(keys, calls, host.now?.() ?? 0)
  }

  /** Opens a socket. */
  private async connect(
    host: GatewayHost,
    object: ObjectStub,
    session: RequestSession,
    request: Request
  ): Promise<Response> {
    if (!isUpgrade(request)) return errorResponse(426, "GET /rpc opens a WebSocket", { upgrade: "websocket" })
    return this.reachSocket(host, () => object.connect(session, handshakeHeaders(request)))
  }

  /** The topic whose events an URL names. Nothing else may be called by it: a `GET` must not change anything. */
  private topicOf(url: URL): { readonly events: Events; readonly tag: string } | undefined {
    const events = this.app.pubsub?.events
    const tag = events?.tagOf(url)
    const rpc = tag === undefined ? undefined : this.app.api.declared.requests.get(tag)
    return events && tag && rpc && kindOf(rpc) === "topic" && !isInternal(rpc) ? { events, tag } : undefined
  }

  /** Opens a socket that the Worker reads itself. */
  private async connectInside(
    host: GatewayHost,
    object: ObjectStub,
    session: RequestSession
  ): Promise<EventSocket | Response> {
    const response = await this.reachSocket(host, () => object.connect(session, {}))
    return host.socketOf?.(response) ?? response
  }

  private async reachSocket(host: GatewayHost, open: () => Promise<Response>): Promise<Response> {
    const response = await reach(host, open)
    if (response === undefined) return errorResponse(503, noAnswer)
    return response.status === 503 ? errorResponse(503, "the tenant's object could not start") : response
  }

  /** Has the object answer calls of queries and mutations. */
  private async transact(
    host: GatewayHost,
    object: ObjectStub,
    session: RequestSession,
    requests: ReadonlyArray<RpcRequest>,
    text?: string
  ): Promise<ObjectAnswer> {
    const answer = await reach(host, () => object.call(session, text ?? JSON.stringify(requests), text === undefined))
    // The object may have been reset while it answered, or could not start. A mutation may have committed.
    return answer ?? { status: 503, body: joinMessages(answerAll(requests, unavailable(noAnswer))) }
  }

  /** A body with actions: they run in the Worker, beside the object's calls. */
  private async mixed(
    host: GatewayHost,
    object: ObjectStub,
    session: RequestSession,
    { actions, transactions, unknown }: Routes,
    options: {
      readonly isStream: boolean
      readonly isCollected: boolean
      readonly signal: AbortSignal
      readonly isUnknown: boolean
    }
  ): Promise<Response> {
    const { isCollected, isStream, isUnknown, signal } = options
    if (isStream) {
      const { limits } = this.app
      const runner = actions.length > 0 ? await host.actions() : undefined
      const run = (onMessage: (message: FromServerEncoded) => Promise<void>) => {
        const resultBytes = isCollected ? limits.resultBytes : undefined
        const ran = runner?.run({ requests: actions, session, object, onMessage, resultBytes }) ?? Effect.succeed([])
        // The object may run a version of the app that still has them.
        const answered = Effect.forEach(unknown, (text) => Effect.promise(() => onMessage(JSON.parse(text))))
        return unknown.length === 0 ? ran : Effect.andThen(answered, ran)
      }
      return ndjsonResponse(signal, host.waitUntil, run, isCollected ? collectedLine(limits) : JSON.stringify)
    }
    const [fromObject, fromActions] = await Promise.all([
      transactions.length === 0 ? undefined : this.transact(host, object, session, transactions),
      actions.length === 0 ? [] : host.runApart(actions, session, signal)
    ])
    const messages = [...unknown, ...fromActions]
    if (fromObject?.body.startsWith("[") === false) {
      // It refused the body as a whole: it may run another version of the app.
      messages.push(
        ...answerAll(transactions, unavailable(`the tenant's object refused the calls: ${fromObject.body}`))
      )
    } else if (fromObject !== undefined && fromObject.body !== "[]") messages.push(fromObject.body.slice(1, -1))
    return messagesResponse(joinMessages(messages), isUnknown ? 404 : 200)
  }

  /** The tenant and the caller of a request, or the response that refuses it. */
  private async open(host: GatewayHost, request: Request, url: URL): Promise<RequestSession | Response> {
    const tenant = isForRegistry(request, url) ? tenantsName : tenantOf(request, url)
    return this.enterAs(host, request, tenant, host.addressOf?.(request))
  }

  /** The session of a socket with the token of this request, in the tenant of the socket, or the response that refuses it. */
  private async renew(host: GatewayHost, request: Request, { address, tenant }: RequestSession): Promise<Response> {
    const session = await this.enterAs(host, request, tenant, address, true)
    return session instanceof Response ? session : Response.json(session)
  }

  /** The session of a request in a tenant, or the response that refuses it. */
  private async enterAs(
    host: GatewayHost,
    request: Request,
    tenant: string | undefined,
    address: string | undefined,
    isRenewal = false
  ): Promise<RequestSession | Response> {
    const verified = await this.authenticate(host, request, isRenewal)
    if (verified instanceof Response) {
      const isWrong = verified.status === 401 && tokenOf(request) !== undefined && host.now !== undefined
      const refused = isWrong ? await this.tooMany(host, refusedAt(address), 1) : undefined
      return refused === undefined ? verified : tooManyResponse(refused)
    }
    const { credential, identity } = verified
    if (tenant === tenantsName) return (await host.tenancy?.admit(verified)) ?? noSuchTenant()
    const claims = this.readClaims(identity)
    if (claims === undefined) return refusalResponse(new Unauthenticated({ problem: "claims" }))
    const declared = { subject: identity.subject, claims }
    const actual = Limits.bytesBeyond(JSON.stringify(declared), Limits.identityBytes)
    if (actual !== undefined) return errorResponse(431, Limits.describe("identityBytes", Limits.identityBytes, actual))
    // Last, so that nobody who is refused learns which tenants exist.
    if (tenant === undefined || !(await this.mayEnter(host, { tenant, identity }))) return noSuchTenant()
    const object = await host.tenancy?.find(tenant, (work) => host.waitUntil(work))
    if (object instanceof Response) return object
    return {
      tenant,
      ...(object !== undefined && { object }),
      identity: declared,
      ...(credential === noCredential ? {} : { credential }),
      ...(address !== undefined && { address })
    }
  }

  /** The caller of a request, or the response that refuses it. */
  private async authenticate(host: GatewayHost, request: Request, isRenewal: boolean): Promise<Verified | Response> {
    if (host.authenticator === undefined) return anonymousCaller
    const token = tokenOf(request)
    if (token === "") return refusalResponse(new Unauthenticated({ problem: "malformed" }))
    const { authenticate } = await host.authenticator()
    const exit = await host.run(Effect.exit(authenticate({ token, request, isRenewal })))
    if (Exit.isFailure(exit)) {
      const refusal = Cause.findErrorOption(exit.cause)
      if (Option.isSome(refusal)) return refusalResponse(refusal.value)
      throw Cause.squash(exit.cause)
    }
    return Option.getOrElse(exit.value, () =>
      refusalResponse(new Unauthenticated({ problem: token === undefined ? "missing" : "key" }))
    )
  }

  /** The claims that the author declared, or `undefined` when they do not fit. */
  private readClaims({ claims, subject }: Identity): Identity["claims"] | undefined {
    return subject === null ? claims : Option.getOrUndefined(this.declaredClaims(claims))
  }

  private async mayEnter(host: GatewayHost, entering: Entering): Promise<boolean> {
    const { auth, open = [], tenants } = this.options
    const enter =
      this.options.enter ?? (auth === undefined || open.includes(entering.tenant) ? everybody : whoseClaimsSaySo)
    if (typeof tenants === "function" && !tenants(entering.tenant)) return false
    const answer = enter(entering)
    return typeof answer === "boolean" ? answer : host.run(answer)
>>>>>>> 6e3a09b (Tables and columns are renamed, rows are migrated in steps, and dropped only when an app says so)
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
