import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RpcClient from "effect/rpc/RpcClient"
import { RpcClientDefect, RpcClientError } from "effect/rpc/RpcClientError"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Socket from "effect/socket/Socket"
import { isAnswerTo, isList, parse } from "./ServerMessage.ts"

export interface TransportOptions {
  /** Where the Worker is, without `/rpc`. */
  readonly url: string
  /** `main` unless given. */
  readonly tenant?: string
  /** Who is calling; asked again for each connection and each call over HTTP. */
  readonly token?: string | Effect.Effect<string>
}

/** The `fetch` that calls over HTTP are made with. */
export const Fetch = Context.Reference<(url: string, init: RequestInit) => Promise<Response>>(
  "effect-dormouse/client/Fetch",
  { defaultValue: () => (url, init) => globalThis.fetch(url, init) }
)

export interface Transport {
  /** Opens a socket. */
  readonly socket: Effect.Effect<Socket.Socket>
  /** The protocol of single calls over HTTP. */
  readonly protocol: RpcClient.Protocol["Service"]
}

/** How a server is reached: by what the context has of sockets and `fetch`, or else by what the runtime has. */
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
  const socket = Effect.flatMap(token, (token) =>
    Socket.makeWebSocket(
      socketUrl.href,
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
        if (bearer !== undefined) headers["authorization"] = `Bearer ${bearer}`
        const answers = yield* Effect.tryPromise({
          try: async (signal) => {
            const response = await fetch(url.href, { method: "POST", headers, body: JSON.stringify(request), signal })
            const text = await response.text()
            const answers = parse(text)
            if (isList(answers)) return answers.filter((answer) => isAnswerTo(answer, request.id))
            if (refusing(response.status)) throw new Refused(`status ${response.status}: ${text.slice(0, 200)}`)
            throw new Error(`status ${response.status}`)
          },
          catch: (cause) =>
            cause instanceof Refused
              ? unreachable(`the server refused the call: ${cause.message}`, cause)
              : unreachable("the server did not answer the call", cause)
        })
        // Something else would leave the caller waiting.
        if (!answers.some(({ _tag }) => _tag === "Exit")) {
          return yield* unreachable("the server's answer to the call is none", answers)
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

/** A call that the server wanted nothing to do with: nothing of it was done. */
class Refused extends Error {}

/** Whether a call was refused before anything of it was done. */
export const isRefused = (error: unknown): boolean =>
  error instanceof RpcClientError && error.reason._tag === "RpcClientDefect" && error.reason.cause instanceof Refused

/** What says "not like this", rather than "not now". */
const refusing = (status: number): boolean => status >= 400 && status < 500 && ![408, 425, 429].includes(status)

const unreachable = (message: string, cause: unknown) =>
  new RpcClientError({ reason: new RpcClientDefect({ message, cause }) })
