/**
 * The registry of tenants: which tenants exist, and where they are stored. `Cloudflare.serve(app, { tenants })` takes one.
 * The records are in the object `~tenants`; the Worker caches lookups, and each tenant's object knows for itself whether
 * it may be used.
 */
import * as Cache from "effect/Cache"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as Api from "../../contract/Api.ts"
import type { Identity } from "../../contract/Auth.ts"
import type { CallsOf } from "../../contract/Calls.ts"
import { CallError, Unavailable } from "../../protocol/CallError.ts"
import { declarationOf } from "../../services/storage/SchemaDeclaration.ts"
import * as SchemaTarget from "../../services/storage/SchemaTarget.ts"
import * as TenantGate from "../../services/TenantGate.ts"
import { tenantsName } from "../../system/Names.ts"
import {
  type MigrationPage,
  type MigrationStarts,
  makeApp,
  type TenantChange,
  TenantRecordsApi
} from "../../system/TenantRecords.ts"
import {
  type NoSuchTenant,
  Tenant,
  type TenantExists,
  type TenantMigration,
  TenantsApi
} from "../../system/TenantsApi.ts"
import { errorResponse } from "../rpc/HttpBody.ts"
import type { ObjectStub } from "../rpc/ObjectStub.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import * as ActionRunner from "./ActionRunner.ts"
import { deploymentCalls } from "./DeploymentCalls.ts"
import { noSuchTenant } from "./Refusal.ts"
import {
  type EnteredStub,
  Missing,
  missingStatus,
  type TenancyHost,
  type TenantApp,
  type TenantRegistry
} from "./Tenancy.ts"

/** What a registry allows. */
export interface RegistryOptions {
  /**
   * What creates a tenant: `explicit` (the default), only an admin; `onEnter`, also the first request of a caller who may
   * enter by `enter`. A caller who may not enter never creates a tenant.
   */
  readonly create?: "explicit" | "onEnter"
  /** Who may list and change tenants, through a client of `TenantsApi` with the tenant `~tenants`. Nobody unless given. */
  readonly admin?: (caller: { readonly identity: Identity }) => boolean | Effect.Effect<boolean>
}

/** How many lookups a Worker keeps, and for how long. The tenants' objects know better: this saves a call, no more. */
const cached = { capacity: 10_000, timeToLive: "1 minute" } as const

/** A registry of tenants: only those that it knows exist. */
export const registry = ({ admin = () => false, create = "explicit" }: RegistryOptions = {}): TenantRegistry => ({
  app: (tenants) => {
    const none = () => Effect.die(new Error("the object runs no actions"))
    return makeApp(
      () => ({ change: none, migrate: none }),
      () => versionOf(tenants)
    )
  },
  gate: (host, app, registry) => {
    const calls = recordsOf(registry)
    return TenantGate.make(
      host,
      () => versionOf(app),
      (report) => Effect.runPromise(calls.mutate("records.report", { report }))
    )
  },
  open: (host) => {
    const opened = new OpenRegistry(host, create === "onEnter")
    const app = makeApp(
      () => ({ change: (change) => opened.change(change), migrate: (page) => opened.migrate(page) }),
      () => versionOf(host.app)
    )
    let actions: Promise<ActionRunner.ActionRunner> | undefined
    return {
      app,
      actions: () => {
        actions ??= host.run(
          ActionRunner.make(app).pipe(
            Effect.provide(FetchHttpClient.layer),
            // The handlers live as long as the isolate.
            Scope.provide(Scope.makeUnsafe())
          )
        )
        return actions
      },
      admit: async ({ credential, identity }) => {
        const answer = admin({ identity })
        if (!(typeof answer === "boolean" ? answer : await host.run(answer))) return undefined
        // The records trust the claims of a session, so the caller's own are left out.
        return { tenant: tenantsName, identity: { subject: identity.subject, claims: {} }, credential }
      },
      find: async (name, waitUntil) => {
        const found = await host.run(Effect.exit(opened.find(name, waitUntil)))
        if (Exit.isSuccess(found)) return found.value ?? noSuchTenant()
        await host.run(Effect.logWarning("the tenant could not be looked up", found.cause))
        return errorResponse(503, "the tenant could not be looked up")
      },
      operate: {
        find: (name, waitUntil) => opened.lookUp(name, waitUntil, false),
        list: ({ after, size }) => opened.tenants.query("tenants.list", { size, after, until: null }),
        change: opened.change
      },
      stub: (session, waitUntil) => opened.stub(session, waitUntil)
    }
  }
})

