import type { Data } from "ws"

/** One call of the chat contract. */
export interface Call {
  readonly tag: string
  readonly payload: Record<string, unknown>
}

/** What a message from the server means to the harness: whom it answers, and how. */
export interface Incoming {
  readonly kind: "answer" | "refusal" | "frame"
  readonly id: string
}

/**
 * How a subject is spoken to.
 *
 * `read` decides from the first bytes wherever it can: the load generator shares a small machine with the server, and a
 * parser of hundreds of results would be what is measured.
 */
export interface Wire {
  readonly socket: { readonly path: string; readonly call: Encode; readonly subscribe: Encode }
  /** Acknowledges a frame, where the protocol wants that before it sends the next one. */
  readonly ack: ((id: string) => string) | undefined
  /** What the subject's own client sends to keep a socket alive, every five seconds. */
  readonly ping: string | undefined
  readonly http: (call: Call) => { readonly path: string; readonly body: string }
  readonly tenant: { readonly header: string; readonly parameter: string }
  readonly read: (data: Data) => ReadonlyArray<Incoming>
  /** Whether an answer over HTTP is a success. */
  readonly succeeded: (text: string) => boolean
  /** The value of a successful answer, from a socket or from HTTP. */
  readonly value: (text: string) => unknown
  /** Milliseconds until the subject's own client opens a socket again that the server closed. */
  readonly reconnectAfter: () => number
}

type Encode = (id: string, call: Call) => string

/** JSON messages of effect/rpc, as Dormouse and the hand-written worker speak them. */
export const rpc: Wire = {
  socket: {
    path: "/rpc",
    call: (id, { tag, payload }) => request(id, tag, payload),
    subscribe: (id, { tag, payload }) => request(id, `live:${tag}`, payload)
  },
  ack: (id) => `{"_tag":"Ack","requestId":"${id}"}`,
  ping: '{"_tag":"Ping"}',
  http: ({ tag, payload }) => ({ path: "/rpc", body: request("1", tag, payload) }),
  tenant: { header: "x-dormouse-tenant", parameter: "tenant" },
  read: (data) => {
    const chunk = idBetween(data, '{"_tag":"Chunk","requestId":"', '","values":[')
    if (chunk !== undefined) return [{ kind: "frame", id: chunk }]
    const exit = idBetween(data, '{"_tag":"Exit","requestId":"', '","exit":{"_tag":"Success"')
    if (exit !== undefined) return [{ kind: "answer", id: exit }]
    return listOf(JSON.parse(data.toString())).flatMap((message: any): ReadonlyArray<Incoming> => {
      switch (message._tag) {
        case "Chunk":
          return [{ kind: "frame", id: message.requestId }]
        case "Exit":
          return [{ kind: message.exit._tag === "Success" ? "answer" : "refusal", id: message.requestId }]
        case "Pong":
          return []
        default:
          throw new Error(`Unexpected message: ${data.toString().slice(0, 200)}`)
      }
    })
  },
  succeeded: (text) => text.slice(0, 60).includes('"exit":{"_tag":"Success"'),
  value: (text) => {
    const exit: any = listOf(JSON.parse(text)).find((message: any) => message._tag === "Exit")
    if (exit?.exit._tag !== "Success") throw new Error(`Refused: ${text.slice(0, 200)}`)
    return exit.exit.value
  },
  reconnectAfter: () => 0
}

/** The hand-written worker has no flow control: its clients acknowledge nothing. */
export const rpcWithoutAck: Wire = { ...rpc, ack: undefined }

export const pramen: Wire = {
  socket: {
    path: "/live",
    call: (id, { tag, payload }) => JSON.stringify({ type: "call", id, name: tag, input: payload }),
    subscribe: (id, { tag, payload }) => JSON.stringify({ type: "subscribe", id, name: tag, input: payload })
  },
  ack: undefined,
  ping: undefined,
  http: ({ tag, payload }) => ({ path: `/rpc/${tag}`, body: JSON.stringify(payload) }),
  tenant: { header: "x-pramen-tenant", parameter: "tenant" },
  read: (data) => {
    const frame = idBetween(data, '{"type":"data","id":"', '","result":')
    if (frame !== undefined) return [{ kind: "frame", id: frame }]
    const answer = idBetween(data, '{"type":"result","id":"', '","result":')
    if (answer !== undefined) return [{ kind: "answer", id: answer }]
    return [{ kind: "refusal", id: JSON.parse(data.toString()).id }]
  },
  succeeded: (text) => text.startsWith('{"ok":true'),
  value: (text) => {
    const answer = JSON.parse(text)
    if (answer.ok !== true && answer.type !== "result") throw new Error(`Refused: ${text.slice(0, 200)}`)
    return answer.result
  },
  // Its first attempt: 500 ms, half of it at random.
  reconnectAfter: () => 250 + Math.random() * 250
}

const request = (id: string, tag: string, payload: Record<string, unknown>): string =>
  JSON.stringify({ _tag: "Request", id, tag, payload, headers: [] })

const listOf = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [value])

/** The id in a message that begins in one known way; nothing when it begins in any other. */
function idBetween(data: Data, before: string, after: string): string | undefined {
  if (data.toString("latin1", 0, before.length) !== before) return undefined
  const end = data.indexOf('"', before.length)
  if (data.toString("latin1", end, end + after.length) !== after) return undefined
  return data.toString("latin1", before.length, end)
}
