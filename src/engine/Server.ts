import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type { FromClientEncoded, FromServerEncoded, RequestEncoded } from "effect/rpc/RpcMessage"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import { CallError, InternalError, LimitExceeded, PayloadInvalid, UnknownRpc } from "../protocol/CallError.ts"
import * as Limits from "../protocol/Limits.ts"
import { conceal } from "./Answer.ts"
import { codecFor } from "./ResultCodec.ts"

/** One client's messages in; its answers come out through the function it was opened with. */
export interface Connection {
  /** `context` has what only this message's handler may use, such as the calls of its tenant. */
  readonly receive: (message: FromClientEncoded, context?: Context.Context<never>) => void
  readonly close: () => void
}

/** An `RpcServer` whose transport is two functions, so that a socket, an HTTP body and a test drive the same code. */
export interface Server {
  /** `onEnd` is called when the client said `Eof`, and nothing that it asked for runs any more. */
  readonly open: (send: (message: FromServerEncoded) => void, onEnd?: () => void) => Connection
}

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
    codecFor: codecFor(group)
  })
  yield* RpcServer.make(group, {
    disableFatalDefects: true,
    spanPrefix: "dormouse",
    // Nobody sees the spans of the tracer that is there when none is given.
    disableTracing: Option.isNone(Context.getOption(yield* Effect.context<never>(), Tracer.Tracer))
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
            // The server takes the message apart in place.
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
  } satisfies Server as Server
})

/** What was asked for, as it came. */
type Asked = Pick<RequestEncoded, "tag" | "payload">

class Client {
  /** Requests that were not answered to the end. */
  readonly pending = new Map<string | number, Asked>()
  private readonly group: RpcGroup.RpcGroup<any>
  private readonly send: (message: FromServerEncoded) => void
  readonly onEnd: () => void

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
        return Effect.map(conceal("server", Cause.die(response.defect)), (defect) =>
          this.send({ _tag: "Defect", defect })
        )
      default:
        return Effect.sync(() => this.send(response))
    }
  }

  private exit(response: ResponseExitEncoded): Effect.Effect<void> {
    const { exit, requestId } = response
    const request = this.pending.get(requestId)
    this.pending.delete(requestId)
    const unknown = exit._tag === "Failure" ? exit.cause.find(isUnknownDefect) : undefined
    if (unknown === undefined) return Effect.sync(() => this.send(response))
    // A request that could not be read is answered with a text.
    const isUnread = request !== undefined && typeof unknown.defect === "string"
    const refused = isUnread ? refusal(this.group, request) : undefined
    if (refused !== undefined) return Effect.sync(() => this.send({ ...response, exit: refused }))
    return Effect.map(conceal(request?.tag ?? "unknown", Cause.die(unknown.defect)), (defect) =>
      this.send({ ...response, exit: { _tag: "Failure", cause: [{ _tag: "Die", defect }] } })
    )
  }
}

type ResponseExitEncoded = Extract<FromServerEncoded, { _tag: "Exit" }>
type Reason = Extract<ResponseExitEncoded["exit"], { _tag: "Failure" }>["cause"][number]

const isInternalError = Schema.is(InternalError)

/**
 * Whether a defect is not one that handlers give. The `RpcServer` has its own: a request that it could not read, a result
 * that does not fit its schema; and so may an author's middleware.
 */
const isUnknownDefect = (reason: Reason): reason is Extract<Reason, { _tag: "Die" }> =>
  reason._tag === "Die" && !isInternalError(reason.defect)

/** The typed answer to a request that could not be read, or `undefined` when it could. */
export const refusal = (group: RpcGroup.RpcGroup<any>, request: Asked): ResponseExitEncoded["exit"] | undefined => {
  const rpc = group.requests.get(request.tag) as Rpc.AnyWithProps | undefined
  if (rpc === undefined) return failure(new CallError({ reason: new UnknownRpc({ tag: request.tag }) }))
  const codec = Schema.toCodecJson(rpc.payloadSchema as Schema.Codec<unknown, unknown>)
  const decoded = Schema.decodeUnknownExit(codec)(request.payload)
  if (Exit.isSuccess(decoded)) return undefined
  const issue = Option.getOrElse(Exit.findErrorOption(decoded), () => decoded.cause)
  return failure(new CallError({ reason: new PayloadInvalid({ issue: String(issue) }) }))
}

/** A message as text; an answer that is too large becomes a failure that says so. */
export const encode = (message: FromServerEncoded, { resultBytes }: Limits.Limits): string => {
  const text = JSON.stringify(message)
  if (message._tag !== "Exit" || Limits.bytesBeyond(text, resultBytes) === undefined) return text
  const { exit, requestId } = message
  const result = JSON.stringify(exit._tag === "Success" ? exit.value : exit.cause)
  const actual = Limits.bytesBeyond(result, resultBytes)
  if (actual === undefined) return text
  const reason = new LimitExceeded({ limit: "resultBytes", max: resultBytes, actual })
  return JSON.stringify({ _tag: "Exit", requestId, exit: failure(new CallError({ reason })) })
}

const encodeError = Schema.encodeSync(Schema.toCodecJson(CallError))

/** A typed failure as it crosses the wire. */
export const failure = (error: CallError): ResponseExitEncoded["exit"] => ({
  _tag: "Failure",
  cause: [{ _tag: "Fail", error: encodeError(error) }]
})
