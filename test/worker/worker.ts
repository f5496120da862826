import { DurableObject } from "cloudflare:workers"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Otlp from "effect/observability/Otlp"
import * as OtlpExporter from "effect/observability/OtlpExporter"
import { Api, App, Handlers } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { CloudflareQueues } from "effect-dormouse/cloudflare/queues"
import { Blobs } from "effect-dormouse/files"
import { ChatApi } from "../../examples/minimal/api.ts"
import { ChatHandlers } from "../../examples/minimal/handlers.ts"
import { channels, messages } from "../../examples/minimal/schema.ts"
import { make } from "../../src/do/TenantObject.ts"
import { Authenticator } from "../../src/services/Authenticator.ts"
import { app as marksApp } from "../client/mutationApp.ts"
import * as Callers from "../frontDoor/callers.ts"
import * as Operated from "./admin.ts"
import { openDoors, smallDoors } from "./doors.ts"
import * as Feeds from "./feeds.ts"
import * as FilesApp from "./files.ts"
import * as Flows from "./flows.ts"
import * as Guarded from "./guarded.ts"
import * as HttpApp from "./http.ts"
import * as Jobs from "./jobs.ts"
import { ledgerApp } from "./ledger.ts"
import * as ListsApp from "./lists.ts"
import * as Notes from "./notes.ts"
import * as Schedules from "./schedules.ts"
import * as Sessions from "./sessions.ts"
import { reached, starts } from "./starts.ts"
import * as System from "./system.ts"
import * as Registered from "./tenants.ts"
import * as TopicsApp from "./topics.ts"

/** One app of the chat, of `notes.ts`, of `guarded.ts` and of `sessions.ts`. */
const app = App.make({
  api: Api.merge(ChatApi, Notes.NotesApi, Guarded.GuardedApi, Sessions.SessionsApi),
  tables: [channels, messages, Notes.notes, Notes.marks, Guarded.lines, Sessions.entries],
  handlers: Handlers.merge(ChatHandlers, Notes.NotesHandlers, Guarded.guardedHandlers, Sessions.SessionsHandlers),
  middleware: Guarded.GuardLive,
  services: Guarded.NamesLive,
  actionServices: Guarded.NamesLive
})

/** Callers at the host of the front door's fuzzer have tokens; others are named by a header. */
const auth = Layer.effect(
  Authenticator,
  Effect.gen(function* () {
    const others = Context.get(
      yield* Layer.build(Auth.layerFirst(System.auth, Sessions.authOr(Guarded.auth))),
      Authenticator
    )
    const door = Context.get(yield* Layer.build(Callers.listed.layer), Authenticator)
    return {
      authenticate: (credentials) =>
        (new URL(credentials.request.url).hostname === Callers.doorHost ? door : others).authenticate(credentials)
    }
  })
)

const served = Cloudflare.serve(app, {
  tenants: Callers.exists,
  auth,
  enter: (entering) => (Callers.isAtDoor(entering) ? Callers.enter(entering) : Sessions.enter(entering)),
  explain: Callers.explain
})

/** The notes with a registry of tenants. */
const registered = Cloudflare.serve(Notes.app, Registered.options)

/** The versions of the app with jobs. */
const scheduled = {
  first: Cloudflare.serve(Schedules.first, Schedules.options),
  second: Cloudflare.serve(Schedules.second, Schedules.options)
}
const bound = { works: "WORKS", changing: "CHANGING" }
const carried = {
  first: CloudflareQueues.serve(Schedules.first, {
    ...Schedules.options,
    queues: { ...bound, tasks: "TASKS", groups: "GROUPS", olds: "OLDS" }
  }),
  second: CloudflareQueues.serve(Schedules.second, { ...Schedules.options, queues: bound })
}
/** The versions of the app with workflows. */
const flows = {
  first: Cloudflare.serve(Flows.app, Flows.options),
  second: Cloudflare.serve(Flows.withoutOrders, Flows.options)
}
const versionOf = (deployed: ReadonlySet<string>, tenant: string) => (deployed.has(tenant) ? "second" : "first")
const scheduledOf = (tenant: string) =>
  Flows.isFlow(tenant)
    ? flows[versionOf(Flows.deployed, tenant)]
    : (Schedules.isCarried(tenant) ? carried : scheduled)[versionOf(Schedules.deployed, tenant)]
