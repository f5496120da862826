/**
 * Who is calling: the layers of Auth, which verify tokens.
 * For `Cloudflare.serve(app, { auth })` and for other Effect apps. `import { Auth }` brings all layers into a bundle;
 * `import * as Auth` brings those that are used.
 */
export * as Auth from "./services/Auth.ts"
export * from "./services/Auth.ts"
