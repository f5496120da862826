/**
 * Reads the preview of a page: at most so many bytes, redirects and seconds of it.
 * Nothing is returned for what has no preview; a failure may pass, and is worth another attempt.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Preview } from "../schema.ts"
import { isAllowed } from "./addresses.ts"
import { HeadReader } from "./head.ts"

/** The server of a page did not answer as it should. */
class PageUnavailable extends Schema.TaggedError<PageUnavailable>()("PageUnavailable", { status: Schema.Int }) {}

/** Bytes of a page that are read: its title stands near its beginning. */
const maxBytes = 256 * 1024
const maxRedirects = 3

/** The variable PREVIEW_HOSTS: hosts such as `127.0.0.1:3000` that are asked although they are not public. */
const allowedHosts = Config.String("PREVIEW_HOSTS").pipe(
  Config.withDefault(""),
  Config.map((hosts) => hosts.split(","))
)

/** The preview of a page, if it has one. */
export const previewOf = Effect.fnUntraced(function* (link: string) {
  const hosts = yield* Effect.orDie(allowedHosts)
  let url = link
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    if (!URL.canParse(url) || !isAllowed(new URL(url), hosts)) return undefined
    const response = yield* ask(url)
    const { headers, status } = response
    const { location } = headers
    if (status >= 300 && status < 400 && location !== undefined) {
      // Each address is checked, so that no redirect leads to a private one.
      if (!URL.canParse(location, url)) return undefined
      url = new URL(location, url).href
    } else if (status >= 500 || status === 429) return yield* new PageUnavailable({ status })
    else if (status !== 200 || !isHtml(response)) return undefined
    else return yield* read(response, link)
  }
  return undefined
}, Effect.timeout("8 seconds"))

const ask = (url: string) =>
  HttpClientRequest.get(url).pipe(
    HttpClientRequest.setHeaders({ accept: "text/html", "user-agent": "DormouseChat/1.0 (link preview)" }),
    HttpClient.execute,
    Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" })
  )

const isHtml = ({ headers }: HttpClientResponse.HttpClientResponse) =>
  /^(text\/html|application\/xhtml\+xml)\b/i.test(headers["content-type"] ?? "")

const read = Effect.fnUntraced(function* (response: HttpClientResponse.HttpClientResponse, url: string) {
  const reader = new HeadReader(response.headers["content-type"] ?? "")
  let bytes = 0
  yield* Stream.runForEachWhile(response.stream, (chunk) =>
    Effect.sync(() => {
      reader.write(chunk.subarray(0, maxBytes - bytes))
      bytes += chunk.length
      return !reader.isDone && bytes < maxBytes
    })
  )
  const { description, title } = reader
  return title === "" ? undefined : ({ url, title, ...(description !== "" && { description }) } satisfies Preview)
})
