/**
 * A contract as a document of OpenAPI 3.1: its queries as operations of their own, and `POST /rpc` for every call.
 * It is data; a route can serve it.
 */
import * as JsonSchema from "effect/JsonSchema"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import * as SchemaRepresentation from "effect/SchemaRepresentation"
import type * as Api from "../../contract/Api.ts"
import { isInternal } from "../../contract/Internal.ts"
import { kindOf } from "../../contract/Kind.ts"
import { CallError } from "../../protocol/CallError.ts"
import { jsonCodec } from "../../protocol/JsonCodec.ts"
import * as RpcCodec from "../../protocol/RpcCodec.ts"
import { errorsOf, statusByReason } from "./QueryFailure.ts"
import { type FieldKinds, fieldsOf, reservedParameters } from "./QueryPayload.ts"

/** What a document says of its deployment. */
export interface OpenApiOptions {
  readonly title: string
  /** The version of the app, not of OpenAPI. */
  readonly version: string
  readonly description?: string
  /** The base URLs of the deployment. That of the document itself unless given. */
  readonly servers?: ReadonlyArray<{ readonly url: string; readonly description?: string }>
  /** The contract that `HttpQueries.make` was given. No query has an operation of its own unless given. */
  readonly queries?: Api.Declared<any>
}

/** A document of OpenAPI 3.1. */
export interface OpenApiDocument {
  readonly openapi: "3.1.0"
  readonly info: { readonly title: string; readonly version: string; readonly description?: string }
  readonly servers?: OpenApiOptions["servers"]
  readonly security: ReadonlyArray<Readonly<Record<string, ReadonlyArray<string>>>>
  readonly tags: ReadonlyArray<{ readonly name: string; readonly description: string }>
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly components: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

/** The rpcs that clients may call. */
const publicRpcs = (api: Api.Declared<any>): ReadonlyArray<Rpc.AnyWithProps> => {
  const rpcs: Iterable<Rpc.Any> = api.declared.requests.values()
  return [...rpcs].filter((rpc) => !isInternal(rpc)).map(RpcCodec.withSchemas)
}

/** The JSON Schemas of several schemas, with what they share in `definitions`. */
class Schemas {
  private readonly asts: Array<SchemaAST.AST> = []
  private compiled: JsonSchema.MultiDocument<"openapi-3.1"> | undefined

  /** Adds a schema. The result is its JSON Schema, once all were added. */
  add(schema: Schema.Top): () => JsonSchema.JsonSchema {
    const index = this.asts.push(describable(schema)) - 1
    return () => this.document.schemas[index]!
  }

  get document(): JsonSchema.MultiDocument<"openapi-3.1"> {
    const [first = Schema.Unknown.ast, ...others] = this.asts
    this.compiled ??= JsonSchema.toMultiDocumentOpenApi3_1(
      SchemaRepresentation.toJsonSchemaMultiDocument(SchemaRepresentation.toRepresentations([first, ...others]))
    )
    return this.compiled
  }

