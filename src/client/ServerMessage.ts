/**
 * What a server sends over a socket or in an HTTP response, as parsed JSON.
 * The checks here only find the receiver of a message; the receiver decodes the rest of it with its own schemas.
 */
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import type * as Schema from "effect/Schema"

/** One message: a JSON object with a `_tag`. */
export type ServerMessage = Schema.JsonObject & { readonly _tag: string }

/** The answer to one call. */
export type Answer = Schema.JsonObject & FromServerEncoded

/** What a function returns; `undefined` when it throws. */
export const attempt = <A>(body: () => A): A | undefined => {
  try {
    return body()
  } catch {
    return undefined
  }
}

/** Parses JSON. `undefined` when the text is not JSON. */
export const parse = (text: string): Schema.Json | undefined => attempt((): Schema.Json => JSON.parse(text))

/** Whether a JSON value is an array. */
export const isList = (json: Schema.Json | undefined): json is Schema.JsonArray => Array.isArray(json)

/** Whether a JSON value is an object, which an array is not. */
export const isObject = (json: Schema.Json | undefined): json is Schema.JsonObject =>
  typeof json === "object" && json !== null && !isList(json)

/** Whether a JSON value is an object with a `_tag`. */
export const isServerMessage = (json: Schema.Json | undefined): json is ServerMessage =>
  isObject(json) && typeof json["_tag"] === "string"

/** The id of the request that a message is for. Empty, which is no id of this client, when the message has none. */
export const requestIdOf = ({ requestId }: ServerMessage): string => (typeof requestId === "string" ? requestId : "")

/** Whether a message answers the call with this id. `effect/rpc` decodes the exit or the values in it. */
export const isAnswerTo = (json: Schema.Json | undefined, id: string | number): json is Answer =>
  isObject(json) && json["requestId"] === id && (json["_tag"] === "Exit" || json["_tag"] === "Chunk")
