/**
 * Reads the text of a signed token (RFC 7515, compact) without verifying it: its header, and whose token it says it is.
 * What two readers could understand differently is malformed: duplicate names, invalid UTF-8, critical extensions.
 */
import * as Base64Url from "effect/encoding/Base64Url"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** Characters of a token. Browsers and proxies limit all headers of a request to 8 or 16 KB. */
export const maxLength = 8192

/** Objects and lists in each other. Claims are decoded recursively. */
const maxDepth = 32

const Header = Schema.Struct({
  alg: Schema.String,
  kid: Schema.optionalKey(Schema.String),
  typ: Schema.optionalKey(Schema.String),
  // An extension that must be understood, and there is none that we understand.
  crit: Schema.optionalKey(Schema.Never),
  // An encrypted token.
  enc: Schema.optionalKey(Schema.Never),
  // The payload is another token, or compressed.
  cty: Schema.optionalKey(Schema.Never),
  zip: Schema.optionalKey(Schema.Never)
})

/** What the header of a token says. Keys in it and addresses of keys are not read. */
export type Header = typeof Header.Type

const Issuer = Schema.Struct({ iss: Schema.optionalKey(Schema.String) })

const decodeHeader = Schema.decodeUnknownOption(Header)
const decodeIssuer = Schema.decodeUnknownOption(Issuer)
const parseJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

/** What a token says of itself. Nothing of it is verified. */
export interface TokenText {
  readonly header: Header
  readonly issuer: string | undefined
}

const compact = /^([\w-]+)\.([\w-]+)\.([\w-]*)$/

/** The types of header that a bearer token of a user has, in lower case and without `application/`. */
const bearerTypes: ReadonlySet<string> = new Set(["jwt", "at+jwt"])

/** Reads a token. `undefined` if it is malformed. */
export const read = (token: string): TokenText | undefined => {
  const parts = token.length > maxLength ? null : compact.exec(token)
  if (parts === null || !isCanonical(parts[3]!)) return undefined
  const header = Option.flatMap(readObject(parts[1]!), decodeHeader)
  const payload = Option.flatMap(readObject(parts[2]!), decodeIssuer)
  if (Option.isNone(header) || Option.isNone(payload)) return undefined
  const { typ } = header.value
  // An issuer signs other things with the same keys, such as logout tokens.
  if (typ !== undefined && !bearerTypes.has(typ.toLowerCase().replace(/^application\//, ""))) return undefined
  return { header: header.value, issuer: payload.value.iss }
}

/** Whether a base64 text has no length that none can have, and no bits that do not count: then it is the only one. */
const isCanonical = (encoded: string): boolean => {
  const rest = encoded.length % 4
  return rest === 0 || (rest === 2 && /[AQgw]$/.test(encoded)) || (rest === 3 && /[AEIMQUYcgkosw048]$/.test(encoded))
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const readObject = (encoded: string): Option.Option<unknown> => {
  const bytes = Result.getSuccess(Base64Url.decode(encoded))
  if (Option.isNone(bytes) || !isCanonical(encoded)) return Option.none()
  try {
    const text = utf8.decode(bytes.value)
    return Option.filter(parseJson(text), () => /^\s*\{/.test(text) && isUnambiguous(text))
  } catch {
    return Option.none()
  }
}

/** Whether no object in a valid JSON text has a name twice, and nothing is nested too deeply. */
export const isUnambiguous = (json: string): boolean => {
  /** The names of each object around the current position; `undefined` for a list. */
  const open: Array<Set<string> | undefined> = []
  let isName = false
  for (let at = 0; at < json.length; at++) {
    const char = json[at]!
    if (char === "{" || char === "[") {
      open.push(char === "{" ? new Set() : undefined)
      if (open.length > maxDepth) return false
      isName = char === "{"
    } else if (char === "}" || char === "]") {
      open.pop()
    } else if (char === ",") {
      isName = open.at(-1) !== undefined
    } else if (char === '"') {
      const start = at
      while (json[++at] !== '"') if (json[at] === "\\") at++
      const names = open.at(-1)
      if (!isName || names === undefined) continue
      // Escapes can write one name in several ways.
      const name: string = JSON.parse(json.slice(start, at + 1))
      if (names.has(name)) return false
      names.add(name)
      isName = false
    }
  }
  return true
}
