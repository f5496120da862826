/// <reference types="node" />

/**
 * Serves the kanban on this machine: `npm run kanban`. The environment variable PORT is its port, DATA the folder where
 * it keeps its databases, PAGE the folder that it builds its page into.
 */
import { fileURLToPath, URL } from "node:url"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Page from "../chat/page.ts"
import * as Server from "../chat/server.ts"

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

Effect.gen(function* () {
  const port = yield* Server.port
  const data = yield* Config.String("DATA").pipe(Config.withDefault(pathOf(".data")))
  const folder = yield* Config.String("PAGE").pipe(Config.withDefault(pathOf("dist-web")))
  const page = yield* Page.buildInto(folder, pathOf("vite.config.ts"))
  const url = yield* Server.make({ port, data, page, worker: pathOf("worker.ts") })
  yield* Console.log(`\nThe boards are at ${url}\n\nOpen it in two browsers. Press Ctrl+C to stop.\n`)
  return yield* Effect.never
}).pipe(
  Effect.scoped,
  Effect.tapErrorTag("PortTaken", (error) => Console.error(error.message)),
  Server.runMain
)
