/**
 * `dormouse dev`: the Worker and the page on this machine, with the Vite and the plugin of Cloudflare that the project has
 * installed. Both end with the command.
 */
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Vite from "vite"
import { Failure, Found } from "../Failure.ts"
import * as NodeVersion from "../NodeVersion.ts"
import * as Processes from "../Processes.ts"
import * as Project from "../Project.ts"
import * as Style from "../Style.ts"
import * as Log from "./Log.ts"
import * as TenantState from "./TenantState.ts"

const Port = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))

const flags = {
  port: Flag.Int("port").pipe(
    Flag.withAlias("p"),
    Flag.withSchema(Port),
    Flag.withDescription("The port; 5173, or the next one that is free, unless given"),
    Flag.optional
  ),
  host: Flag.Boolean("host").pipe(
    Flag.withDescription("Listen on the network, too, for example for a phone"),
    Flag.withDefault(false)
  )
}

const checkNode = Effect.suspend(() => {
  const { node } = process.versions
  if (!NodeVersion.isTooOld(node)) return Effect.void
  return new Failure({
    problem: `this is Node ${node}, and the tools of Cloudflare need ${NodeVersion.needed} or newer`,
    remedy: "run it as `npm run dev`, which finds the Node of the project, or install a newer one"
  })
})

/** How long the Worker may need to take an edit, in milliseconds, before pages ask for it. */
const settleTime = 150

/** How long a file must stay as it is before it counts as written, in milliseconds, and how often that is looked at. */
const whole = { stabilityThreshold: 30, pollInterval: 10 }

/** How long the end of Vite and of workerd may take. */
const closeTime = "5 seconds"

/**
 * Loads pages again when code of the Worker has changed. Their sockets stay open while an object takes the new code, and its live
 * queries would show what the old code has answered until a row changes.
 */
const reloadPages = (): Vite.Plugin => {
  let pending: ReturnType<typeof setTimeout> | undefined
  return {
    name: "dormouse:reload-pages",
    hotUpdate({ modules, server }) {
      // What pages import themselves, Vite updates in them.
      if (this.environment.name === "client" || modules.length === 0) return
      clearTimeout(pending)
      pending = setTimeout(() => server.environments.client.hot.send({ type: "full-reload" }), settleTime)
    }
  }
}

/** The code or the configuration has a mistake, and the app has not started. */
class NotStarted extends Schema.TaggedError<NotStarted>()("NotStarted", { reason: Schema.String }) {}

/** A port was free when the tools looked for one, and taken when they opened it. */
class PortTaken extends Schema.TaggedError<PortTaken>()("PortTaken", { reason: Schema.String }) {}

/** How often the command starts. Of apps that start at the same moment one gets its port each time. */
const maxStarts = 8

/** The variable by which a start that follows another one knows how many there were. */
const startsVariable = "DORMOUSE_DEV_STARTS"

/**
 * Starts the command again, in a process of its own: of apps that start at the same moment one takes the port that another has
 * found free, such as that of the debugger, and the tools keep that failure for as long as their process lives.
 */
const startAgain = Effect.fnUntraced(function* ({ reason }: PortTaken) {
  const starts = yield* Effect.orDie(Config.withDefault(Config.Int(startsVariable), 1))
  if (starts >= maxStarts) {
    const remedy = "end the program that has the port, or choose another port in the Vite config"
    return yield* new Failure({ problem: reason, remedy })
  }
  yield* Console.log("Another program took a port meanwhile: it starts again.\n")
  yield* Effect.sleep(yield* Random.nextIntBetween(0, 1000))
  const args = [...process.execArgv, ...process.argv.slice(1)]
  const env = { [startsVariable]: String(starts + 1) }
  const code = yield* Processes.inherit(process.execPath, args, { folder: process.cwd(), env })
  if (code !== 0) return yield* new Found()
})

/** Says that it waits, and waits until a file of the project is saved. */
const edited = Effect.fnUntraced(function* ({ folder }: Project.Project) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const source = path.join(folder, "src")
  const isThere = yield* fs.exists(source)
  const watching = yield* Deferred.make<void>()
  let unready = isThere ? 2 : 1
  const onReady = () => {
    if (--unready === 0) Deferred.doneUnsafe(watching, Exit.void)
  }
  const changes = [fs.watch(folder, { onReady }), ...(isThere ? [fs.watch(source, { recursive: true, onReady })] : [])]
  yield* Effect.forkChild(
    Effect.andThen(Deferred.await(watching), Console.log("It starts when this is corrected and saved."))
  )
  yield* Stream.mergeAll(changes, { concurrency: "unbounded" }).pipe(Stream.take(1), Stream.runDrain)
})

