import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Auth } from "effect-dormouse/auth"
import type { Entering, GatewayOptions } from "../../src/engine/worker/Gateway.ts"
import { Unauthenticated } from "../../src/protocol/CallError.ts"

/**
 * The callers and tenants of the front door's fuzzer, and the oracle that says who is let in: written from the pages, not
 * from the gateway.
 */

/** Who calls. `null` is the subject of an anonymous caller. */
export interface Caller {
  readonly subject: string | null
  readonly tenants: ReadonlyArray<string>
}

/** The tenant that callers without a token may enter, too. */
export const open = "door-open"
/** Only the keeper may enter it. */
export const sealed = "door-sealed"
/** Asking who may enter it throws. */
export const throwing = "door-throws"

/** The tenants that have an object. */
export const tenants = ["door-a", "door-b", open, sealed] as const
/** Names that the fuzzer uses, and that nobody may enter. */
export const unreachable = ["nobody", "nobody-else", throwing, "main", "DOOR-A", "constructor", "~system"]

/** The host of the front door. */
export const doorHost = "door.test"

export const ada: Caller = { subject: "ada", tenants: ["door-a"] }
export const bo: Caller = { subject: "bo", tenants: ["door-a", "door-b"] }
export const eve: Caller = { subject: "eve", tenants: [] }
/** Checks the data. The fuzzer never sends its token. */
export const keeper: Caller = { subject: "keeper", tenants }
export const anonymous: Caller = { subject: null, tenants: [] }
/** The callers whose tokens the fuzzer sends. */
export const callers = [ada, bo, eve]

/** The text that only callers of a tenant, or a caller itself, may see. The fuzzer never sends one. */
export const secretOf = (name: string): string => `secret-of-${name}`
/** All secrets in a text. */
export const secretsIn = (text: string): ReadonlyArray<string> => text.match(/secret-of-[a-z-]+/g) ?? []

/** The claims of a caller. The app does not declare `hidden`, where it declares its claims. */
export const claimsOf = ({ subject, tenants }: Caller) => ({
  secret: secretOf(String(subject)),
  tenants: [...tenants],
  hidden: secretOf("the-token")
})

/** Who may be calling, for an app that declares it. */
export class Me extends Auth.Service<Me>()("door/Me", {
  claims: Schema.Struct({ secret: Schema.String, tenants: Schema.Array(Schema.String) })
}) {}

/** How callers prove who they are: their tokens, and tokens that must be refused. */
export interface Issuer {
  readonly layer: NonNullable<GatewayOptions["auth"]>
  readonly tokenOf: (caller: Caller) => string
  /** Tokens that are well-formed and refused, each with the status. */
  readonly refused: ReadonlyMap<string, number>
  /** Whether every other text than a token of `tokenOf` is refused. */
  readonly isStrict: boolean
}

const tokenOf = ({ subject }: Caller): string => `tok-${subject}-9f8e7d6c5b4a39281706`

const verified = (caller: Caller, claims: typeof Auth.Identity.fields.claims.Type = claimsOf(caller)) => ({
  identity: { subject: caller.subject, claims },
  credential: Auth.noCredential
})

const known = new Map([...callers, keeper].map((caller) => [tokenOf(caller), verified(caller)]))
const problems = { "tok-expired": "expired", "tok-revoked": "revoked", "tok-audience": "audience" } as const
const exploding = "tok-explodes"

/** An anonymous caller, who can be told from those of other hosts. */
const nobody = verified(anonymous, { host: doorHost })

const authenticate: Parameters<typeof Auth.layer>[0] = ({ token }) => {
  if (token === undefined) return Effect.succeed(Option.some(nobody))
  const found = known.get(token)
  if (found !== undefined) return Effect.succeed(Option.some(found))
  if (token === exploding) return Effect.die(new Error("SELECT password FROM vault"))
  if (token === "tok-huge") return Effect.succeed(Option.some(verified(ada, { ...claimsOf(ada), secret: huge })))
  // Another issuer's.
  if (token === "tok-other") return Effect.succeed(Option.none())
  const problem = Object.entries(problems).find(([name]) => name === token)?.[1] ?? "malformed"
  return Effect.fail(new Unauthenticated({ problem }))
}

