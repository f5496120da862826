/**
 * The actions of an HTTP body run in a request of their own: a platform that ends a request because it has hung ends that
 * one, and the body is still answered. Their messages return as lines.
 */
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import { unavailable } from "../../protocol/Exit.ts"
import type * as Limits from "../../protocol/Limits.ts"
import type { Request as RpcRequest } from "../../protocol/Messages.ts"
import { answerAll } from "../rpc/HttpBody.ts"
import { hasLines, readLines, refusalOf } from "../rpc/Ndjson.ts"
import { encodeMessage } from "../rpc/RpcTransport.ts"

/** A message as a line. The line of an exit begins with the id of its request and a tab, which no JSON contains. */
export const collectedLine =
  (limits: Limits.Limits) =>
  (message: FromServerEncoded): string => {
    const text = encodeMessage(message, limits)
    return message._tag === "Exit" ? `${JSON.stringify(message.requestId)}\t${text}` : text
  }

/**
 * The texts of the messages in the response that `open` returns. A call without an exit fails with `Unavailable`; `detailOf`
 * says why, when the response failed.
 */
export const collectAnswers = async (
  open: () => Promise<Response>,
  requests: ReadonlyArray<RpcRequest>,
  detailOf: (cause: unknown) => string
): Promise<ReadonlyArray<string>> => {
  const texts: Array<string> = []
  const answered = new Set<string | number>()
  let detail = "the action ended without an answer"
  try {
    const response = await open()
    if (hasLines(response)) {
      for await (const line of readLines(response.body, Number.POSITIVE_INFINITY)) {
        if (line === undefined) continue
        const tab = line.startsWith("{") ? -1 : line.indexOf("\t")
        if (tab > 0) answered.add(JSON.parse(line.slice(0, tab)))
        texts.push(line.slice(tab + 1))
      }
    } else detail = await refusalOf(response)
  } catch (cause) {
    detail = detailOf(cause)
  }
  const unanswered = requests.filter(({ id }) => !answered.has(id))
  return [...texts, ...answerAll(unanswered, unavailable(detail))]
}
