import { env } from "cloudflare:test"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Blobs } from "effect-dormouse/files"
import { it } from "vitest"
import { WorkerEnv } from "../../../src/layers/cloudflare/WorkerEnv.ts"
import { cloudflare } from "../../deployment/cloudflare.ts"
import { partsThatChange } from "./blobCases.ts"
import { suite } from "./fileCases.ts"

suite("in workerd, with R2", async () => ({
  ...cloudflare(),
  keys: async (prefix) => (await env.FILES.list({ prefix })).objects.map(({ key }) => key)
}))

it("FI6: parts that are stored again, in R2", () =>
  Effect.runPromise(
    partsThatChange().pipe(
      Effect.provide(Blobs.layerR2("FILES").pipe(Layer.provide(Layer.succeed(WorkerEnv, env as never))))
    )
  ))
