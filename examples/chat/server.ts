/// <reference types="node" />
import { randomUUID } from "node:crypto"
import { createServer } from "node:net"
import { fileURLToPath, URL } from "node:url"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Esbuild from "esbuild"
import { Miniflare } from "miniflare"

/** The Worker could not be bundled, or workerd could not be started. */
export class ServerError extends Schema.TaggedError<ServerError>()("ServerError", {
  problem: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return this.problem
  }
}

/** Another process listens at the port. */
export class PortTaken extends Schema.TaggedError<PortTaken>()("PortTaken", { port: Schema.Int }) {
  // The caller prints the message. A stack would add nothing.
  override readonly [Runtime.errorReported] = false
  override get message() {
    return `port ${this.port} is taken; choose another with the environment variable PORT`
  }
}

export interface Options {
  /** The folder of the databases. */
  readonly data: string
  /** 0 takes any free port. */
  readonly port: number
  /** The folder of the page, as `Page.build` left it. Without it there are only rpcs. */
  readonly page?: string
  /** The module of the Worker; that of the chat unless given. */
  readonly worker?: string
  /** Further variables of the Worker. */
  readonly variables?: Readonly<Record<string, string>>
}

/** The environment variable PORT. 0 takes any free port. */
export const port = Config.schema(
  Schema.NumberFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: 65_535 })),
  "PORT"
).pipe(Config.withDefault(8787))

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

/** Runs the Worker on a workerd of its own for as long as the scope is open; gives its URL. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const code = yield* bundle(options.worker ?? pathOf("worker.ts"))
  const port = yield* reserve(options.port)
  const server = yield* Effect.acquireRelease(
    Effect.try({
      try: () => withoutSignalHandlers(() => start({ ...options, port }, code)),
      catch: (cause) => new ServerError({ problem: "workerd could not be started", cause })
    }),
    // `dispose` rejects again when the start has failed.
    (server) => Effect.ignoreCause(Effect.promise(() => server.dispose()))
  )
  return yield* Effect.tryPromise({
    try: () => server.ready.then(({ origin }) => origin),
    catch: (cause) => new ServerError({ problem: "workerd could not be started", cause })
  })
})

/** The Worker as one module. Wrangler bundles in the same way when it deploys. */
const bundle = (entry: string) =>
  Effect.tryPromise({
    try: () =>
      Esbuild.build({
        entryPoints: [entry],
        bundle: true,
        write: false,
        format: "esm",
        target: "es2024",
        conditions: ["source", "workerd", "worker", "browser"],
        external: ["cloudflare:*"],
        logLevel: "silent"
      }),
    catch: (cause) => new ServerError({ problem: "the Worker could not be bundled", cause })
  }).pipe(
    // esbuild is a process of its own, and would wait for more to bundle.
    Effect.ensuring(Effect.promise(() => Esbuild.stop())),
    Effect.map((built) => built.outputFiles[0]!.text)
  )

const start = ({ data, page, port, variables = {} }: Options, code: string) =>
  new Miniflare({
    port,
    resourcePersistencePath: data,
    cf: false,
    workers: [
      {
        config: {
          type: "worker",
          name: "chat",
          compatibilityDate: "2026-09-01",
          compatibilityFlags: ["enable_request_signal"],
          manifest: { mainModule: "worker.js", modules: { "worker.js": { type: "esm", contents: code } } },
          env: {
            ...Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, { type: "text", value }])),
            // By this secret, an object knows the actions of its own Worker. Nothing is stored under it.
            ACCOUNTS_SECRET: { type: "text", value: randomUUID() + randomUUID() },
            // The files of messages. They are in the folder of the databases.
            FILES: { type: "r2", name: "chat-files" },
            // Browsers have passkeys for names alone, not for addresses such as 127.0.0.1.
            ORIGIN: { type: "text", value: `http://localhost:${port}` }
          },
          exports: { TenantObject: { type: "durable-object", storage: "sqlite" } },
          // Requests for anything but a file of the page go to the Worker, as with `assets` in wrangler.jsonc.
          ...(page === undefined ? {} : { assets: { directory: page, hasUserWorker: true } })
        }
      }
    ]
  })

/** A free port for 0. Another has to be free: workerd's own message is hard to read. */
const reserve = (port: number) =>
  Effect.callback<number, PortTaken>((resume) => {
    const probe = createServer()
    probe.once("error", () => resume(Effect.fail(new PortTaken({ port }))))
    probe.listen(port, "127.0.0.1", () => {
      const address = probe.address()
      const free = address !== null && typeof address === "object" ? address.port : port
      probe.close(() => resume(Effect.succeed(free)))
    })
  })

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const

/** Miniflare would exit on a signal without waiting for workerd to exit. */
const withoutSignalHandlers = <A>(make: () => A): A => {
  const before = new Set(signals.flatMap((signal) => process.listeners(signal)))
  const made = make()
  for (const signal of signals) {
    for (const listener of process.listeners(signal)) {
      if (!before.has(listener)) process.removeListener(signal, listener)
    }
  }
  return made
}

/** Runs an effect as the whole process. A signal to stop interrupts it, so that its scopes are closed: the normal end. */
export const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  for (const signal of signals) process.on(signal, () => fiber.interruptUnsafe())
  fiber.addObserver((exit) => teardown(exit, (code) => process.exit(code === 130 ? 0 : code)))
})
