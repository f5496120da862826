/**
 * The tenant and the caller of a request, as the Worker sends them to the object.
 * Only the Worker reaches the object, so the object trusts the header.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Credential, Identity } from "../../contract/Auth.ts"

/** What a call or a socket belongs to. */
export const RequestSession = Schema.Struct({
  tenant: Schema.String,
  /** The name of the tenant's object, when a registry of tenants gave it one of its own. */
  object: Schema.optionalKey(Schema.String),
  identity: Identity,
  /** What is known of the caller's token. */
  credential: Schema.optionalKey(Credential),
  /** The network address of the caller, where the platform knows it. */
  address: Schema.optionalKey(Schema.String),
  /** Whether an action calls in the caller's name: the action itself was counted. */
  fromAction: Schema.optionalKey(Schema.Boolean),
  /** Whether code of the Worker calls, which may call what no client may. Its calls are counted. */
  isInternal: Schema.optionalKey(Schema.Boolean)
})
export type RequestSession = typeof RequestSession.Type

const sessionHeader = "x-dormouse-session"
const decodeSession = Schema.decodeUnknownOption(Schema.fromJsonString(RequestSession))

/** The headers by which the Worker names the session to the object. */
export const sessionHeaders = (session: RequestSession): Record<string, string> => ({
  // Header values are Latin-1; names and claims may be anything.
  [sessionHeader]: encodeURIComponent(JSON.stringify(session))
})

/** The session that the Worker named, or `undefined` when the request did not come through it. */
export const readSession = (request: Request): RequestSession | undefined => {
  try {
    return Option.getOrUndefined(decodeSession(decodeURIComponent(request.headers.get(sessionHeader) ?? "")))
  } catch {
    // `decodeURIComponent` throws for what `encodeURIComponent` did not write.
    return undefined
  }
}

/** The headers of a request that carries a token, `null` for none. */
export const tokenHeaders = (token: string | null): Record<string, string> =>
  token === null ? {} : { authorization: `Bearer ${token}` }

/** The subprotocol of sockets. A client that sends a token as a subprotocol must offer this one as well. */
export const subprotocol = "dormouse"
/** The header that names the subprotocols of a socket. */
export const protocolHeader = "sec-websocket-protocol"

/** Where the Worker, and the object behind it, show their live queries. */
export const explainPath = "/rpc/explain"

/** The URL by which the Worker reaches an object. The object is chosen by its tenant; the host means nothing. */
export const objectUrl = "https://dormouse/rpc"
