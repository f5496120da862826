/** The transfers on Dormouse. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as SqlClient from "effect/sql/SqlClient"
import { Api, App, Mutation, Query, Table } from "effect-dormouse"
import { Cloudflare } from "effect-dormouse/cloudflare"

class Account extends Model.Class<Account>("bank/Account")({ id: Schema.Int, balance: Schema.Int }) {}

const accounts = Table.make("accounts", Account, { key: "id" })

class SameAccount extends Schema.TaggedError<SameAccount>()("SameAccount", {}) {}
class AccountNotFound extends Schema.TaggedError<AccountNotFound>()("AccountNotFound", {}) {}
class BalanceTooSmall extends Schema.TaggedError<BalanceTooSmall>()("BalanceTooSmall", {}) {}

const Amount = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))

class BankApi extends Api.make(
  Mutation.make("accounts.create", { payload: { first: Schema.Int, count: Schema.Int, balance: Schema.Int } }),
  Mutation.make("accounts.transfer", {
    payload: { from: Schema.Int, to: Schema.Int, amount: Amount },
    error: Schema.Union([SameAccount, AccountNotFound, BalanceTooSmall])
  }),
  Query.make("accounts.total", { payload: {}, success: Schema.Int })
) {}

const BankHandlers = BankApi.toLayer({
  "accounts.create": ({ first, count, balance }) =>
    Effect.asVoid(accounts.insertMany(Array.from({ length: count }, (_, index) => ({ id: first + index, balance })))),

  "accounts.transfer": Effect.fnUntraced(
    function* ({ from, to, amount }) {
      if (from === to) return yield* new SameAccount()
      const source = yield* accounts.get(from)
      const target = yield* accounts.get(to)
      if (source.balance < amount) return yield* new BalanceTooSmall()
      yield* accounts.patch(from, { balance: source.balance - amount })
      yield* accounts.patch(to, { balance: target.balance + amount })
    },
    Effect.catchTag("RowNotFound", () => Effect.fail(new AccountNotFound()))
  ),

  "accounts.total": Effect.fnUntraced(function* () {
    const sql = yield* SqlClient.SqlClient
    const [row] = yield* sql<{ total: number }>`SELECT sum(balance) AS total FROM accounts`
    return row!.total
  }, Effect.orDie)
})

// The sum of all balances, which the benchmark checks, reads 100,000 rows.
const app = App.make({ api: BankApi, tables: [accounts], handlers: BankHandlers, limits: { rowsRead: 200_000 } })

export const { TenantObject, worker } = Cloudflare.serve(app)
export default worker
