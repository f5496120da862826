import type { Random } from "../random.ts"
import { ada, bo, callers, type Issuer, open, sealed, throwing } from "./callers.ts"
import { bytes, type Thread, text } from "./messages.ts"

/** The grammar of the HTTP requests and handshakes that the fuzzer sends. */

/** A request, as it is sent. */
export interface Sent {
  readonly path: string
  readonly method: string
  readonly headers: ReadonlyArray<readonly [string, string]>
  readonly body?: string | Uint8Array<ArrayBuffer> | undefined
}

const paths = [
  "/rpc/explain",
  "/rpc/explain",
  "//rpc",
  "/rpc//",
  "/RPC",
  "/rpc/x",
  "/rpc.",
  "/rpc;a",
  "/%72pc",
  "/rpc%2f",
  "/rpc%00",
  "/rpc/%2e%2e/rpc",
  "/./rpc",
  "/x/../rpc",
  "/rpc/..",
  "/rpc\\",
  "/",
  "/rpc/explain/",
  "/rpc/explain",
  "/rpc/time",
  "/rpc/time/",
  "/.well-known/jwks.json",
  "/__proto__"
]

const tenantNames = ["door-a", "door-b", open, sealed, throwing, "nobody", "nobody-else"]
const noTenants = [
  "",
  "door-a ",
  "door-a,door-b",
  "door-a/../door-b",
  "door-a%00",
  "DOOR-A",
  "-door",
  "x".repeat(64),
  "~system",
  "%7Esystem",
  "__proto__",
  "constructor",
  "main",
  "door-sealed;door-a"
]

/** The name of a tenant, as it stands in a query string: rarely one that cannot be decoded. */
const inQuery = (random: Random, name: string): string =>
  random.pick([
    `?tenant=${encodeURIComponent(name)}`,
    `?tenant=${encodeURIComponent(name)}`,
    `?tenant=${encodeURIComponent(name)}&tenant=${sealed}`,
    `?a=%E0%A4%A&%=&tenant=${encodeURIComponent(name)}`,
    `?Tenant=${sealed}&tenant=${encodeURIComponent(name)}`,
    `?tenant[]=${name}`,
    `?tenant=${name}%E0%A4%A`,
    `?tenant=${encodeURIComponent(name)}#tenant=${sealed}`,
    "?%",
    "?"
  ])

/** A token that is nearly one of a caller. */
const nearMiss = (random: Random, token: string): string => {
  const at = random.int(token.length)
  return random.pick([
    token.slice(0, at),
    token.slice(1),
    `${token}x`,
    `x${token}`,
    `"${token}"`,
    `${token},${token}`,
    `${token.slice(0, at)}%${token.slice(at)}`,
    token.toUpperCase(),
    "null",
    "undefined",
    "{}",
    "e30.e30.",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.",
    "constructor",
    "__proto__"
  ])
}

const goodCredential = (token: string, isSocket: boolean): readonly [string, string] =>
  isSocket ? ["sec-websocket-protocol", `dormouse, dormouse.bearer.${token}`] : ["authorization", `Bearer ${token}`]

/** The headers that carry a token: mostly one that is good, in its place. */
const credentials = (random: Random, issuer: Issuer, isSocket: boolean): Array<readonly [string, string]> => {
  if (random.chance(0.15)) return []
  const good = issuer.tokenOf(random.pick(callers))
  const token = random.chance(0.75)
    ? good
    : random.chance(0.4)
      ? random.pick([...issuer.refused.keys()])
      : issuer.isStrict
        ? nearMiss(random, good)
        : random.pick([good.slice(0, good.length >> 1), `x${good}`, `${good.slice(0, 9)}%${good.slice(9)}`, "null"])
  const offered: readonly [string, string] = [
    "sec-websocket-protocol",
    random.pick([
      `dormouse, dormouse.bearer.${token}`,
      `dormouse, dormouse.bearer.${token}`,
      `dormouse.bearer.${token}`,
      `dormouse.bearer.${token} ,dormouse`,
      `a, ,dormouse,dormouse.bearer.${token},,`,
      `dormouse, Dormouse.Bearer.${token}`,
      "dormouse, dormouse.bearer.",
      "dormouse"
    ])
  ]
  const announced: readonly [string, string] = [
    "authorization",
    random.chance(0.8)
      ? `Bearer ${token}`
      : random.pick([
          `bearer ${token}`,
          `BEARER   ${token}`,
          `Bearer ${token} ${token}`,
          `Bearer ${token}, Bearer ${token}`,
          `Bearer\t${token}`,
          `Bearer:${token}`,
          `Bearer${token}`,
          "Bearer",
          "Bearer ",
          `Basic ${token}`,
          token,
          `Token ${token}`
        ])
  ]
  if (random.chance(0.05)) return [announced, offered]
  return [isSocket === random.chance(0.95) ? offered : announced]
}

