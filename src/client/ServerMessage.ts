/**
 * What a socket receives, as parsed JSON.
 * These checks tell only which part of the client a message is for; each part decodes the rest with its own schemas.
 */
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import type * as Schema from "effect/Schema"

/** One message of the server. */
export type ServerMessage = Schema.JsonObject & { readonly _tag: string }

/** Parses the text of a socket message. `undefined` when it is not JSON. */
export const parse = (text: string): Schema.Json | undefined => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Whether a JSON value is an object that names its kind of message. */
export const isServerMessage = (json: Schema.Json | undefined): json is ServerMessage =>
  isObject(json) && typeof json["_tag"] === "string"

/** Whether a JSON value is an object, and not a list. */
export const isObject = (json: Schema.Json | undefined): json is Schema.JsonObject =>
  typeof json === "object" && json !== null && !Array.isArray(json)

/** Whether a JSON value is a list. */
export const isList = (json: Schema.Json | undefined): json is Schema.JsonArray => Array.isArray(json)

/** Whether a message answers the call with this id. `effect/rpc` decodes the exit or the values in it. */
export const isAnswerTo = (json: Schema.Json | undefined, id: string | number): json is Answer =>
  isObject(json) && json["requestId"] === id && (json["_tag"] === "Exit" || json["_tag"] === "Chunk")

type Answer = Schema.Json & FromServerEncoded
