/**
 * Effect's `RpcServer` over a transport of two functions: messages in, messages out.
 * The Worker runs actions with it, whose fibers may wait and stream.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type { FromClientEncoded, FromServerEncoded, RequestEncoded } from "effect/rpc/RpcMessage"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as RpcServer from "effect/rpc/RpcServer"
import type { InternalError } from "../../protocol/CallError.ts"
import { type EncodedExit, limitExceeded, payloadInvalid, unknownRpc } from "../../protocol/Exit.ts"
import * as Limits from "../../protocol/Limits.ts"
import * as RpcCodec from "../../protocol/RpcCodec.ts"
import { isInternalError, toInternalError } from "./ErrorBoundary.ts"
import { isTraced } from "./RequestSpan.ts"

/** One client of the server. Its answers go to the function that it was opened with. */
export interface RpcConnection {
  /** `context` has what only this message's handler may use, such as the calls of its tenant. */
  readonly receive: (message: FromClientEncoded, context?: Context.Context<never>) => void
  readonly close: () => void
}

/** An `RpcServer` without a transport of its own. */
export interface RpcTransport {
  /** `onEnd` is called when the client has sent `Eof` and none of its calls runs any more. */
  readonly open: (send: (message: FromServerEncoded) => void, onEnd?: () => void) => RpcConnection
}

/** Makes a server of a group. The handlers and the middleware of its rpcs are in the context. */
export const make = Effect.fnUntraced(function* <Rpcs extends Rpc.Any>(group: RpcGroup.RpcGroup<Rpcs>) {
  const clients = new Map<number, Client>()
  const disconnects = yield* Queue.unbounded<number>()
  let write: (clientId: number, message: FromClientEncoded) => Effect.Effect<void> = () => Effect.void
  const protocol = RpcServer.Protocol.of({
    run: (f) =>
      Effect.suspend(() => {
        write = f
        return Effect.never
      }),
    disconnects,
    send: (clientId, response) =>
      Effect.suspend(() => clients.get(clientId)?.answer(response as FromServerEncoded) ?? Effect.void),
    end: (clientId) => Effect.sync(() => clients.get(clientId)?.onEnd()),
    clientIds: Effect.sync(() => new Set(clients.keys())),
    initialMessage: Effect.succeedNone,
    supportsAck: true,
    supportsNotifications: true,
    supportsTransferables: false,
    supportsSpanPropagation: true,
    codecFor: RpcSerialization.json.codecFor
  })
  yield* RpcServer.make(group, {
    disableFatalDefects: true,
    spanPrefix: "dormouse",
    // Without a tracer of the author's own, nothing would export the spans.
    disableTracing: !isTraced(yield* Effect.context<never>())
  }).pipe(Effect.provideService(RpcServer.Protocol, protocol), Effect.forkScoped({ startImmediately: true }))
  const services = yield* Effect.context<never>()
  const fork = Effect.runForkWith(services)
  // A client's messages share one context: the server keeps what it makes of a handler's and a message's by that.
  const forks = new WeakMap<Context.Context<never>, typeof fork>()
  const forkWith = (context: Context.Context<never> | undefined): typeof fork => {
    if (context === undefined) return fork
    let found = forks.get(context)
    if (found === undefined) {
      found = Effect.runForkWith(Context.merge(services, context))
      forks.set(context, found)
    }
    return found
  }
  let nextClient = 0
  return {
    open(send, onEnd = () => {}) {
      const id = nextClient++
      const client = new Client(group, send, onEnd)
      clients.set(id, client)
      return {
        receive(message, context) {
          if (message._tag === "Request" && message.isNotification !== true) {
            // The server changes the message in place.
            client.pending.set(message.id, { tag: message.tag, payload: message.payload })
          }
          forkWith(context)(write(id, message))
        },
        close() {
          clients.delete(id)
          Queue.offerUnsafe(disconnects, id)
        }
      }
    }
  } satisfies RpcTransport
})

