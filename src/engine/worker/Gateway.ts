/**
 * The Worker in front of the objects: finds tenant and caller, rejects requests that need no object, runs actions, and passes
 * the other calls on to the tenant's object.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as HttpClient from "effect/http/HttpClient"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import * as Schema from "effect/Schema"
import type { App } from "../../contract/App.ts"
import { type AnyService, anonymous, Identity } from "../../contract/Auth.ts"
import { type Files, filesPath } from "../../contract/Files.ts"
import { isInternal } from "../../contract/Internal.ts"
import { kindOf } from "../../contract/Kind.ts"
import type { EventSocket, Events } from "../../contract/Pubsub.ts"
import { Unauthenticated } from "../../protocol/CallError.ts"
import { unavailable } from "../../protocol/Exit.ts"
import { jsonCodec } from "../../protocol/JsonCodec.ts"
import * as Limits from "../../protocol/Limits.ts"
import type { Request as RpcRequest } from "../../protocol/Messages.ts"
import { timePath } from "../../protocol/MutationId.ts"
import { type Authenticator, noCredential, type Refusal, type Verified } from "../../services/Authenticator.ts"
import type { SystemCalls } from "../../services/SystemCalls.ts"
import { tenantsName } from "../../system/Names.ts"
import {
  type CallerKeys,
  CallRates,
  configured,
  describeTooMany,
  filesAt,
  keysOf,
  refusedAt,
  retryHeaders,
  type TooMany,
  tooManyExit
} from "../rpc/CallRates.ts"
import { toInternalError } from "../rpc/ErrorBoundary.ts"
import {
  answerAll,
  errorResponse,
  joinMessages,
  limitsInside,
  messagesResponse,
  type RequestBody,
  readRequests
} from "../rpc/HttpBody.ts"
import { ndjson, ndjsonResponse } from "../rpc/Ndjson.ts"
import type { ObjectAnswer, ObjectStub } from "../rpc/ObjectStub.ts"
import { parentOf, spanFields } from "../rpc/RequestSpan.ts"
import { explainPath, type RequestSession } from "../rpc/SessionHeader.ts"
import type { ActionRunner } from "./ActionRunner.ts"
import { collectedLine } from "./CollectedActions.ts"
import { fileCalls } from "./FileCalls.ts"
import {
  type CloseSocket,
  closeRefused,
  handshakeHeaders,
  isRpcPath,
  isUpgrade,
  noSuchTenant,
  tokenOf
} from "./Refusal.ts"
import { isForRegistry, type Routes, route, tenantOf } from "./Routing.ts"
import { Missing, type Tenancy, type TenantRegistry } from "./Tenancy.ts"

/** What the author decides: who is calling, who may enter which tenant, and who may read `explain`. */
export interface GatewayOptions {
  /**
   * Which tenants exist: a registry of `Tenants.registry`, or a function of their names. Every well-formed name unless
   * given. A name that is refused wakes no object.
   */
  readonly tenants?: ((name: string) => boolean) | TenantRegistry
  /**
   * Who is calling: one of the layers of `Auth`. Everybody is anonymous unless given. A caller who is refused gets 401; a
   * socket is then closed with 4401.
   */
  readonly auth?: Layer.Layer<Authenticator, unknown, AuthServices>
  /**
   * Who may enter which tenant. Unless given: everybody, without `auth`; with `auth` whose claim `tenants` lists the
   * tenant, and everybody whom `open` lets in. A caller who may not enter gets what a tenant that does not exist gets: 404,
   * or a socket that is closed with 4404.
   */
  readonly enter?: (caller: Entering) => boolean | Effect.Effect<boolean>
  /** Tenants that everybody may enter whom `auth` accepts, for example `["main"]`. None unless given; `enter` replaces it. */
  readonly open?: ReadonlyArray<string>
  /**
   * Which requests may read `GET /rpc/explain`: what each live query of a tenant reads, which commit last invalidated it, how
   * often it ran and with how many unchanged results, and what it sent. None unless given.
   */
  readonly explain?: (request: Request) => boolean | Promise<boolean>
}

/** A caller at the door of a tenant. */
export interface Entering {
  /** With all claims of the token, also those that the app's `identity` does not declare. */
  readonly identity: Identity
  readonly tenant: string
}

/** The services that a layer of `Auth` may require; the platform provides them. */
export type AuthServices = HttpClient.HttpClient | SystemCalls

