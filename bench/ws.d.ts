/** The part of `ws` that the harness uses; the package ships no types. */
declare module "ws" {
  export class WebSocket {
    constructor(url: string, options: { readonly perMessageDeflate: boolean; readonly skipUTF8Validation: boolean })
    on(event: "open", listener: () => void): this
    on(event: "message", listener: (data: Data) => void): this
    on(event: "close", listener: (code: number) => void): this
    on(event: "error", listener: (error: Error) => void): this
    send(text: string): void
    terminate(): void
  }

  /** A Node buffer, as far as a message is looked into. */
  export interface Data {
    readonly byteLength: number
    includes(text: string): boolean
    indexOf(text: string, from: number): number
    toString(encoding?: "latin1" | "utf8", start?: number, end?: number): string
  }
}
