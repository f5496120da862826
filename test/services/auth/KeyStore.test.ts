import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Api, App, Query } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { TestApp } from "effect-dormouse/testing"
import { KeyStore, layerMemory, layerSystem } from "../../../src/services/KeyStore.ts"
import { keyStoreSuite } from "./keyStoreSuite.ts"

/** The stores of signing keys: in memory, and in the deployment's own object. */

class EmptyApi extends Api.make(Query.make("nothing", { payload: {}, success: Schema.Null })) {}
const app = App.make({ api: EmptyApi, tables: [], handlers: EmptyApi.toLayer({ nothing: () => Effect.succeed(null) }) })

/** The store of a backend in memory: what its `auth` layer gets. */
const inSystem = Layer.effect(
  KeyStore,
  Effect.gen(function* () {
    const found: Array<KeyStore["Service"]> = []
    const auth = Layer.effect(
      Auth.Authenticator,
      Effect.map(KeyStore, (store) => {
        found.push(store)
        return { authenticate: () => Effect.succeedNone }
      })
    )
    yield* Layer.build(TestApp.layer(app, { auth: Layer.provide(auth, layerSystem) }))
    return found[0]!
  })
)

keyStoreSuite("a store in memory", layerMemory)
keyStoreSuite("a store in the deployment's own object", inSystem)