/** What the platform does for the gateway. */
export interface GatewayHost {
  /** The author's `auth`, built. Everybody is anonymous without it. */
  readonly authenticator?: (() => Promise<Authenticator["Service"]>) | undefined
  /** The network address of a request, where the platform knows it. */
  readonly addressOf?: (request: Request) => string | undefined
  /** What time it is, in milliseconds. Without it the calls of a caller are counted by the object alone. */
  readonly now?: () => number
  /** The object of a tenant. */
  readonly object: (tenant: string) => ObjectStub
  /** The author's registry of tenants, opened here. */
  readonly tenancy?: Tenancy | undefined
  /** Calls of the deployment's own object. */
  readonly system: SystemCalls["Service"]
  readonly actions: () => Promise<ActionRunner>
  /** Runs the actions of a body apart from its other calls, and returns the texts of their messages. */
  readonly runApart: (
    requests: ReadonlyArray<RpcRequest>,
    session: RequestSession,
    signal: AbortSignal
  ) => Promise<ReadonlyArray<string>>
  /** Keeps what runs here alive for a while after the response. */
  readonly waitUntil: (work: Promise<unknown>) => void
  /** Runs an effect with the author's tracer and loggers. */
  readonly run: <A>(effect: Effect.Effect<A>) => Promise<A>
  /** Whether there is a tracer of the author's own. */
  readonly isTraced: boolean
  /** The socket that a response has opened, if it has. */
  readonly socketOf?: (response: Response) => EventSocket | undefined
  /** Opens a socket and closes it. Without this a socket is refused with the status alone. */
  readonly closeSocket?: CloseSocket
}

/** A request, and its session when that is known already. */
export interface GatewayRequest {
  readonly request: Request
  /** The session of an object, or of a Worker, that has actions run in this request. */
  readonly trustedSession?: RequestSession | undefined
  /** Whether the messages of these actions are collected for one body. */
  readonly isCollected?: boolean | undefined
  /** The session of a socket whose object has a new token verified, which is the token of this request. */
  readonly renews?: RequestSession | undefined
}

const decodeClaims = Schema.decodeUnknownOption(Identity.fields.claims)

/** Reads the claims that the author declared. What the schema does not name is dropped. */
const claimsReader = (
  declared: AnyService | undefined
): ((claims: Identity["claims"]) => Option.Option<Identity["claims"]>) => {
  if (declared === undefined) return Option.some
  const codec = jsonCodec(declared.claims)
  const decode = Schema.decodeUnknownOption(codec)
  const encode = Schema.encodeUnknownOption(codec)
  return (claims) => decode(claims).pipe(Option.flatMap(encode), Option.flatMap(decodeClaims))
}

/** Answers the requests to the Worker of an app. */
export class Gateway<Rpcs extends Rpc.Any> {
  private readonly app: App<Rpcs>
  private readonly options: GatewayOptions
  /** Counts the calls that this isolate sees: an object that it need not call is not woken, and actions run here. */
  private rates: CallRates | undefined
  private readonly declaredClaims: ReturnType<typeof claimsReader>

  constructor(app: App<Rpcs>, options: GatewayOptions) {
    this.app = app
    this.options = options
    this.declaredClaims = claimsReader(app.identity)
  }

  /**
   * Answers a request. Never rejects: what goes wrong here is logged, and answered with 500 and the id of the log entry. A
   * socket that is refused is closed with a code.
   */
  async handle(host: GatewayHost, request: GatewayRequest): Promise<Response> {
    return closeRefused(request.request, await this.answerOrLog(host, request), host.closeSocket)
  }

