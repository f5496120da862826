import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Client, Outbox } from "effect-dormouse/client"
import { createHooks } from "effect-dormouse/react"
import { KanbanApi } from "../api.ts"
import { account, token } from "./session.ts"

/** The client of the page. What is done offline is stored, also when the page is closed, and sent later. */
export const client = Effect.gen(function* () {
  const storage = Context.get(yield* Layer.build(Outbox.layerIndexedDb()), Outbox.OutboxStorage)
  const outbox = Outbox.make({ storage, identity: yield* account })
  return yield* Client.make(KanbanApi, { url: location.origin, token, outbox })
})

export const { Provider, useConnection, useLive, useMutation } = createHooks(KanbanApi)
