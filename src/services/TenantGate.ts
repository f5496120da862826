/**
 * What the object of a tenant knows of itself: its name and state, in its own database. The object asks it before each call
 * and each socket, so that nobody gets in through a Worker whose cache is out of date.
 */
import * as Effect from "effect/Effect"
import type { TenantReport } from "../system/TenantRecords.ts"
import type { Tenant, TenantMigration } from "../system/TenantsApi.ts"
import type { Database } from "./Database.ts"
import { isEmpty, tenantTable } from "./storage/UnwrittenDatabase.ts"

export type { TenantMigration } from "../system/TenantsApi.ts"

/** A change of a tenant's name or state, as it is brought to the object. */
export type TenantUpdate = Pick<Tenant, "name" | "state" | "revision">

/** What an object does with an update: nothing, keep it, close all sockets as well, or delete everything. */
export type Step = "ignore" | "keep" | "close" | "delete"

/**
 * What an object does with an update. Updates may arrive late, twice and in any order: the one with the highest number
 * holds. A deletion is final, and is done again when it is brought again, because the last attempt may have been cut.
 */
export const decide = (known: TenantUpdate | undefined, update: TenantUpdate): Step => {
  if (known?.state === "deleting") return update.state === "deleting" ? "delete" : "ignore"
  if (known !== undefined && update.revision < known.revision) return "ignore"
  if (update.state === "deleting") return "delete"
  return update.state === "active" && (known === undefined || known.name === update.name) ? "keep" : "close"
}

/** What an object does with the gate. */
export interface TenantGate {
  /** Whether this object is the one of a tenant with this name, and the tenant may be used. */
  readonly admits: (tenant: string) => boolean
  /** The name of the tenant. Empty as long as no registry has told it. */
  readonly name: () => string
  /** Whether the tenant may be used. */
  readonly isOpen: () => boolean
  /** The database, which takes no writes once the tenant is deleted: of what is still under way then, none comes after. */
  readonly guard: (database: Database["Service"]) => Database["Service"]
  /** What `keep` of this update requires of the object. */
  readonly step: (update: TenantUpdate) => Step
  /** Keeps an update. After a deletion it is called again, once everything is deleted. */
  readonly keep: (update: TenantUpdate) => void
  /** Does what an update requires, and keeps it. */
  readonly take: (update: TenantUpdate, object: GatedObject) => Promise<void>
  /** The tenant was used: reports it, if the last report is long ago. */
  readonly used: () => void
  /** How far the migration of the tenant is. Reports it at once, unless the tenant has just started and is done. */
  readonly migrated: (migration: TenantMigration) => void
}

/** What an update can require of an object. */
export interface GatedObject {
  /** The tenant may be used (again). */
  readonly opened: () => void
  /** Closes all sockets, before the next frame of any. */
  readonly closeAll: () => void
  /** Deletes everything that is stored. */
  readonly deleteAll: () => Promise<void>
}

/** What a platform gives the gate. */
export interface GateHost {
  readonly object: string
  readonly database: Database["Service"]
  /** The bytes of the database. */
  readonly bytes: () => number
  /** Milliseconds. */
  readonly now: () => number
  /** Runs work in a later turn. The object stays awake until it ends. */
  readonly later: (work: () => Promise<void>) => void
  /** Runs an effect with the author's loggers. */
  readonly run: (effect: Effect.Effect<void>) => Promise<void>
}

/** Milliseconds between two reports of an object that is in use. */
export const reportInterval = 5 * 60 * 1000

const toUpdate = (row: ReadonlyArray<unknown> | undefined): TenantUpdate | undefined => {
  if (row === undefined) return undefined
  const [name, state, revision] = row
  // Only `keep` writes the row.
  if (state !== "active" && state !== "suspended" && state !== "deleting") throw new Error(`no state: ${state}`)
  return { name: String(name), state, revision: Number(revision) }
}

/** Reads what the object knows. An object that no registry has told anything is no tenant. */
const read = (database: Database["Service"]): TenantUpdate | undefined => {
  const exists = database.all("SELECT 1 FROM sqlite_master WHERE name = ?", [tenantTable]).rows.length > 0
  return exists ? toUpdate(database.all(`SELECT name, state, revision FROM ${tenantTable}`, []).rows[0]) : undefined
}

const write = (database: Database["Service"], { name, revision, state }: TenantUpdate): void =>
  database.transaction(() => {
    database.run(
      `CREATE TABLE IF NOT EXISTS ${tenantTable} ` +
        "(id INTEGER PRIMARY KEY CHECK (id = 1), name TEXT NOT NULL, state TEXT NOT NULL, revision INTEGER NOT NULL)",
      []
    )
    database.run(`INSERT OR REPLACE INTO ${tenantTable} VALUES (1, ?, ?, ?)`, [name, state, revision])
  })

/** The gate of an object. `report` sends what the object reports of itself. */
export const make = (
  { bytes, database, later, now, object, run }: GateHost,
  schemaVersion: () => string,
  report: (report: TenantReport) => Promise<void>
): TenantGate => {
  let known = read(database)
  let nextReport = 0
  const isOpen = () => known?.state === "active"
  const whileKept = <A>(body: () => A): A => {
    if (known?.state === "deleting") throw new Error("the tenant was deleted")
    return body()
  }
  const step = (update: TenantUpdate) => decide(known, update)
  const keep = (update: TenantUpdate) => {
    known = update
    write(database, update)
  }
  let migration: TenantMigration | undefined
  const reportNow = async (used: Pick<TenantReport, "lastUse">): Promise<void> => {
    // A tenant that nobody has written to stays without a report.
    if (isOpen() && !isEmpty(database)) {
      const started = migration?.state === "failed" ? {} : { schemaVersion: schemaVersion() }
      return report({ object, ...used, ...started, bytes: bytes(), ...(migration && { migration }) })
    }
    nextReport = 0
  }
  const logUnreported = (cause: unknown) =>
    run(Effect.logWarning("the registry of tenants did not take a report", cause))
  return {
    admits: (tenant) => isOpen() && known?.name === tenant,
    name: () => known?.name ?? "",
    isOpen,
    guard: (guarded) => ({
      ...guarded,
      run: (sql, params) => whileKept(() => guarded.run(sql, params)),
      transaction: (body) => whileKept(() => guarded.transaction(body))
    }),
    step,
    keep,
    take: async (update, { closeAll, deleteAll, opened }) => {
      const next = step(update)
      if (next === "ignore") return
      if (next !== "keep") closeAll()
      keep(update)
      if (update.state === "active") opened()
      if (next !== "delete") return
      await deleteAll()
      keep(update)
    },
    used: () => {
      const lastUse = now()
      if (lastUse < nextReport) return
      nextReport = lastUse + reportInterval
      later(() => reportNow({ lastUse }).catch(logUnreported))
    },
    migrated: (next) => {
      const isNews = migration !== undefined || next.state !== "done"
      migration = next
      if (isNews) later(() => reportNow({}).catch(logUnreported))
    }
  }
}
