/**
 * The commands that operate a running app, here or deployed, by the admin key.
 * They use the services of `effect/cli` alone, so they run wherever those do.
 */
import { explain } from "./Explain.ts"
import { exportRows } from "./Export.ts"
import { importRows } from "./Import.ts"
import { run } from "./Run.ts"
import { seed } from "./Seed.ts"
import { sql } from "./Sql.ts"
import { tenants } from "./Tenants.ts"

/** The commands on a running app. */
export const adminCommands = [run, sql, explain, exportRows, importRows, seed, tenants] as const
