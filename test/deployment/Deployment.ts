import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as Layer from "effect/Layer"
import type * as RpcClient from "effect/rpc/RpcClient"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import { Auth } from "effect-dormouse/auth"

/** A running app, as seen over the wire. Suites are written once and run against each deployment. */
export interface Deployment {
  /** Sends any request to the gateway. */
  readonly fetch: (path: string, init?: RequestInit) => Promise<Response>
  /**
   * Opens a socket, with a bearer token if given. The tenant is named by the header, where the platform can set one, unless
   * `place` is `query`.
   */
  readonly connect: (tenant: string, place?: "header" | "query", token?: string) => Promise<Peer>
  /** The transport of Effect's own client. `batch` collects so many calls in one body, fewer after so many milliseconds. */
  readonly protocol: (
    kind: "http" | "socket",
    tenant: string,
    batch?: { readonly window: number; readonly maxSize: number }
  ) => Layer.Layer<RpcClient.Protocol>
  /** Evicts the heap of a tenant's object. Its sockets stay open. */
  readonly evict: (tenant: string) => Promise<void>
  /** How often a tenant's object was started. */
  readonly starts: (tenant: string) => number
  /** What was logged since the last call, as text. */
  readonly logged: () => string
}

/** Sends the tenant in a header: Effect's HTTP client appends a slash to its URL, even after a query string. */
export const toTenant = (tenant: string) =>
  HttpClient.mapRequest(HttpClientRequest.setHeader("x-dormouse-tenant", tenant)) as <E, R>(
    client: HttpClient.HttpClient.With<E, R>
  ) => HttpClient.HttpClient.With<E, R>

/** More turns than any chain of work that an object defers in these suites. */
const turnsToSettle = 8

/** Twice the milliseconds after which an object counts as idle: a timer of the object that was set before fires before. */
const idlePause = 20

/** A later turn of the event loop, which comes after all timers that are due before. */
const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

/** The client's end of a socket, without a client: sends messages as given, and collects what arrives. */
export class Peer {
  /** The texts that arrived. */
  readonly texts: Array<string> = []
  /** The messages of `effect/rpc` that arrived. */
  readonly messages: Array<FromServerEncoded> = []
  /** How the socket was closed, once it is closed. */
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
    for (const check of this.waiting) check()
  }

  ended(code: number, reason: string): void {
    this.closed ??= { code, reason }
    for (const check of this.waiting) check()
  }

  /** Resolves with the value of a condition once it holds. Rejects after a timeout, with what has arrived. */
  until<A>(condition: () => A | undefined | false, millis = 30_000): Promise<A> {
    return new Promise((resolve, reject) => {
      const settle = (then: () => void) => {
        this.waiting.delete(check)
        clearTimeout(timer)
        clearInterval(polling)
        then()
      }
      const check = () => {
        const value = condition()
        if (value !== undefined && value !== false) settle(() => (resolve as (value: A) => void)(value))
      }
      const timer = setTimeout(
        () =>
          settle(() =>
            reject(new Error(`timed out; ${JSON.stringify(this.closed)} ${this.texts.join("\n").slice(-2000)}`))
          ),
        millis
      )
      // For conditions that depend on more than this socket.
      const polling = setInterval(() => check(), 10)
      this.waiting.add(check)
      check()
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

  /** The frames of a live query, or the items of a stream, that have arrived. */
  items(id: string | number): ReadonlyArray<any> {
    return this.messages.flatMap((message) =>
      message._tag === "Chunk" && message.requestId === id ? message.values : []
    )
  }

  /** Resolves once so many items have arrived. */
  itemsOf(id: string | number, count: number): Promise<ReadonlyArray<any>> {
    return this.until(() => this.items(id).length >= count && this.items(id))
  }

  /**
   * Waits until all earlier messages were answered, and what follows from them has arrived: work that the object defers
   * runs in the next turns of the event loop, or after the pause that makes it idle, so calls in later turns and after a
   * longer pause come after it.
   */
  async settled(tag = "look", payload: unknown = {}): Promise<void> {
    for (let turn = 0; turn < turnsToSettle; turn++) {
      const exit = await this.call(tag, payload)
      if (exit._tag !== "Success") throw new Error(JSON.stringify(exit))
      await pause(turn === turnsToSettle - 2 ? idlePause : 0)
    }
  }

  private requests = 0
  /** Sends a request with a new id. Returns the id. */
  ask(tag: string, payload: unknown, headers: ReadonlyArray<readonly [string, string]> = []): string {
    const id = `request-${this.requests++}`
    this.send(request(id, tag, payload, headers))
    return id
  }

  /** Calls an rpc and returns the exit. */
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

/** Calls an rpc over HTTP and returns the exit. */
export const call = async (
  deployment: Deployment,
  tenant: string,
  tag: string,
  payload: unknown,
  headers?: Record<string, string>
): Promise<any> => {
  const response = await post(deployment, tenant, JSON.stringify(request("1", tag, payload)), headers)
  const messages = (await response.json()) as ReadonlyArray<FromServerEncoded>
  const exit = messages.find((message) => message._tag === "Exit")
  if (exit === undefined) throw new Error(`no exit in ${JSON.stringify(messages)}`)
  return exit.exit
}

/** Calls and sockets of one tenant, in the names of callers that have test tokens. */
export const callersOf = (deployment: Deployment, tenant: string) => {
  const connect = (subject = "ada") => deployment.connect(tenant, "header", Auth.testToken({ subject }))
  const callAs = (tag: string, payload: unknown, subject = "ada"): Promise<any> =>
    call(deployment, tenant, tag, payload, { authorization: `Bearer ${Auth.testToken({ subject })}` })
  /** The value of a call that succeeds. */
  const done = async (tag: string, payload: unknown, subject?: string): Promise<any> => {
    const exit = await callAs(tag, payload, subject)
    if (exit._tag !== "Success") throw new Error(JSON.stringify(exit))
    return exit.value
  }
  return { tenant, connect, call: callAs, done }
}

export const post = (
  deployment: Deployment,
  tenant: string,
  body: BodyInit,
  headers: Record<string, string> = {}
): Promise<Response> =>
  deployment.fetch("/rpc", { method: "POST", body, headers: { "x-dormouse-tenant": tenant, ...headers } })

/** The bodies of a tenant's notes. */
export const bodies = async (deployment: Deployment, tenant: string): Promise<ReadonlyArray<string>> => {
  const exit = await call(deployment, tenant, "notes.list", {})
  return exit.value.map((note: { readonly body: string }) => note.body)
}

/** The encoded error of a failed exit. */
export const errorOf = (exit: any): any => (exit?._tag === "Failure" ? exit.cause[0]?.error : undefined)

/** The encoded defect of a failed exit. */
export const defectOf = (exit: any): any => (exit?._tag === "Failure" ? exit.cause[0]?.defect : undefined)

let tenants = 0

/** The name of a new tenant. */
export const newTenant = (name: string): string => `${name}-${tenants++}`