const isScheduled = (tenant: string | null | undefined) => Schedules.isScheduled(tenant) || Flows.isFlow(tenant)

/** The app with topics. */
const published = Cloudflare.serve(TopicsApp.app, TopicsApp.options)

/** The app with change feeds. */
const fed = Cloudflare.serve(Feeds.app, Feeds.options)
/** The app with files, in a bucket of R2. */
const stored = Cloudflare.serve(FilesApp.makeApp(Blobs.layerR2("FILES")), FilesApp.options)

/** The app with routes, and with queries by GET. */
const routed = Cloudflare.serve(HttpApp.app, HttpApp.options)

/** The app that is operated by a key. */
const operated = Cloudflare.serve(Operated.app, Operated.options)

/** The Worker of the app, with a route of the author's own. The tenants of the registry have the Worker of theirs. */
export default class extends served.worker {
  override async fetch(request: Request): Promise<Response> {
    const { session } = (this.ctx.props ?? {}) as { readonly session?: { readonly tenant: string } }
    const tenant = session?.tenant ?? request.headers.get("x-dormouse-tenant") ?? FilesApp.tenantIn(request.url)
    if (Operated.isOperated(tenant) || (Operated.isAdminRequest(request.url) && !Registered.isRegistered(tenant))) {
      return new operated.worker(this.ctx, this.env).fetch(request)
    }
    if (isScheduled(tenant)) return new (scheduledOf(String(tenant)).worker)(this.ctx, this.env).fetch(request)
    if (TopicsApp.isTopics(tenant)) return new published.worker(this.ctx, this.env).fetch(request)
    if (Feeds.isFeeds(tenant)) return new fed.worker(this.ctx, this.env).fetch(request)
    if (HttpApp.isHttp(tenant)) return new routed.worker(this.ctx, this.env).fetch(request)
    if (FilesApp.isFiles(tenant)) return new stored.worker(this.ctx, this.env).fetch(request)
    if (Registered.isRegistered(tenant)) {
      return new registered.worker(this.ctx, this.env).fetch(request)
    }
    if (new URL(request.url).pathname === "/hello") return new Response("hello")
    return super.fetch(request)
  }

  /** Only the app with routes has cron triggers. */
  override async scheduled(trigger: Cloudflare.CronTrigger): Promise<void> {
    await new routed.worker(this.ctx, this.env).scheduled(trigger)
  }

  /** The version that a tenant has handles its messages. */
  override async queue(batch: MessageBatch<any>): Promise<void> {
    for (const version of ["first", "second"] as const) {
      const messages = batch.messages.filter(({ body }) => versionOf(Schedules.deployed, body?.tenant) === version)
      await new carried[version].worker(this.ctx, this.env).queue({ messages })
    }
  }
}

type Arguments = ConstructorParameters<typeof served.TenantObject>

/** Counts the starts of its objects. */
const counted = (Base: typeof served.TenantObject) =>
  class extends Base {
    constructor(...[ctx, env]: Arguments) {
      super(ctx, env)
      const id = ctx.id.toString()
      starts.set(id, (starts.get(id) ?? 0) + 1)
    }
  }

