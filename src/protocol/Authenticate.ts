/**
 * The request by which a client sends a new token over its socket, and what is said of the session that follows from it.
 * Any client can send it; `docs/protocol.md` describes it.
 */

/** The tag of the request. No contract can declare it. */
export const authenticateTag = "dormouse.authenticate"

/** The answer to a token that was accepted. Times are milliseconds since the epoch, of the server's clock. */
export interface Authenticated {
  /** Who is calling from now on; `null` for an anonymous caller. */
  readonly subject: string | null
  /** From this time on the token is not accepted. `null` if it does not expire. */
  readonly expires: number | null
  /** The time of the answer: the client's clock may show another one. */
  readonly now: number
}

/** The message that the caller of a socket is anonymous from now on, because its token has ended. */
export const signedOut = (problem: "expired" | "revoked"): string => `{"_tag":"SignedOut","problem":"${problem}"}`
