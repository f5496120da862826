/**
 * The rpc by which an action publishes to the topics of its tenant: the Worker calls it in the object.
 * No client can: its tag is reserved.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Api from "../../contract/Api.ts"
import type { Calls } from "../../contract/CallsTag.ts"
import * as Mutation from "../../contract/Mutation.ts"
import { Published, Publisher } from "../../contract/Publisher.ts"

/** What an action does with topics. */
export class PubsubApi extends Api.make(Mutation.make("~pubsub.publish", { payload: { message: Published } })) {}

/** The handler, for the object. */
export const handlers: Layer.Layer<never, never, any> = PubsubApi.toLayer({
  "~pubsub.publish": ({ message }) => Effect.flatMap(Publisher, ({ publish }) => publish(message))
})

/** The publisher of an action: each message is a transaction of its own in the object. */
export const servicesOver = ({ call }: Calls["Service"]): Context.Context<Publisher> =>
  Context.make(Publisher, { publish: (message) => call("~pubsub.publish", { message }) })
