/**
 * Actions called over a socket: the Worker runs them, and their messages are relayed to the socket as they come.
 * A chunk is relayed when the client has acknowledged the one before. Until then a timer keeps the object awake.
 */
import * as Context from "effect/Context"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import { Unauthenticated } from "../../protocol/CallError.ts"
import { type EncodedExit, failed, interrupted, lost, unavailable } from "../../protocol/Exit.ts"
import type { Request } from "../../protocol/Messages.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import type { Ended } from "./SessionEnds.ts"

/** The port to where actions run: outside of the object, so that their I/O neither blocks nor keeps it awake. */
export class ActionHost extends Context.Service<
  ActionHost,
  {
    /** Runs an action in the name of a caller, and yields its messages as they come. */
    readonly runAction: (
      request: Request,
      session: RequestSession,
      signal: AbortSignal
    ) => AsyncIterable<FromServerEncoded>
    /** Has a new token of a socket verified, `null` for none. Answers with the JSON of the session, or with a refusal. */
    readonly renewSession: (token: string | null, session: RequestSession, signal: AbortSignal) => Promise<Response>
  }
>()("effect-dormouse/engine/object/ActionHost") {}

/** An action ended without an exit. The message is for its caller. */
export class ActionEnded extends Error {}

/** What the relay of one socket works with. */
export interface ActionRelayOptions {
  readonly host: ActionHost["Service"]
  /** The session now: an action runs under the one with which it was started. */
  readonly session: () => RequestSession
  /** Why nothing may be sent any more of an action that was started under a session. */
  readonly endOf: (session: RequestSession) => Ended | undefined
  /** Sends a message of a call to the socket. */
  readonly send: (message: FromServerEncoded) => void
  /** Runs a task later, and keeps the object awake until then. Returns the function that cancels it. */
  readonly after: (millis: number, task: () => void) => () => void
  /** A text that is another one after each message and each ping of the client. */
  readonly signOfLife: () => string
  /** The calls under way changed. */
  readonly onChange: () => void
}

/** Milliseconds between two looks at the client of a chunk that is not acknowledged. */
const lookEvery = 20_000
/** Looks without a sign of life of the client after which its stream ends: a minute. */
const silentLooks = 3
/** Looks after which the stream of a client that is there, and does not read, ends: an hour. */
const maxLooks = 180

/** The actions under way for one socket. */
export class ActionRelay {
  private readonly options: ActionRelayOptions
  private readonly calls = new Map<string | number, RunningAction>()
  /** Everything under way, also notifications, to which no message refers. */
  private readonly running = new Set<RunningAction>()

  constructor(options: ActionRelayOptions) {
    this.options = options
  }

  /** The requests of the calls under way. */
  get ids(): Iterable<string | number> {
    return this.calls.keys()
  }

  /** Starts an action. */
  start(request: Request): void {
    const { id } = request
    const call = new RunningAction()
    this.running.add(call)
    let isAnswered = request.isNotification === true
    if (!isAnswered) {
      this.calls.set(id, call)
      this.options.onChange()
    }
    const send = (message: FromServerEncoded) => {
      // The client may have used the id for another request meanwhile.
      if (this.calls.get(id) === call) this.options.send(message)
    }
    const exit = (exit: EncodedExit) => send({ _tag: "Exit", requestId: id, exit })
    const session = this.options.session()
    const relay = async () => {
      try {
        for await (const message of this.options.host.runAction(request, session, call.abort.signal)) {
          const problem = this.options.endOf(session)
          if (problem !== undefined) {
            call.abort.abort()
            if (!isAnswered) exit(failed(new Unauthenticated({ problem })))
            return
          }
          send(message)
          // A call with `discard` has its exit at once and continues to run.
          isAnswered ||= message._tag === "Exit"
          if (message._tag === "Chunk") await this.taken(call)
        }
        if (!isAnswered) exit(unavailable("the action ended without an answer"))
      } catch (cause) {
        const detail = cause instanceof ActionEnded ? cause.message : "the action could not be run"
        if (!isAnswered) exit(call.isLost ? lost : call.abort.signal.aborted ? interrupted : unavailable(detail))
      } finally {
        this.running.delete(call)
        if (this.calls.get(id) === call) this.calls.delete(id)
        this.options.onChange()
      }
    }
    void relay()
  }

  /**
   * Waits until the client has taken a chunk. Nothing is read from the Worker meanwhile, and what is not read does not keep
   * the object awake: it would hibernate, and the stream would be lost.
   */
  private async taken(call: RunningAction): Promise<void> {
    const { after, signOfLife } = this.options
    let looks = 0
    let silent = 0
    let before = signOfLife()
    const look = () => {
      const now = signOfLife()
      silent = now === before ? silent + 1 : 0
      before = now
      if (++looks === maxLooks || silent === silentLooks) return call.lose()
      cancel = after(lookEvery, look)
    }
    let cancel = after(lookEvery, look)
    try {
      await call.acknowledgement()
    } finally {
      cancel()
    }
  }

  /** The client has taken a chunk. Answers whether an action of this id is under way. */
  acknowledge(id: string | number): boolean {
    const call = this.calls.get(id)
    call?.acknowledged()
    return call !== undefined
  }

  /** Interrupts an action; its exit follows. Answers whether one of this id is under way. */
  interrupt(id: string | number): boolean {
    const call = this.calls.get(id)
    call?.abort.abort()
    return call !== undefined
  }

  /** Interrupts an action whose id was used again: nothing more is sent under it. */
  abandon(id: string | number): void {
    if (!this.interrupt(id)) return
    this.calls.delete(id)
    this.options.onChange()
  }

  /** The socket closed: interrupts all, also notifications. What nobody can interrupt would keep the object awake. */
  close(): void {
    for (const { abort } of this.running) abort.abort()
  }
}

/** One action under way. */
class RunningAction {
  readonly abort = new AbortController()
  /** Whether it was ended because its client did not take a chunk. */
  isLost = false
  private waiting: PromiseWithResolvers<void> | undefined
  private early = 0

  constructor() {
    // One listener for the whole call: one for each chunk would stay until its end.
    this.abort.signal.addEventListener("abort", () => this.waiting?.reject(new Error("interrupted")), { once: true })
  }

  /** Ends it, because its client does not take a chunk. */
  lose(): void {
    this.isLost = true
    this.abort.abort()
  }

  acknowledged(): void {
    if (this.waiting === undefined) this.early++
    else this.waiting.resolve()
    this.waiting = undefined
  }

  /** Resolves when the client has taken the chunk. */
  async acknowledgement(): Promise<void> {
    this.abort.signal.throwIfAborted()
    if (this.early > 0) {
      this.early--
      return
    }
    this.waiting = Promise.withResolvers()
    await this.waiting.promise
  }
}
