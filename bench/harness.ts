/// <reference types="node" />
import * as Http from "node:http"
import { dirname } from "node:path"
import { performance } from "node:perf_hooks"
import { clearTimeout, setImmediate, setTimeout } from "node:timers"
import { gzipSync } from "node:zlib"
import * as Esbuild from "esbuild"
import { Miniflare } from "miniflare"
import { type Data, WebSocket } from "ws"
import type { Subject } from "./subjects.ts"
import type { Call, Wire } from "./wire.ts"

// ---- the server's side

const buildOptions: Esbuild.BuildOptions = {
  bundle: true,
  write: false,
  format: "esm",
  target: "es2024",
  conditions: ["source", "workerd", "worker", "browser"],
  external: ["cloudflare:*", "node:*"],
  minify: true,
  logLevel: "silent"
}

const textOf = (built: Esbuild.BuildResult): string => built.outputFiles![0]!.text

export async function bundle(subject: Subject): Promise<string> {
  return textOf(await Esbuild.build({ ...buildOptions, entryPoints: [subject.entry] }))
}

export const gzippedBytes = (code: string): number => gzipSync(code, { level: 9 }).byteLength

/**
 * The same worker in a shell that counts how often its object is built or entered. The counters live in the isolate,
 * which outlasts the object, and `GET /bench/wakes` reads them without touching it.
 */
export async function bundleCounting(subject: Subject): Promise<string> {
  const contents = `
    import { ${subject.object} as Inner } from ${JSON.stringify(subject.entry)}
    import worker from ${JSON.stringify(subject.entry)}
    const wakes = { built: 0, entered: 0 }
    export class ${subject.object} extends Inner {
      constructor(ctx, env) { super(ctx, env); wakes.built++ }
      fetch(...args) { wakes.entered++; return super.fetch(...args) }
      webSocketMessage(...args) { wakes.entered++; return super.webSocketMessage(...args) }
      alarm(...args) { wakes.entered++; return super.alarm(...args) }
    }
    const answer = (request, next) =>
      new URL(request.url).pathname === "/bench/wakes" ? Response.json(wakes) : next()
    export default typeof worker === "function"
      ? class extends worker { fetch(request) { return answer(request, () => super.fetch(request)) } }
      : { ...worker, fetch: (request, env, ctx) => answer(request, () => worker.fetch(request, env, ctx)) }
  `
  return textOf(
    await Esbuild.build({ ...buildOptions, stdin: { contents, resolveDir: dirname(subject.entry), loader: "js" } })
  )
}

interface Address {
  readonly host: string
  readonly hostname: string
  readonly port: string
}

/** A worker in a workerd of its own, reached by real connections over loopback. */
export class Server {
  readonly subject: Subject
  readonly #miniflare: Miniflare
  readonly #address: Address
  readonly #agent = new Http.Agent({ keepAlive: true, maxSockets: 64 })
  readonly #sockets = new Set<Socket>()
  static readonly #running = new Set<Server>()

  private constructor(subject: Subject, miniflare: Miniflare, address: Address) {
    this.subject = subject
    this.#miniflare = miniflare
    this.#address = address
  }

  static async start(subject: Subject, code: string): Promise<Server> {
    const name = "worker"
    const miniflare = new Miniflare({
      workers: [
        {
          config: {
            type: "worker",
            name,
            compatibilityDate: "2026-09-01",
            manifest: { mainModule: "worker.js", modules: { "worker.js": { type: "esm", contents: code } } },
            exports: { [subject.object]: { type: "durable-object", storage: "sqlite" } },
            env: Object.fromEntries(
              Object.entries(subject.bindings).map(([key, binding]) => {
                if (binding === "object") {
                  return [key, { type: "durable-object", worker: name, exportName: subject.object } as const]
                }
                if (binding === "kv" || binding === "r2") return [key, { type: binding } as const]
                return [key, { type: "text", value: binding.text } as const]
              })
            )
          },
          // Straight into the worker: Miniflare's own entry worker, made for pages that reload, would be measured too.
          dev: { unsafeDirectSockets: [{}] }
        }
      ]
    })
    const server = new Server(subject, miniflare, await miniflare.unsafeGetDirectURL(name))
    Server.#running.add(server)
    return server
  }

  get wire(): Wire {
    return this.subject.wire
  }

