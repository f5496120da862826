/// <reference types="node" />

/**
 * Serves the chat on this machine: `npm start`. The environment variable PORT is its port, DATA the folder where it
 * keeps its databases, PAGE the folder that it builds its page into: a second start with another PAGE leaves the page of
 * the first alone.
 */
import { fileURLToPath, URL } from "node:url"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Page from "./page.ts"
import * as Server from "./server.ts"

const usage = (url: string) => {
  const body = (tag: string, payload: object) => JSON.stringify({ _tag: "Request", id: "1", tag, payload, headers: [] })
  return `
The chat is at ${url}

Open it in two browsers, or call it:

  curl ${url}/rpc -d '${body("channels.list", {})}'

Who writes needs a token. This makes an account and prints its accessToken:

  curl ${url}/rpc -d '${body("accounts.anonymous", {})}'
  curl ${url}/rpc -H "authorization: Bearer $TOKEN" -d '${body("channels.create", { name: "general", access: "public" })}'

The other rpcs are in examples/chat/api.ts. Every tenant (header x-dormouse-tenant) has a database of its own.
Press Ctrl+C to stop.
`
}

Effect.gen(function* () {
  const port = yield* Server.port
  const folder = fileURLToPath(new URL(".data", import.meta.url))
  const data = yield* Config.String("DATA").pipe(Config.withDefault(folder))
  const page = yield* Effect.flatMap(
    Config.option(Config.String("PAGE")),
    Option.match({
      onNone: () => Page.build,
      onSome: Page.buildInto
    })
  )
  const url = yield* Server.make({ port, data, page })
  yield* Console.log(usage(url))
  return yield* Effect.never
}).pipe(
  Effect.scoped,
  Effect.tapErrorTag("PortTaken", (error) => Console.error(error.message)),
  Server.runMain
)
