/// <reference types="node" />
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Server from "../../examples/chat/server.ts"

/** The chat's server as a process of its own, to be killed: `node chatProcess.ts <port> <data>`. Says when it listens. */
const [port, data] = process.argv.slice(2)
Server.runMain(
  Server.make({ port: Number(port), data: data! }).pipe(
    Effect.flatMap((url) => Console.log(`listening at ${url}`)),
    Effect.andThen(Effect.never),
    Effect.scoped
  )
)
