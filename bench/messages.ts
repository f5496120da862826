/**
 * What the hand-written workers share: reading the messages of a socket or a request, and writing answers as text.
 * Runs in workerd and in Node.
 */

export interface RpcRequest {
  readonly id: string
  readonly tag: string
  readonly payload: Record<string, unknown>
}

/** A refusal that the caller is sent. Anything else that is thrown is a bug of this worker. */
export class Refused extends Error {
  readonly error: Record<string, unknown>
  constructor(error: Record<string, unknown>) {
    super(String(error["_tag"]))
    this.error = error
  }
}

export type Incoming =
  | ({ readonly _tag: "Request" } & RpcRequest)
  | { readonly _tag: "Interrupt"; readonly requestId: string }
  | { readonly _tag: "Ping" }

export function decode(text: string): ReadonlyArray<Incoming> {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return []
  }
  return (Array.isArray(parsed) ? parsed : [parsed]).filter(isIncoming)
}

function isIncoming(message: any): message is Incoming {
  switch (message?._tag) {
    case "Request":
      return typeof message.id === "string" && typeof message.tag === "string" && isRecord(message.payload)
    case "Interrupt":
      return typeof message.requestId === "string"
    case "Ping":
      return true
    default:
      return false
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

export const success = (id: string, value: string): string =>
  `{"_tag":"Exit","requestId":${JSON.stringify(id)},"exit":{"_tag":"Success","value":${value}}}`

export const failure = (id: string, reason: object): string =>
  JSON.stringify({ _tag: "Exit", requestId: id, exit: { _tag: "Failure", cause: [reason] } })

export const frame = (id: string, value: string): string =>
  `{"_tag":"Chunk","requestId":${JSON.stringify(id)},"values":[{"_tag":"Snapshot","value":${value}}]}`

/** The answer to a call that has thrown. What is not a refusal is logged, and the caller learns nothing of it. */
export function refusal(id: string, thrown: unknown): string {
  if (thrown instanceof Refused) return failure(id, { _tag: "Fail", error: thrown.error })
  console.error(thrown)
  return failure(id, { _tag: "Die", defect: "Internal error" })
}

export function textOf(payload: Record<string, unknown>, field: string): string {
  const value = payload[field]
  if (typeof value !== "string" || value.length === 0) {
    throw new Refused({ _tag: "BadRequest", message: `${field} must be a string that is not empty` })
  }
  return value
}