/** A request as it came. */
type RequestText = Pick<RequestEncoded, "tag" | "payload">

class Client {
  /** Requests without an exit. */
  readonly pending = new Map<string | number, RequestText>()
  readonly onEnd: () => void
  private readonly group: RpcGroup.RpcGroup<any>
  private readonly send: (message: FromServerEncoded) => void

  constructor(group: RpcGroup.RpcGroup<any>, send: (message: FromServerEncoded) => void, onEnd: () => void) {
    this.group = group
    this.send = send
    this.onEnd = onEnd
  }

  answer(response: FromServerEncoded): Effect.Effect<void> {
    switch (response._tag) {
      case "Exit":
        return this.exit(response)
      case "Defect":
        return Effect.map(toInternalError("server", Cause.die(response.defect)), (defect) => this.endAll(defect))
      default:
        return Effect.sync(() => this.send(response))
    }
  }

  /** Ends each request: a defect of the server itself does not name the one that it is about, which gets no other exit. */
  private endAll(defect: InternalError): void {
    const requests = [...this.pending.keys()]
    this.pending.clear()
    for (const requestId of requests) {
      this.send({ _tag: "Exit", requestId, exit: { _tag: "Failure", cause: [{ _tag: "Die", defect }] } })
    }
  }

  private exit(response: ExitMessage): Effect.Effect<void> {
    const { exit, requestId } = response
    const request = this.pending.get(requestId)
    this.pending.delete(requestId)
    const unknown = exit._tag === "Failure" ? exit.cause.find(isUnknownDefect) : undefined
    if (unknown === undefined) return Effect.sync(() => this.send(response))
    // The server answers a request that it could not read with a text.
    const isUnread = request !== undefined && typeof unknown.defect === "string"
    const error = isUnread ? requestError(this.group, request) : undefined
    if (error !== undefined) return Effect.sync(() => this.send({ ...response, exit: error }))
    return Effect.map(toInternalError(request?.tag ?? "unknown", Cause.die(unknown.defect)), (defect) =>
      this.send({ ...response, exit: { _tag: "Failure", cause: [{ _tag: "Die", defect }] } })
    )
  }
}

type ExitMessage = Extract<FromServerEncoded, { _tag: "Exit" }>
type Reason = Extract<EncodedExit, { _tag: "Failure" }>["cause"][number]

/**
 * Whether a defect was not made by the error boundary. The `RpcServer` has its own: a request that it could not read, a
 * result that does not fit its schema. An author's middleware may die as well.
 */
const isUnknownDefect = (reason: Reason): reason is Extract<Reason, { _tag: "Die" }> =>
  reason._tag === "Die" && !isInternalError(reason.defect)

/** The typed exit of a request that cannot be read, or `undefined` when it can. */
const requestError = (group: RpcGroup.RpcGroup<any>, request: RequestText): EncodedExit | undefined => {
  const rpc: Rpc.Any | undefined = group.requests.get(request.tag)
  if (rpc === undefined) return unknownRpc(request.tag)
  const decoded = Effect.runSyncExit(RpcCodec.of(rpc).decodePayload(request.payload))
  if (Exit.isSuccess(decoded)) return undefined
  return payloadInvalid(decoded.cause)
}

/** A message as text. An exit that is too large becomes a failure that says so. */
export const encodeMessage = (message: FromServerEncoded, { resultBytes }: Limits.Limits): string => {
  const text = JSON.stringify(message)
  if (message._tag !== "Exit" || Limits.bytesBeyond(text, resultBytes) === undefined) return text
  const { exit, requestId } = message
  const result = JSON.stringify(exit._tag === "Success" ? exit.value : exit.cause)
  const actual = Limits.bytesBeyond(result, resultBytes)
  if (actual === undefined) return text
  return JSON.stringify({ _tag: "Exit", requestId, exit: limitExceeded("resultBytes", resultBytes, actual) })
}
