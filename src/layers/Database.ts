/**
 * The `Database` port and its layers, for apps that embed storage.
 * Exported as the namespace `Database` of `effect-dormouse/storage`.
 */
export { Database } from "../services/Database.ts"
export { type DurableObjectSql, layer as layerCloudflare } from "./cloudflare/Database.ts"
export { layer as layerMemory, type MemoryDatabaseOptions } from "./memory/Database.ts"
