/**
 * Reaches the object of a tenant from the Worker, for calls and for sockets.
 * When an object does not answer, that is logged, and the caller is answered here.
 */
import * as Effect from "effect/Effect"
import type { EventSocket } from "../../contract/Pubsub.ts"
import { errorResponse } from "../rpc/HttpBody.ts"
import type { ObjectStub } from "../rpc/ObjectStub.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import type { GatewayHost } from "./GatewayOptions.ts"
import { handshakeHeaders, isUpgrade, noAnswer, objectNotStarted } from "./Refusal.ts"
import { Missing } from "./Tenancy.ts"

/** What an object answers. A failure is logged, and gives `undefined`; that there is no such tenant is thrown. */
export const reach = async <A>(host: Pick<GatewayHost, "run">, ask: () => Promise<A>): Promise<A | undefined> => {
  try {
    return await ask()
  } catch (cause) {
    if (cause instanceof Missing) throw cause
    await host.run(Effect.logWarning(noAnswer, cause))
    return undefined
  }
}

/** Opens the socket that a request asks for. */
export const connect = async (
  host: GatewayHost,
  object: ObjectStub,
  session: RequestSession,
  request: Request
): Promise<Response> => {
  if (!isUpgrade(request)) return errorResponse(426, "GET /rpc opens a WebSocket", { upgrade: "websocket" })
  return reachSocket(host, () => object.connect(session, handshakeHeaders(request)))
}

/** Opens a socket that the Worker reads itself. */
export const connectInside = async (
  host: GatewayHost,
  object: ObjectStub,
  session: RequestSession
): Promise<EventSocket | Response> => {
  const response = await reachSocket(host, () => object.connect(session, {}))
  return host.socketOf?.(response) ?? response
}

const reachSocket = async (host: GatewayHost, open: () => Promise<Response>): Promise<Response> => {
  const response = await reach(host, open)
  if (response === undefined) return errorResponse(503, noAnswer)
  return response.status === 503 ? errorResponse(503, objectNotStarted) : response
}
