/**
 * Asks a deployment what a start of another version would do to its tenants: the tables and migrations of the version are sent
 * there, and each tenant's object tries them in a transaction that it rolls back.
 */
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { AdminClient } from "../../admin/AdminClient.ts"
import type { Plan, TargetData } from "../../contract/MigrationPlan.ts"
import { NoSuchTenant } from "../../system/TenantsApi.ts"
import * as Progress from "./Progress.ts"
import { type Connection, checkTenant, connect, connection, repeatable, runCommand } from "./Shared.ts"
import { chosen } from "./Tenants.ts"

/** The flags that say of which tenants. Without them no deployment is asked. */
export const flags = {
  ...connection,
  tenants: Flag.String("tenants").pipe(
    Flag.withDescription("Say what a start would change in these tenants of a deployment: a,b,c"),
    Flag.optional
  ),
  all: Flag.Boolean("all-tenants").pipe(
    Flag.withDescription("Say what a start would change in every active tenant of the registry"),
    Flag.withDefault(false)
  )
}

/** The values of `flags`. */
export interface Options extends Connection {
  readonly tenants: Option.Option<string>
  readonly all: boolean
}

/** Whether the flags ask for any tenant. */
export const isAsked = ({ all, tenants }: Options): boolean => all || Option.isSome(tenants)

/** How many requests are under way at once. */
const concurrency = 4

/** What a deployment answered about a tenant: nothing about one that does not exist or is suspended. */
export interface TenantPlan {
  readonly tenant: string
  readonly plan: Option.Option<Plan>
}

/** The plan of one tenant. */
const planOf = (call: AdminClient, tenant: string, target: TargetData) =>
  Effect.catchIf(
    Effect.asSome(repeatable(call("plan", { tenant, target }))),
    (error) => error instanceof NoSuchTenant,
    () => Effect.succeedNone
  )

/** Asks about each tenant, with progress. */
export const ask = (target: TargetData, options: Options) =>
  Effect.gen(function* () {
    const call = yield* connect(options)
    const tenants = yield* chosen(call, options.tenants)
    for (const tenant of tenants) yield* checkTenant(tenant)
    const progress = yield* Progress.make("plans", tenants.length, "tenants")
    const one = (tenant: string) =>
      Effect.tap(
        Effect.map(planOf(call, tenant, target), (plan): TenantPlan => ({ tenant, plan })),
        () => progress.add(1, tenant)
      )
    return yield* Effect.ensuring(Effect.forEach(tenants, one, { concurrency }), progress.end)
  }).pipe(Effect.scoped, runCommand)
