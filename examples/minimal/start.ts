/// <reference types="node" />

/**
 * Serves this app on this machine: `npm run minimal`. The environment variable PORT is its port, DATA the folder where
 * it keeps its databases.
 */
import { fileURLToPath, URL } from "node:url"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Server from "../chat/server.ts"

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

Effect.gen(function* () {
  const port = yield* Server.port
  const data = yield* Config.String("DATA").pipe(Config.withDefault(pathOf(".data")))
  const url = yield* Server.make({ port, data, worker: pathOf("worker.ts") })
  const request = { _tag: "Request", id: "1", tag: "channels.create", payload: { name: "general" }, headers: [] }
  yield* Console.log(`Call it, and press Ctrl+C to stop:\n\n  curl ${url}/rpc -d '${JSON.stringify(request)}'\n`)
  return yield* Effect.never
}).pipe(
  Effect.scoped,
  Effect.tapErrorTag("PortTaken", (error) => Console.error(error.message)),
  Server.runMain
)
