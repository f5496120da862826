/**
 * A typed client of `AdminApi`, for programs and for the commands: one request over HTTP for each call.
 * Every failure of the way to the server is an `AdminUnreachable`, which says what an operator can do.
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import type { RpcClientError } from "effect/rpc/RpcClientError"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import { AdminApi, adminPath } from "./AdminApi.ts"

/** Where the Worker is, and the key. */
export interface AdminClientOptions {
  /** The base URL of the Worker: `https://chat.example.org`. */
  readonly url: string
  readonly key: Redacted.Redacted
}

/** The server did not answer, or did not accept the key. `status` is that of its response, if there was one. */
export class AdminUnreachable extends Schema.TaggedError<AdminUnreachable>("effect-dormouse/admin/AdminUnreachable")(
  "AdminUnreachable",
  { status: Schema.optionalKey(Schema.Int), detail: Schema.String }
) {
  override get message() {
    return this.detail
  }
}

/** The rpcs of `AdminApi`. */
export type AdminRpcs = RpcGroup.Rpcs<typeof AdminApi>

/** Calls an rpc of `AdminApi` by its tag. */
export type AdminClient = <const Tag extends AdminRpcs["_tag"]>(
  tag: Tag,
  payload: Rpc.PayloadConstructor<Rpc.ExtractTag<AdminRpcs, Tag>>
) => Effect.Effect<
  Rpc.Success<Rpc.ExtractTag<AdminRpcs, Tag>>,
  Rpc.Error<Rpc.ExtractTag<AdminRpcs, Tag>> | AdminUnreachable
>

/** Makes a client. It opens nothing yet. */
export const make = Effect.fnUntraced(function* ({
  key,
  url
}: AdminClientOptions): Effect.fn.Return<AdminClient, never, HttpClient.HttpClient | Scope> {
  const http = (yield* HttpClient.HttpClient).pipe(
    HttpClient.mapRequest(HttpClientRequest.bearerToken(Redacted.value(key))),
    // Any other status has no answers in its body.
    HttpClient.filterStatusOk
  )
  const base = url.replace(/\/+$/, "")
  const protocol = RpcClient.layerProtocolHttp({ url: `${base}${adminPath}` }).pipe(
    Layer.provide([RpcSerialization.layerJson, Layer.succeed(HttpClient.HttpClient, http)])
  )
  const context = yield* Layer.build(protocol)
  const client = yield* Effect.provideContext(
    RpcClient.make(AdminApi, { flatten: true, disableTracing: true }),
    context
  )
  const call = (tag: AdminRpcs["_tag"], payload: never) => {
    const answer: Effect.Effect<unknown, unknown> = client(tag, payload)
    return Effect.mapError(answer, (error) => (isClientError(error) ? unreachable(error, base) : error))
  }
  // The flat client is typed by the same group; only its error of the way to the server was replaced.
  return call as unknown as AdminClient
})

const isClientError = (error: unknown): error is RpcClientError =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "RpcClientError"

const unreachable = ({ message, reason }: RpcClientError, url: string): AdminUnreachable => {
  const status = statusOf(reason)
  if (status === undefined) return new AdminUnreachable({ detail: `no answer from ${url}: ${message}` })
  return new AdminUnreachable({ status, detail: `${url}: ${explanations[status] ?? `the status is ${status}`}` })
}

const explanations: Readonly<Record<number, string>> = {
  401: "the key is not the admin key of this app",
  404: "this app has no admin rpcs, or its key is not set: see Admin.make",
  405: 'the page of the app answers, and not its Worker: add "/admin/*" to run_worker_first in wrangler.jsonc',
  413: "the request is too large",
  429: "too many requests were refused: try again later"
}

const decodeStatus = Schema.decodeUnknownOption(
  Schema.Struct({ cause: Schema.Struct({ response: Schema.Struct({ status: Schema.Int }) }) })
)

/** The status in the reason of an error of Effect's HTTP client, if the server has responded. */
const statusOf = (reason: unknown): number | undefined =>
  Option.getOrUndefined(Option.map(decodeStatus(reason), ({ cause }) => cause.response.status))
