/**
 * Runs the requests of one HTTP body on an `RpcServer`.
 * Their messages are collected, or passed on as they come.
 */
import * as Context from "effect/Context"
import * as References from "effect/References"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import { limitExceeded } from "../../protocol/Exit.ts"
import type { Request } from "../../protocol/Messages.ts"
import type { RpcTransport } from "./RpcTransport.ts"

/** How a batch of requests is run. */
export interface HttpBatchOptions {
  /** What only the handlers of these requests may use. */
  readonly context: Context.Context<never>
  /** Takes each message as it comes; without it they are collected. */
  readonly onMessage?: ((message: FromServerEncoded) => void | Promise<void>) | undefined
  /** Interrupts what is under way. */
  readonly signal: AbortSignal
  /** Bytes of the streams that are collected. */
  readonly resultBytes: number
}

/** Runs the requests. Resolves when each has its exit and none of their handlers runs any more. */
export const runBatch = (
  server: RpcTransport,
  requests: ReadonlyArray<Request>,
  { context, onMessage, resultBytes, signal }: HttpBatchOptions
): Promise<ReadonlyArray<FromServerEncoded>> =>
  new Promise((resolve) => {
    const answers: Array<FromServerEncoded> = []
    /** The requests without an exit. */
    const waiting = new Set(requests.filter(({ isNotification }) => isNotification !== true).map(({ id }) => id))
    let hasEnded = false
    let collected = 0
    const finish = () => {
      if (!hasEnded || waiting.size > 0) return
      resolve(answers)
      connection.close()
    }
    const interrupt = () => {
      for (const { id } of requests) connection.receive({ _tag: "Interrupt", requestId: id })
    }
    /** A stream may be endless, and nothing of it is sent before its end: it is cut at the limit. */
    const collect = (message: FromServerEncoded): void => {
      answers.push(message)
      if (message._tag !== "Chunk") return
      collected += JSON.stringify(message).length
      if (collected <= resultBytes) return
      const exit = limitExceeded("resultBytes", resultBytes, collected)
      for (const requestId of waiting) answers.push({ _tag: "Exit", requestId, exit })
      waiting.clear()
      interrupt()
    }
    const connection = server.open(
      (message) => {
        if ("requestId" in message && !waiting.has(message.requestId)) return
        if (message._tag === "Exit") waiting.delete(message.requestId)
        const taken = onMessage === undefined ? collect(message) : onMessage(message)
        // HTTP has no acknowledgements: a chunk is taken when the body has it.
        const acknowledge = () => {
          if (message._tag === "Chunk") connection.receive({ _tag: "Ack", requestId: message.requestId })
        }
        if (taken === undefined) acknowledge()
        else taken.then(acknowledge, interrupt)
        finish()
      },
      // A call with `discard` runs on after its exit, and so does a notification.
      () => {
        hasEnded = true
        finish()
      }
    )
    signal.addEventListener("abort", interrupt)
    // The server changes the message in place.
    for (const request of requests) connection.receive({ ...request }, annotateRpc(context, request.tag))
    connection.receive({ _tag: "Eof" })
  })

/** Log lines of a call carry its rpc. */
const annotateRpc = (context: Context.Context<never>, rpc: string): Context.Context<never> =>
  Context.add(context, References.CurrentLogAnnotations, {
    ...Context.get(context, References.CurrentLogAnnotations),
    rpc
  })
