import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Client, Outbox } from "effect-dormouse/client"
import { createTopicHooks } from "effect-dormouse/pubsub/react"
import { createHooks } from "effect-dormouse/react"
import { ChatApi } from "../api.ts"
import { account, token } from "./session.ts"

/**
 * A client of one tenant of the Worker that served this page. Messages that are written offline are stored and sent later,
 * by the account that wrote them.
 */
export const clientOf = (tenant: string) =>
  Effect.gen(function* () {
    const storage = Context.get(yield* Layer.build(Outbox.layerIndexedDb()), Outbox.OutboxStorage)
    const outbox = Outbox.make({ storage, identity: yield* account })
    return yield* Client.make(ChatApi, { url: location.origin, tenant, token, outbox })
  })

/** The hooks of the contract. */
const hooks = createHooks(ChatApi)
export const { Provider, useClient, useConnection, useLive, useMutation, usePages } = hooks
export const { usePresence } = createTopicHooks(hooks)