const versionOf = ({ droppedTables, migrations, tables }: TenantApp): string =>
  SchemaTarget.versionOf({ record: declarationOf(tables).record, migrations, droppedTables })

const recordsOf = (object: Pick<ObjectStub, "call">) => deploymentCalls(TenantRecordsApi, tenantsName, object)

const unreached = new CallError({ reason: new Unavailable({ detail: "the tenant's object did not answer" }) })

/** How many tenants are started at the same time. */
const startsAtOnce = 10

type WaitUntil = (work: Promise<unknown>) => void

class OpenRegistry {
  private readonly host: TenancyHost
  private readonly createsOnEnter: boolean
  private readonly records: ReturnType<typeof recordsOf>
  /** The list of tenants. Its changes run in the Worker. */
  readonly tenants: CallsOf<Api.RpcsOf<typeof TenantsApi>>
  private readonly cache: Cache.Cache<string, string>

  constructor(host: TenancyHost, createsOnEnter: boolean) {
    this.host = host
    this.createsOnEnter = createsOnEnter
    const object: Pick<ObjectStub, "call"> = { call: (...call) => host.object(tenantsName).call(...call) }
    this.records = recordsOf(object)
    this.tenants = deploymentCalls(TenantsApi, tenantsName, object)
    // Only for what was found. A lookup is not shared: the request that makes it may end before it has an answer.
    const lookup = () => Effect.die(new Error("the cache of tenants looks nothing up by itself"))
    this.cache = Effect.runSync(Cache.make<string, string>({ ...cached, lookup }))
  }

  /** Changes a tenant: first its record, then its object. Who is cut in between leaves the rest to the next lookup. */
  readonly change = (change: TenantChange): Effect.Effect<Tenant, NoSuchTenant | TenantExists | CallError> =>
    Effect.gen({ self: this }, function* () {
      const tenant = yield* this.records.mutate("records.change", { change })
      yield* Cache.invalidate(this.cache, change.name)
      return tenant.isSettled ? tenant : yield* this.settle(tenant)
    })

  /** Brings a change to its object. */
  private readonly settle = (tenant: Tenant): Effect.Effect<Tenant, CallError> =>
    Effect.gen({ self: this }, function* () {
      const { name, object, revision, state } = tenant
      const stub = this.host.object(object)
      yield* Effect.tryPromise({
        try: () => stub.update?.({ name, state, revision }) ?? Promise.reject(new Error("no updates")),
        catch: () => unreached
      })
      // After its rows: nothing is stored any more that they do not name.
      if (state === "deleting") {
        yield* Effect.tryPromise({ try: async () => this.host.removeFiles?.(object), catch: () => unreached })
      }
      yield* this.records.mutate("records.settle", { object, revision })
      return new Tenant({ ...tenant, isSettled: true })
    })

  /** Starts the next tenants by name, and records how far each is. */
  readonly migrate = ({ after, size }: MigrationPage): Effect.Effect<MigrationStarts, CallError> =>
    Effect.gen({ self: this }, function* () {
      const { items, next } = yield* this.records.query("records.list", { after, size, until: null })
      const active = items.filter(({ state }) => state === "active")
      const tenants = yield* Effect.forEach(active, (tenant) => this.migrateOne(tenant), { concurrency: startsAtOnce })
      return { tenants, next }
    })

