import { Miniflare } from "miniflare"

const code = `
import { DurableObject } from "cloudflare:workers"
const ways = {
  sync: (s) => s.storage.sync(),
  syncwait: (s) => s.storage.sync().then(() => scheduler.wait(0)),
  wait: () => scheduler.wait(0),
  timeout: () => new Promise((r) => setTimeout(r, 0)),
  micro: () => Promise.resolve(),
  mc: () => new Promise((r) => { const c = new MessageChannel(); c.port1.onmessage = () => { c.port1.close(); r() }; c.port2.postMessage(0) }),
  syncmc: (s) => s.storage.sync().then(() => new Promise((r) => { const c = new MessageChannel(); c.port1.onmessage = () => { c.port1.close(); r() }; c.port2.postMessage(0) })),
  syncsync: (s) => s.storage.sync().then(() => s.storage.sync()),
  sync4: (s) => s.storage.sync().then(() => s.storage.sync()).then(() => s.storage.sync()).then(() => s.storage.sync()),
  pair: (s, o) => s.storage.sync().then(() => new Promise((r) => { o.pairDone = r; o.pairClient.send("x") })),
  bcw: (s) => s.storage.sync().then(() => s.blockConcurrencyWhile(async () => {})),
  alarmget: (s) => s.storage.sync().then(() => s.storage.getAlarm()),
  stream: (s) => s.storage.sync().then(async () => { const t = new IdentityTransformStream(); const w = t.writable.getWriter(); const p = w.write(new Uint8Array(1)); const r = t.readable.getReader(); await r.read(); await p; }),
  digest: (s) => s.storage.sync().then(() => crypto.subtle.digest("SHA-256", new Uint8Array(8))),
  self: (s, o) => s.storage.sync().then(() => o.env.T.get(o.ctx.id).ping()),
}
export class T extends DurableObject {
  constructor(ctx, env) { super(ctx, env); ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v TEXT)")
    const p = new WebSocketPair(); this.pairClient = p[0]; p[0].accept(); p[1].accept(); p[1].addEventListener("message", () => this.pairDone && this.pairDone()) }
  ping() {}
  fetch() { const { 0: a, 1: b } = new WebSocketPair(); this.ctx.acceptWebSocket(b); return new Response(null, { status: 101, webSocket: a }) }
  webSocketMessage(ws, m) {
    const { way, burn } = JSON.parse(m)
    this.ctx.storage.transactionSync(() => this.ctx.storage.sql.exec("INSERT INTO t (v) VALUES ('hello')"))
    ws.send("answer")
    this.ctx.waitUntil(ways[way](this.ctx, this).then(() => { let x = 0; for (let i = 0; i < burn; i++) x = (x * 31 + i) | 0; ws.send("frame" + x) }))
  }
}
export default { fetch: (r, env) => env.T.getByName("a").fetch(r) }
`
const mf = new Miniflare({
  workers: [
    {
      config: {
        type: "worker",
        name: "worker",
        compatibilityDate: "2026-09-01",
        manifest: { mainModule: "worker.js", modules: { "worker.js": { type: "esm", contents: code } } },
        exports: { T: { type: "durable-object", storage: "sqlite" } },
        env: { T: { type: "durable-object", worker: "worker", exportName: "T" } }
      } as any,
      dev: { unsafeDirectSockets: [{}] }
    } as any
  ]
} as any)
const url = await (mf as any).unsafeGetDirectURL("worker")
const { WebSocket } = await import("ws")
const ws = new WebSocket(String(url).replace("http", "ws")) as any
await new Promise((r) => ws.once("open", r))
const once = (way: string, burn: number) =>
  new Promise<[number, number]>((resolve) => {
    const t0 = performance.now()
    let a = 0
    ws.removeAllListeners("message")
    ws.on("message", (d: any) => {
      const s = d.toString()
      if (s === "answer") a = performance.now() - t0
      else resolve([a, performance.now() - t0])
    })
    ws.send(JSON.stringify({ way, burn }))
  })
const med = (xs: number[]) => xs.sort((a, b) => a - b)[xs.length >> 1]!
const ways = (
  process.argv[2] ?? "micro,sync,wait,timeout,syncwait,mc,syncmc,syncsync,sync4,pair,bcw,alarmget,stream,digest,self"
).split(",")
for (const way of ways) {
  for (const burn of [0, 20_000_000]) {
    const as: number[] = [],
      fs: number[] = []
    for (let i = 0; i < 60; i++) {
      const [a, f] = await once(way, burn)
      as.push(a)
      fs.push(f)
      await new Promise((r) => setTimeout(r, 10))
    }
    console.log(way.padEnd(10), String(burn).padEnd(9), "answer", med(as).toFixed(2), "frame", med(fs).toFixed(2))
  }
}
ws.close()
await mf.dispose()
