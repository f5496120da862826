/**
 * Runs the requests of one HTTP body on an `RpcServer`.
 * Their messages are collected, or passed on as they come.
 */
import * as Context from "effect/Context"
import * as References from "effect/References"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import { limitExceeded } from "../../protocol/Exit.ts"
import * as Limits from "../../protocol/Limits.ts"
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
  /** Bytes of the chunks of all streams. More end their calls: for messages that are collected before they are sent. */
  readonly resultBytes?: number | undefined
}

/** Runs the requests. Resolves when each has its exit and none of their handlers runs any more. */
export const runBatch = (
  server: RpcTransport,
  requests: ReadonlyArray<Request>,
  { context, onMessage, resultBytes, signal }: HttpBatchOptions
): Promise<ReadonlyArray<FromServerEncoded>> =>
  new Promise((resolve) => {
    const answers: Array<FromServerEncoded> = []
    const calls = requests.filter(({ isNotification }) => isNotification !== true)
    /** The requests without an exit. */
    const waiting = new Set(calls.map(({ id }) => id))
    const started = requests.map((request, i) =>
      request.isNotification === true ? interruptible(request, i) : request
    )
    let hasEnded = false
    let collected = 0
    const finish = () => {
      if (!hasEnded || waiting.size > 0) return
      resolve(answers)
      signal.removeEventListener("abort", interrupt)
      connection.close()
    }
    const interruptAll = (requests: ReadonlyArray<Request>) => {
      for (const { id } of requests) connection.receive({ _tag: "Interrupt", requestId: id })
    }
    const interrupt = () => interruptAll(started)
    const take = onMessage ?? ((message: FromServerEncoded) => void answers.push(message))
    /** A stream may be endless, and nothing of it is sent before its end: it is cut at the limit. */
    const cut = (message: FromServerEncoded): void => {
      if (resultBytes === undefined || message._tag !== "Chunk") return
      collected += Limits.bytesOf(JSON.stringify(message))
      if (collected <= resultBytes) return
      const exit = limitExceeded("resultBytes", resultBytes, collected)
      for (const requestId of waiting) take({ _tag: "Exit", requestId, exit })?.catch(interrupt)
      waiting.clear()
      interruptAll(calls)
    }
    const connection = server.open(
      (message) => {
        if ("requestId" in message && !waiting.has(message.requestId)) return
        if (message._tag === "Exit") waiting.delete(message.requestId)
        const taken = take(message)
        cut(message)
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
    for (const request of started) connection.receive({ ...request }, annotateRpc(context, request.tag))
    connection.receive({ _tag: "Eof" })
  })

/**
 * A notification as a call with `discard`, whose exit is not passed on. The server gives a notification an id that only the
 * server knows, so that it could not be interrupted.
 */
const interruptible = ({ isNotification: _, ...request }: Request, index: number): Request => ({
  ...request,
  id: `dormouse/notification/${index}`,
  discard: true
})

/** Log lines of a call carry its rpc. */
const annotateRpc = (context: Context.Context<never>, rpc: string): Context.Context<never> =>
  Context.add(context, References.CurrentLogAnnotations, {
    ...Context.get(context, References.CurrentLogAnnotations),
    rpc
  })
