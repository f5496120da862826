/**
 * Who is calling, and what it may do: the layers of Auth, which verify tokens, and policies of tables.
 * For `Cloudflare.serve(app, { auth })` and for other Effect apps. `import { Auth }` brings all layers into a bundle;
 * `import * as Auth` brings those that are used.
 */
export * as Auth from "./services/Auth.ts"
export * from "./services/Auth.ts"
export * as Policy from "./services/Policy.ts"
