/**
 * An app in one process of Node, inside the author's own Effect server: the engine of a Durable Object over a file of SQLite for
 * each tenant. Its routes are a layer of Effect's `HttpRouter`, and calls over HTTP are those of any deployment.
 */
import { mkdirSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type { App } from "../contract/App.ts"
import { TenantCalls } from "../contract/Calls.ts"
import { filesPath } from "../contract/Files.ts"
import * as Auth from "../services/Auth.ts"
import { objectNamePattern } from "../system/Names.ts"
import { TestApp, type TestAppOptions } from "../testing/TestApp.ts"

/** How an app is served in this process. */
export interface LocalServerOptions<Services = never, ActionServices = never, Middleware = never>
  extends Omit<TestAppOptions<Services, ActionServices, Middleware>, "broker" | "database" | "identity" | "routes"> {
  /** The folder of the databases, one file for each tenant. It is made if it is not there. One process may use it at a time. */
  readonly folder: string
}

/** An app that is served in this process. */
export class LocalServer extends Context.Service<
  LocalServer,
  {
    /** Answers a request to a path of Dormouse's, for a server that has no `HttpRouter`. */
    readonly handle: (request: Request) => Promise<Response>
  }
>()("effect-dormouse/LocalServer") {}

/**
 * Serves an app, for as long as the layer lives. Tenants with a database are started at once: what is due in them runs. Everybody is
 * anonymous unless `auth` is given.
 */
export const layer = <Rpcs extends Rpc.Any, Services, ActionServices, Middleware>(
  app: App<Rpcs, Services, ActionServices, Middleware>,
  { auth, folder, ...options }: LocalServerOptions<Services, ActionServices, Middleware>
): Layer.Layer<LocalServer | TenantCalls> => {
  // The backend of a test would accept the tokens of tests.
  const callers = auth === undefined ? { auth: Auth.layerAnonymous, enter: options.enter ?? (() => true) } : { auth }
  const database = (object: string) => openDatabase(join(folder, fileOf(object)))
  return Layer.effectContext(
    Effect.gen(function* () {
      yield* Effect.sync(() => mkdirSync(folder, { recursive: true }))
      const { calls, handle, object } = yield* TestApp
      const known = yield* Effect.sync(() => readdirSync(folder).flatMap((file) => objectIn(file) ?? []))
      yield* Effect.forEach(known, (name) => start(name, () => object(name).engine()), { discard: true })
      return Context.make(LocalServer, { handle }).pipe(Context.add(TenantCalls, calls))
    })
  ).pipe(Layer.provide(TestApp.layer(app, { ...options, ...callers, database })))
}

/** Starts an object that has a database. One that cannot start does not keep the others from it. */
const start = (name: string, engine: () => Promise<unknown>): Effect.Effect<void> =>
  Effect.promise(engine).pipe(
    Effect.asVoid,
    Effect.catchCause((cause) => Effect.logError(`the object ${name} could not start`, cause))
  )

/** The routes of the app, beside those of the author: `/rpc`, what is below it, `/files`, and the keys of `Auth.layerLocal`. */
export const routes: Layer.Layer<never, never, HttpRouter.HttpRouter | LocalServer> = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const { handle } = yield* LocalServer
    const answer = HttpEffect.fromWebHandler(handle)
    // Each of them also answers the path without the star.
    yield* router.add("*", "/rpc/*", Effect.orDie(answer))
    yield* router.add("*", `${filesPath}*`, Effect.orDie(answer))
    yield* router.add("GET", "/.well-known/jwks.json", Effect.orDie(answer))
  })
)

const extension = ".sqlite"

/** The file of an object. Some file systems do not tell capital letters from small ones. */
const fileOf = (object: string): string => object.replace(/[A-Z]/g, (letter) => `+${letter.toLowerCase()}`) + extension

/** The object of a file; `undefined` for another file, and for objects of the deployment itself, which are started when they are used. */
const objectIn = (file: string): string | undefined => {
  if (!file.endsWith(extension)) return undefined
  const name = file.slice(0, -extension.length).replace(/\+([a-z])/g, (_, letter: string) => letter.toUpperCase())
  return objectNamePattern.test(name) ? name : undefined
}

/** A commit is on disk when it is answered. */
const openDatabase = (path: string): DatabaseSync => {
  const database = new DatabaseSync(path, { enableForeignKeyConstraints: true })
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
  return database
}
