/// <reference types="node" />
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath, URL } from "node:url"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Tracer from "effect/Tracer"
import { Client } from "effect-dormouse/client"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { ChatApi } from "../../examples/minimal/api.ts"
import type { ChannelId } from "../../examples/minimal/schema.ts"
import { WorkerdProcess } from "../deployment/workerd.ts"

/** An OpenTelemetry collector: keeps what it is sent. */
class Collector {
  readonly spans: Array<any> = []
  readonly logs: Array<any> = []
  readonly metrics: Array<any> = []
  private readonly server: Server = createServer((request, response) => {
    let body = ""
    request.setEncoding("utf8").on("data", (chunk: string) => {
      body += chunk
    })
    request.on("end", () => {
      this.take(JSON.parse(body))
      response.writeHead(200, { "content-type": "application/json" }).end("{}")
    })
  })

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve))
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  close(): void {
    this.server.close()
    this.server.closeAllConnections()
  }

  private take({ resourceLogs = [], resourceMetrics = [], resourceSpans = [] }: any): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      for (const { spans } of scopeSpans) this.spans.push(...spans.map((span: any) => ({ ...span, resource })))
    }
    for (const { scopeLogs } of resourceLogs) for (const { logRecords } of scopeLogs) this.logs.push(...logRecords)
    for (const { scopeMetrics } of resourceMetrics)
      for (const { metrics } of scopeMetrics) this.metrics.push(...metrics)
  }
}

const attributesOf = ({ attributes }: any): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }: any) => [key, Object.values(value)[0]]))

const until = async <A>(what: string, find: () => A | undefined | false): Promise<A> => {
  for (let i = 0; i < 1000; i++) {
    const found = find()
    if (found !== undefined && found !== false) return found
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`waited in vain for ${what}`)
}

describe("examples/telemetry exports to a collector", () => {
  const collector = new Collector()
  let server: WorkerdProcess
  beforeAll(async () => {
    const entry = fileURLToPath(new URL("../../examples/telemetry/worker.ts", import.meta.url))
    server = await WorkerdProcess.start(entry, { OTLP_URL: await collector.listen() })
  })
  afterAll(async () => {
    await server.close()
    collector.close()
  })

  /** What `collector` has of a trace, as the names from the root to each span. */
  const pathsOf = (root: Tracer.Span): ReadonlyArray<string> => {
    const spans = collector.spans.filter(({ traceId }) => traceId === root.traceId)
    const pathOf = (span: any): string => {
      const parent = spans.find(({ spanId }) => spanId === span.parentSpanId)
      return parent === undefined ? span.name : `${pathOf(parent)} > ${span.name}`
    }
    return spans.map(pathOf)
  }

  it("one trace from the Worker to the delivery, with metrics", async () => {
    const roots: Array<Tracer.Span> = []
    const program = Effect.gen(function* () {
      const caller = yield* Client.make(ChatApi, { url: server.url })
      const watching = yield* Client.make(ChatApi, { url: server.url })
      const { id: channel } = yield* caller.mutate("channels.create", { name: "general" })
      const send = Effect.useSpan("page", (span) => {
        roots.push(span)
        return caller.mutate("messages.send", { channel, author: "ada", body: "one" }).pipe(Effect.withParentSpan(span))
      })
      yield* watching.live("messages.list", { channel, limit: 10 }).pipe(
        Stream.tap((list) => (list.length === 0 ? Effect.asVoid(Effect.forkChild(send)) : Effect.void)),
        Stream.takeUntil((list) => list.length === 1),
        Stream.runDrain
      )
    })
    await Effect.runPromise(Effect.scoped(program))
    const [root] = roots
    const call = "dormouse.gateway > dormouse.messages.send"
    const transaction = `${call} > dormouse.transaction`
    for (const path of [
      call,
      transaction,
      `${transaction} > dormouse.flush`,
      `${transaction} > dormouse.flush > dormouse.messages.list`,
      `${transaction} > dormouse.flush > dormouse.messages.list > dormouse.transaction`,
      `${transaction} > dormouse.flush > dormouse.delivery`
    ]) {
      // Beside the client's own spans, which this test does not export.
      await until(path, () => pathsOf(root!).includes(path))
    }
    const gateway = collector.spans.find(
      ({ name, traceId }) => name === "dormouse.gateway" && traceId === root!.traceId
    )
    expect(attributesOf(gateway)).toMatchObject({ "dormouse.tenant": "main" })
    expect(attributesOf(gateway.resource)).toMatchObject({ "service.name": "chat" })
    const frames = await until("metrics", () => collector.metrics.find(({ name }) => name === "dormouse_live_frames"))
    expect(frames.sum.dataPoints[0]).toBeDefined()
  })

  it("log lines have tenant, subject and rpc, and the trace of their call", async () => {
    const client = Effect.flatMap(Client.make(ChatApi, { url: server.url, tenant: "acme" }), (client) =>
      // The contract does not declare what an invalid cursor fails with.
      client.query("messages.page", { channel: "none" as ChannelId, size: 1, after: "no cursor", until: null })
    )
    const exit = await Effect.runPromiseExit(Effect.scoped(client))
    const [, id] = /under (\w+)/.exec(String(exit)) ?? []
    expect(id).toBeDefined()
    const record = await until("the log line", () => collector.logs.find((line) => attributesOf(line)["id"] === id))
    expect(attributesOf(record)).toMatchObject({ tenant: "acme", subject: "null", rpc: "messages.page" })
    expect(record.traceId).toMatch(/^[0-9a-f]{32}$/)
    // Spans and log lines are exported in requests of their own.
    await until("the span of the log line", () => collector.spans.some(({ spanId }) => spanId === record.spanId))
  })
})
