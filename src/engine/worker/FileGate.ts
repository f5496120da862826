/**
 * Requests for files in the Worker.
 * Their URL says who may do what: nobody is authenticated, and no tenant is looked up.
 */
import type { Files } from "../../contract/Files.ts"
import { filesAt } from "../rpc/CallRates.ts"
import { type Admission, tooManyResponse } from "./Admission.ts"
import { fileCalls } from "./FileCalls.ts"
import type { GatewayHost, GatewayOptions } from "./GatewayOptions.ts"
import { noSuchTenant } from "./Refusal.ts"

/** A request for a file. */
export interface AskedFile {
  readonly files: Files
  readonly host: GatewayHost
  readonly request: Request
  readonly url: URL
  readonly tenants: GatewayOptions["tenants"]
}

/** Answers a request for a file. */
export const answerForFile = async (
  admission: Admission,
  { files: { api }, host, request, tenants, url }: AskedFile
): Promise<Response> => {
  const address = host.addressOf?.(request)
  const refused = host.now === undefined ? undefined : await admission.tooMany(host, filesAt(address), 1)
  if (refused !== undefined) return tooManyResponse(refused)
  const served = (await host.actions()).files
  const exists = (tenant: string) => typeof tenants !== "function" || tenants(tenant)
  const hasRegistry = host.tenancy !== undefined
  const callsOf = fileCalls({ api, object: host.object, address, exists, hasRegistry })
  return (await served?.respond({ request, url, callsOf })) ?? noSuchTenant()
}
