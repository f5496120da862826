import { env } from "cloudflare:workers"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { App } from "effect-dormouse"
import { Accounts } from "effect-dormouse/accounts"
import { Auth } from "effect-dormouse/auth"
import { Cloudflare } from "effect-dormouse/cloudflare"

/** Accounts as a Worker of their own, with the provider that the variable `ISSUER` names. */

const { CLIENT_SECRET, ISSUER } = Schema.decodeUnknownSync(
  Schema.Struct({ ISSUER: Schema.String, CLIENT_SECRET: Schema.String })
)(env)

const accounts = Accounts.make({
  providers: [
    Accounts.oidc({
      name: "real",
      issuer: ISSUER,
      clientId: "confidential",
      clientSecret: Redacted.make(CLIENT_SECRET),
      redirectUri: "https://app.example/back"
    })
  ]
})

const app = App.make({
  api: accounts.api,
  tables: accounts.tables,
  handlers: accounts.handlers,
  transactional: accounts.transactional
})

const local = Auth.layerLocal({ issuer: "https://app.example", audience: "https://app.example" })

export const { TenantObject, worker } = Cloudflare.serve(app, {
  auth: Auth.layerFirst(local, Auth.layerAnonymous),
  enter: () => true
})
export default worker
