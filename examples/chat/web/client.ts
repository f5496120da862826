import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Client, Outbox } from "effect-dormouse/client"
import { createHooks } from "effect-dormouse/react"
import { ChatApi } from "../api.ts"

/** A client of the Worker that served this page. Messages that are written offline are stored and sent later. */
export const client = Effect.gen(function* () {
  const storage = Context.get(yield* Layer.build(Outbox.layerIndexedDb()), Outbox.OutboxStorage)
  return yield* Client.make(ChatApi, { url: location.origin, outbox: Outbox.make({ storage }) })
})

/** The hooks of the contract. */
export const { Provider, useConnection, useLive, useMutation, usePages } = createHooks(ChatApi)
