import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { app } from "../examples/chat/app.ts"
import * as Backend from "../src/engine/Backend.ts"
import * as MemoryDatabase from "../src/layers/memory/Database.ts"
import { Database } from "../src/services/Database.ts"

const tasks: Array<() => void> = []
let n = 0
let attaches = 0,
  attached = 0
const make = () => ({
  sent: [] as string[],
  att: null as any,
  send(t: string) {
    this.sent.push(t)
  },
  close() {
    throw new Error("closed")
  },
  attachment() {
    return this.att
  },
  attach(v: any) {
    attaches++
    attached += v.length
    this.att = v
  }
})
const sockets = new Set<any>()
const host: any = {
  sockets: () => sockets,
  afterCommit: (t: any) => tasks.push(t),
  soon: (t: any) => tasks.push(t),
  act() {},
  now: Date.now,
  socketId: () => `s${n++}-aaaa-bbbb-cccc`
}
const sqlite = new DatabaseSync(":memory:", { enableForeignKeyConstraints: true })
const boot = () =>
  Effect.runPromise(
    Backend.make(app as any, host).pipe(
      Effect.provideService(Database, MemoryDatabase.make(sqlite)),
      Scope.provide(Scope.makeUnsafe())
    ) as any
  ) as Promise<any>
let b = await boot()
const session = { tenant: "main", identity: { subject: null, claims: {} } }
const run = () => {
  while (tasks.length) tasks.shift()!()
}
const writer = make()
sockets.add(writer)
b.sockets.open(writer, session)
const call = (tag: string, payload: any) => {
  b.sockets.message(writer, JSON.stringify({ _tag: "Request", id: "w", tag, payload, headers: [] }))
  const m = [JSON.parse(writer.sent.pop()!)].flat()
  if (m[0].exit._tag !== "Success") throw new Error(JSON.stringify(m))
  return m[0].exit.value
}
const mk = (i: number) => call("channels.create", { name: "c" + i }).id
const time = (f: () => void) => {
  const t = performance.now()
  f()
  return performance.now() - t
}
const med = (xs: number[]) => xs.sort((a, b) => a - b)[xs.length >> 1]!
const fmt = (x: number) => x.toFixed(3) + " ms"
const send = (ch: string) =>
  call("messages.send", {
    channel: ch,
    author: "ada",
    body: "hello hello hello hello hello hello hello hello hello hello"
  })

async function same(count: number) {
  const ch = mk(n++)
  for (let i = 0; i < 50; i++) send(ch)
  const socks: any[] = []
  for (let i = 0; i < count; i++) {
    const s = make()
    sockets.add(s)
    b.sockets.open(s, session)
    b.sockets.message(
      s,
      JSON.stringify({
        _tag: "Request",
        id: String(i),
        tag: "live:messages.list",
        payload: { channel: ch, limit: 50 },
        headers: []
      })
    )
    socks.push(s)
  }
  run()
  const acks = () => {
    for (let i = 0; i < count; i++) {
      const s = socks[i]
      s.sent.length = 0
      b.sockets.message(s, JSON.stringify({ _tag: "Ack", requestId: String(i) }))
    }
  }
  acks()
  run()
  const w: number[] = [],
    f: number[] = [],
    a: number[] = [],
    r: number[] = []
  for (let k = 0; k < 60; k++) {
    w.push(time(() => send(ch)))
    f.push(time(() => tasks.shift()!()))
    a.push(time(acks))
    r.push(time(run))
  }
  console.log(
    `same list, ${count} sockets: write ${fmt(med(w))}, flush ${fmt(med(f))}, ${count} acks ${fmt(med(a))}, remember ${fmt(med(r))}`
  )
  return () => {
    for (const s of socks) {
      b.sockets.closed(s)
      sockets.delete(s)
    }
  }
}
async function lists(total: number, per: number) {
  const chans = Array.from({ length: total }, () => mk(n++))
  for (const c of chans.slice(0, 1)) for (let i = 0; i < 10; i++) send(c)
  const socks: any[] = []
  for (let i = 0; i < total / per; i++) {
    const s = make()
    sockets.add(s)
    b.sockets.open(s, session)
    socks.push(s)
    for (let j = 0; j < per; j++)
      b.sockets.message(
        s,
        JSON.stringify({
          _tag: "Request",
          id: String(j),
          tag: "live:messages.list",
          payload: { channel: chans[i * per + j], limit: 50 },
          headers: []
        })
      )
    for (let j = 0; j < per; j++) b.sockets.message(s, JSON.stringify({ _tag: "Ack", requestId: String(j) }))
  }
  run()
  const w: number[] = [],
    f: number[] = [],
    r: number[] = []
  for (let k = 0; k < 60; k++) {
    w.push(time(() => send(chans[0]!)))
    f.push(time(() => tasks.shift()!()))
    b.sockets.message(socks[0], JSON.stringify({ _tag: "Ack", requestId: "0" }))
    r.push(time(run))
  }
  console.log(
    `${total} lists on ${total / per} sockets, one touched: write ${fmt(med(w))}, flush ${fmt(med(f))}, remember ${fmt(med(r))}`
  )
  return () => {
    for (const s of socks) {
      b.sockets.closed(s)
      sockets.delete(s)
    }
  }
}
const end0 = await same(1)
end0()
const end = await same(500)
if (process.argv[2] === "wake") {
  console.log(
    "wake with 500:",
    fmt(time(() => {})),
    await (async () => {
      const t = performance.now()
      b = await boot()
      return fmt(performance.now() - t)
    })()
  )
}
end()
;(await lists(10, 10))()
;(await lists(500, 1))()
;(await lists(5000, 10))()
;(await lists(5000, 5000))()
