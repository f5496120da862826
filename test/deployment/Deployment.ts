import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as Layer from "effect/Layer"
import type * as RpcClient from "effect/rpc/RpcClient"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"

/** Where an app runs, as seen over the wire: suites are written once and run in each place. */
export interface Deployment {
  /** Sends any request to the front door. */
  readonly fetch: (path: string, init?: RequestInit) => Promise<Response>
  /** Opens a socket to a tenant. */
  readonly connect: (tenant: string) => Promise<Peer>
  /** The transport of Effect's own client to a tenant. */
  readonly protocol: (kind: "http" | "socket", tenant: string) => Layer.Layer<RpcClient.Protocol>
  /** Takes the heap of a tenant's object away and leaves its sockets. */
  readonly evict: (tenant: string) => Promise<void>
  /** How many times the heap of a tenant's object was built. */
  readonly starts: (tenant: string) => number
  /** What was logged since the last look, as text. */
  readonly logged: () => string
}

/** Names the tenant in a header: Effect's client over HTTP ends its URL with a slash, and a query with it. */
export const toTenant = (tenant: string) =>
  HttpClient.mapRequest(HttpClientRequest.setHeader("x-dormouse-tenant", tenant)) as <E, R>(
    client: HttpClient.HttpClient.With<E, R>
  ) => HttpClient.HttpClient.With<E, R>

type Settle<A> = (value: A) => void

/** A client's end of a socket, without any client: what is sent is sent as it is, what comes is kept. */
export class Peer {
  /** Messages as they came. */
  readonly texts: Array<string> = []
  /** The messages of `effect/rpc` in them. */
  readonly messages: Array<FromServerEncoded> = []
  closed: { readonly code: number; readonly reason: string } | undefined
  private readonly waiting = new Set<() => void>()
  private readonly socket: Pick<WebSocket, "send" | "close">

  constructor(socket: Pick<WebSocket, "send" | "close">) {
    this.socket = socket
  }

  send(...messages: ReadonlyArray<unknown>): void {
    for (const message of messages) this.sendText(JSON.stringify(message))
  }

  sendText(text: string | Uint8Array<ArrayBuffer>): void {
    this.socket.send(text)
  }

  close(code?: number): void {
    this.socket.close(code)
  }

  received(text: string): void {
    this.texts.push(text)
    const parsed = JSON.parse(text)
    this.messages.push(...(Array.isArray(parsed) ? parsed : [parsed]))
    for (const look of this.waiting) look()
  }

  ended(code: number, reason: string): void {
    this.closed ??= { code, reason }
    for (const look of this.waiting) look()
  }

  /** Resolves when the condition holds, or rejects after a while with what there is. */
  until<A>(condition: () => A | undefined | false, millis = 5000): Promise<A> {
    return new Promise((resolve, reject) => {
      const settle = (then: () => void) => {
        this.waiting.delete(look)
        clearTimeout(timer)
        clearInterval(polling)
        then()
      }
      const look = () => {
        const value = condition()
        if (value !== undefined && value !== false) settle(() => (resolve as Settle<A>)(value))
      }
      const timer = setTimeout(
        () =>
          settle(() =>
            reject(new Error(`waited in vain; ${JSON.stringify(this.closed)} ${this.texts.join("\n").slice(-2000)}`))
          ),
        millis
      )
      // For what happens elsewhere.
      const polling = setInterval(() => look(), 10)
      this.waiting.add(look)
      look()
    })
  }

  /** The exit of a request. */
  exit(id: string | number): Promise<Extract<FromServerEncoded, { _tag: "Exit" }>["exit"]> {
    return this.until(() => this.exits(id)[0])
  }

  exits(id: string | number) {
    return this.messages.flatMap((message) =>
      message._tag === "Exit" && message.requestId === id ? [message.exit] : []
    )
  }

  /** The frames of a live query, or the items of a stream, that came so far. */
  items(id: string | number): ReadonlyArray<any> {
    return this.messages.flatMap((message) =>
      message._tag === "Chunk" && message.requestId === id ? message.values : []
    )
  }

  /** Resolves when so many items came. */
  itemsOf(id: string | number, count: number): Promise<ReadonlyArray<any>> {
    return this.until(() => this.items(id).length >= count && this.items(id))
  }

  /** Waits until everything that was sent before was answered, and whatever answers followed. */
  async settled(): Promise<void> {
    await this.exit(this.ask("look", {}))
    await new Promise((resolve) => setTimeout(resolve, 20))
  }

  private asked = 0
  /** Sends a request under an id of its own. */
  ask(tag: string, payload: unknown, headers: ReadonlyArray<readonly [string, string]> = []): string {
    const id = `asked-${this.asked++}`
    this.send(request(id, tag, payload, headers))
    return id
  }

  /** Calls and gives the exit. */
  call(tag: string, payload: unknown, headers?: ReadonlyArray<readonly [string, string]>) {
    return this.exit(this.ask(tag, payload, headers))
  }
}

export const request = (
  id: string | number,
  tag: string,
  payload: unknown,
  headers: ReadonlyArray<readonly [string, string]> = []
) => ({ _tag: "Request", id, tag, payload, headers })

/** Calls over HTTP and gives the exit of the one request. */
export const call = async (place: Deployment, tenant: string, tag: string, payload: unknown): Promise<any> => {
  const response = await post(place, tenant, JSON.stringify(request("1", tag, payload)))
  const messages = (await response.json()) as ReadonlyArray<FromServerEncoded>
  const exit = messages.find((message) => message._tag === "Exit")
  if (exit === undefined) throw new Error(`no exit in ${JSON.stringify(messages)}`)
  return exit.exit
}

export const post = (
  place: Deployment,
  tenant: string,
  body: BodyInit,
  headers: Record<string, string> = {}
): Promise<Response> =>
  place.fetch("/rpc", { method: "POST", body, headers: { "x-dormouse-tenant": tenant, ...headers } })

/** The bodies of the notes a tenant has. */
export const bodies = async (place: Deployment, tenant: string): Promise<ReadonlyArray<string>> => {
  const exit = await call(place, tenant, "notes.list", {})
  return exit.value.map((note: { readonly body: string }) => note.body)
}

/** The error of an exit that is one typed failure, in its encoded form. */
export const errorOf = (exit: any): any => (exit?._tag === "Failure" ? exit.cause[0]?.error : undefined)
/** The defect of an exit that is one defect. */
export const defectOf = (exit: any): any => (exit?._tag === "Failure" ? exit.cause[0]?.defect : undefined)

let tenants = 0
/** A tenant that no other test uses. */
export const newTenant = (name: string): string => `${name}-${tenants++}`
