/**
 * A promised call as a request to the Worker that runs its action, and the session that it runs in.
 * The object makes them for its jobs, and the consumer of a broker for the messages that it carries.
 */
import type { PromisedCall } from "../../contract/Jobs.ts"
import type { Request } from "../../protocol/Messages.ts"
import type { RequestSession } from "./SessionHeader.ts"

/** The request of a promised call, under an id. */
export const promisedRequest = (
  id: string,
  { payload, span, target }: Pick<PromisedCall, "payload" | "span" | "target">
): Request => ({
  _tag: "Request",
  id,
  tag: target,
  payload,
  headers: [],
  ...(span !== null && { traceId: span[0], spanId: span[1], sampled: true })
})

/** The session of a promised call. Its caller's token may have ended: the call was promised before. */
export const promisedSession = (
  place: Pick<RequestSession, "tenant" | "object">,
  identity: RequestSession["identity"],
  issued: number
): RequestSession => ({ ...place, identity, credential: { expires: null, issued, session: null } })
