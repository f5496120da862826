import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Action, Api, App, Query } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"

/** An app whose action signs callers in, with tokens of the deployment's own. */

class Me extends Auth.Service<Me>()("test/Me", { claims: Schema.Struct({ name: Schema.String }) }) {}

export class SignInApi extends Api.make(
  Action.make("signIn", { payload: { name: Schema.NonEmptyString }, success: Schema.String }),
  Query.make("name", { payload: {}, success: Schema.NullOr(Schema.String) })
) {}

const handlers = SignInApi.toLayer({
  signIn: Effect.fnUntraced(function* ({ name }) {
    const issuer = yield* Auth.TokenIssuer
    const claims = { name, tenants: ["main"] }
    return (yield* Effect.orDie(issuer.issue({ subject: name, claims, expiresIn: "1 hour" }))).token
  }),
  name: () => Effect.map(Me.option, (me) => (me._tag === "None" ? null : me.value.claims.name))
})

export const app = App.make({ api: SignInApi, tables: [], handlers, identity: Me })

export const local = { issuer: "https://app.test", audience: "https://app.test" }

export const auth = Auth.layerFirst(Auth.layerLocal(local), Auth.layerAnonymous)

/** Whoever signs in is nobody yet. */
export const enter = () => true
