import * as Context from "effect/Context"
import type { FromClientEncoded, FromServerEncoded } from "effect/rpc/RpcMessage"
import { CallError, LimitExceeded } from "../protocol/CallError.ts"
import { livePrefix } from "../protocol/Frame.ts"
import type * as Limits from "../protocol/Limits.ts"
import type { Request } from "../protocol/Messages.ts"
import type { Backend } from "./Backend.ts"
import type { Session } from "./Host.ts"
import { answers, explainPath, readRequests, readSession, refused } from "./HttpMessages.ts"
import { hashOf } from "./LiveQueries.ts"
import { failure, type Server } from "./Server.ts"
import { Caller } from "./Transaction.ts"

export interface Options {
  /** What only these requests' handlers may use. */
  readonly context?: Context.Context<never>
  /** Gets each message as it comes; without it they are collected. */
  readonly onMessage?: ((message: FromServerEncoded) => void | Promise<void>) | undefined
  /** Interrupts what is under way when nobody waits for it any more. */
  readonly signal?: AbortSignal
  /** The bytes of streams that are collected. Unlimited unless given. */
  readonly resultBytes?: number
}

/** Answers the requests of one HTTP body: resolves when each has its exit, and nothing of them runs any more. */
export const exchange = (
  server: Server,
  requests: ReadonlyArray<Request>,
  options: Options = {}
): Promise<ReadonlyArray<FromServerEncoded>> =>
  new Promise((resolve) => {
    const answers: Array<FromServerEncoded> = []
    /** The requests that have no exit yet. */
    const waiting = new Set(requests.filter(({ isNotification }) => isNotification !== true).map(({ id }) => id))
    let isEnded = false
    let streamed = 0
    const finish = () => {
      if (!isEnded || waiting.size > 0) return
      resolve(answers)
      connection.close()
    }
    const interrupt = () => {
      for (const { id } of requests) connection.receive({ _tag: "Interrupt", requestId: id })
    }
    /** A stream may go on for ever, and nothing of it leaves before its end. */
    const collect = (message: FromServerEncoded): void => {
      answers.push(message)
      if (message._tag !== "Chunk" || options.resultBytes === undefined) return
      streamed += JSON.stringify(message).length
      if (streamed <= options.resultBytes) return
      const reason = new LimitExceeded({ limit: "resultBytes", max: options.resultBytes, actual: streamed })
      const exit = failure(new CallError({ reason }))
      for (const requestId of waiting) answers.push({ _tag: "Exit", requestId, exit })
      waiting.clear()
      interrupt()
    }
    const connection = server.open(
      (message) => {
        if ("requestId" in message && !waiting.has(message.requestId)) return
        if (message._tag === "Exit") waiting.delete(message.requestId)
        const taken = options.onMessage === undefined ? collect(message) : options.onMessage(message)
        // Over HTTP nobody acknowledges: a chunk is taken when the body has it.
        const acknowledge = () => {
          if (message._tag === "Chunk") connection.receive({ _tag: "Ack", requestId: message.requestId })
        }
        if (taken === undefined) acknowledge()
        else taken.then(acknowledge, interrupt)
        finish()
      },
      // A call that was acknowledged at once may run on, and so may one that nobody wants to hear of.
      () => {
        isEnded = true
        finish()
      }
    )
    options.signal?.addEventListener("abort", interrupt)
    // The server takes the message apart in place.
    for (const request of requests) connection.receive({ ...request } as FromClientEncoded, options.context)
    connection.receive({ _tag: "Eof" })
  })

/** Answers a request that reached the object: calls over HTTP, or a socket, which the platform makes by `accept`. */
export const fetch = async (
  backend: Backend,
  request: globalThis.Request,
  limits: Limits.Limits,
  accept: (session: Session) => Response
): Promise<Response> => {
  const session = readSession(request)
  if (session === undefined) return refused(403, "only the Worker in front of the object may ask it")
  if (new URL(request.url).pathname === explainPath) return Response.json(backend.live.explain())
  if (request.headers.get("upgrade") === "websocket") return accept(session)
  const body = await readRequests(request, limits)
  if (body instanceof Response) return body
  return answers(await answer(backend, body.requests, session), limits)
}

/** Answers requests to the object. A live query over HTTP, where nothing can follow, is its first frame and an end. */
const answer = async (
  backend: Backend,
  requests: ReadonlyArray<Request>,
  session: Session
): Promise<ReadonlyArray<FromServerEncoded>> => {
  const unary = requests.filter(({ tag }) => !tag.startsWith(livePrefix))
  const snapshots = requests
    .filter(({ tag }) => tag.startsWith(livePrefix))
    .flatMap((request) => snapshot(backend, request, session))
  return [...snapshots, ...(await exchange(backend.server, unary, { context: contextOf(session) }))]
}

const snapshot = (backend: Backend, request: Request, session: Session): ReadonlyArray<FromServerEncoded> => {
  const exit = (exit: Extract<FromServerEncoded, { _tag: "Exit" }>["exit"]): FromServerEncoded => ({
    _tag: "Exit",
    requestId: request.id,
    exit
  })
  const end = exit({ _tag: "Success", value: null })
  if (request.isNotification === true) return []
  if (request.discard === true) return [end]
  const question = backend.queries.question(request.tag.slice(livePrefix.length), {
    payload: request.payload,
    headers: request.headers,
    identity: JSON.stringify(session.identity)
  })
  if ("_tag" in question) return [exit(question)]
  const answer = backend.queries.run(question)
  if (answer.exit._tag === "Failure") return [exit(answer.exit)]
  const value = answer.exit.value ?? null
  const version = backend.live.currentVersion
  const frame = { _tag: "Snapshot", value, version, hash: hashOf(JSON.stringify(value)) }
  return [{ _tag: "Chunk", requestId: request.id, values: [frame] }, end]
}

/** What handlers may know of a caller: one object for a session, so that what is made of it is made once. */
const contextOf = (session: Session): Context.Context<never> => {
  let context = contexts.get(session)
  if (context === undefined) {
    context = Context.make(Caller, session.identity)
    contexts.set(session, context)
  }
  return context
}
const contexts = new WeakMap<Session, Context.Context<never>>()