  private async answerOrLog(host: GatewayHost, request: GatewayRequest): Promise<Response> {
    try {
      return await this.answer(host, request)
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
    if (renews !== undefined) return this.renew(host, request, renews)
    const url = new URL(request.url)
    if (url.pathname === timePath && request.method === "GET") return timeResponse(host)
    const isExplain = url.pathname === explainPath && ((await this.options.explain?.(request)) ?? false)
    const { files } = this.app
    if (files !== undefined && url.pathname.startsWith(filesPath)) return this.answerForFile(files, host, request, url)
    if (!isRpcPath(url.pathname) && !isExplain && this.topicOf(url) === undefined) return this.respond(host, request)
    const session = trustedSession ?? (await this.open(host, request, url))
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
    if (request.method === "GET") {
      const refused = isCounted ? await this.tooMany(host, keysOf(session), 1) : undefined
      if (refused !== undefined) return tooManyResponse(refused)
      const topic = this.topicOf(new URL(request.url))
      if (topic !== undefined) {
        const connect = () => this.connectInside(host, object, session)
        return topic.events.respond(request, topic.tag, { ...host, connect })
      }
      return this.connect(host, object, session, request)
    }
    if (request.method !== "POST") return errorResponse(405, "use POST", { allow: "GET, POST" })
    // Object and Worker have checked the requests of actions that they have run here.
    const { limits } = this.app
    const body = await readRequests(request, trustedSession === undefined ? limits : limitsInside(limits))
    if (body instanceof Response) return body
    const refused = isCounted ? await this.tooMany(host, keysOf(session), body.requests.length) : undefined
    if (refused !== undefined) {
      const answers = answerAll(body.requests, tooManyExit(refused))
      return messagesResponse(joinMessages(answers), 429, retryHeaders(refused.retryAfter))
    }
    const isStream = trustedSession !== undefined && request.headers.get("accept") === ndjson
    const options = { isStream, isCollected, signal: request.signal }
    // Actions run without the object, which could otherwise say that the tenant is suspended.
    if (entered !== undefined && route(this.app, body.requests).actions.length > 0) await entered.verify()
    // The Worker that collects has a span for the body.
    if (!host.isTraced || isCollected) return this.run(host, object, session, body, options)
    return traced(host, session, body, (body) => this.run(host, object, session, body, options))
  }

  /** Answers a request to another path, if the author's authenticator has an answer. */
  private async respond(host: GatewayHost, request: Request): Promise<Response> {
    const authenticator = await host.authenticator?.()
    const answer = authenticator?.respond && (await host.run(authenticator.respond(request)))
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
  }
}

const noAnswer = "the tenant's object did not answer"

/** What an object answers. A failure is logged, and gives `undefined`; that there is no such tenant is thrown. */
const reach = async <A>(host: GatewayHost, ask: () => Promise<A>): Promise<A | undefined> => {
  try {
    return await ask()
  } catch (cause) {
    if (cause instanceof Missing) throw cause
    await host.run(Effect.logWarning(noAnswer, cause))
    return undefined
  }
}

const anonymousCaller: Verified = { identity: anonymous, credential: noCredential }

const everybody = () => true

/** Whether the claim `tenants` lists the tenant. */
const whoseClaimsSaySo = ({ identity, tenant }: Entering): boolean => {
  const { tenants } = identity.claims
  return Array.isArray(tenants) && tenants.includes(tenant)
}

const tooManyResponse = (refused: TooMany): Response =>
  errorResponse(429, describeTooMany(refused), retryHeaders(refused.retryAfter))

const refusalResponse = (refusal: Refusal): Response => {
  if (refusal._tag === "Unavailable") return errorResponse(503, refusal.detail)
  if (refusal._tag === "Forbidden") return errorResponse(403, "forbidden")
  const { problem } = refusal
  const headers = { "www-authenticate": problem === "missing" ? "Bearer" : invalidToken }
  return Response.json({ error: `unauthenticated: ${problem}`, problem }, { status: 401, headers })
}

const invalidToken = 'Bearer error="invalid_token"'

/** What time it is, for clients that store mutations. */
const timeResponse = async (host: GatewayHost): Promise<Response> =>
  Response.json(Math.floor(await host.run(Clock.currentTimeMillis)), { headers: { "cache-control": "no-store" } })

/** Answers a body within a span of the Worker's. The spans of its calls become children of it. */
const traced = (
  host: GatewayHost,
  session: RequestSession,
  { requests }: RequestBody,
  answer: (body: Pick<RequestBody, "requests">) => Promise<Response>
): Promise<Response> => {
  const parent = requests[0] && parentOf(requests[0])
  return host.run(
    Effect.useSpan(
      "dormouse.gateway",
      {
        kind: "server",
        attributes: { "dormouse.tenant": session.tenant, "dormouse.subject": session.identity.subject },
        ...(parent && { parent })
      },
      (span) => {
        const children = requests.map((request) => ({ ...request, ...spanFields(span) }))
        return Effect.promise(() => answer({ requests: children }))
      }
    )
  )
}
