/**
 * The tables of accounts. Secrets are stored as hashes, and as sensitive columns: `App.make` refuses an rpc that would send them.
 * An app can refer to `accounts` from tables of its own.
 */
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as Table from "../contract/Table.ts"
import { AccountId, SessionId } from "./contract/AccountsApi.ts"

class AccountRow extends Model.Class<AccountRow>("effect-dormouse/accounts/Account")({
  id: Table.key(AccountId),
  createdAt: Table.insertedAt
}) {}

/** Who has an account. */
export const accounts = Table.make("accounts", AccountRow, { key: "id" })

/** One way to sign in to an account. */
export class IdentityRow extends Model.Class<IdentityRow>("effect-dormouse/accounts/Identity")({
  /** The method and the subject: `password ada`, `email ada@example.com`, `passkey <id>`, `oidc:google 1234`. */
  id: Schema.String,
  account: AccountId,
  method: Schema.String,
  subject: Schema.String,
  /** The hash of the password; the public key and the counter of the passkey. */
  secret: Model.Sensitive(Schema.NullOr(Schema.String))
}) {}

/** The ways to sign in to accounts. */
export const identities = Table.make("accounts_identities", IdentityRow, {
  key: "id",
  indexes: { byAccount: ["account", "method"] },
  references: { account: { table: () => accounts, onDelete: "cascade" } }
})

/** A session, which is a chain of refresh tokens. */
export class SessionRow extends Model.Class<SessionRow>("effect-dormouse/accounts/Session")({
  id: Table.key(SessionId),
  account: AccountId,
  method: Schema.String,
  device: Schema.String,
  /** The hash of what all refresh tokens of the session have in common. */
  family: Model.Sensitive(Schema.String),
  /** The hash of the only refresh token that is accepted. */
  current: Model.Sensitive(Schema.String),
  /** The hash of the one before it, and the current one, encrypted under the one before. */
  previous: Model.Sensitive(Schema.NullOr(Schema.String)),
  sealed: Model.Sensitive(Schema.NullOr(Schema.String)),
  createdAt: Schema.DateTimeUtcFromMillis,
  usedAt: Schema.DateTimeUtcFromMillis,
  /** When the session ends if it is not used, and when it ends in any case. */
  expires: Schema.Number,
  ends: Schema.Number
}) {}

/** The sessions of all accounts. */
export const sessions = Table.make("accounts_sessions", SessionRow, {
  key: "id",
  indexes: {
    byAccount: ["account", "createdAt"],
    byFamily: { columns: ["family"], unique: true },
    byExpiry: ["expires"]
  },
  references: { account: { table: () => accounts, onDelete: "cascade" } }
})

class FlowRow extends Model.Class<FlowRow>("effect-dormouse/accounts/Flow")({
  /** The hash of the token in the link, of the provider's `state`, or of the challenge for a passkey. */
  id: Model.Sensitive(Schema.String),
  /** The method: `email`, `oidc:<provider>`, `passkey:register`, `passkey:signIn`. */
  method: Schema.String,
  /** The email address, or the account that gets a passkey; else empty. */
  subject: Schema.String,
  /** The hash of the secret that the browser keeps: its own, or that of its session. */
  challenge: Schema.String,
  expires: Schema.Number
}) {}

/** What is completed elsewhere: links that were sent, redirects to providers, challenges. Each row is used once. */
export const flows = Table.make("accounts_flows", FlowRow, { key: "id", indexes: { byExpiry: ["expires"] } })
