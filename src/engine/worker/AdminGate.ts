/**
 * Requests to the admin path in the Worker.
 * The key says who may do what: nobody is authenticated, and a refused key counts as a refused token.
 */
import type { App } from "../../contract/App.ts"
import { refusedAt } from "../rpc/CallRates.ts"
import type { AdminAccess } from "./AdminAccess.ts"
import type { Admission } from "./Admission.ts"
import type { GatewayHost } from "./GatewayOptions.ts"

/** A request to the admin path. */
export interface AskedAdmin {
  readonly admin: AdminAccess
  readonly app: App<any>
  readonly host: GatewayHost
  readonly request: Request
}

/** Answers a request of whoever operates the deployment, if it has the key. */
export const answerAdmin = (admission: Admission, { admin, app, host, request }: AskedAdmin): Promise<Response> =>
  admin.respond({
    request,
    app,
    host,
    exists: (tenant) => admission.exists(tenant),
    readClaims: (identity) => admission.readClaims(identity),
    refuse: () => admission.refuse(host, refusedAt(host.addressOf?.(request)))
  })
