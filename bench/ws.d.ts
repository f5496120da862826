/** The part of `ws` that the harness uses; the package ships no types. */
declare module "ws" {
  import type { WebSocketLike } from "effect/socket/Socket"

  export class WebSocket {
    constructor(url: string, options: { readonly perMessageDeflate: boolean; readonly skipUTF8Validation: boolean })
    on(event: "open", listener: () => void): this
    on(event: "message", listener: (data: Data) => void): this
    on(event: "close", listener: (code: number) => void): this
    on(event: "error", listener: (error: Error) => void): this
    send(text: string): void
    terminate(): void
  }
  export interface WebSocket extends WebSocketLike {}

  export class WebSocketServer {
    constructor(options: { readonly host: string; readonly port: number })
    on(event: "listening", listener: () => void): this
    on(event: "connection", listener: (socket: WebSocket) => void): this
    address(): { readonly port: number }
  }

  /** A Node buffer, as far as a message is looked into. */
  export interface Data {
    readonly byteLength: number
    includes(text: string): boolean
    indexOf(text: string, from: number): number
    toString(encoding?: "latin1" | "utf8", start?: number, end?: number): string
  }
}
