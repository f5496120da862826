/**
 * Who gets in: finds the tenant and the caller of a request, and counts the calls of a caller.
 * A request that is refused here wakes no object.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type { App } from "../../contract/App.ts"
import { type AnyService, anonymous, Identity } from "../../contract/Auth.ts"
import type { TenantCaller } from "../../contract/Calls.ts"
import {
  type CallErrorReason,
  Forbidden,
  LimitExceeded,
  TooManyRequests,
  Unauthenticated,
  Unavailable
} from "../../protocol/CallError.ts"
import { jsonCodec } from "../../protocol/JsonCodec.ts"
import * as Limits from "../../protocol/Limits.ts"
import { noCredential, type Refusal, type Verified } from "../../services/Authenticator.ts"
import { tenantNamePattern, tenantsName } from "../../system/Names.ts"
import {
  type CallerKeys,
  CallRates,
  configured,
  describeTooMany,
  keysOf,
  refusedAt,
  retryHeaders,
  type TooMany
} from "../rpc/CallRates.ts"
import { errorResponse } from "../rpc/HttpBody.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import type { Entering, GatewayHost, GatewayOptions } from "./GatewayOptions.ts"
import { noSuchTenant, tokenOf } from "./Refusal.ts"
import { isForRegistry, tenantOf } from "./Routing.ts"

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

/** What calls of the Worker's own code need of the platform. */
export type InsideHost = Pick<GatewayHost, "now" | "object" | "run" | "runApart" | "tenancy" | "waitUntil">

/** Decides who gets into which tenant of an app. */
export class Admission {
  private readonly app: Pick<App<Rpc.Any>, "limits">
  private readonly options: GatewayOptions
  /** Counts the calls that this isolate sees: an object that it need not call is not woken, and actions run here. */
  private rates: CallRates | undefined
  private readonly declaredClaims: ReturnType<typeof claimsReader>

  constructor(app: Pick<App<any>, "identity" | "limits">, options: GatewayOptions) {
    this.app = app
    this.options = options
    this.declaredClaims = claimsReader(app.identity)
  }

  /** Counts calls of a caller, where there is a clock. Returns why they must not run. */
  async tooMany(host: Pick<GatewayHost, "run" | "now">, keys: CallerKeys, calls: number): Promise<TooMany | undefined> {
    if (host.now === undefined) return undefined
    this.rates ??= new CallRates(await host.run(configured(this.app.limits)))
    return this.rates.charge(keys, calls, host.now())
  }

  /** Counts one request of a caller. Returns the response that refuses it. */
  async refuse(host: Pick<GatewayHost, "run" | "now">, keys: CallerKeys): Promise<Response | undefined> {
    const refused = await this.tooMany(host, keys, 1)
    return refused && errorResponse(429, describeTooMany(refused), retryHeaders(refused.retryAfter))
  }

  /** Whether there can be a tenant of this name. A registry of tenants is not asked. */
  exists(tenant: string): boolean {
    const { tenants } = this.options
    return typeof tenants !== "function" || tenants(tenant)
  }

  /** The tenant and the caller of a request, or the response that refuses it. */
  async open(host: GatewayHost, request: Request, url: URL): Promise<RequestSession | Response> {
    const tenant = isForRegistry(request, url) ? tenantsName : tenantOf(request, url)
    return this.enterAs(host, request, tenant, host.addressOf?.(request))
  }

  /** The session of a socket with the token of this request, in the tenant of the socket, or the response that refuses it. */
  async renew(host: GatewayHost, request: Request, { address, tenant }: RequestSession): Promise<Response> {
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
      const isWrong = verified.status === 401 && tokenOf(request) !== undefined
      return (isWrong ? await this.refuse(host, refusedAt(address)) : undefined) ?? verified
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

  /**
   * The session of a caller whom code of the Worker names, or why it is refused. `enter` is not asked: that code has decided
   * who calls.
   */
  async enterInside(
    host: InsideHost,
    { address, identity, tenant }: TenantCaller & { readonly tenant: string; readonly identity: Identity }
  ): Promise<RequestSession | CallErrorReason> {
    const claims = this.readClaims(identity)
    if (claims === undefined) return new Unauthenticated({ problem: "claims" })
    const declared = { subject: identity.subject, claims }
    const actual = Limits.bytesBeyond(JSON.stringify(declared), Limits.identityBytes)
    if (actual !== undefined) return new LimitExceeded({ limit: "identityBytes", max: Limits.identityBytes, actual })
    if (!tenantNamePattern.test(tenant) || !this.exists(tenant)) return new Forbidden()
    const session = { tenant, identity: declared, ...(address !== undefined && { address }), isInternal: true }
    const refused = await this.tooMany(host, keysOf(session), 1)
    if (refused !== undefined) return new TooManyRequests({ retryAfter: refused.retryAfter })
    const object = await host.tenancy?.find(tenant, (work) => host.waitUntil(work))
    if (object instanceof Response) {
      return object.status === 404 ? new Forbidden() : new Unavailable({ detail: "the tenant could not be looked up" })
    }
    return object === undefined ? session : { ...session, object }
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
  readClaims({ claims, subject }: Identity): Identity["claims"] | undefined {
    return subject === null ? claims : Option.getOrUndefined(this.declaredClaims(claims))
  }

  private async mayEnter(host: GatewayHost, entering: Entering): Promise<boolean> {
    const { auth, open = [] } = this.options
    const enter =
      this.options.enter ?? (auth === undefined || open.includes(entering.tenant) ? everybody : whoseClaimsSaySo)
    if (!this.exists(entering.tenant)) return false
    const answer = enter(entering)
    return typeof answer === "boolean" ? answer : host.run(answer)
  }
}

const anonymousCaller: Verified = { identity: anonymous, credential: noCredential }

const everybody = () => true

/** Whether the claim `tenants` lists the tenant. */
const whoseClaimsSaySo = ({ identity, tenant }: Entering): boolean => {
  const { tenants } = identity.claims
  return Array.isArray(tenants) && tenants.includes(tenant)
}

const refusalResponse = (refusal: Refusal): Response => {
  if (refusal._tag === "Unavailable") return errorResponse(503, refusal.detail)
  if (refusal._tag === "Forbidden") return errorResponse(403, "forbidden")
  const { problem } = refusal
  const headers = { "www-authenticate": problem === "missing" ? "Bearer" : invalidToken }
  return Response.json({ error: `unauthenticated: ${problem}`, problem }, { status: 401, headers })
}

const invalidToken = 'Bearer error="invalid_token"'
