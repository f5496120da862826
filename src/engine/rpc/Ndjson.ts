/**
 * Messages as a body of lines, one JSON text each.
 * The object gets the messages of an action from the Worker in this form, as they come.
 */
import * as Effect from "effect/Effect"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import { limitExceeded, unavailable } from "../../protocol/Exit.ts"
import type * as Limits from "../../protocol/Limits.ts"

/** The media type by which the object requests lines. */
export const ndjson = "application/x-ndjson"

/**
 * Messages as they come, one to a line, or to what `lineOf` makes of one. When the reader goes away, `run` is interrupted; `waitUntil` keeps the Worker alive
 * until its finalizers have run.
 */
export const ndjsonResponse = (
  signal: AbortSignal,
  waitUntil: (work: Promise<unknown>) => void,
  run: (onMessage: (message: FromServerEncoded) => Promise<void>) => Effect.Effect<unknown>,
  lineOf: (message: FromServerEncoded) => string = JSON.stringify
): Response => {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const writer = writable.getWriter()
  const encoder = new TextEncoder()
  const effect = run((message) => writer.write(encoder.encode(`${lineOf(message)}\n`)))
  // Without an exit the reader of the lines answers the call itself.
  const end = () => void writer.close().catch(ignore)
  waitUntil(Effect.runPromise(Effect.ignoreCause(effect, { log: "Error" }), { signal }).then(end, end))
  // A failed write means that the reader has disconnected: nobody would receive a report of it.
  writer.closed.catch(ignore)
  return new Response(readable, { headers: { "content-type": ndjson } })
}

const ignore = () => {}

/** What a message has besides a result: its fields, and an id of the greatest length with each character escaped. */
const envelopeBytes = 1024

/**
 * The messages of an action as they come. A message that is too large ends its call, and the rest is not read. A response
 * without messages is the failure of the call: the Worker refused it.
 */
export async function* readAnswers(
  response: Response,
  requestId: string | number,
  { resultBytes }: Pick<Limits.Limits, "resultBytes">
): AsyncGenerator<FromServerEncoded> {
  if (!hasLines(response)) {
    yield { _tag: "Exit", requestId, exit: unavailable(await refusalOf(response)) }
    return
  }
  for await (const line of readLines(response.body, resultBytes + envelopeBytes)) {
    if (line !== undefined) yield JSON.parse(line)
    else yield { _tag: "Exit", requestId, exit: limitExceeded("resultBytes", resultBytes) }
  }
}

/** Whether a response has messages as lines. */
export const hasLines = (response: Response): response is Response & { readonly body: ReadableStream<Uint8Array> } =>
  response.status === 200 && response.body !== null && response.headers.get("content-type") === ndjson

/** What the Worker said instead of running an action. */
export const refusalOf = async (response: Response): Promise<string> =>
  `the Worker answered the action with status ${response.status}: ${(await response.text()).slice(0, 200)}`

const newline = 10

/** The lines of a body as they come. A line of more bytes than `max` is `undefined`, and nothing is read after it. */
export async function* readLines(body: ReadableStream<Uint8Array>, max: number): AsyncGenerator<string | undefined> {
  const decoder = new TextDecoder()
  // A line is joined once, when it is complete: joining at each chunk takes quadratic time.
  let parts: Array<string> = []
  let size = 0
  for await (const chunk of readChunks(body)) {
    for (let start = 0; start < chunk.length; ) {
      const found = chunk.indexOf(newline, start)
      const end = found < 0 ? chunk.length : found
      size += end - start
      if (size > max) return yield undefined
      parts.push(decoder.decode(chunk.subarray(start, end), { stream: true }))
      start = end + 1
      if (found < 0) continue
      if (size > 0) yield parts.join("")
      parts = []
      size = 0
    }
  }
  if (size > 0) yield parts.join("")
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