/** Starts the app. After a mistake it says what is wrong, and tries again when something was saved. */
const startWhenRight = Effect.fnUntraced(function* (project: Project.Project, options: Parameters<typeof serve>[1]) {
  const { red } = yield* Style.style
  const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
  while (true) {
    const started = yield* Effect.result(Style.step("starting", serve(project, options)))
    if (Result.isSuccess(started)) return started.success
    if (started.failure._tag !== "NotStarted") return yield* Effect.fail(started.failure)
    yield* Console.error(`${red("error")} ${Log.shown(started.failure.reason, canColor)}\n`)
    yield* edited(project)
  }
})

/** Starts Vite with the Worker. It is closed with the scope, and workerd with it. */
const serve = Effect.fnUntraced(function* (
  project: Project.Project,
  options: { readonly port: Option.Option<number>; readonly host: boolean }
) {
  // Nothing is asked of Cloudflare: where a request comes from is made up.
  process.env["CLOUDFLARE_CF_FETCH_ENABLED"] ??= "false"
  const vite = yield* Project.importPackage<typeof Vite>(project, "vite")
  const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
  const port = Option.match(options.port, { onNone: () => ({}), onSome: (port) => ({ port, strictPort: port !== 0 }) })
  const server = yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: () =>
        vite.createServer({
          root: project.folder,
          clearScreen: false,
          plugins: [reloadPages()],
          customLogger: Log.make(vite.createLogger("info"), canColor),
          // An editor empties a file before it writes it: what is read between has no handlers.
          server: { ...port, ...(options.host && { host: true }), watch: { awaitWriteFinish: whole } }
        }),
      catch: (cause) => {
        const reason = cause instanceof Error ? Log.withoutStack(cause.message) : String(cause)
        return reason.includes("EADDRINUSE") ? new PortTaken({ reason }) : new NotStarted({ reason })
      }
    }),
    // What does not close in time ends with the process.
    (server) =>
      Effect.ignoreCause(Effect.timeout(Effect.interruptible(Effect.promise(() => server.close())), closeTime))
  )
  if (!server.config.plugins.some(({ name }) => name.startsWith("vite-plugin-cloudflare"))) {
    return yield* new Failure({
      problem: "the Vite config of this project does not run the Worker",
      remedy: "add cloudflare() of @cloudflare/vite-plugin to its plugins"
    })
  }
  yield* Effect.tryPromise({
    try: () => server.listen(),
    catch: (cause) =>
      new Failure({
        problem: Option.match(options.port, {
          onNone: () => "no port could be opened",
          onSome: (port) => `port ${port} could not be opened`
        }),
        remedy: "choose another with --port",
        cause
      })
  })
  return server
})

/** `dormouse dev` */
export const dev = Command.make(
  "dev",
  flags,
  Effect.fnUntraced(
    function* (options) {
      yield* checkNode
      const project = yield* Project.find
      const style = yield* Style.style
      const server = yield* startWhenRight(project, options)
      const { local = [], network = [] } = server.resolvedUrls ?? {}
      for (const url of local) yield* Console.log(`  ${style.bold("local  ")} ${style.cyan(url)}`)
      for (const url of network) yield* Console.log(`  ${style.bold("network")} ${style.cyan(url)}`)
      if (network.length === 0) yield* Console.log(style.dim("  network: --host shows the page to other devices"))
      yield* Console.log(style.dim("  Edits are live when they are saved. Ctrl-C ends it.\n"))
      const [url] = local
      if (url !== undefined) yield* Effect.forkScoped(TenantState.show(project.folder, url))
      return yield* Effect.never
    },
    Effect.scoped,
    Effect.catchTag("PortTaken", startAgain)
  )
).pipe(
  Command.withDescription(
    "Runs the Worker and the page on this machine, in the runtime of Cloudflare, without an account.\n\n  " +
      "The page is at the URL that it prints, and the Worker answers at /rpc of the same URL. Rows are kept in .wrangler/state " +
      "from one start to the next; delete the folder to begin anew. What is saved is live within a second."
  ),
  Command.withShortDescription("Run the Worker and the page on this machine"),
  Command.withExamples([
    { command: "dormouse dev", description: "At the first free port from 5173 on" },
    { command: "dormouse dev --port 3000 --host", description: "At this port, also for other devices" }
  ])
)
