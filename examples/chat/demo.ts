/// <reference types="node" />

/**
 * Fills a chat with two centuries of speeches over real sockets, then reads them back and checks every message, and the
 * values of every watcher.
 *
 *     npm run demo -- [--addresses n]
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { Presets, SingleBar } from "cli-progress"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Pool from "effect/Pool"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Schema from "effect/Schema"
import * as Socket from "effect/socket/Socket"
import { Accounts } from "effect-dormouse/accounts/client"
import { Client } from "effect-dormouse/client"
import { ChatApi } from "./api.ts"
import { checkChannels, checkMessages, type Sent } from "./demo-check.ts"
import { type Address, addresses } from "./demo-corpus.ts"
import { checkWatchers, watch } from "./demo-watchers.ts"
import type { Message } from "./schema.ts"
import * as Server from "./server.ts"

/** Clients that send, each over its own socket. */
const clients = 16

/** Clients that only watch, each a client of Dormouse. */
const watchers = 200

/** The database differs from what was sent, or the values of a watcher differ from the database. */
class CheckFailed extends Schema.TaggedError<CheckFailed>()("CheckFailed", { problems: Schema.Array(Schema.String) }) {
  // The problems are already printed.
  override readonly [Runtime.errorReported] = false
}

/**
 * Effect's own RPC client, which works because the contract is an ordinary `RpcGroup`, with an account of its own: who
 * sends a message must have one.
 */
const connect = Effect.fnUntraced(function* (url: string) {
  const accounts = yield* Client.make(Accounts.AccountsApi, { url })
  const { accessToken, account } = yield* Effect.orDie(accounts.act("accounts.anonymous", {}))
  const socket = Socket.layerWebSocket(`${url.replace("http", "ws")}/rpc`, {
    protocols: ["dormouse", `dormouse.bearer.${Redacted.value(accessToken)}`]
  })
  const protocol = RpcClient.layerProtocolSocket({ pingTimeout: "1 minute" }).pipe(
    Layer.provide([RpcSerialization.layerJson, socket]),
    Layer.provide(Socket.layerWebSocketConstructorGlobal)
  )
  const rpcs = yield* RpcClient.make(ChatApi).pipe(Effect.provideContext(yield* Layer.build(protocol)))
  return { rpcs, account }
})

type Sender = Effect.Success<ReturnType<typeof connect>>

/** Creates the channel of a speech. */
const open = ({ rpcs }: Sender, address: Address) =>
  Effect.map(rpcs["channels.create"]({ name: address.channel, access: "public" }), (channel) => ({ address, channel }))

/** Sends a speech over one client, each message after the answer to the one before. */
const send = Effect.fnUntraced(function* (
  { account, rpcs }: Sender,
  { address, channel }: Effect.Success<ReturnType<typeof open>>,
  onSent: (latency: Duration.Duration) => void
) {
  const messages: Array<Message> = []
  for (const body of address.messages) {
    const [latency, message] = yield* Effect.timed(rpcs["messages.send"]({ channel: channel.id, body }))
    messages.push(message)
    onSent(latency)
  }
  return { address, author: account, channel, messages } satisfies Sent
})

/** Reads everything back and returns the differences from what was sent. */
const check = Effect.fnUntraced(function* (pool: Pool.Pool<Sender>, sent: ReadonlyArray<Sent>) {
  const channels = yield* Pool.use(pool, ({ rpcs }) => rpcs["channels.list"]({}))
  const messages = yield* Effect.forEach(
    sent,
    (each) =>
      Pool.use(pool, ({ rpcs }) => rpcs["messages.list"]({ channel: each.channel.id, limit: 1000 })).pipe(
        Effect.map((listed) => checkMessages(each, listed))
      ),
    { concurrency: clients }
  )
  return [...checkChannels(sent, channels), ...messages.flat()]
})

const demo = Effect.fnUntraced(function* (chosen: ReadonlyArray<Address>) {
  const url = yield* Server.make({ port: 0, data: yield* temporaryFolder })
  const pool = yield* Pool.make({ acquire: connect(url), size: clients })
  const total = chosen.reduce((sum, { messages }) => sum + messages.length, 0)
  yield* Console.log(`${number(total)} messages, ${number(chosen.length)} channels, ${clients} clients, ${url}`)

  const opened = yield* Effect.forEach(chosen, (address) => Pool.use(pool, (sender) => open(sender, address)), {
    concurrency: clients
  })

  const watching = yield* watch(
    url,
    opened.map(({ channel }) => channel),
    watchers
  )
  yield* Console.log(`${watchers} watchers, each with a socket and two live queries`)

  const latencies: Array<number> = []
  const bar = yield* progressBar(total)
  const onSent = (latency: Duration.Duration) => {
    latencies.push(Duration.toMillis(latency))
    bar.increment()
  }
  const [time, sent] = yield* Effect.forEach(opened, (each) => Pool.use(pool, (sender) => send(sender, each, onSent)), {
    concurrency: clients
  }).pipe(Effect.timed)
  bar.stop()
  yield* Console.log(figures(Duration.toSeconds(time), latencies))

  const problems = [...(yield* check(pool, sent)), ...(yield* checkWatchers(url, watching))]
  if (problems.length > 0) {
    yield* Console.error(`database  WRONG\n${problems.map((problem) => `  ${problem}`).join("\n")}`)
    return yield* new CheckFailed({ problems })
  }
  yield* Console.log(`database  every message exactly once and in order, in each of ${number(sent.length)} channels`)
  const changes = watching.reduce((sum, { changes }) => sum + changes, 0)
  yield* Console.log(`live      ${number(changes)} changes shown; ${watchers} watchers show what the database holds`)
})

const figures = (seconds: number, latencies: ReadonlyArray<number>): string => {
  const sorted = latencies.toSorted((a, b) => a - b)
  const percentile = (share: number) => (sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN).toFixed(1)
  return `sent      ${number(sorted.length)} messages in ${seconds.toFixed(1)} s, ${number(sorted.length / seconds)} messages/s
latency   p50 ${percentile(0.5)} ms, p99 ${percentile(0.99)} ms`
}

const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "dormouse-demo-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

/** A progress bar. Shown only on a terminal. */
const progressBar = (total: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const bar = new SingleBar(
        { format: "{bar} {percentage}%  {value}/{total}  {eta_formatted} left" },
        Presets.shades_classic
      )
      bar.start(total, 0)
      return bar
    }),
    (bar) => Effect.sync(() => bar.stop())
  )

const number = (value: number): string => Math.round(value).toLocaleString("en")

const { values: options } = parseArgs({ options: { addresses: { type: "string" } } })
const chosen = addresses().slice(0, options.addresses === undefined ? undefined : Number(options.addresses))
demo(chosen).pipe(Effect.scoped, Server.runMain)
