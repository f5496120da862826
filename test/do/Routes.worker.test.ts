import { expect, it } from "vitest"
import { cloudflare } from "../deployment/cloudflare.ts"
import { newTenant, post, request } from "../deployment/Deployment.ts"

/** The Worker of `worker.ts` extends that of `Cloudflare.serve`. */

it("R3: a class that extends the Worker has routes of its own, and the app's through super.fetch", async () => {
  const app = cloudflare()
  expect(await (await app.fetch("/hello")).text()).toBe("hello")
  const answer = await post(app, newTenant("routes"), JSON.stringify(request("1", "notes.list", {})))
  expect(await answer.json()).toMatchObject([{ exit: { _tag: "Success", value: [] } }])
  expect((await app.fetch("/elsewhere")).status).toBe(404)
})
