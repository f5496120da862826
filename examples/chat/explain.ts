/// <reference types="node" />

/**
 * Shows what the live queries of a running chat read, which writes last invalidated them, and what they cost.
 *
 *     npm run explain -- [url] [tenant]
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Schema from "effect/Schema"

const Explanation = Schema.Struct({
  tag: Schema.String,
  payload: Schema.Unknown,
  subscribers: Schema.Int,
  reads: Schema.Unknown,
  runs: Schema.Int,
  unchangedRuns: Schema.Int,
  frames: Schema.Int,
  bytes: Schema.Int,
  invalidatedBy: Schema.Array(Schema.String)
})

const [url = "http://127.0.0.1:8787", tenant = "main"] = process.argv.slice(2)

HttpClientRequest.get(new URL("/rpc/explain", url)).pipe(
  HttpClientRequest.setHeader("x-dormouse-tenant", tenant),
  HttpClient.execute,
  Effect.flatMap(HttpClientResponse.filterStatusOk),
  Effect.flatMap(HttpClientResponse.schemaBodyJson(Schema.Array(Explanation))),
  Effect.flatMap((explanations) =>
    explanations.length === 0
      ? Console.log("there are no live queries")
      : Effect.forEach(explanations, (each) =>
          Console.log(
            `${each.tag} ${JSON.stringify(each.payload)}\n` +
              `  ${each.subscribers} subscribers; ${each.runs} runs, ${each.unchangedRuns} without a changed result; ` +
              `${each.frames} frames, ${each.bytes} characters\n` +
              `  last invalidated by writes to ${each.invalidatedBy.join(", ") || "nothing yet"}\n` +
              `  reads ${JSON.stringify(each.reads)}`
          )
        )
  ),
  Effect.provide(FetchHttpClient.layer),
  Effect.runPromise
)
