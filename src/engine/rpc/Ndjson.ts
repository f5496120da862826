/**
 * Messages as a body of lines, one JSON text each.
 * The object gets the messages of an action from the Worker in this form, as they come.
 */
import * as Effect from "effect/Effect"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"

/** The media type by which the object requests lines. */
export const ndjson = "application/x-ndjson"

/**
 * Messages as they come, one to a line. When the reader goes away, `run` is interrupted; `waitUntil` keeps the Worker alive
 * until its finalizers have run.
 */
export const ndjsonResponse = (
  signal: AbortSignal,
  waitUntil: (work: Promise<unknown>) => void,
  run: (onMessage: (message: FromServerEncoded) => Promise<void>) => Effect.Effect<unknown>
): Response => {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const writer = writable.getWriter()
  const encoder = new TextEncoder()
  const effect = run((message) => writer.write(encoder.encode(`${JSON.stringify(message)}\n`)))
  // Without an exit the reader of the lines answers the call itself.
  const end = () => void writer.close().catch(ignore)
  waitUntil(Effect.runPromise(Effect.ignoreCause(effect, { log: "Error" }), { signal }).then(end, end))
  // A failed write means that the reader has disconnected: nobody would receive a report of it.
  writer.closed.catch(ignore)
  return new Response(readable, { headers: { "content-type": ndjson } })
}

const ignore = () => {}

/** The lines of a body as they come. */
export async function* readLines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = ""
  const decoder = new TextDecoder()
  for await (const chunk of readChunks(body)) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n")
    rest = lines.pop()!
    yield* lines.filter((line) => line !== "")
  }
  if (rest !== "") yield rest
}

/** The chunks of a body as they come. A consumer that stops early cancels the body. */
export async function* readChunks(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader()
  try {
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) yield chunk.value
  } finally {
    await reader.cancel()
  }
}
