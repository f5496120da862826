import * as Context from "effect/Context"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import { expect, it } from "vitest"
import { runBatch } from "../../src/engine/rpc/HttpBatch.ts"
import type { RpcTransport } from "../../src/engine/rpc/RpcTransport.ts"

/** A server whose one call streams a text until it is interrupted. */
const streaming = (text: string): RpcTransport => ({
  open(send: (message: FromServerEncoded) => void, onEnd = () => {}) {
    const chunk = () => send({ _tag: "Chunk", requestId: "1", values: [text] })
    return {
      receive(message) {
        if (message._tag === "Request" || message._tag === "Ack") queueMicrotask(chunk)
        if (message._tag === "Interrupt") onEnd()
      },
      close() {}
    }
  }
})

const collected = async (text: string): Promise<number> => {
  const answers = await runBatch(
    streaming(text),
    [{ _tag: "Request", id: "1", tag: "act.forever", payload: {}, headers: [] }],
    {
      context: Context.empty(),
      signal: new AbortController().signal,
      resultBytes: 1000
    }
  )
  expect(answers.at(-1)).toMatchObject({ exit: { cause: [{ error: { reason: { limit: "resultBytes" } } }] } })
  return answers.length - 1
}

it("T5: a stream that is collected for HTTP is cut at so many bytes of UTF-8", async () => {
  expect(await collected("x".repeat(300))).toBe(3)
  expect(await collected("語".repeat(100))).toBe(3)
})
