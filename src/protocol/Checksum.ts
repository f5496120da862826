/**
 * 32-bit checksums of JSON values, by which a client compares what it has with what the server has. The order of an
 * object's properties makes no difference. A checksum finds accidents; it protects against no one. docs/protocol.md
 * defines it for other languages. Here checksums have a sign until they are sent: engines keep such numbers unboxed.
 */
import type * as Schema from "effect/Schema"

/** Adds a number to a checksum. For either argument fixed, different values of the other give different results. */
export const add = (sum: number, next: number): number => {
  const product = Math.imul(Math.imul(sum, 31) ^ next, 16777619)
  return product ^ (product >>> 15)
}

/** Adds a text to a checksum. */
export const addText = (sum: number, text: string): number => {
  for (let i = 0; i < text.length; i++) sum = add(sum, text.charCodeAt(i))
  return sum
}

/** The checksum before a number was added: 3186588639 and 899433627 are the inverses of the factors of `add`, modulo 2^32. */
export const remove = (sum: number, next: number): number => {
  const product = sum ^ (sum >>> 15) ^ (sum >>> 30)
  return Math.imul(Math.imul(product, 899433627) ^ next, 3186588639)
}

/** The checksum before a text was added. */
export const removeText = (sum: number, text: string): number => {
  for (let i = text.length - 1; i >= 0; i--) sum = remove(sum, text.charCodeAt(i))
  return sum
}

/** Adds a property to the checksum of an object, in any order. */
export const addProperty = (sum: number, name: string, value: number): number =>
  (sum + addText(value, JSON.stringify(name))) | 0

/** The checksum of a text: of `[` for an array to which no item was added, and of `{` for an object. */
export const ofText = (text: string): number => addText(2166136261 | 0, text)

/** The checksum of a JSON value. Those of objects are kept in `known`, and taken from there. */
export const ofJson = (json: Schema.Json, known?: WeakMap<object, number>): number => {
  if (Array.isArray(json)) return json.reduce((sum, item) => add(sum, ofJson(item, known)), ofText("["))
  if (typeof json !== "object" || json === null) return ofText(JSON.stringify(json))
  let sum = known?.get(json)
  if (sum === undefined) {
    sum = ofText("{")
    for (const [name, value] of Object.entries(json)) sum = addProperty(sum, name, ofJson(value, known))
    known?.set(json, sum)
  }
  return sum
}

/** The checksum of a frame without the id of its request, from that of the value that the client then has. */
export const ofFrame = (value: number, version: number, hash: string): number => addText(value, `${version} ${hash} `)

/** The checksum of a frame as it is sent, between 0 and 2^32 - 1. `idText` is the JSON of the request's id. */
export const addRequest = (frame: number, idText: string): number => addText(frame, idText) >>> 0