/** Counts what reaches it. */
export class TenantObject extends counted(served.TenantObject) {
  // biome-ignore lint/correctness/noUnreachableSuper: a namespace has one class, and some objects belong to another app
  constructor(...[ctx, env]: Arguments) {
    const Other = Registered.isRegistered(ctx.id.name)
      ? RegisteredObject
      : TopicsApp.isTopics(ctx.id.name)
        ? PublishedObject
        : Feeds.isFeeds(ctx.id.name)
          ? FedObject
          : FilesApp.isFiles(ctx.id.name)
            ? StoredObject
            : HttpApp.isHttp(ctx.id.name)
              ? RoutedObject
              : Operated.isOperated(ctx.id.name)
                ? OperatedObject
                : isScheduled(ctx.id.name) && counted(scheduledOf(ctx.id.name!).TenantObject)
    // biome-ignore lint/correctness/noConstructorReturn: the same
    if (Other !== false) return new Other(ctx, env) as never
    super(ctx, env)
  }

  private count(): void {
    const id = this.ctx.id.toString()
    reached.set(id, (reached.get(id) ?? 0) + 1)
  }
  override call(...call: Parameters<InstanceType<typeof served.TenantObject>["call"]>) {
    this.count()
    return super.call(...call)
  }
  override readQuery(...call: Parameters<InstanceType<typeof served.TenantObject>["readQuery"]>) {
    this.count()
    return super.readQuery(...call)
  }
  override fetch(request: Request) {
    this.count()
    return super.fetch(request)
  }
  override explain() {
    this.count()
    return super.explain()
  }
}

class PublishedObject extends counted(published.TenantObject) {}

class FedObject extends counted(fed.TenantObject) {}
class StoredObject extends counted(stored.TenantObject) {}
class OperatedObject extends counted(operated.TenantObject) {}

class RoutedObject extends counted(routed.TenantObject) {}

class RegisteredObject extends counted(registered.TenantObject) {}

/** Answers pings in the object, without the platform's automatic response. */
export class Pinged extends counted(
  class extends served.TenantObject {
    constructor(...[ctx, env]: Arguments) {
      super(ctx, env)
      ctx.setWebSocketAutoResponse()
    }
  }
) {}

/** Keeps a timer running. */
export class Restless extends counted(
  class extends served.TenantObject {
    constructor(...[ctx, env]: Arguments) {
      super(ctx, env)
      setInterval(() => {}, 1000)
    }
  }
) {}

/** Aborts after a message that contains "die now", before its commit is durable. */
export class Dying extends counted(
  class extends served.TenantObject {
    override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
      super.webSocketMessage?.(socket, data)
      if (typeof data === "string" && data.includes("die now")) this.ctx.abort("killed by the test")
    }
  }
) {}

/** The notes app with small limits. */
export class Limited extends counted(make(Notes.limited) as never) {}

const collector = Layer.succeed(
  HttpClient.HttpClient,
  HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, new Response("{}"))))
)

/** Exports telemetry. */
export class Telemetry extends counted(
  make(Notes.app, {
    layer: Otlp.layerJson({
      baseUrl: "http://collector.test",
      resource: { serviceName: "test" },
      tracerExportInterval: Duration.infinity,
      loggerExportInterval: Duration.infinity,
      metricsExportInterval: Duration.infinity
    }).pipe(Layer.provide(collector)),
    flush: OtlpExporter.Flusher.use(({ flush }) => flush)
  }) as never
) {}

/** Middleware of the author's own around a reactor. */
export class GuardedObject extends counted(make(Guarded.guardedReactorApp) as never) {}

/** A service of the author's own that takes part in transactions. */
export class LedgerObject extends counted(make(ledgerApp) as never) {}

/** Limits of callers that a test can reach, and none. */
export class SmallDoors extends counted(make(smallDoors) as never) {}
export class OpenDoors extends counted(make(openDoors) as never) {}

/** The marks app, for the soak. */
export class Marks extends counted(make(marksApp) as never) {}

/** Jobs and queues. */
export class JobsObject extends counted(make(Jobs.app) as never) {}

/** The lists app, for live queries. */
export class Lists extends counted(make(ListsApp.app) as never) {}

/** An empty object with SQLite storage, for suites that run inside it. */
export class Probe extends DurableObject {}

/** An object of an author's own, with storage alone. */
export { NotesObject } from "../../examples/embed/object.ts"
