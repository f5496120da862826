/**
 * Reads queries on a server for the first render of a page, each with the version and the hash of its value.
 * The browser shows the value at once, and its first request says which value it has.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Declared, PublicTagOf } from "../contract/Api.ts"
import { CallError, Unavailable } from "../protocol/CallError.ts"
import { Frame, livePrefix } from "../protocol/Frame.ts"
import { unavailable } from "./Client.ts"
import type { ConnectionRefused } from "./ClientError.ts"
import type { Preloaded } from "./Preloaded.ts"
import * as Transport from "./Transport.ts"
import { codecOf } from "./UntypedClient.ts"

/** How a server reads queries: which backend, and as which caller. */
export interface PreloadOptions extends Transport.TransportOptions {
  /** What sends the request: a service binding, or the Worker itself. The runtime's own `fetch` unless given. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>
}

type Of<Rpcs extends Rpc.Any, Tag extends string> = Rpc.ExtractTag<Rpcs, Tag>

/**
 * Reads a query once, by one request over HTTP, which is not sent again. It fails as a query of a client does. The value
 * is that of the caller whose token is given: do not cache it for others.
 */
export const preload = <Rpcs extends Rpc.Any, Tag extends PublicTagOf<Rpcs, "query">>(
  api: Declared<Rpcs>,
  options: PreloadOptions,
  tag: Tag,
  payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
): Effect.Effect<Preloaded<Tag>, Rpc.Error<Of<Rpcs, Tag>> | CallError | ConnectionRefused> =>
  Effect.gen(function* () {
    const codec = codecOf(api.declared, tag)
    const { errorSchema, payloadSchema } = codec.rpc
    // The live query of the contract, with its value as JSON: that is what the browser is given.
    const name: string = `${livePrefix}${tag}`
    const live = Rpc.make(name, {
      payload: payloadSchema,
      success: Frame(Schema.Json),
      error: errorSchema,
      stream: true
    })
    const group: RpcGroup.RpcGroup<any> = RpcGroup.make(live)
    const { protocol } = yield* Transport.make(options)
    const client: (tag: string, payload: unknown) => any = yield* RpcClient.make(group, { flatten: true }).pipe(
      Effect.provideService(RpcClient.Protocol, protocol)
    )
    const made = codec.makePayload(payload)
    const frames: Stream.Stream<Frame<typeof Schema.Json>["Type"], any> = client(name, made)
    const frame = yield* unavailable(Stream.runHead(frames))
    if (Option.isNone(frame) || frame.value._tag !== "Snapshot") {
      return yield* new CallError({ reason: new Unavailable({ detail: "the server did not send a value" }) })
    }
    const { hash, value, version } = frame.value
    return { tag, payload: codec.normalizePayload(made), value, version, hash }
  }).pipe(
    options.fetch === undefined ? (self) => self : Effect.provideService(Transport.Fetch, options.fetch),
    Effect.scoped
  )

/** Reads the queries of a contract on a server. Typed errors reject the promise. */
export type Preloader<in out Rpcs extends Rpc.Any> = <Tag extends PublicTagOf<Rpcs, "query">>(
  tag: Tag,
  payload: Rpc.PayloadConstructor<Of<Rpcs, Tag>>
) => Promise<Preloaded<Tag>>

/** Makes the function that reads queries as one caller: call it once for each request that a server renders. */
export const createPreload =
  <Rpcs extends Rpc.Any>(api: Declared<Rpcs>, options: PreloadOptions): Preloader<Rpcs> =>
  (tag, payload) =>
    Effect.runPromise(preload(api, options, tag, payload))

/** The characters that end a script in HTML, and those that no literal of older JavaScript can have. */
const unsafe = /[<\u2028\u2029]/g

/**
 * JSON text that can stand in a `<script type="application/json">`: nothing in it ends the script. Read it with
 * `JSON.parse`. For frameworks that do not send the data of a page themselves.
 */
export const toHtmlJson = (value: unknown): string =>
  JSON.stringify(value).replace(unsafe, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`)
