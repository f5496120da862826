/**
 * The records of the tenants, in the object `~tenants`: tables, and what the Worker and the tenants' objects call there.
 * The records decide: each change is one transaction here, has a number, and is then brought to the tenant's object.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as SqlClient from "effect/sql/SqlClient"
import * as Api from "../contract/Api.ts"
import * as App from "../contract/App.ts"
import * as Auth from "../contract/Auth.ts"
import * as Handlers from "../contract/Handlers.ts"
import * as Mutation from "../contract/Mutation.ts"
import * as Page from "../contract/Page.ts"
import * as Query from "../contract/Query.ts"
import * as Table from "../contract/Table.ts"
import type { CallError } from "../protocol/CallError.ts"
import { deployment } from "./Names.ts"
import { NoSuchTenant, Tenant, TenantExists, TenantMigration, TenantName, TenantsApi } from "./TenantsApi.ts"

/** A change of one tenant. */
export const TenantChange = Schema.Union([
  Schema.Struct({ to: Schema.Literal("create"), name: TenantName, isAdopted: Schema.optionalKey(Schema.Boolean) }),
  Schema.Struct({ to: Schema.Literals(["suspend", "resume", "delete"]), name: TenantName }),
  Schema.Struct({ to: Schema.Literal("rename"), name: TenantName, newName: TenantName })
])
/** A change of one tenant. */
export type TenantChange = typeof TenantChange.Type

/** What the object of a tenant reports of itself. */
export const TenantReport = Schema.Struct({
  object: Schema.String,
  /** Missing if it was started and not used. */
  lastUse: Schema.optionalKey(Schema.Number),
  /** Missing if it could not start: its tables are then as they were. */
  schemaVersion: Schema.optionalKey(Schema.String),
  bytes: Schema.optionalKey(Schema.Int),
  migration: Schema.optionalKey(TenantMigration)
})
/** What the object of a tenant reports of itself. */
export type TenantReport = typeof TenantReport.Type

/** The rpcs of the Worker and of tenants' objects. An admin who calls them gets `Forbidden`. */
export class TenantRecordsApi extends Api.make(
  /** The tenant with a name, and changes that did not reach their objects, the oldest first. */
  Query.make("records.find", {
    payload: { name: Schema.String },
    success: Schema.Struct({ tenant: Schema.NullOr(Tenant), unsettled: Schema.Array(Tenant) })
  }),
  /** The tenants by name, a page at a time. */
  Query.make("records.list", { payload: Page.Fields, success: Page.Page(Tenant) }),
  /** Changes a tenant. Its object does not have the change yet. */
  Mutation.make("records.change", {
    payload: { change: TenantChange },
    success: Tenant,
    error: Schema.Union([NoSuchTenant, TenantExists])
  }),
  /** The object of a tenant has the change with this number. A tenant that was deleted is forgotten now. */
  Mutation.make("records.settle", { payload: { object: Schema.String, revision: Schema.Int } }),
  /** Keeps what the object of a tenant reports. */
  Mutation.make("records.report", { payload: { report: TenantReport } })
) {}

// The gateway gives callers from outside no claims here.
const isDeployment = Auth.require(({ claims }) => claims["system"] === deployment.claims["system"])

/** Which tenants are started. */
export interface MigrationPage {
  readonly after: string | null
  readonly size: number
}

/** Tenants that were started, and where the next page begins. */
export interface MigrationStarts {
  readonly tenants: ReadonlyArray<TenantMigration & { readonly name: string }>
  readonly next: string | null
}

/** The changes of tenants that admins make. The Worker implements them: it reaches the tenants' objects. */
export class TenantControl extends Context.Service<
  TenantControl,
  {
    /** Changes a tenant, and returns when its object has the change. */
    readonly change: (change: TenantChange) => Effect.Effect<Tenant, NoSuchTenant | TenantExists | CallError>
    /** Starts a page of tenants, and returns when each has started. */
    readonly migrate: (page: MigrationPage) => Effect.Effect<MigrationStarts, CallError>
  }
