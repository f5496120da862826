/**
 * The `Database` port and its layers, for who embeds storage.
 */

export { Database } from "../services/Database.ts"
export { type DurableObjectSql, layer as layerCloudflare } from "./cloudflare/Database.ts"
export { layer as layerMemory, type MemoryDatabaseOptions } from "./memory/Database.ts"
