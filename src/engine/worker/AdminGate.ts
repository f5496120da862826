/**
 * Requests to the admin path in the Worker.
 * The key says who may do what: nobody is authenticated, and a refused key counts as a refused token.
 */
import type { App } from "../../contract/App.ts"
import { refusedAt } from "../rpc/CallRates.ts"
import type { AdminAccess } from "./AdminAccess.ts"
import { type Admission, tooManyResponse } from "./Admission.ts"
import type { GatewayHost, GatewayOptions } from "./GatewayOptions.ts"

/** A request to the admin path. */
export interface AskedAdmin {
  readonly admin: AdminAccess
  readonly app: App<any>
  readonly host: GatewayHost
  readonly request: Request
  readonly tenants: GatewayOptions["tenants"]
}

/** Answers a request of whoever operates the deployment, if it has the key. */
export const answerAdmin = (
  admission: Admission,
  { admin, app, host, request, tenants }: AskedAdmin
): Promise<Response> =>
  admin.respond({
    request,
    app,
    host,
    exists: (tenant) => typeof tenants !== "function" || tenants(tenant),
    readClaims: (identity) => admission.readClaims(identity),
    refuse: async () => {
      if (host.now === undefined) return undefined
      const refused = await admission.tooMany(host, refusedAt(host.addressOf?.(request)), 1)
      return refused && tooManyResponse(refused)
    }
  })