>()("effect-dormouse/system/TenantControl") {}

const tenants = Table.make("tenants", Tenant, {
  key: "object",
  indexes: { byName: ["name"], bySettled: ["isSettled", "revision"] }
})

class Counter extends Model.Class<Counter>("effect-dormouse/system/Counter")({ id: Schema.String, last: Schema.Int }) {}
const counters = Table.make("counters", Counter, { key: "id" })

/** How many changes one lookup brings to their objects. */
const unsettledPerLookup = 10

/** All tenants that have, or had, this name: the one that exists, and others that are still being deleted. */
const named = (name: string) => tenants.query("byName").eq("name", name)

const nextRevision = Effect.gen(function* () {
  const counter = yield* Effect.option(counters.get("revision"))
  const last = Option.match(counter, { onNone: () => 1, onSome: ({ last }) => last + 1 })
  yield* counters.upsert({ id: "revision", last })
  return last
})

/** What a change makes of a tenant, or why it is refused. Nothing for a change that was made before. */
export const decide = (
  change: TenantChange,
  known: ReadonlyArray<Pick<Tenant, "name" | "state">>
): { readonly name: string; readonly state: Tenant["state"] } | undefined | NoSuchTenant | TenantExists => {
  const exists = (name: string) => known.find((tenant) => tenant.name === name && tenant.state !== "deleting")
  const tenant = exists(change.name)
  if (change.to === "create") {
    return tenant === undefined ? { name: change.name, state: "active" } : new TenantExists({ name: change.name })
  }
  if (tenant === undefined) {
    // The deletion may have been cut: deleting again ends it.
    const isDeleting = change.to === "delete" && known.some(({ name }) => name === change.name)
    return isDeleting ? undefined : new NoSuchTenant({ name: change.name })
  }
  if (change.to === "rename") {
    if (change.newName === change.name) return undefined
    return exists(change.newName) === undefined
      ? { name: change.newName, state: tenant.state }
      : new TenantExists({ name: change.newName })
  }
  const state = ({ suspend: "suspended", resume: "active", delete: "deleting" } as const)[change.to]
  return state === tenant.state ? undefined : { name: change.name, state }
}

const recordHandlers = () =>
  TenantRecordsApi.toLayer({
    "records.find": Effect.fnUntraced(function* ({ name }) {
      yield* isDeployment
      const tenant = (yield* named(name)).find(({ state }) => state !== "deleting") ?? null
      const unsettled = yield* tenants.query("bySettled").eq("isSettled", false).take(unsettledPerLookup)
      return { tenant, unsettled }
    }),

    "records.list": (page) => Effect.andThen(isDeployment, tenants.query("byName").page(page)),

    "records.change": Effect.fnUntraced(function* ({ change }) {
      yield* isDeployment
      const known = [...(yield* named(change.name)), ...(change.to === "rename" ? yield* named(change.newName) : [])]
      const next = decide(change, known)
      if (next instanceof NoSuchTenant || next instanceof TenantExists) return yield* Effect.fail(next)
      const same = known.filter(({ name }) => name === change.name)
      const tenant = same.find(({ state }) => state !== "deleting")
      if (next === undefined) return tenant ?? same[0]!
      const changed = { ...next, revision: yield* nextRevision, isSettled: false }
      if (tenant !== undefined) return yield* Effect.orDie(tenants.patch(tenant.object, changed))
      // The number is in no other name: an object is never used for a second tenant.
      const isAdopted = change.to === "create" && change.isAdopted === true
      const object = isAdopted ? change.name : `${change.name}~${changed.revision}`
      if (isAdopted) {
        // Its tenant may have been renamed or deleted since: an object that was deleted takes nothing any more.
        const id = `adopted ${object}`
        const isKnown = Option.isSome(yield* Effect.option(counters.get(id)))
        if (isKnown) return yield* Effect.fail(new TenantExists({ name: change.name }))
        yield* counters.insert({ id, last: changed.revision }).pipe(Effect.orDie)
      }
      return yield* tenants.insert({
        ...changed,
        object,
        lastUse: null,
        schemaVersion: null,
        bytes: null,
        migration: null
      })
    }),

    "records.settle": Effect.fnUntraced(function* ({ object, revision }) {
      yield* isDeployment
      const tenant = yield* Effect.option(tenants.get(object))
      // A later change is brought to the object by whoever made it.
      if (Option.isNone(tenant) || tenant.value.revision !== revision) return
      if (tenant.value.state === "deleting") yield* tenants.delete(object)
      else yield* Effect.orDie(tenants.patch(object, { isSettled: true }))
    }),

    "records.report": Effect.fnUntraced(function* ({ report }) {
      yield* isDeployment
      const { object, ...reported } = report
      const tenant = yield* Effect.option(tenants.get(object))
      if (Option.isNone(tenant) || tenant.value.state === "deleting") return
      yield* Effect.orDie(tenants.patch(object, reported))
    })
  })

