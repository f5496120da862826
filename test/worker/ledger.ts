import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as SqlClient from "effect/sql/SqlClient"
import { Api, App, Mutation, Query, Table, type Transactional } from "effect-dormouse"

/**
 * A service that takes part in transactions, made without the engine: a ledger with a table of its own that sends a receipt
 * for each payment after the commit.
 */

export class Ledger extends Context.Service<
  Ledger,
  {
    readonly pay: (account: string, amount: number) => Effect.Effect<void>
    readonly total: (account: string) => Effect.Effect<number>
    /** Writes without looking at what kind of transaction it is in. */
    readonly payAnyway: (account: string, amount: number) => Effect.Effect<void>
    readonly time: Effect.Effect<number>
  }
>()("test/Ledger") {}

/** The receipts that were sent, in this isolate. */
export const receipts: Array<string> = []

/** How often the service was opened, in this isolate. */
export const opened = { count: 0 }

export const ledger: Transactional.Transactional<Ledger, Ledger["Service"]> = {
  tag: Ledger,
  tables: [{ name: "_ledger", create: "CREATE TABLE _ledger (account TEXT NOT NULL, amount INTEGER NOT NULL)" }],
  open: (tx) => {
    opened.count++
    const pay = (account: string, amount: number) => {
      tx.query("INSERT INTO _ledger VALUES (?, ?)", [account, amount])
      tx.recordWrite("_ledger")
      tx.afterCommit(Effect.sync(() => void receipts.push(`${account}: ${amount}`)))
    }
    return {
      pay: (account, amount) =>
        tx.readOnly ? Effect.die(new Error("a query cannot pay")) : Effect.sync(() => pay(account, amount)),
      payAnyway: (account, amount) => Effect.sync(() => pay(account, amount)),
      total: (account) =>
        Effect.sync(() => {
          tx.recordRead("_ledger")
          const [row] = tx.query("SELECT total(amount) FROM _ledger WHERE account = ?", [account])
          return Number(row?.[0])
        }),
      time: Effect.sync(() => tx.now)
    }
  }
}

class Payment extends Model.Class<Payment>("test/Payment")({ id: Table.key(Schema.String), account: Schema.String }) {}
export const payments = Table.make("payments", Payment, { key: "id" })

const Paying = { account: Schema.String, amount: Schema.Int }

export class LedgerApi extends Api.make(
  Mutation.make("pay", {
    payload: { ...Paying, ending: Schema.Literals(["success", "failure", "defect", "wait", "broken commit"]) },
    success: Schema.Int,
    error: Schema.String
  }),
  /** Pays in nested transactions: one that stays, one that is rolled back, one in one that is rolled back. */
  Mutation.make("pay.nested", { payload: { account: Schema.String } }),
  Query.make("total", { payload: { account: Schema.String }, success: Schema.Int }),
  Query.make("pay.inQuery", { payload: { ...Paying, anyway: Schema.Boolean } }),
  Query.make("times", { success: Schema.Array(Schema.Number) }),
  Query.make("payments", { success: Schema.Int })
) {}

export const LedgerHandlers = LedgerApi.toLayer({
  pay: Effect.fnUntraced(function* ({ account, amount, ending }) {
    const { pay, total } = yield* Ledger
    yield* payments.insert({ account })
    yield* pay(account, amount)
    if (ending === "failure") return yield* Effect.fail("no")
    if (ending === "defect") return yield* Effect.die("no")
    if (ending === "wait") yield* Effect.sleep("1 second")
    if (ending === "broken commit") {
      const sql = yield* SqlClient.SqlClient
      yield* Effect.orDie(sql`PRAGMA defer_foreign_keys = ON`)
      yield* Effect.orDie(sql`INSERT INTO children (id, payment) VALUES ('c', 'none')`)
    }
    return yield* total(account)
  }),
  "pay.nested": Effect.fnUntraced(function* ({ account }) {
    const { pay } = yield* Ledger
    yield* Table.atomically(pay(account, 1))
    yield* pay(account, 10).pipe(Effect.andThen(Effect.fail("no")), Table.atomically, Effect.ignore)
    yield* Table.atomically(pay(account, 100)).pipe(Effect.andThen(Effect.fail("no")), Table.atomically, Effect.ignore)
    yield* pay(account, 1000)
  }),
  total: ({ account }) => Effect.flatMap(Ledger, ({ total }) => total(account)),
  "pay.inQuery": ({ account, amount, anyway }) =>
    Effect.flatMap(Ledger, ({ pay, payAnyway }) => (anyway ? payAnyway : pay)(account, amount)),
  times: () => Effect.flatMap(Ledger, ({ time }) => Effect.all([time, Effect.clockWith((c) => c.currentTimeMillis)])),
  payments: () => payments.query().count
})

class Child extends Model.Class<Child>("test/Child")({ id: Schema.String, payment: Schema.String }) {}
const children = Table.make("children", Child, { key: "id", references: { payment: { table: () => payments } } })

export const ledgerApp = App.make({
  api: LedgerApi,
  tables: [payments, children],
  handlers: LedgerHandlers,
  transactional: [ledger]
})
