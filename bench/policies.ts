/**
 * What policies cost: a list of the 50 messages of a channel, and an insert, with and without a membership policy.
 * In one process, over SQLite in memory, without sockets; prints medians in microseconds of interleaved rounds.
 */
import { DatabaseSync } from "node:sqlite"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Auth, Storage, Table } from "effect-dormouse"
import { Policy } from "effect-dormouse/auth"
import * as MemoryDatabase from "../src/layers/memory/Database.ts"
import * as Limits from "../src/protocol/Limits.ts"
import { StorageRuntime } from "../src/services/storage/StorageRuntime.ts"
import * as TableSchema from "../src/services/storage/TableSchema.ts"
import { TransactionRunner } from "../src/services/TransactionRunner.ts"

class Member extends Model.Class<Member>("bench/Member")({
  id: Schema.String,
  channel: Schema.String,
  user: Schema.String
}) {}
const members = Table.make("members", Member, { key: "id", indexes: { byChannel: ["channel", "user"] } })
class Message extends Model.Class<Message>("bench/Message")({
  id: Table.key(Schema.String),
  channel: Schema.String,
  author: Schema.String,
  body: Schema.String,
  sentAt: Table.insertedAt
}) {}
const messages = Table.make("messages", Message, { key: "id", indexes: { byChannel: ["channel", "sentAt"] } })
const tables = [members, messages]
const isMember: Policy.Rule<Message, any> = ({ me, row }) =>
  Policy.exists(members, { channel: row.channel, user: me.subject })
const policies = [
  Policy.make(messages, {
    read: isMember,
    insert: isMember,
    delete: isMember,
    set: { author: ({ me }) => me.subject }
  })
]

const open = (used: typeof policies) => {
  const database = MemoryDatabase.make(new DatabaseSync(":memory:", { enableForeignKeyConstraints: true }))
  TableSchema.migrate(database, tables)
  const storage = new StorageRuntime(database, tables, Limits.defaults, used)
  const runner = new TransactionRunner({ storage, transactional: [], afterCommit: () => {} })
  const context = Context.make(Auth.CurrentIdentity as Context.Key<any, Auth.Identity>, { subject: "ada", claims: {} })
  const write = (effect: Effect.Effect<any, any, any>) => Exit.getSuccess(runner.write(effect, context))
  const channels = Array.from({ length: 20 }, (_, i) => `channel ${i}`)
  write(
    Storage.unrestricted(
      Effect.forEach(channels, (channel) =>
        Effect.andThen(
          members.insertMany(
            Array.from({ length: 50 }, (_, i) => ({
              id: `${channel} ${i}`,
              channel,
              user: i === 7 ? "ada" : `user ${i}`
            }))
          ),
          messages.insertMany(
            Array.from({ length: 50 }, (_, i) => ({ channel, author: "ada", body: `message ${i} `.repeat(8) }))
          )
        )
      )
    )
  )
  let turn = 0
  const next = () => channels[turn++ % channels.length]!
  return {
    list: () => {
      const { exit } = runner.read(messages.query("byChannel").eq("channel", next()).descending.take(50), context, true)
      if (Exit.isFailure(exit) || exit.value.length !== 50) throw new Error("the list is incomplete")
    },
    insert: () => {
      if (write(messages.insert({ channel: next(), author: "ada", body: "hello" }))._tag === "None")
        throw new Error("refused")
    }
  }
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

for (const name of ["list", "insert"] as const) {
  const subjects = [open([]), open(policies)]
  const times = subjects.map((): Array<number> => [])
  const rounds = 6000
  for (let round = 0; round < rounds; round++) {
    // In turns, so that neither always has the caches of the other.
    for (const i of round % 2 === 0 ? [0, 1] : [1, 0]) {
      const subject = subjects[i]!
      const started = performance.now()
      subject[name]()
      if (round * 4 > rounds) times[i]!.push(performance.now() - started)
    }
  }
  const [without, with_] = times.map((of) => median(of) * 1000)
  console.info(
    `${name}: ${without!.toFixed(1)} without policies, ${with_!.toFixed(1)} with (${(with_! / without!).toFixed(2)})`
  )
}
