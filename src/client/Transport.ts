/**
 * How a client reaches its server: how it opens a socket, and how it makes a single call over HTTP.
 * Uses the `WebSocketConstructor` and `Fetch` of the context, or else those of the runtime.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RpcClient from "effect/rpc/RpcClient"
import { RpcClientDefect, RpcClientError } from "effect/rpc/RpcClientError"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Socket from "effect/socket/Socket"
import { CallError, type TokenProblem, Unauthenticated } from "../protocol/CallError.ts"
import { ConnectionRefused } from "./ClientError.ts"
import { attempt, isAnswerTo, isList, parse } from "./ServerMessage.ts"

/** Which server, which tenant, and as which caller. */
export interface TransportOptions {
  /** The base URL of the Worker, without `/rpc`: `https://chat.example.org`. */
  readonly url: string
  /** The tenant. `main` unless given. */
  readonly tenant?: string
  /**
   * The caller's bearer token. An effect is run again for each connection, for each call over HTTP, and before its token
   * expires on an open socket, so that it can return a fresh token.
   */
  readonly token?: string | Effect.Effect<string>
  /** The publishable key of this app, for a backend with `Auth.withAppKeys`. */
  readonly appKey?: string
}

/** The `fetch` that calls over HTTP use. The runtime's own unless provided. */
export const Fetch = Context.Reference<(url: string, init: RequestInit) => Promise<Response>>(
  "effect-dormouse/client/Fetch",
  { defaultValue: () => (url, init) => globalThis.fetch(url, init) }
)

/** The two ways to a server. */
export interface Transport {
  /** Opens a socket, with a token of its own. */
  readonly socket: Effect.Effect<Socket.Socket>
  /** Makes each call as one HTTP request. Fails with `RpcClientError` when there is no answer. */
  readonly protocol: RpcClient.Protocol["Service"]
  /** Asks for the token, if it is an effect: it can then give a fresh one. */
  readonly token: Effect.Effect<string | undefined> | undefined
  /** The token with which the last socket was opened. */
  readonly socketToken: () => string | undefined
}

/** Makes the transport of one client. Opens nothing yet. */
export const make = Effect.fnUntraced(function* (options: TransportOptions): Effect.fn.Return<Transport> {
  const tenant = options.tenant ?? "main"
  const token =
    options.token === undefined || typeof options.token === "string" ? Effect.succeed(options.token) : options.token
  const isFresh = Effect.isEffect(options.token)
  const url = new URL("rpc", options.url.endsWith("/") ? options.url : `${options.url}/`)
  const constructor = Option.getOrElse(
    yield* Effect.serviceOption(Socket.WebSocketConstructor),
    (): Socket.WebSocketConstructor["Service"] => (url, options) =>
      new globalThis.WebSocket(url, Array.isArray(options) ? options : [])
  )
  const socketUrl = new URL(url)
  socketUrl.protocol = socketUrl.protocol.replace("http", "ws")
  socketUrl.searchParams.set("tenant", tenant)
  if (options.appKey !== undefined) socketUrl.searchParams.set("key", options.appKey)
  let socketToken: string | undefined
  const socket = Effect.flatMap(token, (token) => {
    socketToken = token
    return Socket.makeWebSocket(
      socketUrl.href,
      // Browsers cannot set headers on a socket, and URLs end up in logs: the token is a subprotocol.
      token === undefined ? {} : { protocols: ["dormouse", `${bearerPrefix}${token}`] }
    )
  }).pipe(Effect.provideService(Socket.WebSocketConstructor, constructor))
  const fetch = yield* Fetch
  const protocol = yield* RpcClient.Protocol.make((respond) =>
    Effect.succeed({
      send: Effect.fnUntraced(function* (client, request) {
        if (request._tag !== "Request") return
        const post = Effect.flatMap(token, (bearer) => {
          const headers: Record<string, string> = { "content-type": "application/json", "x-dormouse-tenant": tenant }
          if (options.appKey !== undefined) headers["x-dormouse-key"] = options.appKey
          if (bearer !== undefined) headers["authorization"] = `Bearer ${bearer}`
          return Effect.tryPromise({
            try: async (signal) => {
              const response = await fetch(url.href, { method: "POST", headers, body: JSON.stringify(request), signal })
              return { status: response.status, text: await response.text() }
            },
            catch: unanswered
          })
        })
        let { status, text } = yield* post
        // Nothing has run. The token may have expired on its way, and a fresh one may be accepted.
        if (status === unauthorized && isFresh) ({ status, text } = yield* post)
        const parsed = parse(text)
        if (status === unauthorized || (!isList(parsed) && isRefusal(status))) {
          const said = `the server refused the call: status ${status}: ${text.slice(0, 200)}`
          return yield* unreachable(said, new Refused(failureIn(status, text)))
        }
        if (!isList(parsed)) {
          return yield* unanswered(new Error(`status ${status}`))
        }
        const answers = parsed.filter((answer) => isAnswerTo(answer, request.id))
        // Without an exit the call would never end.
        if (!answers.some(({ _tag }) => _tag === "Exit")) {
          return yield* unanswered(answers)
        }
        for (const answer of answers) yield* respond(client, answer)
      }),
      supportsAck: false,
      supportsTransferables: false,
      codecFor: RpcSerialization.json.codecFor
    })
  )
  return { socket, protocol, token: isFresh ? token : undefined, socketToken: () => socketToken }
})

/** The begin of the subprotocol that is a token. */
export const bearerPrefix = "dormouse.bearer."

const unauthorized = 401

/** The server rejected the HTTP request before it ran anything of the call. */
class Refused {
  /** What the call fails with, if the server has said why. */
  readonly failure: CallError | ConnectionRefused | undefined

  constructor(failure: CallError | ConnectionRefused | undefined) {
    this.failure = failure
  }
}

/** What the refusal of a Worker says: of a token, in the error of the Worker or in the exit of the object, or of the caller. */
const failureIn = (status: number, text: string): Refused["failure"] => {
  const [, said = ""] = (status === unauthorized ? /"problem":"([a-z]+)"/ : /"error":"([^"]+)"/).exec(text) ?? []
  // Other servers answer so, too: the class checks the text.
  if (status === unauthorized) {
    return attempt(() => new CallError({ reason: new Unauthenticated({ problem: said as TokenProblem }) }))
  }
  // As the Worker closes a socket.
  return said && (status === 403 || status === 404)
    ? new ConnectionRefused({ reason: `4${status} ${said}` })
    : undefined
}

/** What the server said when it rejected the HTTP request, before it ran anything of the call. */
const refusalOf = (error: unknown): Refused | undefined =>
  error instanceof RpcClientError && error.reason._tag === "RpcClientDefect" && error.reason.cause instanceof Refused
    ? error.reason.cause
    : undefined

/** What a call fails with, if the server refused it and has said why. */
export const failureOf = (error: unknown): Refused["failure"] => refusalOf(error)?.failure

/** Whether the server rejected the HTTP request before it ran anything of the call. */
export const isRefused = (error: unknown): boolean => refusalOf(error) !== undefined

/** Whether an HTTP status means that a retry of the same request will not help. */
const isRefusal = (status: number): boolean => status >= 400 && status < 500 && ![408, 425, 429].includes(status)

const unanswered = (cause: unknown) => unreachable("the server did not answer", cause)

const unreachable = (message: string, cause: unknown) =>
  new RpcClientError({ reason: new RpcClientDefect({ message, cause }) })
