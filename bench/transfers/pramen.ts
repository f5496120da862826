// @ts-nocheck: the package's declarations import without file extensions, which NodeNext resolves to nothing.

/** The transfers on pramen: `ctx.db` for the transfers, and raw SQL only to create the accounts. */
import { allow, BadRequest, createApp, defineSchema, Entity, notNull, policy, primaryKey, role } from "@pramen/server"
import { createPramen } from "@pramen/server/worker"
import { insertAccounts } from "./bank.ts"

const schema = defineSchema({
  accounts: Entity((t) => ({ id: primaryKey(t.int()), balance: notNull(t.int()) }))
})

const { mutation, query } = createApp(schema)

const handlers = {
  "accounts.create": mutation(
    async (ctx, { first, count, balance }) => {
      await ctx.db.exec(insertAccounts, first, count, balance)
      return null
    },
    { input: (raw) => integersOf(raw, "first", "count", "balance") }
  ),
  "accounts.transfer": mutation(
    async (ctx, { from, to, amount }) => {
      if (from === to) throw new BadRequest("same account")
      if (amount < 1) throw new BadRequest("amount must be positive")
      const [source] = await ctx.db.find({ from: "accounts", where: { id: from }, limit: 1 })
      const [target] = await ctx.db.find({ from: "accounts", where: { id: to }, limit: 1 })
      if (source === undefined || target === undefined) throw new BadRequest("account not found")
      if (source.balance < amount) throw new BadRequest("balance too small")
      await ctx.db.update("accounts", from, { balance: source.balance - amount })
      await ctx.db.update("accounts", to, { balance: target.balance + amount })
      return null
    },
    { input: (raw) => integersOf(raw, "from", "to", "amount") }
  ),
  "accounts.total": query(async (ctx) => {
    const aggregations = { total: { fn: "sum", column: "balance" } }
    const [row] = await ctx.db.aggregate({ from: "accounts", aggregations })
    return row.total
  })
}

const everyone = role("anonymous", [
  policy("read accounts", "accounts", "read", allow()),
  policy("create accounts", "accounts", "create", allow()),
  policy("update accounts", "accounts", "update", allow())
])

const pramen = createPramen({ schema, handlers, acl: [everyone] })

export default { fetch: pramen.fetch }
export const PramenDO = pramen.PramenDO

function integersOf(raw: unknown, ...fields: ReadonlyArray<string>): Record<string, number> {
  return Object.fromEntries(
    fields.map((field) => {
      const value = typeof raw === "object" && raw !== null ? (raw as Record<string, unknown>)[field] : undefined
      if (typeof value !== "number" || !Number.isSafeInteger(value)) throw new Error(`${field} must be a whole number`)
      return [field, value]
    })
  )
}
