/**
 * Finds the tenant that a request is for,
 * and which of its calls run in the object, in the Worker, or cannot run because the rpc does not exist.
 */
import type * as Rpc from "effect/rpc/Rpc"
import type { App } from "../../contract/App.ts"
import { isInternal } from "../../contract/Internal.ts"
import { kindOf } from "../../contract/Kind.ts"
import { unknownRpc } from "../../protocol/Exit.ts"
import type { Request as RpcRequest } from "../../protocol/Messages.ts"
import { tenantNamePattern, tenantsName } from "../../system/Names.ts"
import { answerAll } from "../rpc/HttpBody.ts"

const nameIn = (request: Request, url: URL): string =>
  request.headers.get("x-dormouse-tenant") ?? url.searchParams.get("tenant") ?? "main"

/** The tenant that a request is for, or `undefined` when it names none that can exist. */
export const tenantOf = (request: Request, url: URL): string | undefined => {
  const name = nameIn(request, url)
  return tenantNamePattern.test(name) ? name : undefined
}

/** Whether a request is for the registry of tenants. */
export const isForRegistry = (request: Request, url: URL): boolean => nameIn(request, url) === tenantsName

/** The calls of a body by where they are answered. */
export interface Routes {
  /** The texts that answer calls of rpcs that the contract does not have. */
  readonly unknown: ReadonlyArray<string>
  readonly actions: ReadonlyArray<RpcRequest>
  readonly transactions: ReadonlyArray<RpcRequest>
}

/** Divides the calls of a body. Only an object may call the handlers of queues. */
export const route = <Rpcs extends Rpc.Any>(
  app: App<Rpcs>,
  requests: ReadonlyArray<RpcRequest>,
  isTrusted = false
): Routes => {
  const unknown: Array<string> = []
  const actions: Array<RpcRequest> = []
  const transactions: Array<RpcRequest> = []
  for (const request of requests) {
    const rpc = app.api.requests.get(request.tag)
    if (isTrusted && app.jobs?.queues.some(({ api }) => api.declared.requests.has(request.tag))) actions.push(request)
    else if (rpc === undefined || (isInternal(rpc) && !isTrusted))
      unknown.push(...answerAll([request], unknownRpc(request.tag)))
    else if (kindOf(rpc) === "action") actions.push(request)
    else transactions.push(request)
  }
  return { unknown, actions, transactions }
}
