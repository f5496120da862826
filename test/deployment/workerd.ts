/// <reference types="node" />
import { type ChildProcess, spawn } from "node:child_process"
import { randomInt } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import * as Esbuild from "esbuild"
import { type Deployment, Peer } from "./Deployment.ts"

/** workerd in a process of its own, with its database on disk. It can be killed at any moment and started again. */
export class WorkerdProcess {
  readonly port: number
  private readonly folder: string
  private readonly settings: ReadonlyArray<Readonly<Record<string, string>>>
  private child: ChildProcess | undefined
  private log = ""

  private constructor(folder: string, port: number, settings: ReadonlyArray<Readonly<Record<string, string>>>) {
    this.folder = folder
    this.settings = settings
    this.port = port
  }

  /** Bundles the module of a Worker, and starts it. `queues` and `buckets` have names by those of their bindings. */
  static async start(
    entry: string,
    variables: Readonly<Record<string, string>> = {},
    queues: Readonly<Record<string, string>> = {},
    buckets: Readonly<Record<string, string>> = {}
  ): Promise<WorkerdProcess> {
    const folder = mkdtempSync(join(tmpdir(), "dormouse-workerd-"))
    const made = new WorkerdProcess(folder, await freePort(), [variables, queues, buckets])
    await bundle(entry, made.bundle)
    await made.start()
    return made
  }

  private get bundle(): string {
    return join(this.folder, "worker.js")
  }

  /** The id of the process, which leads the group of all that it started. */
  get group(): number | undefined {
    return this.child?.pid
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** Starts the process as the leader of a process group. Resolves when it listens. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      const script = fileURLToPath(new URL("workerdMain.ts", import.meta.url))
      const args = [
        script,
        String(this.port),
        this.folder,
        this.bundle,
        ...this.settings.map((setting) => JSON.stringify(setting))
      ]
      const child = spawn(process.execPath, args, {
        detached: true,
        // What it leaves when it is killed is deleted with the folder.
        env: { ...process.env, TMPDIR: this.folder },
        stdio: ["ignore", "pipe", "pipe"]
      })
      this.child = child
      let log = ""
      const listen = (chunk: Buffer) => {
        log += chunk
        this.log += chunk
        if (log.includes("listening at")) resolve()
      }
      child.stdout.on("data", listen)
      child.stderr.on("data", listen)
      child.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${log}`)))
      setTimeout(() => reject(new Error(`the server did not start: ${log}`)), 60_000).unref()
    })
  }

  /** Kills the process and everything it started, and polls until its port is free. */
  async kill(): Promise<void> {
    const { child } = this
    if (child === undefined) return
    this.child = undefined
    const ended = new Promise((resolve) => child.once("exit", resolve))
    if (child.exitCode === null && child.signalCode === null && process.kill(-child.pid!, "SIGKILL")) await ended
    while (!(await isFree(this.port))) await new Promise((resolve) => setTimeout(resolve, 10))
  }

  /** Kills the process, and starts another version of the Worker over the same database. */
  async deploy(entry: string): Promise<void> {
    await this.kill()
    await bundle(entry, this.bundle)
    await this.start()
  }

  /** Kills the process and deletes its database. */
  async close(): Promise<void> {
    await this.kill()
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** The process as seen over the wire. It cannot evict objects. */
  get deployment(): Deployment {
    const unsupported = () => {
      throw new Error("a process does not do this")
    }
    return {
      fetch: (path, init) => {
        // A connection that is kept may be closed already: by a kill, or by the server while this process was busy.
        const headers = new Headers(init?.headers)
        headers.set("connection", "close")
        return fetch(`${this.url}${path}`, { ...init, headers })
      },
      connect: (tenant) =>
        new Promise((resolve, reject) => {
          const socket = new WebSocket(`${this.url.replace("http", "ws")}/rpc?tenant=${tenant}`)
          const peer = new Peer(socket)
          socket.addEventListener("message", ({ data }) => peer.received(String(data)))
          socket.addEventListener("close", ({ code, reason }) => peer.ended(code, reason))
          socket.addEventListener("open", () => resolve(peer))
          socket.addEventListener("error", () => reject(new Error("the socket did not open")))
        }),
      protocol: unsupported,
      evict: unsupported,
      starts: unsupported,
      logged: () => {
        const { log } = this
        this.log = ""
        return log
      }
    }
  }
}

/** Bundles a Worker into one module. */
const bundle = async (entry: string, file: string): Promise<void> => {
  await Esbuild.build({
    entryPoints: [entry],
    outfile: file,
    bundle: true,
    format: "esm",
    target: "es2024",
    conditions: ["source", "workerd", "worker", "browser"],
    external: ["cloudflare:*"],
    logLevel: "silent"
  })
  // esbuild runs as a process of its own, which would keep waiting for more to bundle.
  await Esbuild.stop()
}

/**
 * A port that is free, and that no other process is given while a server that is killed does not listen at it: it is below
 * those that the system hands out.
 */
export const freePort = async (): Promise<number> => {
  for (;;) {
    const port = randomInt(10_000, 32_000)
    if (await isFree(port)) return port
  }
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer()
    probe.once("error", () => resolve(false))
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)))
  })
