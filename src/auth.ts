/**
 * Who is calling: the layers of Auth, which verify tokens.
 * For `Cloudflare.serve(app, { auth })` and for other Effect apps.
 */
export * as Auth from "./services/Auth.ts"
