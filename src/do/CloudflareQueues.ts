/**
 * `CloudflareQueues.serve(app, { queues })`: `Cloudflare.serve` with queues that Cloudflare Queues carry.
 * The object sends calls to the binding after its commit; the Worker handles them in its `queue`. The rows stay in the object.
 */
import { env, exports } from "cloudflare:workers"
import type * as Rpc from "effect/rpc/Rpc"
import type { App } from "../contract/App.ts"
import type { Broker } from "../contract/Jobs.ts"
import { readAnswers } from "../engine/rpc/Ndjson.ts"
import * as QueueConsumer from "../engine/worker/QueueConsumer.ts"
import { carriedBy } from "../services/Broker.ts"
import { type AppWorker, type Deployment, type ServeOptions, serve as serveApp } from "./Cloudflare.ts"
import { exportsOf, Flushing, fetchActions, HostRuntime } from "./Host.ts"
import type { WorkerContext } from "./Platform.ts"

/** The options of `Cloudflare.serve`, and the queues. */
export interface QueuesOptions<R = never, ActionServices = never> extends ServeOptions<R, ActionServices> {
  /** By the name of a queue, the binding of the Cloudflare Queue that carries its messages. The object delivers all others. */
  readonly queues: Readonly<Record<string, string>>
}

/** The binding of a Cloudflare Queue, as far as it is used. */
interface QueueBinding {
  readonly sendBatch: (
    messages: ReadonlyArray<{ readonly body: unknown; readonly contentType: "json" }>
  ) => Promise<unknown>
}

/** What a Cloudflare Queue delivers, as far as it is used. */
interface MessageBatch {
  readonly messages: ReadonlyArray<{
    readonly body: unknown
    ack(): void
    retry(options?: { delaySeconds: number }): void
  }>
}

/** The Worker of an app that consumes its queues. A class that extends it can call `super.queue`. */
export interface QueueWorker extends AppWorker {
  queue(batch: MessageBatch): Promise<void>
}

/** What `serve` returns. */
export interface QueuesDeployment extends Pick<Deployment, "TenantObject"> {
  readonly worker: new (ctx: WorkerContext, env: Cloudflare.Env) => QueueWorker
}

/** Messages that the platform takes at once. */
const maxBatch = 100

/** Seconds after which the platform delivers a call again whose object could not be reached. */
const delaySeconds = 5

/**
 * The whole deployment of an app, some of whose queues are carried by Cloudflare Queues. Throws when the app has no queue of such
 * a name. The Worker must be a consumer of each of these Cloudflare Queues.
 */
export const serve = <Rpcs extends Rpc.Any, R = never, S = never, ActionServices = never, M = never>(
  app: App<Rpcs, S, ActionServices, M>,
  { queues, ...options }: QueuesOptions<R, ActionServices>
): QueuesDeployment => {
  const bindings = new Map(Object.entries(queues))
  const carried = carriedBy(app, brokerOf(bindings))
  const { TenantObject, worker } = serveApp(carried, options)
  // Made with the first batch. Its services are for log lines: handlers run with what `Cloudflare.serve` makes.
  let shared: { readonly runtime: HostRuntime<R>; readonly flushing: Flushing<R> } | undefined
  const makeShared = (env: Cloudflare.Env) => {
    const runtime = new HostRuntime(options, env)
    return { runtime, flushing: new Flushing(runtime, options) }
  }
  const consume = QueueConsumer.make(carried, {
    // A stub belongs to the request that made it: each call makes one.
    object: (name) => exportsOf({ exports }).TenantObject.getByName(name),
    act: async (request, session, signal) => {
      // A request of its own: the platform ends that one, and not the batch, when a handler has hung.
      const response = await fetchActions({ exports }, { session }, request, signal)
      for await (const message of readAnswers(response, request.id, app.limits)) {
        if (message._tag === "Exit") return message.exit
      }
      return undefined
    }
  })

  return {
    TenantObject,
    worker: class extends worker implements QueueWorker {
      override async queue({ messages }: MessageBatch): Promise<void> {
        shared ??= makeShared(this.env)
        const { flushing, runtime } = shared
        const verdicts = await runtime.runPromise(consume(messages.map(({ body }) => body)))
        for (const [i, message] of messages.entries()) {
          if (verdicts[i] === "again") message.retry({ delaySeconds })
          else message.ack()
        }
        flushing.request((work) => this.ctx.waitUntil(work))
      }
    }
  }
}

/** Sends calls to the bindings. */
const brokerOf = (bindings: ReadonlyMap<string, string>): Broker => ({
  queues: new Set(bindings.keys()),
  send: async (queue, calls) => {
    const binding = bindingOf(bindings.get(queue))
    for (let i = 0; i < calls.length; i += maxBatch) {
      const batch = calls.slice(i, i + maxBatch)
      await binding.sendBatch(batch.map((body) => ({ body, contentType: "json" })))
    }
  }
})

const bindingOf = (name: string | undefined): QueueBinding => {
  const bindings: Readonly<Record<string, unknown>> = { ...env }
  const binding = bindings[name ?? ""]
  if (isQueue(binding)) return binding
  throw new Error(`the environment has no queue ${name}: add it to "queues.producers" of the Worker's configuration`)
}

const isQueue = (binding: unknown): binding is QueueBinding =>
  typeof binding === "object" && binding !== null && "sendBatch" in binding
