/**
 * Deploys an app on Cloudflare: `Cloudflare.serve(app)`.
 */
export * as Cloudflare from "./do/Cloudflare.ts"
