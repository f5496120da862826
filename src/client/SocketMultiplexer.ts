/**
 * Several clients on one socket: whose message is which. The ids of their requests get a prefix on their way to the server,
 * and lose it on the way back. Messages are data here; `SharedSocketLeader.ts` sends them.
 */
import type * as Schema from "effect/Schema"
import * as Checksum from "../protocol/Checksum.ts"
import { livePrefix, promptHeader } from "../protocol/Frame.ts"
import { isList, isObject, isServerMessage, parse, type ServerMessage } from "./ServerMessage.ts"

/** A text for one client. */
export interface Delivery {
  readonly client: number
  readonly text: string
  /** Whether the client has promised to acknowledge it on arrival. */
  readonly isPrompt: boolean
}

/** A request that has not ended. */
interface OpenRequest {
  readonly client: number
  readonly isLive: boolean
  readonly isPrompt: boolean
  /** The end of the parts of a frame that were delivered, which may be the begin of its checksum. */
  rest: string
}

/** Characters at the end of a frame within which its checksum is: `"sum":4294967295}`. */
const sumLength = 32

/** The clients of one socket, and their open requests. */
export class SocketMultiplexer {
  #next = 0
  readonly #clients = new Set<number>()
  /** By the id that the server knows. */
  readonly #requests = new Map<string, OpenRequest>()

  /** Adds a client. */
  join(): number {
    const client = this.#next++
    this.#clients.add(client)
    return client
  }

  /** What to send to the server for a text of a client. */
  toServer(client: number, text: string): string {
    const message = parse(text)
    if (isList(message)) return JSON.stringify(message.map((each) => this.#fromClient(client, each)))
    const sent = this.#fromClient(client, message)
    // A ping must keep its bytes.
    return sent === message ? text : JSON.stringify(sent)
  }

  /** What to deliver of a text of the server, in order. What is for no request is for all clients. */
  toClients(text: string): ReadonlyArray<Delivery> {
    const parsed = parse(text)
    const messages = isList(parsed) ? parsed : [parsed]
    if (!messages.every(isServerMessage)) {
      return [...this.#clients].map((client) => ({ client, text, isPrompt: false }))
    }
    const deliveries = new Map<number, { readonly messages: Array<ServerMessage>; isPrompt: boolean }>()
    const add = (client: number, message: ServerMessage, isPrompt: boolean) => {
      const delivery = deliveries.get(client) ?? { messages: [], isPrompt: false }
      delivery.messages.push(message)
      delivery.isPrompt ||= isPrompt
      deliveries.set(client, delivery)
    }
    for (const message of messages) {
      const { requestId } = message
      if (typeof requestId !== "string") {
        for (const client of this.#clients) add(client, message, false)
        continue
      }
      const { client, id } = originOf(requestId)
      if (!this.#clients.has(client)) continue
      const request = this.#requests.get(requestId)
      if (message._tag === "Exit") this.#requests.delete(requestId)
      const isFrame = message._tag === "Chunk" && request?.isLive === true
      const values =
        isFrame && isList(message["values"]) ? { values: message["values"].map(frame(request, requestId, id)) } : {}
      add(client, { ...message, ...values, requestId: id }, isFrame && request.isPrompt)
    }
    return [...deliveries].map(([client, { isPrompt, messages }]) => ({
      client,
      isPrompt,
      text: JSON.stringify(isList(parsed) ? messages : messages[0])
    }))
  }

  /** Removes a client. Returns the texts that end its requests. */
  leave(client: number): ReadonlyArray<string> {
    this.#clients.delete(client)
    const texts: Array<string> = []
    for (const [requestId, request] of this.#requests) {
      if (request.client !== client) continue
      this.#requests.delete(requestId)
      texts.push(JSON.stringify({ _tag: "Interrupt", requestId }))
    }
    return texts
  }

  /** A message of a client as the server gets it. */
  #fromClient(client: number, message: Schema.Json | undefined): Schema.Json | undefined {
    if (!isObject(message)) return message
    if (message["_tag"] === "Request") {
      const id = idOf(client, message["id"])
      const isLive = String(message["tag"]).startsWith(livePrefix)
      const { headers } = message
      const isPrompt = isList(headers) && headers.some((header) => isList(header) && header[0] === promptHeader)
      // A notification has no answer, which would remove it.
      if (message["isNotification"] !== true) this.#requests.set(id, { client, isLive, isPrompt, rest: "" })
      return { ...message, id }
    }
    return "requestId" in message ? { ...message, requestId: idOf(client, message["requestId"]) } : message
  }
}

/** The id of a client's request, as the server knows it. Ids that are numbers stay apart from texts. */
const idOf = (client: number, id: Schema.Json | undefined): string =>
  typeof id === "number" ? `${client}#${id}` : `${client}.${id}`

/** The client whose request has this id, and the id that the client knows. */
const originOf = (requestId: string): { readonly client: number; readonly id: string | number } => {
  const [, client, kind, id = ""] = /^(\d+)([.#])(.*)$/s.exec(requestId) ?? []
  return { client: Number(client), id: kind === "#" ? Number(id) : id }
}

/**
 * A frame as its client gets it: the checksum of a frame is also that of its request's id. A checksum that is wrong stays
 * wrong, because each step of it has one result for each input.
 */
const frame =
  (request: OpenRequest, requestId: string, id: string | number) =>
  (value: Schema.Json): Schema.Json => {
    if (!isObject(value)) return value
    const restore = (sum: number) =>
      Checksum.addRequest(Checksum.removeText(sum, JSON.stringify(requestId)), JSON.stringify(id))
    const { last, sum, text } = value
    if (typeof sum === "number") return { ...value, sum: restore(sum) }
    if (value["_tag"] !== "Part" || typeof text !== "string") return value
    const whole = request.rest + text
    const end = last === true ? whole.length : Math.max(0, whole.length - sumLength)
    request.rest = whole.slice(end)
    const part = whole.slice(0, end)
    return {
      ...value,
      text: last === true ? part.replace(/"sum":(\d+)\}$/, (_, sum) => `"sum":${restore(Number(sum))}}`) : part
    }
  }
