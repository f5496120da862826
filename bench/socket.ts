/// <reference types="node" />
import { setImmediate } from "node:timers"
import { type Data, WebSocket } from "ws"
import type { Call, Wire } from "./wire.ts"

/** A socket that reads of a message only which call it answers. */
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
