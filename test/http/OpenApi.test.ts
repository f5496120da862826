import { Validator } from "@seriousme/openapi-schema-validator"
import * as Schema from "effect/Schema"
import { Api, Query } from "effect-dormouse"
import { openApi } from "effect-dormouse/openapi"
import { afterAll, describe, expect, it } from "vitest"
import { ChatApi } from "../../examples/minimal/api.ts"
import { call } from "../deployment/Deployment.ts"
import { memory } from "../deployment/memory.ts"
import { app, gatewayOptions, HttpAppApi } from "../worker/http.ts"
import { NotesApi } from "../worker/notes.ts"

/** A contract as a document of OpenAPI, checked with the schema of OpenAPI 3.1. */

const info = { title: "Test", version: "1.2.3" }

/** What is wrong with a document, by the schema of its version. */
const problemsOf = async (document: object): Promise<unknown> => {
  const validator = new Validator()
  const { errors, valid } = await validator.validate(JSON.parse(JSON.stringify(document)))
  expect(validator.version).toBe("3.1")
  return valid ? undefined : (errors ?? "invalid")
}

describe("HT10: OpenAPI", () => {
  const document = openApi(HttpAppApi, { ...info, queries: HttpAppApi, servers: [{ url: "https://shop.test" }] })
  const paths: Readonly<Record<string, any>> = document.paths
  const deployed = memory(app, gatewayOptions)
  afterAll(async () => (await deployed).close())

  it.each([
    ["with queries", document],
    ["without", openApi(HttpAppApi, info)],
    ["of the chat", openApi(ChatApi, { ...info, description: "A chat", queries: ChatApi })],
    ["of notes", openApi(NotesApi, { ...info, queries: NotesApi })]
  ])("HT10: a document %s is one of OpenAPI 3.1", async (_name, document) => {
    expect(await problemsOf(document)).toBe(undefined)
  })

  it("HT10: the validator finds what is wrong (the control)", async () => {
    expect(await problemsOf({ ...document, info: { title: "Test" } })).toBeDefined()
    const broken = { "/rpc/x": { get: { responses: { "200": {} } } } }
    expect(await problemsOf({ ...document, paths: broken })).toBeDefined()
  })

  it("HT10: each query is an operation, and what is internal is in no place", () => {
    expect(document.info).toEqual(info)
    const queries = ["items.list", "items.first", "items.count", "letters.list", "me", "text", "broken", "time"]
    expect(Object.keys(paths)).toEqual(["/rpc", ...queries.flatMap((tag) => [`/rpc/${tag}`, `/rpc/live/${tag}`])])
    expect(Object.keys(paths["/rpc"].post["x-dormouse-rpcs"])).toEqual([
      ...queries,
      "items.add",
      "items.rename",
      "items.clear",
      "letters.write",
      "items.import",
      "items.count.slowly"
    ])
    expect(JSON.stringify(document)).not.toMatch(/items\.(secret|deliver)/)
    expect(Object.keys(openApi(HttpAppApi, info).paths)).toEqual(["/rpc"])
  })

  it("HT10: a query is described with its parameters, its value and its errors", () => {
    const { parameters, responses } = paths["/rpc/items.list"].get
    const named = Object.fromEntries(parameters.map((parameter: any) => [parameter.name ?? parameter.$ref, parameter]))
    expect(named.shelf).toEqual({ name: "shelf", in: "query", required: true, schema: { type: "string" } })
    expect(named.limit).toMatchObject({ required: false, schema: { type: "integer" } })
    expect(named.names.content["application/json"].schema).toMatchObject({ type: "array" })
    expect(Object.keys(named)).toContain("if-none-match")
    expect(responses["200"].content["application/json"].schema).toMatchObject({ type: "array" })
    expect(responses["304"].content).toBe(undefined)
    const first = paths["/rpc/items.first"].get.responses
    expect(JSON.stringify(first["404"])).toContain("ShelfEmpty")
    expect(JSON.stringify(first["422"])).toContain("ShelfLocked")
    // Without a payload there is nothing to give.
    expect(paths["/rpc/items.count"].get.parameters.map(({ in: place }: any) => place)).toEqual([undefined, "header"])
  })

  it("HT10: what is described is there, and answers as it is described", async () => {
    const { fetch } = await deployed
    const tenant = { "x-dormouse-tenant": "routed-described" }
    await call(await deployed, "routed-described", "items.add", { shelf: "a", name: "one" })
    const given: Readonly<Record<string, string>> = { shelf: "a", length: "3" }
    for (const [path, { get }] of Object.entries(paths)) {
      if (get === undefined || path.startsWith("/rpc/time")) continue
      const required = get.parameters.filter((parameter: any) => parameter.required)
      const query = new URLSearchParams(required.map(({ name }: any) => [name, given[name]!]))
      const closed = new AbortController()
      const response = await fetch(`${path}?${query}`, { headers: tenant, signal: closed.signal })
      const described = get.responses[response.status]
      expect([path, Object.keys(described?.content ?? {})]).toEqual([path, [response.headers.get("content-type")]])
      expect(response.status).toBe(path.endsWith("broken") ? 500 : 200)
      closed.abort()
    }
  })

  it("HT10: a payload that is no struct, and a field of a reserved name, are one parameter", async () => {
    const odd = Api.make(
      Query.make("text", { payload: Schema.String, success: Schema.String }),
      Query.make("field", { payload: { tenant: Schema.String }, success: Schema.Date }),
      Query.make("a/b c", { payload: { at: Schema.Date }, success: Schema.Void })
    )
    const described = openApi(odd, { ...info, queries: odd })
    expect(await problemsOf(described)).toBe(undefined)
    const operations: Readonly<Record<string, any>> = described.paths
    for (const tag of ["text", "field"]) expect(operations[`/rpc/${tag}`].get.parameters[0].name).toBe("payload")
    expect(operations["/rpc/a%2Fb%20c"].get.parameters[0]).toMatchObject({ name: "at", schema: { type: "string" } })
  })
})
