/**
 * Sends one request with a body and its progress: with `XMLHttpRequest` in browsers, which alone tells how much was sent, and with
 * `fetch` elsewhere.
 */
import * as Effect from "effect/Effect"
import * as Transport from "./Transport.ts"

/** A request with a body. */
export interface SendRequest {
  readonly url: string
  readonly method: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: ArrayBuffer
  readonly onProgress?: ((sent: number) => void) | undefined
}

/** What answered a request. The status is 0 when nothing did. */
export interface Reply {
  readonly status: number
  readonly text: string
  /** Of what was stored, where a page may read it. */
  readonly etag: string | null
}

/** What is used of the browser's request. */
interface BrowserRequest {
  readonly upload: { onprogress: ((event: { readonly loaded: number }) => void) | null }
  readonly status: number
  readonly responseText: string
  onload: (() => void) | null
  onerror: (() => void) | null
  open(method: string, url: string): void
  setRequestHeader(name: string, value: string): void
  getResponseHeader(name: string): string | null
  send(body: ArrayBuffer | null): void
  abort(): void
}
declare const XMLHttpRequest: (new () => BrowserRequest) | undefined

const lost: Reply = { status: 0, text: "", etag: null }

/** What sends requests here. */
export const sendOver: Effect.Effect<(request: SendRequest) => Effect.Effect<Reply>> = Effect.map(
  Transport.Fetch,
  (fetch) =>
    typeof XMLHttpRequest === "undefined"
      ? (request) => sendByFetch(fetch, request)
      : (request) => sendByXhr(new XMLHttpRequest(), request)
)

const sendByFetch = (
  fetch: (url: string, init: RequestInit) => Promise<Response>,
  { body, headers, method, onProgress, url }: SendRequest
): Effect.Effect<Reply> =>
  Effect.promise(async (signal) => {
    try {
      const response = await fetch(url, { method, signal, ...(headers && { headers }), ...(body && { body }) })
      const text = await response.text()
      if (body !== undefined) onProgress?.(body.byteLength)
      return { status: response.status, text, etag: response.headers.get("etag") }
    } catch {
      return lost
    }
  })

const sendByXhr = (
  request: BrowserRequest,
  { body, headers = {}, method, onProgress, url }: SendRequest
): Effect.Effect<Reply> =>
  Effect.callback((resume) => {
    request.open(method, url)
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value)
    request.upload.onprogress = ({ loaded }) => onProgress?.(loaded)
    request.onload = () => {
      const { responseText: text, status } = request
      resume(Effect.succeed({ status, text, etag: request.getResponseHeader("etag") }))
    }
    request.onerror = () => resume(Effect.succeed(lost))
    request.send(body ?? null)
    return Effect.sync(() => request.abort())
  })
