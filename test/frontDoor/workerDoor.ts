/// <reference types="@cloudflare/vitest-plugin/types" />
import { env, SELF } from "cloudflare:test"
import { cloudflare, toPeer } from "../deployment/cloudflare.ts"
import { reached } from "../worker/starts.ts"
import { doorHost, listed } from "./callers.ts"
import type { Door } from "./Door.ts"

/** The Worker under test and its objects, at the host at which callers have tokens. */
export const workerDoor = (): Door => {
  const { logged } = cloudflare()
  return {
    issuer: listed,
    isDeclared: false,
    isExact: false,
    reached: (tenant) => reached.get(env.TENANT_OBJECT.idFromName(tenant).toString()) ?? 0,
    // workerd sends every request for a WebSocket as GET without a body.
    normalized: (request) =>
      request.headers.some(([name, value]) => name === "upgrade" && value.toLowerCase() === "websocket")
        ? { path: request.path, method: "GET", headers: request.headers }
        : request,
    send: async ({ body, headers, method, path }) => {
      const response: any = await SELF.fetch(`https://${doorHost}${path}`, {
        method,
        headers: headers as Array<[string, string]>,
        redirect: "manual",
        ...(body !== undefined && { body })
      })
      return response.webSocket ? { peer: toPeer(response) } : { response }
    },
    close: async () => void logged()
  }
}
