/**
 * Requests for files in the Worker.
 * Their URL says who may do what: nobody is authenticated, and no tenant is looked up.
 */
import type { Files } from "../../contract/Files.ts"
import { filesAt } from "../rpc/CallRates.ts"
import type { Admission } from "./Admission.ts"
import { fileCalls } from "./FileCalls.ts"
import type { GatewayHost } from "./GatewayOptions.ts"
import { noSuchTenant } from "./Refusal.ts"

/** A request for a file. */
export interface AskedFile {
  readonly files: Files
  readonly host: GatewayHost
  readonly request: Request
  readonly url: URL
}

/** Answers a request for a file. */
export const answerForFile = async (
  admission: Admission,
  { files: { api }, host, request, url }: AskedFile
): Promise<Response> => {
  const address = host.addressOf?.(request)
  const refused = await admission.refuse(host, filesAt(address))
  if (refused !== undefined) return refused
  const served = (await host.actions()).files
  const exists = (tenant: string) => admission.exists(tenant)
  const hasRegistry = host.tenancy !== undefined
  const callsOf = fileCalls({ api, object: host.object, address, exists, hasRegistry })
  return (await served?.respond({ request, url, callsOf })) ?? noSuchTenant()
}
