/**
 * Who may operate a deployment, and the rpcs by which it is done.
 * `Admin` is for the Worker; the contract and its client are for programs, and run anywhere.
 */
export {
  AdminApi,
  type Cell,
  type Description,
  type ExportPage,
  ExportRefused,
  IdentityInvalid,
  ImportRefused,
  type ImportState,
  type ImportStep,
  NoRegistry,
  type OnConflict,
  type RunResult,
  StatementRefused,
  type StatementResult
} from "./admin/AdminApi.ts"
export * as AdminClient from "./admin/AdminClient.ts"
export * as Admin from "./engine/worker/Admin.ts"
export { NoSuchTenant, Tenant, TenantExists } from "./system/TenantsApi.ts"
