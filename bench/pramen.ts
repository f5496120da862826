// @ts-nocheck: the package's declarations import without file extensions, which NodeNext resolves to nothing.

/**
 * The same chat on pramen, written the way its own types lead to: `ctx.db` for every read and write, so that its live
 * queries see what is touched; access open to everyone, which is the cheapest policy it has.
 */
import {
  allow,
  BadRequest,
  createApp,
  defineSchema,
  Entity,
  generated,
  notNull,
  policy,
  primaryKey,
  role,
  unique
} from "@pramen/server"
import { createPramen } from "@pramen/server/worker"

const schema = defineSchema({
  channels: Entity((t) => ({
    id: primaryKey(generated(t.uuid())),
    name: unique(notNull(t.text())),
    createdAt: notNull(t.int())
  })),
  messages: Entity(
    (t) => ({
      id: primaryKey(generated(t.uuid())),
      channel: notNull(t.text()),
      author: notNull(t.text()),
      body: notNull(t.text()),
      sentAt: notNull(t.int())
    }),
    (r) => ({ inChannel: r.belongsTo("channels", "channel", { onDelete: "cascade" }) }),
    // An index over several columns exists only as a unique one; ending in the id, it refuses nothing.
    { unique: [["channel", "sentAt", "id"]] }
  )
})

const { mutation, query } = createApp(schema)

const handlers = {
  "channels.create": mutation(
    (ctx, { name }: { readonly name: string }) => ctx.db.insert("channels", { name, createdAt: Date.now() }),
    { input: (raw) => ({ name: textOf(raw, "name") }) }
  ),
  "channels.list": query((ctx) => ctx.db.find({ from: "channels", orderBy: { column: "name" } })),
  "messages.send": mutation(
    async (
      ctx,
      { channel, author, body }: { readonly channel: string; readonly author: string; readonly body: string }
    ) => {
      const found = await ctx.db.find({ from: "channels", where: { id: channel }, limit: 1 })
      if (found.length === 0) throw new BadRequest("channel not found")
      return ctx.db.insert("messages", { channel, author, body, sentAt: Date.now() })
    },
    { input: (raw) => ({ channel: textOf(raw, "channel"), author: textOf(raw, "author"), body: textOf(raw, "body") }) }
  ),
  "messages.list": query(
    (ctx, { channel, limit }: { readonly channel: string; readonly limit: number }) =>
      ctx.db.find({
        from: "messages",
        where: { channel },
        orderBy: [
          { column: "sentAt", dir: "desc" },
          { column: "id", dir: "desc" }
        ],
        limit
      }),
    { input: (raw) => ({ channel: textOf(raw, "channel"), limit: countOf(raw, "limit") }) }
  )
}

const everyone = role("anonymous", [
  policy("read channels", "channels", "read", allow()),
  policy("create channels", "channels", "create", allow()),
  policy("read messages", "messages", "read", allow()),
  policy("create messages", "messages", "create", allow())
])

const pramen = createPramen({ schema, handlers, acl: [everyone] })

export default { fetch: pramen.fetch }
export const PramenDO = pramen.PramenDO

function fieldOf(raw: unknown, field: string): unknown {
  return typeof raw === "object" && raw !== null ? (raw as Record<string, unknown>)[field] : undefined
}

function textOf(raw: unknown, field: string): string {
  const value = fieldOf(raw, field)
  if (typeof value !== "string" || value.length === 0) throw new Error(`${field} must be a string that is not empty`)
  return value
}

function countOf(raw: unknown, field: string): number {
  const value = fieldOf(raw, field)
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1 || value > 1000) {
    throw new Error(`${field} must be a whole number from 1 to 1000`)
  }
  return value
}
