/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { Query } from "effect-dormouse"
import * as Esbuild from "esbuild"
import { afterAll, expect, it } from "vitest"
import { payloadIn } from "../../src/engine/worker/QueryPayload.ts"
import { defaults } from "../../src/protocol/Limits.ts"
import * as RpcCodec from "../../src/protocol/RpcCodec.ts"
import { forAll, type Random } from "../random.ts"

/** The query strings of payloads, at random, and what the Workers of apps contain. */

const search = Query.make("search", {
  payload: {
    text: Schema.String,
    both: Schema.Union([Schema.String, Schema.Number]),
    limit: Schema.optionalKey(Schema.Int),
    price: Schema.optionalKey(Schema.Number),
    near: Schema.optionalKey(Schema.NullOr(Schema.Finite)),
    isNew: Schema.optionalKey(Schema.Boolean),
    kind: Schema.optionalKey(Schema.Literals(["a", 1, true])),
    since: Schema.optionalKey(Schema.Date),
    tags: Schema.optionalKey(Schema.Array(Schema.String)),
    within: Schema.optionalKey(Schema.Struct({ x: Schema.Number }))
  }
})

const texts = [
  "",
  "a",
  "0",
  "1e3",
  "-5",
  "true",
  "null",
  "[]",
  "{",
  '"',
  "%",
  "%41",
  "&a=b",
  "ä",
  "🦌",
  "\u2028",
  "+",
  " "
]

const payloadOf = (random: Random): any => {
  const number = () => random.pick([0, 1, -1, 2.5, 1e21, 1e-9, random.int(1000), Number.MAX_SAFE_INTEGER])
  const text = () => random.pick(texts)
  return {
    text: text(),
    both: text(),
    ...(random.chance(0.5) && { limit: random.int(100) - 50 }),
    ...(random.chance(0.5) && { price: number() }),
    ...(random.chance(0.5) && { near: random.chance(0.3) ? null : number() }),
    ...(random.chance(0.5) && { isNew: random.chance(0.5) }),
    ...(random.chance(0.5) && { kind: random.pick(["a", 1, true] as const) }),
    ...(random.chance(0.5) && { since: new Date(random.int(2 ** 40)) }),
    ...(random.chance(0.5) && { tags: random.array(random.int(3), text) }),
    ...(random.chance(0.5) && { within: { x: number() } })
  }
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value))

it("HT4: a payload, field by field, is the payload", () =>
  forAll(300, (random) => {
    const encoded: any = RpcCodec.of(search).encodePayload(payloadOf(random))
    const fields = new URLSearchParams(
      random.shuffle(Object.entries(encoded)).map(([name, value]) => [name, textOf(value)])
    )
    const whole = new URLSearchParams({ payload: JSON.stringify(encoded), tenant: "a" })
    for (const params of [fields, whole]) {
      const read = payloadIn(search, new URLSearchParams(params.toString()), defaults)
      if (read instanceof Response) throw new Error(`${read.status}`)
      expect(read.value).toEqual(encoded)
    }
  }))

it("HT4: whatever a query string is, it is a payload or a refusal", () => {
  const seen = { payloads: 0, refused: 0, fitting: 0 }
  const names = [
    "text",
    "both",
    "limit",
    "near",
    "isNew",
    "kind",
    "tags",
    "within",
    "payload",
    "tenant",
    "nope",
    "__proto__",
    "%"
  ]
  forAll(500, (random) => {
    const required = random.chance(0.4) ? ["text=a", "both=b"] : []
    const more = random.array(
      random.int(3),
      () => `${random.pick(names)}${random.pick(["=", "", "=="])}${random.pick(texts)}`
    )
    const text = [...required, ...more].join(random.pick(["&", "&&", ";"]))
    const read = payloadIn(search, new URLSearchParams(text), defaults)
    if (read instanceof Response) {
      expect([400, 413]).toContain(read.status)
      seen.refused++
      return
    }
    seen.payloads++
    if (Exit.isSuccess(Effect.runSyncExit(RpcCodec.of(search).decodePayload(read.value)))) seen.fitting++
  })
  // Each way was taken.
  expect(Object.values(seen).filter((count) => count === 0)).toEqual([])
})

afterAll(() => Esbuild.stop())

/** The files that a Worker is bundled of. */
const bundled = async (code: string): Promise<ReadonlyArray<string>> => {
  const { metafile } = await Esbuild.build({
    stdin: {
      contents: code,
      resolveDir: fileURLToPath(new URL("../../examples/minimal", import.meta.url)),
      loader: "ts"
    },
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    conditions: ["source", "workerd", "worker", "browser"],
    external: ["cloudflare:*"],
    logLevel: "silent",
    metafile: true
  })
  return Object.entries(metafile.outputs).flatMap(([, { inputs }]) =>
    Object.entries(inputs).flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [file] : []))
  )
}

it("HT1: the Worker of an app without routes and queries does not contain what they are made of", async () => {
  const parts = /HttpRouter\.ts|HttpRouter\.js|FindMyWay|HttpQueries\.ts|LiveEvents\.ts|EventReader\.ts|OpenApi\.ts/
  const found = (files: ReadonlyArray<string>) => files.filter((file) => parts.test(file))
  const plain = `import { app } from "./app.ts"
    import { Cloudflare } from "effect-dormouse/cloudflare"
    export const { TenantObject, worker } = Cloudflare.serve(app)`
  expect(found(await bundled(plain))).toEqual([])
  // The control.
  const routed = `import { app } from "./app.ts"
    import { ChatApi } from "./api.ts"
    import { Cloudflare } from "effect-dormouse/cloudflare"
    import { HttpQueries, Routes } from "effect-dormouse/http"
    import * as Layer from "effect/Layer"
    const options = { routes: Routes.make(Layer.empty), queries: HttpQueries.make(ChatApi) }
    export const { TenantObject, worker } = Cloudflare.serve(app, options)`
  expect(found(await bundled(routed)).length).toBeGreaterThan(3)
})