  /** The properties of a schema of objects, which may be shared. */
  propertiesOf(schema: JsonSchema.JsonSchema): {
    readonly properties: JsonSchema.Definitions
    readonly required: ReadonlyArray<string>
  } {
    const name = /^#\/components\/schemas\/(.+)$/.exec(String(schema["$ref"]))?.[1]
    const { properties, required } = name === undefined ? schema : (this.document.definitions[name] ?? {})
    return { properties: isRecord(properties) ? properties : {}, required: Array.isArray(required) ? required : [] }
  }
}

const isRecord = (value: unknown): value is JsonSchema.Definitions =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The encoded form of a schema. One that has no JSON Schema is described as any value. */
const describable = (schema: Schema.Top): SchemaAST.AST => {
  const { ast } = jsonCodec(schema)
  try {
    SchemaRepresentation.toJsonSchemaDocument(SchemaRepresentation.toRepresentation(ast))
    return ast
  } catch {
    return Schema.Unknown.ast
  }
}

const json = (schema: unknown) => ({ content: { "application/json": { schema } } })

/** The document of a contract: what clients may call, and nothing that is internal. */
export const openApi = (api: Api.Declared<any>, options: OpenApiOptions): OpenApiDocument => {
  const schemas = new Schemas()
  const callError = schemas.add(CallError)
  const rpcs = publicRpcs(api).map((rpc) => ({ rpc, ...described(schemas, rpc) }))
  const read = new Set(options.queries === undefined ? [] : publicRpcs(options.queries).map(({ _tag }) => _tag))
  const paths: Record<string, Record<string, unknown>> = {
    "/rpc": { post: callOperation(rpcs.map(({ call }) => call())) }
  }
  for (const { errors, payload, rpc, success } of rpcs) {
    if (kindOf(rpc) !== "query" || !read.has(rpc._tag)) continue
    const path = encodeURIComponent(rpc._tag)
    const parameters = parametersOf(schemas, rpc, payload())
    const responses = failuresOf(errors(), callError())
    paths[`/rpc/${path}`] = { get: queryOperation(rpc, parameters, success(), responses) }
    paths[`/rpc/live/${path}`] = { get: liveOperation(rpc, parameters, responses) }
  }
  const { description, servers, title, version } = options
  return {
    openapi: "3.1.0",
    info: { title, version, ...(description !== undefined && { description }) },
    ...(servers !== undefined && { servers }),
    security: [{}, { bearer: [] }],
    tags: [
      { name: "calls", description: "Every query, mutation and action" },
      ...(read.size > 0
        ? [{ name: "queries", description: "Queries as values that caches may keep, and as events" }]
        : [])
    ],
    paths,
    components: {
      schemas: schemas.document.definitions,
      securitySchemes: { bearer: { type: "http", scheme: "bearer" } },
      parameters: { tenant }
    }
  }
}

/** Which tenant a request is for. */
const tenant = {
  name: "x-dormouse-tenant",
  in: "header",
  description: "The tenant; `main` unless given",
  schema: { type: "string" }
}
const tenantParameter = { $ref: "#/components/parameters/tenant" }

/** The schemas of an rpc. */
const described = (schemas: Schemas, rpc: Rpc.AnyWithProps) => {
  const { payloadSchema, successSchema } = rpc
  const isStream = RpcSchema.isStreamSchema(successSchema)
  const payload = schemas.add(payloadSchema)
  const success = schemas.add(isStream ? successSchema.success : successSchema)
  const declared = errorsOf(isStream ? { ...rpc, errorSchema: successSchema.error } : rpc)
  const known = declared.map(({ schema, status }) => ({ schema: schemas.add(schema), status }))
  const errors = () => known.map(({ schema, status }) => ({ schema: schema(), status }))
  return {
    payload,
    success,
    errors,
    call: () => ({
      tag: rpc._tag,
      kind: kindOf(rpc),
      isStream,
      payload: payload(),
      success: success(),
      errors: errors().map(({ schema }) => schema)
    })
  }
}

/** The parameters of a query. A payload that is no struct, and one with a field of a reserved name, is one parameter. */
const parametersOf = (
  schemas: Schemas,
  rpc: Rpc.AnyWithProps,
  payload: JsonSchema.JsonSchema
): ReadonlyArray<unknown> => {
  const fields = fieldsOf(rpc)
  const names = [...(fields?.keys() ?? [])]
  if (fields === undefined || names.some((name) => reservedParameters.has(name))) {
    const isOptional = fields === undefined && payload["type"] === "null"
    return isOptional ? [tenantParameter] : [parameterOf("payload", payload, true, undefined), tenantParameter]
  }
  const { properties, required } = schemas.propertiesOf(payload)
  return [
    ...names.map((name) => parameterOf(name, properties[name] ?? {}, required.includes(name), fields.get(name))),
    tenantParameter
  ]
}

const parameterOf = (name: string, schema: unknown, required: boolean, kinds: FieldKinds | undefined) => ({
  name,
  in: "query",
  required,
  // What is a text, a number or a boolean is given as it is, everything else as JSON.
  ...(kinds === undefined || (kinds.nested && !kinds.text) ? json(schema) : { schema })
})

interface KnownError {
  readonly schema: unknown
  readonly status: number
}

/** The responses of a query that fails, by status. */
const failuresOf = (errors: ReadonlyArray<KnownError>, callError: unknown): Record<string, unknown> => {
  const byStatus = new Map<number, Array<unknown>>()
  for (const status of Object.values(statusByReason)) if (status !== 409) byStatus.set(status, [callError])
  for (const { schema, status } of errors) byStatus.set(status, [...(byStatus.get(status) ?? []), schema])
  const failure = (schemas: ReadonlyArray<unknown>) =>
    json({
      type: "object",
      required: ["error"],
      // What the Worker refuses itself is said in words.
      properties: { error: { anyOf: [...schemas, { type: "string" }] } }
    })
  const entries = [...byStatus].sort(([a], [b]) => a - b)
  return {
    ...Object.fromEntries(
      entries.map(([status, schemas]) => [String(status), { description: "The query failed", ...failure(schemas) }])
    ),
    "500": { description: "A failure that is in the server's log under an id", ...failure([internalError]) }
  }
}

const internalError = {
  type: "object",
  required: ["_tag", "id", "message"],
  properties: { _tag: { const: "InternalError" }, id: { type: "string" }, message: { type: "string" } }
}

const queryOperation = (
  rpc: Rpc.AnyWithProps,
  parameters: ReadonlyArray<unknown>,
  success: unknown,
  failures: Record<string, unknown>
) => ({
  operationId: rpc._tag,
  tags: ["queries"],
  summary: `The value of ${rpc._tag}`,
  parameters: [
    ...parameters,
    { name: "if-none-match", in: "header", description: "An ETag of before", schema: { type: "string" } }
  ],
  responses: {
    "200": {
      description: "The value",
      headers: {
        etag: { description: "Stands for the value", required: true, schema: { type: "string" } },
        "cache-control": { schema: { type: "string" } }
      },
      ...json(success)
    },
    "304": { description: "The value is that of `if-none-match`" },
    ...failures
  }
})

const liveOperation = (
  rpc: Rpc.AnyWithProps,
  parameters: ReadonlyArray<unknown>,
  failures: Record<string, unknown>
) => ({
  operationId: `live:${rpc._tag}`,
  tags: ["queries"],
  summary: `The value of ${rpc._tag} now and after each change, as Server-Sent Events`,
  parameters: [
    ...parameters,
    { name: "patches", in: "query", description: "Frames with patches instead of values", schema: { type: "string" } },
    { name: "last-event-id", in: "header", description: "The id of the last event", schema: { type: "string" } }
  ],
  responses: {
    "200": {
      description: "Events, whose data is the value",
      content: { "text/event-stream": { schema: { type: "string" } } }
    },
    ...failures
  }
})

/** The operation by which everything is called: which message calls what is one schema for each rpc. */
const callOperation = (calls: ReadonlyArray<ReturnType<ReturnType<typeof described>["call"]>>) => {
  const request = {
    oneOf: calls.map(({ payload, tag }) => ({
      type: "object",
      title: tag,
      required: ["_tag", "id", "tag", "payload", "headers"],
      properties: {
        _tag: { const: "Request" },
        id: { type: ["string", "number"] },
        tag: { const: tag },
        payload,
        headers: {
          type: "array",
          items: { type: "array", items: { type: "string" }, minItems: 2, maxItems: 2 }
        }
      }
    }))
  }
  return {
    operationId: "call",
    tags: ["calls"],
    summary: "Calls one rpc, or several",
    description: "`x-dormouse-rpcs` has the schemas of each rpc by its tag: what an exit is made of.",
    parameters: [tenantParameter],
    requestBody: { required: true, ...json({ anyOf: [request, { type: "array", items: request }] }) },
    responses: {
      "200": {
        description: "The messages that answer the calls",
        ...json({
          type: "array",
          items: {
            type: "object",
            required: ["_tag", "requestId"],
            properties: {
              _tag: { enum: ["Exit", "Chunk"] },
              requestId: { type: ["string", "number"] },
              exit: {
                type: "object",
                required: ["_tag"],
                properties: { _tag: { enum: ["Success", "Failure"] }, value: {}, cause: { type: "array" } }
              },
              values: { type: "array" }
            }
          }
        })
      },
      default: { description: "The calls, or the body as a whole, are refused", ...json({}) }
    },
    "x-dormouse-rpcs": Object.fromEntries(calls.map(({ tag, ...schemas }) => [tag, schemas]))
  }
}
