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
import { isAnswerTo, isList, parse } from "./ServerMessage.ts"

/** Which server, which tenant, and as which caller. */
export interface TransportOptions {
  /** The base URL of the Worker, without `/rpc`: `https://chat.example.org`. */
  readonly url: string
  /** The tenant. `main` unless given. */
  readonly tenant?: string
  /**
   * The caller's bearer token. An effect is run again for each connection and for each call over HTTP, so that it can
   * return a fresh token.
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
}

/** Makes the transport of one client. Opens nothing yet. */
export const make = Effect.fnUntraced(function* (options: TransportOptions): Effect.fn.Return<Transport> {
  const tenant = options.tenant ?? "main"
  const token =
    options.token === undefined || typeof options.token === "string" ? Effect.succeed(options.token) : options.token
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
  const socket = Effect.flatMap(token, (token) =>
    Socket.makeWebSocket(
      socketUrl.href,
      // Browsers cannot set headers on a socket, and URLs end up in logs: the token is a subprotocol.
      token === undefined ? {} : { protocols: ["dormouse", `dormouse.bearer.${token}`] }
    )
  ).pipe(Effect.provideService(Socket.WebSocketConstructor, constructor))
  const fetch = yield* Fetch
  const protocol = yield* RpcClient.Protocol.make((respond) =>
    Effect.succeed({
      send: Effect.fnUntraced(function* (client, request) {
        if (request._tag !== "Request") return
        const bearer = yield* token
        const headers: Record<string, string> = { "content-type": "application/json", "x-dormouse-tenant": tenant }
        if (options.appKey !== undefined) headers["x-dormouse-key"] = options.appKey
        if (bearer !== undefined) headers["authorization"] = `Bearer ${bearer}`
        const answers = yield* Effect.tryPromise({
          try: async (signal) => {
            const response = await fetch(url.href, { method: "POST", headers, body: JSON.stringify(request), signal })
            const text = await response.text()
            const answers = parse(text)
            if (isList(answers)) return answers.filter((answer) => isAnswerTo(answer, request.id))
            if (isRefusal(response.status)) throw new Refused(`status ${response.status}: ${text.slice(0, 200)}`)
            throw new Error(`status ${response.status}`)
          },
          catch: (cause) =>
            cause instanceof Refused
              ? unreachable(`the server refused the call: ${cause.message}`, cause)
              : unreachable("the server did not answer the call", cause)
        })
        // Without an exit the call would never end.
        if (!answers.some(({ _tag }) => _tag === "Exit")) {
          return yield* unreachable("the server's answer has no exit of the call", answers)
        }
        for (const answer of answers) yield* respond(client, answer)
      }),
      supportsAck: false,
      supportsTransferables: false,
      codecFor: RpcSerialization.json.codecFor
    })
  )
  return { socket, protocol }
})

/** The server rejected the HTTP request before it ran anything of the call. */
class Refused extends Error {}

/** Whether the server rejected the HTTP request before it ran anything of the call. */
export const isRefused = (error: unknown): boolean =>
  error instanceof RpcClientError && error.reason._tag === "RpcClientDefect" && error.reason.cause instanceof Refused

/** Whether an HTTP status means that a retry of the same request will not help. */
const isRefusal = (status: number): boolean => status >= 400 && status < 500 && ![408, 425, 429].includes(status)

const unreachable = (message: string, cause: unknown) =>
  new RpcClientError({ reason: new RpcClientDefect({ message, cause }) })
