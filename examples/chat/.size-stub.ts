import * as Effect from "effect/Effect"
import { Client } from "effect-dormouse/client"
import { ChatApi } from "./api.ts"

Effect.runFork(
  Effect.scoped(
    Effect.gen(function* () {
      const c = yield* Client.make(ChatApi, { url: location.origin })
      yield* c.mutate("channels.create", { name: "x" })
    })
  )
)
