import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Api, App, Handlers, Mutation, Query, Table } from "effect-dormouse"
import { Accounts } from "effect-dormouse/accounts"
import { Auth } from "effect-dormouse/auth"
import { TestApp } from "effect-dormouse/testing"

/** An app with accounts, whose notes belong to accounts. Its tokens are those of `Auth.layerTest`. */

class Note extends Model.Class<Note>("test/Note")({
  id: Table.key(Schema.String),
  account: Accounts.AccountId,
  text: Schema.String
}) {}
export const notes = Table.make("notes", Note, {
  key: "id",
  indexes: { byAccount: ["account"] },
  references: { account: { table: () => Accounts.table, onDelete: "cascade" } }
})

export class NotesApi extends Api.make(
  Mutation.make("notes.add", { payload: { text: Schema.String } }),
  Query.make("notes.list", { payload: {}, success: Schema.Array(Schema.String) })
) {}

const me = Effect.map(Auth.identity, ({ subject }) => Accounts.AccountId.make(subject ?? ""))

const NotesHandlers = NotesApi.toLayer({
  "notes.add": Effect.fnUntraced(function* ({ text }) {
    yield* notes.insert({ account: yield* me, text })
  }),
  "notes.list": Effect.fnUntraced(function* () {
    const found = yield* notes.query("byAccount").eq("account", yield* me)
    return found.map(({ text }) => text)
  })
})

export const cheap: Accounts.Cost = { ln: 4, r: 8, p: 1 }
export const secret = "a secret of the tests, which is long enough"

/** The links that an app has sent, and the accounts that it has merged. */
export interface Outside {
  readonly sent: Array<Accounts.Link>
  readonly merged: Array<{ readonly from: string; readonly into: string }>
}

export const outside = (): Outside => ({ sent: [], merged: [] })

export const appOf = ({ merged, sent }: Outside, options: Accounts.AccountsOptions = {}) => {
  const accounts = Accounts.make({
    secret: Config.succeed(Redacted.make(secret)),
    password: { cost: cheap },
    links: { send: (link) => Effect.sync(() => void sent.push(link)) },
    claims: ({ id, methods }) => Effect.succeed({ id, methods: methods.map(({ method }) => method) }),
    merge: Effect.fnUntraced(function* ({ from, into }) {
      merged.push({ from, into })
      for (const { id } of yield* notes.query("byAccount").eq("account", from))
        yield* notes.patch(id, { account: into })
    }),
    ...options
  })
  return App.make({
    api: Api.merge(NotesApi, accounts.api),
    tables: [notes, ...accounts.tables],
    handlers: Handlers.merge(NotesHandlers, accounts.handlers),
    transactional: accounts.transactional
  })
}

/** What a client has in its contract. */
export const ClientApi = Api.merge(NotesApi, Accounts.AccountsApi)

/** A client with a session, or without one. */
export const clientOf = (tokens?: Accounts.Tokens) =>
  TestApp.client(ClientApi, tokens === undefined ? {} : { token: Redacted.value(tokens.accessToken) })

export const hidden = (text: string) => Redacted.make(text)

/** The failure of a call: its own, or the reason of a `CallError`. */
export const failure = (effect: Effect.Effect<unknown, unknown, any>) =>
  Effect.map(Effect.flip(effect), (error: any) => error.reason ?? error)
