/**
 * A live query as Server-Sent Events: whole values, or on request the frames with patches, for clients without WebSockets.
 * The id of an event stands for the value that the client has then: a client that connects again is not sent it twice.
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { EventHost } from "../contract/Pubsub.ts"
import { Frame, knownHashHeader, livePrefix } from "../protocol/Frame.ts"
import * as Patch from "../protocol/Patch.ts"
import { type EventTimes, reader, refusal, requestId } from "./events/EventReader.ts"

/** How live queries are sent as events. */
export interface LiveEventsOptions extends EventTimes {}

/** A request for a live query. */
export interface LiveRequest {
  readonly request: Request
  readonly url: URL
  readonly tag: string
  readonly payload: unknown
  readonly host: EventHost
  /** The response for the exit of a query that failed before it had a value. */
  readonly refuse: (exit: string) => Response
}

/** Live queries as events. */
export interface LiveEvents {
  readonly respond: (request: LiveRequest) => Promise<Response>
}

/** The parameter that asks for frames instead of values. */
const patchesParameter = "patches"

/** Answers requests for live queries. */
export const make = (options: LiveEventsOptions = {}): LiveEvents => {
  const read = reader(options)
  return {
    respond: async ({ host, payload, refuse, request, tag, url }) => {
      if (!acceptsEvents(request)) return refusal(406, "a live query is text/event-stream")
      const last = lastHash(request.headers.get("last-event-id"))
      const format = url.searchParams.has(patchesParameter) ? new Frames() : new Values(last)
      const socket = await host.connect()
      if (socket instanceof Response) return socket
      const headers = format instanceof Frames && last !== undefined ? [[knownHashHeader, last]] : []
      return read(socket, host, request.signal, {
        begin: [{ _tag: "Request", id: requestId, tag: livePrefix + tag, payload, headers }],
        textOf: (values) => {
          const texts = values.map((value) => format.take(value))
          return texts.includes(undefined) ? undefined : texts.join("")
        },
        refuse: (exit) => refuse(JSON.stringify(exit))
      })
    }
  }
}

const acceptsEvents = (request: Request): boolean => {
  const accept = request.headers.get("accept")
  return accept === null || /text\/event-stream|text\/\*|\*\/\*/i.test(accept)
}

/** The id of an event: the version up to which the value holds, and the hash of the value. */
const idOf = (version: number, hash: string): string => `${version}.${hash}`

/** The hash in the id of the last event that a client has. Anything else counts as none: the client is sent the value. */
const lastHash = (id: string | null): string | undefined => /^\d{1,16}\.([\w-]{1,64})$/.exec(id ?? "")?.[1]

const decodeFrame = Schema.decodeUnknownOption(Frame(Schema.Json))
const decodeJoined = Schema.decodeUnknownOption(Schema.fromJsonString(Frame(Schema.Json)))

/** A frame that came in one piece, or whose last part has come. */
type WholeFrame = Exclude<Frame<typeof Schema.Json>["Type"], { readonly _tag: "Part" }>

/** Joins the parts of frames. */
class Parts {
  private text = ""

  /** The frame; `undefined` while parts are missing, `null` for what is no frame. */
  take(value: Schema.Json): WholeFrame | undefined | null {
    const frame = Option.getOrNull(decodeFrame(value))
    if (frame?._tag !== "Part") return frame
    this.text += frame.text
    if (!frame.last) return undefined
    const joined = Option.getOrNull(decodeJoined(this.text))
    this.text = ""
    return joined?._tag === "Part" ? null : joined
  }
}

/** The frames as they are. Their client applies the patches. */
class Frames {
  private readonly parts = new Parts()
  private hash: string | undefined

  /** The text of the event; empty for none, `undefined` when the stream cannot go on. */
  take(value: Schema.Json): string | undefined {
    const frame = this.parts.take(value)
    if (frame === null) return undefined
    if (frame === undefined) return ""
    if (frame._tag !== "Current") this.hash = frame.hash
    const id = this.hash === undefined ? "" : `id: ${idOf(frame.version, this.hash)}\n`
    return `${id}data: ${JSON.stringify(frame)}\n\n`
  }
}

/** Whole values. The patches are applied here. */
class Values {
  private readonly parts = new Parts()
  private value: Schema.Json = null
  /** What the client has, until the first frame. */
  private last: string | undefined

  constructor(last: string | undefined) {
    this.last = last
  }

  /** The text of the event; empty for none, `undefined` when the stream cannot go on. */
  take(value: Schema.Json): string | undefined {
    const frame = this.parts.take(value)
    if (frame === undefined) return ""
    // It asked for no `Current`: it needs the value to apply patches to.
    if (frame === null || frame._tag === "Current") return undefined
    if (frame._tag === "Snapshot") this.value = frame.value
    else {
      const patched = Patch.apply(this.value, frame.ops)
      if (Result.isFailure(patched)) return undefined
      this.value = patched.success
    }
    const isKnown = this.last === frame.hash
    this.last = undefined
    return isKnown ? "" : `id: ${idOf(frame.version, frame.hash)}\ndata: ${JSON.stringify(this.value)}\n\n`
  }
}