/** The tenants that are not being deleted, counted by how far they are. */
const countMigrations = (schemaVersion: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* sql<{ state: string; tenants: number }>`
      SELECT CASE
        WHEN json_extract(migration, '$.state') = 'failed' THEN 'failed'
        WHEN "schemaVersion" IS NOT ${schemaVersion} THEN 'pending'
        WHEN json_extract(migration, '$.state') = 'running' THEN 'running'
        ELSE 'done' END AS state, count(*) AS tenants
      FROM tenants WHERE state <> 'deleting' GROUP BY 1`
    const count = (state: string) => rows.find((row) => row.state === state)?.tenants ?? 0
    return {
      schemaVersion,
      done: count("done"),
      running: count("running"),
      failed: count("failed"),
      pending: count("pending")
    }
  }).pipe(Effect.orDie)

const adminHandlers = (schemaVersion: () => string) => {
  const change = (change: TenantChange) => Effect.flatMap(TenantControl, (control) => control.change(change))
  /** For changes that cannot be refused because a name is taken. */
  const unlessTaken = <A, E>(effect: Effect.Effect<A, E | TenantExists, TenantControl>) =>
    Effect.catchIf(
      effect,
      (error): error is TenantExists => error instanceof TenantExists,
      (error) => Effect.die(error)
    )
  return TenantsApi.toLayer({
    "tenants.list": (page) => tenants.query("byName").page(page),
    "tenants.migrations": () => Effect.suspend(() => countMigrations(schemaVersion())),
    "tenants.migrate": (page) => Effect.flatMap(TenantControl, (control) => control.migrate(page)),
    "tenants.create": ({ adopt = false, name }) =>
      Effect.catchIf(
        change({ to: "create", name, isAdopted: adopt }),
        (error): error is NoSuchTenant => error instanceof NoSuchTenant,
        (error) => Effect.die(error)
      ),
    "tenants.suspend": ({ name }) => unlessTaken(change({ to: "suspend", name })),
    "tenants.resume": ({ name }) => unlessTaken(change({ to: "resume", name })),
    "tenants.rename": ({ name, to }) => change({ to: "rename", name, newName: to }),
    "tenants.delete": ({ name }) => Effect.asVoid(unlessTaken(change({ to: "delete", name })))
  })
}

/** Rows that a query of the registry may read: `tenants.migrations` counts all tenants. */
const rowsRead = 10_000_000

/** The app of the object `~tenants`. `schemaVersion` is that of the app that the tenants run. */
export const makeApp = (control: () => TenantControl["Service"], schemaVersion: () => string) =>
  App.make({
    api: Api.merge(TenantsApi, TenantRecordsApi),
    tables: [tenants, counters],
    limits: { rowsRead },
    handlers: Handlers.merge(adminHandlers(schemaVersion), recordHandlers()),
    actionServices: Layer.sync(TenantControl, control)
  })
