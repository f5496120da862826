/**
 * The contract of an app as a document of OpenAPI 3.1, as data.
 * An app that does without it does not bundle it.
 */
export { type OpenApiDocument, type OpenApiOptions, openApi } from "./engine/worker/OpenApi.ts"
