/// <reference types="node" />
import type { IncomingMessage, ServerResponse } from "node:http"
import { Readable } from "node:stream"

/** Answers the requests of a server of `node:http` with a handler of web requests. `@effect/platform-node` does the same. */
export const listener =
  (handle: (request: Request) => Promise<Response>) =>
  async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const hasBody = incoming.method !== "GET" && incoming.method !== "HEAD"
    const closed = new AbortController()
    outgoing.on("close", () => closed.abort())
    const request = new Request(`http://${incoming.headers.host ?? "localhost"}${incoming.url}`, {
      method: incoming.method ?? "GET",
      headers: Object.entries(incoming.headers).map(([name, value]): [string, string] => [name, String(value)]),
      signal: closed.signal,
      // Node sends a stream only so.
      ...(hasBody && { body: Readable.toWeb(incoming) as unknown as ReadableStream, duplex: "half" })
    })
    const response = await handle(request)
    outgoing.writeHead(response.status, [...response.headers].flat())
    if (response.body === null) return void outgoing.end()
    const reader = response.body.getReader()
    closed.signal.addEventListener("abort", () => void reader.cancel().catch(() => {}))
    for (;;) {
      const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }))
      if (done) return void outgoing.end()
      // A client that does not read is not sent more.
      if (!outgoing.write(value)) await new Promise((resolve) => outgoing.once("drain", resolve).once("close", resolve))
    }
  }
