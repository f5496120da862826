/**
 * The payload of a query in the query string of a request: as JSON in `payload`, or each field as a parameter of its own.
 * A parameter is text: the schema of its field says whether it stands for a text, a number, a boolean or JSON.
 */
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { jsonCodec } from "../../protocol/JsonCodec.ts"
import * as Limits from "../../protocol/Limits.ts"
import { isDeeper } from "../../protocol/Messages.ts"
import * as RpcCodec from "../../protocol/RpcCodec.ts"
import { errorResponse } from "../rpc/HttpBody.ts"

/** Parameters that are no field of a payload. A field of such a name is sent in `payload`. */
export const reservedParameters: ReadonlySet<string> = new Set(["payload", "tenant", "key", "patches"])

const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

/** The encoded payload that a query string has, or the response that refuses it. */
export const payloadIn = (
  rpc: Rpc.Any,
  params: URLSearchParams,
  limits: Limits.Limits
): { readonly value: unknown } | Response => {
  for (const name of params.keys()) {
    if (params.getAll(name).length > 1) return errorResponse(400, `the parameter ${name} is given twice`)
  }
  const text = params.get("payload")
  const own = [...params].filter(([name]) => !reservedParameters.has(name))
  const bytes = Limits.bytesBeyond(params.toString(), limits.requestBytes)
  if (bytes !== undefined) return limitResponse("requestBytes", limits.requestBytes, bytes)
  for (const value of params.values()) {
    if (isDeeper(value, limits.requestDepth)) return limitResponse("requestDepth", limits.requestDepth)
  }
  if (text !== null) {
    if (own.length > 0) return errorResponse(400, `\`payload\` and ${own[0]![0]} exclude each other`)
    const decoded = decodeJson(text)
    return Option.isNone(decoded) ? errorResponse(400, "`payload` is not JSON") : { value: decoded.value }
  }
  const fields = fieldsOf(rpc)
  const unknown = own.find(([name]) => fields?.has(name) !== true)
  if (unknown !== undefined) return errorResponse(400, `${rpc._tag} has no field ${unknown[0]}`)
  if (fields === undefined) return { value: null }
  return { value: Object.fromEntries(own.map(([name, value]) => [name, valueOf(value, fields.get(name)!)])) }
}

const limitResponse = (limit: Limits.LimitName, max: number, actual?: number) =>
  errorResponse(413, Limits.describe(limit, max, actual))

/** What the JSON of a field may be. */
export interface FieldKinds {
  /** Any text, and not only some. */
  readonly text: boolean
  readonly number: boolean
  readonly boolean: boolean
  readonly null: boolean
  /** A list or an object. */
  readonly nested: boolean
}

/** The fields of the payload of an rpc by name; `undefined` if the payload is no struct. */
export const fieldsOf = (rpc: Rpc.Any): ReadonlyMap<string, FieldKinds> | undefined => {
  const ast = SchemaAST.toEncoded(jsonCodec(RpcCodec.withSchemas(rpc).payloadSchema).ast)
  if (ast._tag !== "Objects" || ast.indexSignatures.length > 0) return undefined
  return new Map(ast.propertySignatures.map(({ name, type }) => [String(name), kindsOf(type)]))
}

const kindsOf = (ast: SchemaAST.AST): FieldKinds => {
  const members = membersOf(ast)
  const has = (...tags: ReadonlyArray<SchemaAST.AST["_tag"]>) => members.some(({ _tag }) => tags.includes(_tag))
  const literals = members.flatMap((member) => (member._tag === "Literal" ? [typeof member.literal] : []))
  return {
    text: has("String", "TemplateLiteral"),
    number: has("Number") || literals.includes("number"),
    boolean: has("Boolean") || literals.includes("boolean"),
    null: has("Null"),
    nested: has("Arrays", "Objects", "Suspend", "Unknown", "Any", "ObjectKeyword")
  }
}

const membersOf = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> =>
  ast._tag === "Union" ? ast.types.flatMap(membersOf) : [ast]

/** A number as JSON writes it. */
const numberPattern = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/

/** What a parameter stands for. The schema of the payload decides whether it fits. */
const valueOf = (text: string, kinds: FieldKinds): unknown => {
  if (kinds.text) return text
  if (kinds.number && numberPattern.test(text)) return Number(text)
  if (kinds.boolean && (text === "true" || text === "false")) return text === "true"
  if (kinds.null && text === "null") return null
  return kinds.nested ? Option.getOrElse(decodeJson(text), () => text) : text
}
