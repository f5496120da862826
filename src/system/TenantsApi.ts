/**
 * The contract by which admins list and change the tenants of a deployment.
 * An ordinary client reaches it under the tenant `~tenants`, if the author's `admin` says yes to its caller.
 */
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as Action from "../contract/Action.ts"
import * as Api from "../contract/Api.ts"
import * as Page from "../contract/Page.ts"
import * as Query from "../contract/Query.ts"
import * as Table from "../contract/Table.ts"
import { tenantNamePattern } from "./Names.ts"

/** A tenant's name. */
export const TenantName = Schema.String.check(Schema.isPattern(tenantNamePattern))

/** A tenant that is suspended, or that is being deleted, answers as one that does not exist. */
export const TenantState = Schema.Literals(["active", "suspended", "deleting"])
/** A tenant that is suspended, or that is being deleted, answers as one that does not exist. */
export type TenantState = typeof TenantState.Type

/** How far a tenant's database is from the tables of the app. */
export const TenantMigration = Schema.Struct({
  /** `failed`: the tenant does not start, or a migration of its rows stopped. */
  state: Schema.Literals(["running", "done", "failed"]),
  /** What runs, or why it failed. */
  detail: Schema.String
})
/** How far a tenant's database is from the tables of the app. */
export type TenantMigration = typeof TenantMigration.Type

/** A tenant, as the registry knows it. Times are milliseconds since the epoch. */
export class Tenant extends Model.Class<Tenant>("effect-dormouse/system/Tenant")({
  /** The name of the object that stores the tenant. It is used for no other tenant, and stays when the tenant is renamed. */
  object: Schema.NonEmptyString,
  name: TenantName,
  state: TenantState,
  /** The number of the last change of name or state, counted for all tenants together. */
  revision: Schema.Int,
  /** Whether the object has that change. If not, it gets it with the next lookup of any tenant. */
  isSettled: Schema.Boolean,
  createdAt: Table.insertedAt,
  /** The last use that the object reported; up to five minutes behind. `null` before the first report. */
  lastUse: Schema.NullOr(Schema.Number),
  /** A checksum of the tables that the object had at its last report. */
  schemaVersion: Schema.NullOr(Schema.String),
  /** The bytes of the object's database at its last report. */
  bytes: Schema.NullOr(Schema.Int),
  /** How far it was then from the tables of the app. */
  migration: Schema.NullOr(TenantMigration)
}) {}

/** How many tenants have the tables of the app that runs now. Those that are being deleted are not counted. */
export const MigrationCounts = Schema.Struct({
  /** The version of the app's tables and migrations. */
  schemaVersion: Schema.String,
  /** Tenants that have it. */
  done: Schema.Int,
  /** Tenants whose rows are being migrated. */
  running: Schema.Int,
  /** Tenants that could not be migrated: `migration` of the tenant says why. */
  failed: Schema.Int,
  /** Tenants that have not started with this version. */
  pending: Schema.Int
})

/** There is a tenant with this name. */
export class TenantExists extends Schema.TaggedError<TenantExists>("effect-dormouse/TenantExists")("TenantExists", {
  name: Schema.String
}) {}

/** There is no tenant with this name. */
export class NoSuchTenant extends Schema.TaggedError<NoSuchTenant>("effect-dormouse/NoSuchTenant")("NoSuchTenant", {
  name: Schema.String
}) {}

const payload = { name: TenantName }

/** What admins can do. Each change is done when the tenant's object has it. */
export class TenantsApi extends Api.make(
  /** The tenants by name, a page at a time. */
  Query.make("tenants.list", { payload: Page.Fields, success: Page.Page(Tenant) }),
  /** How many tenants have been migrated to the tables of the app. */
  Query.make("tenants.migrations", { payload: {}, success: MigrationCounts }),
  /**
   * Starts the next tenants by name, so that they migrate without a visitor, ten at the same time. Returns when each has
   * started: a long migration of rows goes on in the tenant. Call again with `next` until it is `null`.
   */
  Action.make("tenants.migrate", {
    payload: {
      after: Schema.NullOr(Schema.String),
      size: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 }))
    },
    success: Schema.Struct({
      tenants: Schema.Array(Schema.Struct({ name: TenantName, ...TenantMigration.fields })),
      next: Schema.NullOr(Schema.String)
    })
  }),
  /**
   * Creates an empty tenant. With `adopt` it has what the tenant of this name stored before there was a registry; a tenant
   * that was adopted and then deleted cannot be adopted again.
   */
  Action.make("tenants.create", {
    payload: { ...payload, adopt: Schema.optionalKey(Schema.Boolean) },
    success: Tenant,
    error: TenantExists
  }),
  /** Closes the tenant's sockets and refuses its callers, until `tenants.resume`. */
  Action.make("tenants.suspend", { payload, success: Tenant, error: NoSuchTenant }),
  /** Lets the callers of a suspended tenant in again. */
  Action.make("tenants.resume", { payload, success: Tenant, error: NoSuchTenant }),
  /** Gives a tenant another name. Its sockets are closed, and the old name is that of no tenant at once. */
  Action.make("tenants.rename", {
    payload: { name: TenantName, to: TenantName },
    success: Tenant,
    error: Schema.Union([NoSuchTenant, TenantExists])
  }),
  /** Deletes a tenant with everything that it stores. */
  Action.make("tenants.delete", { payload, error: NoSuchTenant })
) {}
