import { createExecutionContext, env } from "cloudflare:test"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { expect, it } from "vitest"
import { app, auth, enter } from "./localApp.ts"

/** `Auth.layerLocal` in workerd: two isolates of a Worker, whose keys are in the deployment's own object. */

/** Another isolate of the same deployment. Its tenants are no objects: the calls of this test are actions. */
const isolate = () => {
  const { worker } = Cloudflare.serve(app, { auth, enter })
  const fetch = (url: string, init: RequestInit = {}, props = {}): Promise<Response> => {
    const ctx = Object.assign(createExecutionContext(), {
      props,
      exports: {
        TenantObject: { getByName: () => ({}) },
        default: ({ props }: { readonly props: object }) => ({
          fetch: (url: string, init: RequestInit) => fetch(url, init, props)
        })
      }
    })
    return new worker(ctx, env).fetch!(new Request(url, init))
  }
  const signIn = async (token?: string) => {
    const body = JSON.stringify({ _tag: "Request", id: "1", tag: "signIn", payload: { name: "Ada" }, headers: [] })
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const response = await fetch("https://app.test/rpc", { method: "POST", headers, body })
    return { status: response.status, body: (await response.json()) as any }
  }
  const keys = async () => ((await (await fetch("https://app.test/.well-known/jwks.json")).json()) as any).keys
  return { signIn, keys }
}

it("A9: isolates that start at the same time accept each other's tokens, and publish one key", async () => {
  const [a, b] = [isolate(), isolate()]
  const answers = await Promise.all([a.signIn(), b.signIn(), a.signIn(), b.signIn()])
  const tokens = answers.map(({ body }) => body[0].exit.value)
  for (const token of tokens) {
    expect(token).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/)
    for (const { signIn } of [a, b]) expect((await signIn(token)).body[0].exit._tag).toBe("Success")
  }
  // The control: a token that was changed is refused.
  const [header, payload, signature] = tokens[0].split(".")
  expect(await a.signIn(`${header}.${payload}.${signature.slice(0, -4)}AAAA`)).toEqual({
    status: 401,
    body: { error: "unauthenticated: signature", problem: "signature" }
  })
  const keys = await a.keys()
  expect(keys).toHaveLength(1)
  expect(await b.keys()).toEqual(keys)
  expect(Object.keys(keys[0])).not.toContain("d")
})