  /** One call over HTTP, on a connection that is kept open. */
  post(call: Call, tenant = "main"): Promise<string> {
    const { path, body } = this.wire.http(call)
    const headers = {
      "content-type": "application/json",
      "content-length": String(Buffer.byteLength(body)),
      [this.wire.tenant.header]: tenant
    }
    return this.#request({ method: "POST", path, headers }, body).then((text) => {
      if (!this.wire.succeeded(text)) throw new Error(`Refused: ${text.slice(0, 200)}`)
      return text
    })
  }

  async wakes(): Promise<{ readonly built: number; readonly entered: number }> {
    return JSON.parse(await this.#request({ method: "GET", path: "/bench/wakes" }, ""))
  }

  #request(options: Http.RequestOptions, body: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const request = Http.request(
        { ...options, agent: this.#agent, host: this.#address.hostname, port: this.#address.port },
        (response) => {
          let text = ""
          response.setEncoding("utf8")
          response.on("data", (chunk: string) => (text += chunk))
          response.on("error", reject)
          response.on("end", () => {
            if (response.statusCode === 200) resolve(text)
            else reject(new Error(`Status ${response.statusCode}: ${text.slice(0, 200)}`))
          })
        }
      )
      request.on("error", reject)
      request.end(body)
    })
  }

  async open(): Promise<Socket> {
    const { path } = this.wire.socket
    const socket = await Socket.open(`ws://${this.#address.host}${path}?${this.wire.tenant.parameter}=main`, this.wire)
    this.#sockets.add(socket)
    return socket
  }

  /** Opens in small groups: hundreds of handshakes at once overflow the listening queue. */
  async openMany(
    count: number,
    ready: (socket: Socket, index: number) => Promise<unknown>
  ): Promise<ReadonlyArray<Socket>> {
    const sockets: Array<Socket> = []
    await inFlight(16, count, async (index) => {
      const socket = await this.open()
      sockets.push(socket)
      await ready(socket, index)
    })
    return sockets
  }

  /** Takes the object out of memory as hibernation would, with its sockets left open. */
  evict(): Promise<void> {
    return this.#miniflare.unsafeEvictDurableObject("worker", this.subject.object, {
      name: "main",
      webSockets: "hibernate"
    })
  }

  static async stopAll(): Promise<void> {
    for (const server of [...Server.#running]) await server.stop()
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.close()
    this.#agent.destroy()
    Server.#running.delete(this)
    await this.#miniflare.dispose()
  }
}

// ---- the clients' side

/** A socket that knows of a message only whom it answers. */
export class Socket {
  readonly wire: Wire
  readonly #socket: WebSocket
  readonly #answers = new Map<string, (result: Data | Error) => void>()
  readonly #firstFrames = new Map<string, () => void>()
  #lastId = 0
  #closing = false
  onFrame: ((data: Data) => void) | undefined
  /** Called when the server, not this side, ends the connection. */
  onLost: (() => void) | undefined

  private constructor(socket: WebSocket, wire: Wire) {
    this.#socket = socket
    this.wire = wire
    socket.on("message", (data) => this.#receive(data))
    socket.on("close", (code) => {
      if (this.#closing) return
      for (const settle of this.#answers.values()) settle(new Error(`The server closed the socket (${code})`))
      this.onLost?.()
    })
    socket.on("error", () => {})
  }

  static open(url: string, wire: Wire): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, { perMessageDeflate: false, skipUTF8Validation: true })
      socket.on("open", () => resolve(new Socket(socket, wire)))
      socket.on("error", reject)
    })
  }

  call(call: Call): Promise<Data> {
    const id = String(++this.#lastId)
    return new Promise((resolve, reject) => {
      this.#answers.set(id, (result) => {
        this.#answers.delete(id)
        if (result instanceof Error) reject(result)
        else resolve(result)
      })
      this.#socket.send(this.wire.socket.call(id, call))
    })
  }

  /** Resolves with the first frame. */
  subscribe(call: Call): Promise<void> {
    const id = String(++this.#lastId)
    return new Promise((resolve, reject) => {
      this.#firstFrames.set(id, resolve)
      this.#answers.set(id, (result) => {
        reject(result instanceof Error ? result : new Error(`Refused: ${result.toString().slice(0, 200)}`))
      })
      this.#socket.send(this.wire.socket.subscribe(id, call))
    })
  }

  ping(): void {
    if (this.wire.ping !== undefined) this.#socket.send(this.wire.ping)
  }

  close(): void {
    this.#closing = true
    this.#socket.terminate()
  }

  #receive(data: Data): void {
    let framed = false
    for (const { kind, id } of this.wire.read(data)) {
      if (kind === "frame") {
        framed = true
        // After what has already arrived was read: hundreds of clients share this thread, and the write of one should
        // not be counted as a late arrival at the next. Clients of their own would acknowledge just as soon.
        if (this.wire.ack !== undefined) setImmediate(() => this.#socket.send(this.wire.ack!(id)))
        const first = this.#firstFrames.get(id)
        if (first !== undefined) {
          this.#firstFrames.delete(id)
          first()
        }
      } else {
        this.#answers.get(id)?.(kind === "answer" ? data : new Error(`Refused: ${data.toString().slice(0, 200)}`))
      }
    }
    if (framed) this.onFrame?.(data)
  }
}

// ---- measuring

/** Does `run` for 0 to `count` - 1, `width` at a time; gives the milliseconds it took. */
export async function inFlight(
  width: number,
  count: number,
  run: (index: number) => Promise<unknown>
): Promise<number> {
  const start = performance.now()
  let next = 0
  const lane = async () => {
    while (next < count) await run(next++)
  }
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane))
  return performance.now() - start
}

export async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await run()
  return performance.now() - start
}

/** The median time of one after the other. */
export async function timedEach(count: number, run: (index: number) => Promise<unknown>): Promise<number> {
  const times: Array<number> = []
  for (let index = 0; index < count; index++) times.push(await timed(() => run(index)))
  return median(times)
}

export function median(values: ReadonlyArray<number>): number {
  if (values.length === 0) return Number.NaN
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function deadline<A>(milliseconds: number, what: string, promise: Promise<A>): Promise<A> {
  let timer: NodeJS.Timeout
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${milliseconds} ms`)), milliseconds)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
