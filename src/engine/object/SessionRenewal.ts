/**
 * A new token for an open socket: the Worker verifies it, as it does when a socket is opened, and returns the new session.
 * Until then everything on the socket continues under the old one. A refusal, and an answer that does not come, change
 * nothing.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { authenticateTag } from "../../protocol/Authenticate.ts"
import { Forbidden, LimitExceeded, PayloadInvalid, TokenProblem, Unauthenticated } from "../../protocol/CallError.ts"
import { done, type EncodedExit, failed, interrupted, unavailable } from "../../protocol/Exit.ts"
import * as Limits from "../../protocol/Limits.ts"
import type { Request } from "../../protocol/Messages.ts"
import { RequestSession } from "../rpc/SessionHeader.ts"
import type { ActionHost } from "./ActionRelay.ts"

/** What the Worker said to a token: the session, or the exit that refuses it. */
export type Renewed = { readonly session: RequestSession } | EncodedExit

/** What the renewals of one socket work with. */
export interface SessionRenewalOptions {
  readonly host: ActionHost["Service"]
  /** The session now. */
  readonly session: () => RequestSession
  /** Runs a body as a turn of the object. */
  readonly turn: (body: () => void) => void
  /** Runs a task later, and keeps the object awake until then. Returns the function that cancels it. */
  readonly after: (millis: number, task: () => void) => () => void
  /** Sends the exit of a request. */
  readonly exit: (id: string | number, exit: EncodedExit) => void
  /** Continues under a session. Returns the exit of its request. */
  readonly accept: (session: RequestSession) => EncodedExit
  /** The requests under way changed. */
  readonly onChange: () => void
}

/** Milliseconds within which the Worker must have verified a token. */
const deadline = 10_000

interface Renewal {
  readonly id: string | number
  readonly abort: AbortController
  /** Whether its client waits for no exit. */
  readonly isSilent: boolean
}

const decodePayload = Schema.decodeUnknownOption(Schema.Struct({ token: Schema.NullOr(Schema.String) }))
const decodeSession = Schema.decodeUnknownOption(Schema.fromJsonString(RequestSession))
const decodeProblem = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ problem: TokenProblem })))

/** The token of a request; `undefined` when the payload has none. */
const readToken = (payload: unknown): string | null | undefined =>
  Option.getOrUndefined(Option.map(decodePayload(payload), ({ token }) => token))

/** What can stand in a header after `Bearer`. */
const isToken = (token: string): boolean => /^[\x21-\x7e]+$/.test(token)

/** Reads what the Worker answered for a socket of a tenant. */
export const readRenewed = (status: number, text: string, tenant: string): Renewed => {
  if (status === 200) {
    const session = Option.getOrUndefined(decodeSession(text))
    return session?.tenant === tenant ? { session } : unavailable("the Worker answered for another socket")
  }
  const refused = Option.getOrUndefined(decodeProblem(text))
  if (status === 401 && refused !== undefined) return failed(new Unauthenticated(refused))
  // The caller is in the tenant already: it need not be told that there is none.
  if (status === 404) return failed(new Forbidden())
  if (status === 431) return failed(new LimitExceeded({ limit: "identityBytes", max: Limits.identityBytes }))
  return unavailable(`the Worker could not verify the token: it answered with status ${status}`)
}

/** The renewals of one socket. There is at most one: a later token replaces an earlier one that is not verified yet. */
export class SessionRenewal {
  private readonly options: SessionRenewalOptions
  private current: Renewal | undefined

  constructor(options: SessionRenewalOptions) {
    this.options = options
  }

  /** The requests under way. */
  get ids(): ReadonlyArray<string | number> {
    return this.current === undefined || this.current.isSilent ? [] : [this.current.id]
  }

  /** Has a token verified. */
  start({ discard, id, isNotification, payload }: Request): void {
    const { after, exit, host, session } = this.options
    const isSilent = isNotification === true || discard === true
    if (discard === true && isNotification !== true) exit(id, done)
    const token = readToken(payload)
    const refusal =
      token === undefined
        ? failed(new PayloadInvalid({ issue: `${authenticateTag} takes { token }, a text or null` }))
        : token === null || isToken(token)
          ? undefined
          : failed(new Unauthenticated({ problem: "malformed" }))
    if (refusal !== undefined) return isSilent ? undefined : exit(id, refusal)
    this.end(interrupted)
    const renewal: Renewal = { id, abort: new AbortController(), isSilent }
    this.current = renewal
    this.options.onChange()
    const { tenant } = session()
    const cancel = after(deadline, () => this.settle(renewal, unavailable("the token was not verified within 10 s")))
    const verify = async (): Promise<Renewed> => {
      const response = await host.renewSession(token ?? null, session(), renewal.abort.signal)
      return readRenewed(response.status, await response.text(), tenant)
    }
    void verify()
      .catch(() => unavailable("the Worker could not verify the token"))
      .then((renewed) => {
        cancel()
        this.settle(renewal, renewed)
      })
  }

  private settle(renewal: Renewal, renewed: Renewed): void {
    this.options.turn(() => {
      if (this.current !== renewal) return
      this.forget()
      const exit = "session" in renewed ? this.options.accept(renewed.session) : renewed
      if (!renewal.isSilent) this.options.exit(renewal.id, exit)
    })
  }

  /** Ends a request. Answers whether one of this id is under way. */
  interrupt(id: string | number): boolean {
    if (this.current?.id !== id) return false
    this.end(interrupted)
    return true
  }

  /** Its id was used again: nothing more is sent under it. */
  abandon(id: string | number): void {
    if (this.current?.id === id) this.forget()
  }

  /** The socket closed. */
  close(): void {
    this.current?.abort.abort()
    this.current = undefined
  }

  private end(exit: EncodedExit): void {
    const { current } = this
    if (current === undefined) return
    this.forget()
    if (!current.isSilent) this.options.exit(current.id, exit)
  }

  private forget(): void {
    this.close()
    this.options.onChange()
  }
}
