/// <reference types="node" />
import * as Http from "node:http"
import { dirname } from "node:path"
import { gzipSync } from "node:zlib"
import * as Esbuild from "esbuild"
import { type Host, startNode, startWorkerd } from "./hosts.ts"
import { inFlight } from "./measure.ts"
import { Socket } from "./socket.ts"
import type { Subject } from "./subjects.ts"
import type { Call, Wire } from "./wire.ts"

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

/** A subject that runs, reached by real connections over loopback. */
export class Server {
  readonly subject: Subject
  readonly #host: Host
  // Shorter than the five seconds after which workerd closes an unused connection.
  readonly #agent = new Http.Agent({ keepAlive: true, maxSockets: 64, timeout: 2000 })
  readonly #connections = new Set<() => unknown>()
  static readonly #running = new Set<Server>()

  private constructor(subject: Subject, host: Host) {
    this.subject = subject
    this.#host = host
    Server.#running.add(this)
  }

  /** Starts a worker from its bundle. */
  static async start(subject: Subject, code: string): Promise<Server> {
    return new Server(subject, await startWorkerd(subject, code))
  }

  /** Starts a subject in whatever it runs in. */
  static async startAny(subject: Subject): Promise<Server> {
    if (subject.isNode) return new Server(subject, await startNode(subject))
    return Server.start(subject, await bundle(subject))
  }

  get url(): string {
    return `http://${this.#host.address.host}`
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
        { ...options, agent: this.#agent, host: this.#host.address.hostname, port: this.#host.address.port },
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
    const socket = await Socket.open(
      `ws://${this.#host.address.host}${path}?${this.wire.tenant.parameter}=main`,
      this.wire
    )
    this.onStop(() => socket.close())
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
    return this.#host.evict()
  }

  /** Closes a connection before the server stops. */
  onStop(close: () => unknown): void {
    this.#connections.add(close)
  }

  static async stopAll(): Promise<void> {
    for (const server of [...Server.#running]) await server.stop()
  }

  async stop(): Promise<void> {
    for (const close of this.#connections) await close()
    this.#agent.destroy()
    Server.#running.delete(this)
    await this.#host.stop()
  }
}