/** Knows a list of tokens. A caller without a token is anonymous. */
export const listed: Issuer = {
  layer: Auth.layer(authenticate),
  tokenOf,
  refused: new Map([
    ...Object.keys(problems).map((token) => [token, 401] as const),
    ["tok-other", 401],
    ["tok-huge", 431],
    [exploding, 500]
  ]),
  isStrict: true
}
const huge = "x".repeat(5000)

/** For a control: callers whose tokens are refused are anonymous. */
export const lenient: Issuer = {
  ...listed,
  layer: Auth.layer((credentials) => Effect.catch(authenticate(credentials), () => Effect.succeed(Option.some(nobody))))
}

/** The tokens of `Auth.layerTest`. They have no signature: a changed one may be another caller's. */
export const unsigned: Issuer = {
  layer: Auth.layerFirst(Auth.layerTest, Auth.layerAnonymous),
  tokenOf: (caller) => Auth.testToken({ subject: caller.subject, claims: claimsOf(caller) }),
  refused: new Map([
    [Auth.testToken({ subject: "ada", claims: claimsOf(ada), expires: 1 }), 401],
    [Auth.testToken({ subject: "ada", claims: { tenants: ["door-a"], secret: 1 } }), 401],
    [Auth.testToken({ subject: "ada", claims: { tenants: ["door-a"], secret: huge } }), 431]
  ]),
  isStrict: false
}

/** Whether the caller was verified by an issuer of this module. */
export const isAtDoor = ({ identity }: Entering): boolean => "hidden" in identity.claims || "host" in identity.claims

/** Who may enter which tenant. */
export const enter = ({ identity, tenant }: Entering): boolean | Effect.Effect<boolean> => {
  if (tenant === throwing) throw new Error("SELECT password FROM vault")
  const { tenants } = identity.claims
  const isMember = tenant === open || (Array.isArray(tenants) && tenants.includes(tenant))
  return tenant === "door-a" ? Effect.succeed(isMember) : isMember
}

/** Which tenants exist. */
export const exists = (tenant: string): boolean => !tenant.startsWith("nobody")

/** Which requests may read what the live queries of a tenant cost. */
export const explain = (request: Request): boolean => request.headers.get("x-explain") === "yes"

/** A caller who is let in. */
export interface Admitted {
  readonly tenant: string
  readonly caller: Caller
}

/** What the door decides: who is let in, or the statuses that may refuse the request. */
export type Decision = Admitted | { readonly statuses: ReadonlyArray<number> }

/** The tenant that a request names. */
const tenantOf = (url: URL, headers: Headers): string =>
  headers.get("x-dormouse-tenant") ?? url.searchParams.get("tenant") ?? "main"

/** Who is let in, by what the pages say. */
export const decide = (issuer: Issuer, url: URL, headers: Headers): Decision => {
  const tenant = tenantOf(url, headers)
  const token = tokenIn(headers)
  let caller: Caller = anonymous
  if (token !== undefined) {
    const status = issuer.refused.get(token)
    if (status !== undefined) return { statuses: [status] }
    const found = [...callers, keeper].find((caller) => issuer.tokenOf(caller) === token)
    if (found === undefined) return { statuses: [401] }
    caller = found
  }
  if (!/^[A-Za-z0-9][\w.-]{0,62}$/.test(tenant)) return { statuses: [404] }
  if (!exists(tenant)) return { statuses: [404] }
  if (tenant === throwing) return { statuses: [500] }
  return tenant === open || caller.tenants.includes(tenant) ? { tenant, caller } : { statuses: [404] }
}

/** The token of a request: empty when one is announced and there is none. */
const tokenIn = (headers: Headers): string | undefined => {
  const authorization = headers.get("authorization") ?? ""
  if (/^bearer/i.test(authorization)) {
    const [scheme, token, ...more] = authorization.split(/ +/)
    return scheme?.toLowerCase() === "bearer" && more.length === 0 ? (token ?? "") : ""
  }
  const prefix = "dormouse.bearer."
  const protocols = (headers.get("sec-websocket-protocol") ?? "").split(",").map((name) => name.trim())
  return protocols.find((name) => name.startsWith(prefix))?.slice(prefix.length)
}