  private migrateOne({ name, object }: Tenant) {
    return Effect.gen({ self: this }, function* () {
      const stub = this.host.object(object)
      const asked = Effect.tryPromise(() => stub.migrate?.() ?? Promise.reject(new Error("no migrations")))
      const failed = (error: unknown): TenantMigration => ({ state: "failed", detail: `it did not answer: ${error}` })
      const migration = yield* Effect.catch(asked, (error) => Effect.succeed(failed(error.cause)))
      const started = migration.state === "failed" ? {} : { schemaVersion: versionOf(this.host.app) }
      yield* this.records.mutate("records.report", { report: { object, ...started, migration } })
      return { name, ...migration }
    })
  }

  readonly find = (name: string, waitUntil: WaitUntil): Effect.Effect<string | undefined, CallError> =>
    Effect.gen({ self: this }, function* () {
      const known = yield* Cache.getSuccess(this.cache, name)
      if (Option.isSome(known)) return known.value
      return yield* this.lookUp(name, waitUntil, this.createsOnEnter)
    })

  /** Looks a tenant up in the records, and creates it if that is asked for. */
  readonly lookUp = (
    name: string,
    waitUntil: WaitUntil,
    creates: boolean
  ): Effect.Effect<string | undefined, CallError> =>
    Effect.gen({ self: this }, function* () {
      const { tenant, unsettled } = yield* this.records.query("records.find", { name })
      const others = unsettled.filter(({ object }) => object !== tenant?.object)
      if (others.length > 0) {
        const settling = Effect.forEach(others, (other) => Effect.ignore(this.settle(other)), { discard: true })
        waitUntil(this.host.run(settling))
      }
      const found = tenant ?? (creates ? yield* this.createEntered(name) : undefined)
      if (found === undefined) return undefined
      if (!found.isSettled) yield* this.settle(found)
      if (found.state !== "active") return undefined
      yield* Cache.set(this.cache, name, found.object)
      return found.object
    })

  /** Creates the tenant of a caller who may enter it. */
  private createEntered(name: string): Effect.Effect<Tenant | undefined, CallError> {
    const created = this.records.mutate("records.change", { change: { to: "create", name } })
    return Effect.catchTags(created, {
      NoSuchTenant: () => Effect.undefined,
      // Another request created it meanwhile.
      TenantExists: () => Effect.map(this.records.query("records.find", { name }), ({ tenant }) => tenant ?? undefined)
    })
  }

  stub(session: RequestSession, waitUntil: WaitUntil): EnteredStub {
    const { tenant } = session
    /** Asks the object that was found, and once more after a new lookup when it says that it is not this tenant's. */
    const reach = async <A extends { readonly status: number }>(
      ask: (object: ObjectStub, session: RequestSession) => Promise<A>
    ): Promise<A> => {
      const name = session.object ?? tenant
      const first = await ask(this.host.object(name), session)
      if (first.status !== missingStatus) return first
      const again = Effect.andThen(Cache.invalidate(this.cache, tenant), this.find(tenant, waitUntil))
      const object = await this.host.run(Effect.exit(again))
      if (Exit.isFailure(object)) throw Cause.squash(object.cause)
      if (object.value === undefined || object.value === name) throw new Missing()
      const second = await ask(this.host.object(object.value), { ...session, object: object.value })
      if (second.status === missingStatus) throw new Missing()
      return second
    }
    return {
      call: (_session, body, isRewritten) => reach((object, session) => object.call(session, body, isRewritten)),
      readQuery: (_session, request) => reach((object, session) => object.readQuery(session, request)),
      connect: (_session, headers) => reach((object, session) => object.connect(session, headers)),
      explain: (session) => this.host.object(session.object ?? tenant).explain(session),
      plan: (target) => this.host.object(session.object ?? tenant).plan(target),
      verify: async () => void (await reach((object, session) => object.call(session, "[]")))
    }
  }
}