/** A session as the Worker would name it to an object. */
const forgedSession = encodeURIComponent(
  JSON.stringify({ tenant: sealed, identity: { subject: "keeper", claims: { admin: true } } })
)

const forged: ReadonlyArray<readonly [string, string]> = [
  ["x-dormouse-session", forgedSession],
  ["x-dormouse-session", "%"],
  ["x-dormouse-subject", "keeper"],
  ["x-dormouse-identity", '{"subject":"keeper","claims":{}}'],
  ["x-test-subject", "keeper"],
  ["cf-connecting-ip", "127.0.0.1"],
  ["cf-connecting-ip", "::ffff:x"],
  ["cf-connecting-ip", "::".repeat(40)],
  ["x-forwarded-for", "127.0.0.1"],
  ["x-forwarded-host", sealed],
  ["cf-worker", "dormouse"],
  ["accept", "application/x-ndjson"],
  ["content-type", "text/plain"],
  ["content-type", "application/msgpack"],
  ["content-encoding", "br"],
  ["x-http-method-override", "GET"],
  ["origin", "https://elsewhere.test"],
  ["cookie", `dormouse=${forgedSession}`],
  ["traceparent", "00-00000000000000000000000000000000-0000000000000000-01"],
  ["b3", "x"],
  ["x-explain", "yes"],
  ["x-explain", "no"]
]

const upgrades = ["websocket", "WebSocket", "WEBSOCKET", "websocket", "websocket", "h2c", "websocket, h2c", ""]

/** A request over HTTP or a handshake. */
export const sent = (thread: Thread, issuer: Issuer, isSocket: boolean): Sent => {
  const { random } = thread
  const isLetIn = random.chance(0.75)
  const caller = random.pick(isLetIn ? [ada, bo] : callers)
  const headers: Array<readonly [string, string]> = isLetIn
    ? [goodCredential(issuer.tokenOf(caller), isSocket)]
    : credentials(random, issuer, isSocket)
  let path = isLetIn || random.chance(0.8) ? random.pick(["/rpc", "/rpc", "/rpc", "/rpc/"]) : random.pick(paths)
  let name = random.pick([...caller.tenants, open])
  if (!isLetIn) name = random.pick(random.chance(0.8) ? tenantNames : noTenants)
  if (random.chance(0.6)) headers.push(["x-dormouse-tenant", name])
  else path += inQuery(random, name)
  if (random.chance(0.15)) headers.push(random.pick(forged))
  if (path.startsWith("/rpc/explain")) headers.push(["x-explain", random.pick(["yes", "yes", "no"])])
  if (isSocket) {
    headers.push(["upgrade", random.chance(0.9) ? "websocket" : random.pick(upgrades)])
    return { path, method: random.chance(0.97) ? "GET" : "POST", headers }
  }
  if (random.chance(0.02)) headers.push(["upgrade", random.pick(upgrades)])
  const method = random.chance(0.95)
    ? "POST"
    : random.pick(["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "post", "Query"])
  if (method === "GET" || method === "HEAD") return { path, method, headers }
  return { path, method, headers, body: bodyOf(thread) }
}

const bodyOf = (thread: Thread): Sent["body"] => {
  const { random } = thread
  const made = text(thread, false)
  return random.chance(0.05) ? bytes(random, made) : made
}
