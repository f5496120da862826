import httpBatch from "./fixtures/http-batch.json" with { type: "json" }
import httpCalls from "./fixtures/http-calls.json" with { type: "json" }
import httpRefusals from "./fixtures/http-refusals.json" with { type: "json" }
import socketAuthenticate from "./fixtures/socket-authenticate.json" with { type: "json" }
import socketCalls from "./fixtures/socket-calls.json" with { type: "json" }
import socketDelivered from "./fixtures/socket-delivered.json" with { type: "json" }
import socketLive from "./fixtures/socket-live.json" with { type: "json" }
import socketResume from "./fixtures/socket-resume.json" with { type: "json" }
import socketStream from "./fixtures/socket-stream.json" with { type: "json" }

/**
 * Conversations with the app of `test/worker/notes.ts`, which `docs/protocol.md` shows. The placeholder `<kind:name>`
 * matches any value of its kind, and the same value wherever it has the same name; `<version:n>` also ascends with `n`.
 */

export type Message = { readonly _tag: string } & Record<string, any>

export interface HttpStep {
  readonly request: {
    readonly method?: string
    readonly path?: string
    readonly body?: unknown
    /** A body that is not JSON. */
    readonly text?: string
  }
  readonly response: {
    readonly status: number
    readonly headers?: Record<string, string>
    readonly body: unknown
    /** Whether the answers may arrive in any order. */
    readonly unordered?: boolean
  }
}

export type SocketStep =
  /** Messages that the client sends one by one. */
  | { readonly client: ReadonlyArray<Message> }
  /** Messages that the client sends as one array. */
  | { readonly batch: ReadonlyArray<Message> }
  /** Messages that the server then sends; `together` as one array. */
  | { readonly server: ReadonlyArray<Message>; readonly together?: boolean }
  /** The object is evicted. The socket stays open. */
  | { readonly sleep: true }
  /** The client closes its socket and opens another. */
  | { readonly reconnect: true }

interface Conversation<Step> {
  readonly name: string
  readonly about: string
  readonly steps: ReadonlyArray<Step>
}

// The types of JSON modules are those of their content, which always fits this type.
const conversation = <Step>(name: string, file: { readonly about: string; readonly steps: unknown }) =>
  ({ name, ...file }) as Conversation<Step>

export const overHttp = [
  conversation<HttpStep>("http-calls", httpCalls),
  conversation<HttpStep>("http-batch", httpBatch),
  conversation<HttpStep>("http-refusals", httpRefusals)
]

export const overSockets = [
  conversation<SocketStep>("socket-calls", socketCalls),
  conversation<SocketStep>("socket-live", socketLive),
  conversation<SocketStep>("socket-resume", socketResume),
  conversation<SocketStep>("socket-delivered", socketDelivered),
  conversation<SocketStep>("socket-stream", socketStream),
  conversation<SocketStep>("socket-authenticate", socketAuthenticate)
]

/** The values of a conversation's placeholders, by their text. */
export type Bindings = Map<string, unknown>

const placeholder = /^<(id|time|version|hash|sum|text):([^>]+)>$/
const kinds: Record<string, (value: unknown) => boolean> = {
  id: (value) => typeof value === "string" && /^[0-9a-f-]{36}$/.test(value),
  time: (value) => Number.isSafeInteger(value),
  version: (value) => Number.isSafeInteger(value) && (value as number) > 0,
  hash: (value) => typeof value === "string" && value !== "",
  sum: (value) => Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32,
  text: (value) => typeof value === "string" && value !== ""
}

/** The first path at which a value differs from the expected one, or `undefined`. Binds placeholders. */
export const mismatch = (expected: unknown, actual: unknown, bindings: Bindings, path = ""): string | undefined => {
  const [text, kind] = (typeof expected === "string" && placeholder.exec(expected)) || []
  if (text !== undefined) {
    if (bindings.has(text)) return bindings.get(text) === actual ? undefined : `${path}: ${text} was something else`
    if (!kinds[kind!]!(actual)) return `${path}: ${JSON.stringify(actual)} cannot be ${text}`
    bindings.set(text, actual)
    return kind === "version" ? disorder(bindings) : undefined
  }
  if (typeof expected !== "object" || expected === null || typeof actual !== "object" || actual === null) {
    return Object.is(expected, actual)
      ? undefined
      : `${path}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`
  }
  const keys = new Set([...Object.keys(expected), ...Object.keys(actual)])
  for (const key of keys) {
    const found = mismatch((expected as any)[key], (actual as any)[key], bindings, `${path}/${key}`)
    if (found !== undefined) return found
  }
  return undefined
}

const disorder = (bindings: Bindings): string | undefined => {
  const versions = [...bindings]
    .filter(([text]) => text.startsWith("<version:"))
    .map(([text, version]) => [Number(text.slice(9, -1)), version as number] as const)
    .sort(([a], [b]) => a - b)
  for (const [i, [n, version]] of versions.entries()) {
    if (i > 0 && version < versions[i - 1]![1]) return `version ${n} is below the one before`
  }
  return undefined
}

/** A message with the values of its placeholders. A placeholder without a value gets an example. */
export const fill = <A>(value: A, bindings: Bindings): A => {
  const text = JSON.stringify(value, (_, part) => {
    const [text, kind] = (typeof part === "string" && placeholder.exec(part)) || []
    if (text === undefined) return part
    return bindings.get(text) ?? examples[kind!]
  })
  return JSON.parse(text)
}

const examples: Record<string, unknown> = {
  id: "01a1f8b8-2a58-74df-a8d2-7fad01fa690d",
  time: 1795174181414,
  version: 1838258361762816,
  hash: "T1PNoYwrqgwDVLtfmj7L5Q",
  sum: 2740301233,
  text: "a text"
}
