/**
 * A registry of tenants for `Cloudflare.serve(app, { tenants })`, and the contract by which admins list and change them.
 * Clients import the contract from here; what only the server needs is left out of their bundles.
 */
export * as Tenants from "./engine/worker/Tenants.ts"
export {
  MigrationCounts,
  NoSuchTenant,
  Tenant,
  TenantExists,
  TenantMigration,
  TenantName,
  TenantState,
  TenantsApi
} from "./system/TenantsApi.ts"
