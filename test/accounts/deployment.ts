import { createExecutionContext, env, runInDurableObject } from "cloudflare:test"
import type { Accounts } from "effect-dormouse/accounts"
import { Auth } from "effect-dormouse/auth"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { appOf, outside } from "./harness.ts"

const tested = Auth.layerFirst(Auth.layerTest, Auth.layerAnonymous)

/** With tokens that the deployment signs itself. */
export const local = Auth.layerFirst(
  Auth.layerLocal({ issuer: "https://accounts.test", audience: "https://accounts.test" }),
  Auth.layerAnonymous
)

/** The Worker of an app with accounts and its object, which is evicted between any two calls. */
export const deploy = (options?: Accounts.AccountsOptions, auth: typeof tested | typeof local = tested) => {
  const seen = outside()
  const deployment = Cloudflare.serve(appOf(seen, options), { auth, enter: () => true })
  const id = env.PROBE.newUniqueId()
  const stub = {
    call: (...call: Parameters<InstanceType<Cloudflare.Deployment["TenantObject"]>["call"]>) =>
      runInDurableObject(env.PROBE.get(id), async (_, state) => {
        const object = new deployment.TenantObject(state, env)
        await state.blockConcurrencyWhile(async () => {})
        return object.call(...call)
      })
  }
  const fetchFrom = (request: Request, props = {}): Promise<Response> => {
    const ctx = Object.assign(createExecutionContext(), {
      props,
      exports: {
        TenantObject: { getByName: () => stub },
        default: ({ props }: { readonly props: object }) => ({
          fetch: (url: string, init: RequestInit) => fetchFrom(new Request(url, init), props)
        })
      }
    })
    return new deployment.worker(ctx, env).fetch!(request)
  }
  const call = async (tag: string, payload: object, token?: string, address?: string): Promise<any> => {
    const body = JSON.stringify({ _tag: "Request", id: "1", tag, payload, headers: [] })
    const headers = {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(address !== undefined && { "cf-connecting-ip": address })
    }
    const response = await fetchFrom(new Request("https://test/rpc", { method: "POST", body, headers }))
    const answer: any = await response.json()
    return Array.isArray(answer) ? answer[0].exit : answer
  }
  /** All rows of a table. */
  const rowsOf = (table: string): Promise<ReadonlyArray<unknown>> =>
    runInDurableObject(env.PROBE.get(id), (_, { storage }) => storage.sql.exec(`SELECT * FROM ${table}`).toArray())
  return { call, rowsOf, ...seen }
}

/** The tag of the error with which a call failed, or that of the reason of a `CallError`. */
export const errorOf = (exit: any) => {
  const { error } = exit.cause.find(({ _tag }: { readonly _tag: string }) => _tag === "Fail")
  return (error.reason ?? error)._tag
}
