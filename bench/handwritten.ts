/// <reference types="@cloudflare/workers-types" />

/**
 * The chat backend without a framework: what a careful engineer would write for this one job, on the same wire.
 *
 * Shortcuts that a framework cannot take are taken here on purpose, since this is what the others are measured against:
 * payloads are checked by hand, an answer is put together as text, a result is encoded once for all its sockets,
 * and which list a write concerns is known in advance.
 */
import { DurableObject } from "cloudflare:workers"
import { decode, failure, frame, Refused, type RpcRequest, refusal, success, textOf } from "./messages.ts"

interface Env {
  readonly TENANTS: DurableObjectNamespace<TenantObject>
}

/** A live query as the socket's attachment keeps it through hibernation. */
interface Subscription {
  readonly id: string
  readonly query: Query
}

type Query =
  | { readonly tag: "channels.list" }
  | { readonly tag: "messages.list"; readonly channel: string; readonly limit: number }

/** All sockets that wait for one result, by request id: equal ids share even the text of the frame. */
interface Audience {
  readonly query: Query
  readonly sockets: Map<string, Set<WebSocket>>
}

export default {
  fetch(request, env) {
    const url = new URL(request.url)
    if (url.pathname !== "/rpc") return new Response("Not found", { status: 404 })
    const tenant = request.headers.get("x-dormouse-tenant") ?? url.searchParams.get("tenant") ?? "main"
    return env.TENANTS.getByName(tenant).fetch(request)
  }
} satisfies ExportedHandler<Env>

