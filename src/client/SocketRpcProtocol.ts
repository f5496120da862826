/**
 * The `effect/rpc` client protocol for calls over a socket that can be lost and reopened.
 * Mutations without an answer are sent again over the next socket; the server runs each once, by its mutation id.
 */
import * as Effect from "effect/Effect"
import * as RpcClient from "effect/rpc/RpcClient"
import { type FromServerEncoded, type RequestEncoded, RequestId } from "effect/rpc/RpcMessage"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Schema from "effect/Schema"
import { CallError, LimitExceeded, Unavailable } from "../protocol/CallError.ts"
import { bytesBeyond } from "../protocol/Limits.ts"
import { mutationHeader } from "../protocol/MutationId.ts"
import { isAnswerTo, isObject, requestIdOf, type ServerMessage } from "./ServerMessage.ts"

/** A call without an answer. */
interface Pending {
  /** The number of the `RpcClient` that made it, for its answer. */
  readonly client: number
  /** The encoded request. */
  readonly text: string
  /** The mutation's id; `undefined` for other calls, which are not sent again. */
  readonly mutation: string | undefined
}

/** The callbacks of the protocol. */
export interface SocketRpcProtocolOptions {
  /** A mutation is about to be sent. Returns whether it may be. */
  readonly onSend: (mutation: string) => boolean
  /** A mutation was answered. */
  readonly onAnswered: (mutation: string, isSuccess: boolean) => void
  /** The server reported the commit of a mutation that it answered before. */
  readonly onCommitted: (mutation: string, version: number) => void
  /** `isWaiting` may have changed. */
  readonly onChange: () => void
}

/**
 * Calls over whichever socket is open. When a socket closes, mutations without an answer stay pending: they are sent
 * over the next socket before anything else, under the same mutation id. Other calls fail.
 */
export class SocketRpcProtocol {
  /** The protocol for one `RpcClient`. */
  readonly protocol: Effect.Effect<RpcClient.Protocol["Service"]>
  readonly #options: SocketRpcProtocolOptions
  readonly #pending = new Map<string | number, Pending>()
  /** Mutations that were answered and whose `Committed` message has not arrived yet, by request id. */
  readonly #answered = new Map<string | number, string>()
  #send: ((text: string) => void) | undefined
  #respond: (client: number, message: FromServerEncoded) => void = () => {}

  constructor(options: SocketRpcProtocolOptions) {
    this.#options = options
    this.protocol = Effect.contextWith((context) =>
      RpcClient.Protocol.make((respond) => {
        const fork = Effect.runForkWith(context)
        this.#respond = (client, message) => void fork(respond(client, message))
        return Effect.succeed({
          send: (client, message) =>
            Effect.sync(() => {
              const text = JSON.stringify(message)
              if (message._tag === "Request") return this.#request(client, message, text)
              if (message._tag === "Interrupt") this.#finish(message.requestId)
              this.#send?.(text)
            }),
          supportsAck: true,
          supportsTransferables: false,
          codecFor: RpcSerialization.json.codecFor
        })
      })
    )
  }

  /** Whether a socket is open. */
  get isOpen(): boolean {
    return this.#send !== undefined
  }

  /** Whether a mutation is waiting for its answer. */
  get isWaiting(): boolean {
    for (const { mutation } of this.#pending.values()) if (mutation !== undefined) return true
    return false
  }

  /** A socket has opened: sends the pending mutations, in the order of their calls. */
  opened(send: (text: string) => void): void {
    this.#send = send
    for (const { mutation, text } of [...this.#pending.values()]) {
      if (mutation !== undefined && this.#options.onSend(mutation)) send(text)
    }
  }

  /** The socket has closed: fails the pending calls that are not mutations. */
  closed(): void {
    this.#send = undefined
    this.#answered.clear()
    for (const [id, { mutation }] of [...this.#pending]) if (mutation === undefined) this.#fail(id, connectionLost)
  }

  /** The server accepts at most `max` bytes per message: fails the pending calls that are larger. */
  limit(max: number): void {
    for (const [id, { text }] of [...this.#pending]) {
      const error = requestTooLarge(text, max)
      if (error !== undefined) this.#fail(id, failure(error))
    }
  }

  #fail(id: string | number, exit: ExitEncoded): void {
    const { client } = this.#pending.get(id)!
    this.#finish(id)
    this.#respond(client, { _tag: "Exit", requestId: id, exit })
  }

  /** Handles a message. Returns whether a server may send it; if not, the connection must be reset. */
  receive(message: ServerMessage): boolean {
    const { exit, version } = message
    const id = requestIdOf(message)
    if (message._tag === "Committed") {
      if (typeof version !== "number") return false
      const mutation = this.#answered.get(id)
      this.#answered.delete(id)
      if (mutation !== undefined) this.#options.onCommitted(mutation, version)
      return true
    }
    // The server could not read a message of this client. It does not say which, so no single call can be failed.
    if (message._tag === "Defect") return false
    const pending = this.#pending.get(id)
    if (pending === undefined || !isAnswerTo(message, id)) return true
    if (message._tag === "Exit" && pending.mutation !== undefined) {
      this.#answered.set(id, pending.mutation)
      this.#options.onAnswered(pending.mutation, isObject(exit) && exit["_tag"] === "Success")
    }
    this.#respond(pending.client, message)
    if (message._tag === "Exit") this.#finish(id)
    return true
  }

  /** Sends a request. Without a socket a mutation waits for one, and any other call fails. */
  #request(client: number, message: RequestEncoded, text: string): void {
    const mutation = message.headers.find(([name]) => name === mutationHeader)?.[1]
    this.#pending.set(message.id, { client, text, mutation })
    if (mutation !== undefined) this.#options.onChange()
    if (this.#send === undefined) {
      if (mutation === undefined) this.closed()
    } else if (mutation === undefined || this.#options.onSend(mutation)) this.#send(text)
  }

  /** The call has its answer, or was interrupted. */
  #finish(id: string | number): void {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    if (pending?.mutation !== undefined) this.#options.onChange()
  }
}

/** The failure of a request, if it has more than `max` bytes. */
export const requestTooLarge = (text: string, max: number): CallError | undefined => {
  const actual = bytesBeyond(text, max)
  return actual === undefined
    ? undefined
    : new CallError({ reason: new LimitExceeded({ limit: "requestBytes", max, actual }) })
}

/** Makes request ids. Their prefix differs from that of live queries, which use the same socket. */
export const requestIds = () => {
  let next = 0
  return () => RequestId(`call-${next++}`)
}

type ExitEncoded = Extract<FromServerEncoded, { _tag: "Exit" }>["exit"]

const encodeError = Schema.encodeSync(Schema.toCodecJson(CallError))

/** The exit of a call that fails in the client, encoded as the server would. */
const failure = (error: CallError): ExitEncoded => ({
  _tag: "Failure",
  cause: [{ _tag: "Fail", error: encodeError(error) }]
})

const connectionLost = failure(new CallError({ reason: new Unavailable({ detail: "the connection was lost" }) }))
