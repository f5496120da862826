import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type { FromClientEncoded, FromServerEncoded, RequestEncoded } from "effect/rpc/RpcMessage"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import { CallError, InternalError, PayloadInvalid, UnknownRpc } from "../protocol/CallError.ts"
import { conceal } from "./Answer.ts"

/** One client's messages in; its answers come out through the function it was opened with. */
export interface Connection {
  /** `context` has what only this message's handler may use, such as the calls of its tenant. */
  readonly receive: (message: FromClientEncoded, context?: Context.Context<never>) => void
  readonly close: () => void
}

/** An `RpcServer` whose transport is two functions, so that a socket, an HTTP body and a test drive the same code. */
export interface Server {
  readonly open: (client: ClientEnd) => Connection
}

/** What a client is told. */
export interface ClientEnd {
  readonly send: (message: FromServerEncoded) => void
  /** The client said `Eof`, and nothing that it asked for runs any more. */
  readonly end?: () => void
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
    end: (clientId) => Effect.sync(() => clients.get(clientId)?.end()),
    clientIds: Effect.sync(() => new Set(clients.keys())),
    initialMessage: Effect.succeedNone,
    supportsAck: true,
    supportsNotifications: true,
    supportsTransferables: false,
    supportsSpanPropagation: true,
    codecFor: RpcSerialization.json.codecFor
  })
  yield* RpcServer.make(group, { disableFatalDefects: true, spanPrefix: "dormouse" }).pipe(
    Effect.provideService(RpcServer.Protocol, protocol),
    Effect.forkScoped({ startImmediately: true })
  )
  const services = yield* Effect.context<never>()
  const fork = Effect.runForkWith(services)
  let nextClient = 0
  return {
    open(end) {
      const id = nextClient++
      const client = new Client(group, end)
      clients.set(id, client)
      return {
        receive(message, context) {
          if (message._tag === "Request" && message.isNotification !== true) {
            // The server takes the message apart in place.
            client.pending.set(message.id, { tag: message.tag, payload: message.payload })
          }
          fork(context === undefined ? write(id, message) : Effect.provideContext(write(id, message), context))
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
  private readonly client: ClientEnd

  constructor(group: RpcGroup.RpcGroup<any>, client: ClientEnd) {
    this.group = group
    this.client = client
  }

  end(): void {
    this.client.end?.()
  }

  answer(response: FromServerEncoded): Effect.Effect<void> {
    switch (response._tag) {
      case "Exit":
        return this.exit(response)
      case "Defect":
        return Effect.map(conceal("server", Cause.die(response.defect)), (defect) =>
          this.client.send({ _tag: "Defect", defect })
        )
      default:
        return Effect.sync(() => this.client.send(response))
    }
  }

  private exit(response: ResponseExitEncoded): Effect.Effect<void> {
    const { exit, requestId } = response
    const request = this.pending.get(requestId)
    this.pending.delete(requestId)
    const unknown = exit._tag === "Failure" ? exit.cause.find(isUnknownDefect) : undefined
    if (unknown === undefined) return Effect.sync(() => this.client.send(response))
    // A request that could not be read is answered with a text.
    const isUnread = request !== undefined && typeof unknown.defect === "string"
    const refused = isUnread ? refusal(this.group, request) : undefined
    if (refused !== undefined) return Effect.sync(() => this.client.send({ ...response, exit: refused }))
    return Effect.map(conceal(request?.tag ?? "unknown", Cause.die(unknown.defect)), (defect) =>
      this.client.send({ ...response, exit: { _tag: "Failure", cause: [{ _tag: "Die", defect }] } })
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

const encodeError = Schema.encodeSync(Schema.toCodecJson(CallError))

/** A typed failure as it crosses the wire. */
export const failure = (error: CallError): ResponseExitEncoded["exit"] => ({
  _tag: "Failure",
  cause: [{ _tag: "Fail", error: encodeError(error) }]
})