export class TenantObject extends DurableObject<Env> {
  readonly #sql: SqlStorage
  /** The sockets that are live, by topic and then by query. Undefined until it is rebuilt from the attachments. */
  #topics: Map<string, Map<string, Audience>> | undefined

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = ctx.storage.sql
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS channels(
        id TEXT PRIMARY KEY NOT NULL,
        name TEXT NOT NULL,
        createdAt INTEGER NOT NULL
      ) WITHOUT ROWID;
      CREATE UNIQUE INDEX IF NOT EXISTS channels_byName ON channels(name);
      CREATE TABLE IF NOT EXISTS messages(
        id TEXT PRIMARY KEY NOT NULL,
        channel TEXT NOT NULL REFERENCES channels(id) ON DELETE CASCADE,
        author TEXT NOT NULL,
        body TEXT NOT NULL,
        sentAt INTEGER NOT NULL
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS messages_byChannel ON messages(channel, sentAt, id);
    `)
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair('{"_tag":"Ping"}', '{"_tag":"Pong"}'))
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get("upgrade") === "websocket") {
      const { 0: client, 1: server } = new WebSocketPair()
      this.ctx.acceptWebSocket(server)
      return new Response(null, { status: 101, webSocket: client })
    }
    const messages = decode(await request.text())
    return new Promise((resolve) => {
      this.schedule(() => {
        const answers: Array<string> = []
        for (const message of messages) {
          if (message._tag !== "Request") continue
          const { answer, topic } = this.#answer(message)
          answers.push(answer)
          if (topic !== undefined) this.changed(topic)
        }
        resolve(new Response(`[${answers.join(",")}]`, { headers: { "content-type": "application/json" } }))
      })
    })
  }

  override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
    this.schedule(() => this.#receive(socket, data))
  }

  /** Handles a message as it comes. */
  protected schedule(task: () => void): void {
    task()
  }

  /** Notifies all sockets that are live on a topic, in the turn that answers the writer. */
  protected changed(topic: string): void {
    this.broadcast(topic)
  }

  #receive(socket: WebSocket, data: string | ArrayBuffer): void {
    for (const message of decode(typeof data === "string" ? data : new TextDecoder().decode(data))) {
      switch (message._tag) {
        case "Request": {
          if (message.tag.startsWith("live:")) {
            this.#subscribe(socket, message)
            break
          }
          const { answer, topic } = this.#answer(message)
          // The writer's answer is queued before the first frame and so arrives first, but in the same turn: the bytes
          // of both leave together, once the write is on disk and the broadcast loop is done. Giving the turn up in
          // between would answer sooner, at the price of an order that the code no longer shows.
          socket.send(answer)
          if (topic !== undefined) this.changed(topic)
          break
        }
        case "Interrupt":
          this.#unsubscribe(socket, message.requestId)
          break
        case "Ping":
          socket.send('{"_tag":"Pong"}')
          break
      }
    }
  }

  override webSocketClose(socket: WebSocket): void {
    this.#forget(socket)
  }

  override webSocketError(socket: WebSocket): void {
    this.#forget(socket)
  }

  /** The text of the answer, and the topic whose lists a write has changed. */
  #answer(request: RpcRequest): { readonly answer: string; readonly topic?: string } {
    try {
      switch (request.tag) {
        case "channels.create": {
          const channel = this.#createChannel(request.payload)
          return { answer: success(request.id, JSON.stringify(channel)), topic: "channels" }
        }
        case "messages.send": {
          const message = this.#sendMessage(request.payload)
          return { answer: success(request.id, JSON.stringify(message)), topic: `messages:${message.channel}` }
        }
        default:
          return { answer: success(request.id, this.#run(queryOf(request.tag, request.payload))) }
      }
    } catch (thrown) {
      return { answer: refusal(request.id, thrown) }
    }
  }

  #createChannel(payload: Record<string, unknown>) {
    const name = textOf(payload, "name")
    const createdAt = Date.now()
    const channel = { id: uuidv7(createdAt), name, createdAt }
    this.ctx.storage.transactionSync(() => {
      if (!this.#sql.exec("SELECT 1 FROM channels WHERE name = ?", name).next().done) {
        throw new Refused({ _tag: "ChannelExists", name })
      }
      this.#sql.exec("INSERT INTO channels(id, name, createdAt) VALUES (?, ?, ?)", channel.id, name, createdAt)
    })
    return channel
  }

  #sendMessage(payload: Record<string, unknown>) {
    const channel = textOf(payload, "channel")
    const author = textOf(payload, "author")
    const body = textOf(payload, "body")
    const sentAt = Date.now()
    const message = { id: uuidv7(sentAt), channel, author, body, sentAt }
    this.ctx.storage.transactionSync(() => {
      if (this.#sql.exec("SELECT 1 FROM channels WHERE id = ?", channel).next().done) {
        throw new Refused({ _tag: "ChannelNotFound", channel })
      }
      this.#sql.exec(
        "INSERT INTO messages(id, channel, author, body, sentAt) VALUES (?, ?, ?, ?, ?)",
        message.id,
        channel,
        author,
        body,
        sentAt
      )
    })
    return message
  }

  /** The result as JSON text. */
  #run(query: Query): string {
    const rows =
      query.tag === "channels.list"
        ? this.#sql.exec("SELECT id, name, createdAt FROM channels ORDER BY name, id")
        : this.#sql.exec(
            `SELECT id, channel, author, body, sentAt FROM messages
             WHERE channel = ? ORDER BY sentAt DESC, id DESC LIMIT ?`,
            query.channel,
            query.limit
          )
    return JSON.stringify(rows.toArray())
  }

  #subscribe(socket: WebSocket, request: RpcRequest): void {
    let query: Query
    try {
      query = queryOf(request.tag.slice("live:".length), request.payload)
    } catch (thrown) {
      if (!(thrown instanceof Refused)) throw thrown
      socket.send(failure(request.id, { _tag: "Fail", error: thrown.error }))
      return
    }
    const subscription = { id: request.id, query }
    const topics = this.#listening()
    socket.serializeAttachment([...subscriptionsOf(socket).filter((other) => other.id !== request.id), subscription])
    join(topics, socket, subscription)
    socket.send(frame(request.id, this.#run(query)))
  }

  #unsubscribe(socket: WebSocket, id: string): void {
    const subscriptions = subscriptionsOf(socket)
    const found = subscriptions.find((subscription) => subscription.id === id)
    if (found === undefined) return
    socket.serializeAttachment(subscriptions.filter((subscription) => subscription.id !== id))
    leave(this.#listening(), socket, found)
    socket.send(failure(id, { _tag: "Interrupt", fiberId: null }))
  }

  #forget(socket: WebSocket): void {
    if (this.#topics === undefined) return
    for (const subscription of subscriptionsOf(socket)) leave(this.#topics, socket, subscription)
  }

  #listening(): Map<string, Map<string, Audience>> {
    if (this.#topics === undefined) {
      this.#topics = new Map()
      for (const socket of this.ctx.getWebSockets()) {
        for (const subscription of subscriptionsOf(socket)) join(this.#topics, socket, subscription)
      }
    }
    return this.#topics
  }

  /** Runs each distinct query of the topic once and sends the whole result to all its sockets. */
  protected broadcast(topic: string): void {
    for (const { query, sockets } of this.#listening().get(topic)?.values() ?? []) {
      const result = this.#run(query)
      for (const [id, members] of sockets) {
        const text = frame(id, result)
        for (const socket of members) {
          try {
            socket.send(text)
          } catch {
            // Closed meanwhile; its close event takes it off the list.
          }
        }
      }
    }
  }
}

function join(topics: Map<string, Map<string, Audience>>, socket: WebSocket, { id, query }: Subscription): void {
  const [topic, key] = addressOf(query)
  const audiences = entryOf(topics, topic, () => new Map<string, Audience>())
  const audience = entryOf(audiences, key, () => ({ query, sockets: new Map() }))
  entryOf(audience.sockets, id, () => new Set<WebSocket>()).add(socket)
}

function leave(topics: Map<string, Map<string, Audience>>, socket: WebSocket, { id, query }: Subscription): void {
  const [topic, key] = addressOf(query)
  const audiences = topics.get(topic)
  const audience = audiences?.get(key)
  const members = audience?.sockets.get(id)
  if (audiences === undefined || audience === undefined || members === undefined) return
  members.delete(socket)
  if (members.size === 0) audience.sockets.delete(id)
  if (audience.sockets.size === 0) audiences.delete(key)
  if (audiences.size === 0) topics.delete(topic)
}

function entryOf<A>(map: Map<string, A>, key: string, make: () => A): A {
  const found = map.get(key)
  if (found !== undefined) return found
  const made = make()
  map.set(key, made)
  return made
}

const addressOf = (query: Query): readonly [topic: string, key: string] =>
  query.tag === "channels.list" ? ["channels", ""] : [`messages:${query.channel}`, String(query.limit)]

// Only this class writes attachments, and this is the one shape it writes.
const subscriptionsOf = (socket: WebSocket): ReadonlyArray<Subscription> =>
  (socket.deserializeAttachment() as ReadonlyArray<Subscription> | null) ?? []

function queryOf(tag: string, payload: Record<string, unknown>): Query {
  switch (tag) {
    case "channels.list":
      return { tag }
    case "messages.list": {
      const limit = payload["limit"]
      if (typeof limit !== "number" || !Number.isSafeInteger(limit) || limit < 1 || limit > 1000) {
        throw new Refused({ _tag: "BadRequest", message: "limit must be a whole number from 1 to 1000" })
      }
      return { tag, channel: textOf(payload, "channel"), limit }
    }
    default:
      throw new Refused({ _tag: "BadRequest", message: `There is no ${tag}` })
  }
}

/** The random part and the variant bits of a version 4 UUID are those of a version 7 too. */
function uuidv7(now: number): string {
  const time = now.toString(16).padStart(12, "0")
  return `${time.slice(0, 8)}-${time.slice(8)}-7${crypto.randomUUID().slice(15)}`
}
