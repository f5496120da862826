/**
 * The calls by which the Worker asks the object of a tenant what a request for a file may do.
 * The URL of a file names tenant and object: no tenant is looked up, and none is created.
 */
import { anonymous } from "../../contract/Auth.ts"
import type { FileRequest, Files } from "../../contract/Files.ts"
import { objectNamePattern, tenantNamePattern } from "../../system/Names.ts"
import type { ObjectStub } from "../rpc/ObjectStub.ts"
import { callsTo } from "./ActionRunner.ts"
import { missingStatus } from "./Tenancy.ts"

/** What `fileCalls` works with. */
export interface FileCallsOptions {
  readonly api: Files["api"]
  readonly object: (name: string) => Pick<ObjectStub, "call">
  readonly address: string | undefined
  /** Whether there can be a tenant of this name. */
  readonly exists: (tenant: string) => boolean
  /** With a registry of tenants, URLs name the object as well. */
  readonly hasRegistry: boolean
}

/** What the object of a tenant that is not there answers. */
const missing = JSON.stringify([
  {
    _tag: "Exit",
    requestId: "0",
    exit: {
      _tag: "Failure",
      cause: [{ _tag: "Fail", error: { _tag: "RequestRefused", status: 404, detail: "there is no such file" } }]
    }
  }
])

/** The calls of an object that a URL names. Nothing for a name that none can have. */
export const fileCalls =
  ({ address, api, exists, hasRegistry, object }: FileCallsOptions): FileRequest["callsOf"] =>
  (place) => {
    const name = place.object ?? place.tenant
    if (!tenantNamePattern.test(place.tenant) || !exists(place.tenant)) return undefined
    if (hasRegistry ? !objectNamePattern.test(name) : place.object !== undefined) return undefined
    const stub = object(name)
    const call: ObjectStub["call"] = async (...options) => {
      const answer = await stub.call(...options)
      return answer.status === missingStatus ? { status: 200, body: missing } : answer
    }
    const session = { ...place, identity: anonymous, ...(address !== undefined && { address }) }
    return callsTo(api, { call }, session)
  }
