/**
 * Deploys an app on Cloudflare: `Cloudflare.serve(app)` makes the Durable Object class and the Worker.
 * Imports the modules of the platform; everything else of Dormouse runs anywhere.
 */
export * as Cloudflare from "./do/Cloudflare.ts"
