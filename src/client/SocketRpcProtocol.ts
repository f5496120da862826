import * as Effect from "effect/Effect"
import * as RpcClient from "effect/rpc/RpcClient"
import { type FromServerEncoded, type RequestEncoded, RequestId } from "effect/rpc/RpcMessage"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Schema from "effect/Schema"
import { CallError, type CallErrorReason, LimitExceeded, Unavailable } from "../protocol/CallError.ts"
import { bytesBeyond } from "../protocol/Limits.ts"
import { mutationHeader } from "../protocol/MutationId.ts"
import { isAnswerTo, isObject, type ServerMessage } from "./ServerMessage.ts"

/** A call that has no answer yet. */
interface Pending {
  readonly client: number
  readonly text: string
  /** The mutation's id, for a call that may be sent again. */
  readonly mutation: string | undefined
}

export interface SocketRpcProtocolOptions {
  /** A mutation is about to be sent; answers whether it may be. */
  readonly onSend: (mutation: string) => boolean
  /** A mutation was answered. */
  readonly onAnswered: (mutation: string, isSuccess: boolean) => void
  /** The server says which commit a mutation became part of. */
  readonly onCommitted: (mutation: string, version: number) => void
  /** Whether a mutation waits for its answer may have changed. */
  readonly onChange: () => void
}

/**
 * The protocol of calls over a socket that comes and goes. A mutation that has no answer when the socket goes is sent
 * again by the next one, before anything else, under the number by which the server knows it; other calls fail.
 */
export class SocketRpcProtocol {
  readonly protocol: Effect.Effect<RpcClient.Protocol["Service"]>
  private readonly options: SocketRpcProtocolOptions
  private readonly pending = new Map<string | number, Pending>()
  /** Mutations whose answer came, until the word of their commit that follows it. */
  private readonly answered = new Map<string | number, string>()
  private send: ((text: string) => void) | undefined
  private respond: (client: number, message: FromServerEncoded) => void = () => {}

  constructor(options: SocketRpcProtocolOptions) {
    this.options = options
    this.protocol = Effect.contextWith((context) =>
      RpcClient.Protocol.make((respond) => {
        const fork = Effect.runForkWith(context)
        this.respond = (client, message) => void fork(respond(client, message))
        return Effect.succeed({
          send: (client, message) =>
            Effect.sync(() => {
              const text = JSON.stringify(message)
              if (message._tag === "Request") return this.request(client, message, text)
              if (message._tag === "Interrupt") this.finish(message.requestId)
              this.send?.(text)
            }),
          supportsAck: true,
          supportsTransferables: false,
          codecFor: RpcSerialization.json.codecFor
        })
      })
    )
  }

  get isOpen(): boolean {
    return this.send !== undefined
  }

  /** Whether a mutation waits for its answer. */
  get isWaiting(): boolean {
    for (const { mutation } of this.pending.values()) if (mutation !== undefined) return true
    return false
  }

  opened(send: (text: string) => void): void {
    this.send = send
    for (const { mutation, text } of [...this.pending.values()]) {
      if (mutation !== undefined && this.options.onSend(mutation)) send(text)
    }
  }

  closed(): void {
    this.send = undefined
    this.answered.clear()
    for (const [id, { mutation }] of [...this.pending]) if (mutation === undefined) this.fail(id, connectionLost)
  }

  /** The server takes no message of more bytes: what has more is not sent again. */
  limit(max: number): void {
    for (const [id, { text }] of [...this.pending]) {
      const actual = bytesBeyond(text, max)
      if (actual === undefined) continue
      this.fail(id, failure(new LimitExceeded({ limit: "requestBytes", max, actual })))
    }
  }

  private fail(id: string | number, exit: ExitEncoded): void {
    const { client } = this.pending.get(id)!
    this.finish(id)
    this.respond(client, { _tag: "Exit", requestId: id, exit })
  }

  /** Takes a message; answers whether it was one that a server may send. */
  receive(message: ServerMessage): boolean {
    const { exit, requestId, version } = message
    // A message without an id answers no call.
    const id = typeof requestId === "string" ? requestId : ""
    if (message._tag === "Committed") {
      if (typeof version !== "number") return false
      const mutation = this.answered.get(id)
      this.answered.delete(id)
      if (mutation !== undefined) this.options.onCommitted(mutation, version)
      return true
    }
    // The server could not read what it was sent, and does not say which of it.
    if (message._tag === "Defect") return false
    const pending = this.pending.get(id)
    if (pending === undefined || !isAnswerTo(message, id)) return true
    if (message._tag === "Exit" && pending.mutation !== undefined) {
      this.answered.set(id, pending.mutation)
      this.options.onAnswered(pending.mutation, isObject(exit) && exit["_tag"] === "Success")
    }
    this.respond(pending.client, message)
    if (message._tag === "Exit") this.finish(id)
    return true
  }

  private request(client: number, message: RequestEncoded, text: string): void {
    const mutation = message.headers.find(([name]) => name === mutationHeader)?.[1]
    this.pending.set(message.id, { client, text, mutation })
    if (mutation !== undefined) this.options.onChange()
    if (this.send === undefined) {
      if (mutation === undefined) this.closed()
    } else if (mutation === undefined || this.options.onSend(mutation)) this.send(text)
  }

  private finish(id: string | number): void {
    const pending = this.pending.get(id)
    this.pending.delete(id)
    if (pending?.mutation !== undefined) this.options.onChange()
  }
}

/** Ids of this protocol's own, so that they are never taken for those of live queries. */
export const requestIds = () => {
  let next = 0
  return () => RequestId(`call-${next++}`)
}

type ExitEncoded = Extract<FromServerEncoded, { _tag: "Exit" }>["exit"]

const encodeError = Schema.encodeSync(Schema.toCodecJson(CallError))
const failure = (reason: CallErrorReason): ExitEncoded => ({
  _tag: "Failure",
  cause: [{ _tag: "Fail", error: encodeError(new CallError({ reason })) }]
})
const connectionLost = failure(new Unavailable({ detail: "the connection was lost before the answer came" }))
