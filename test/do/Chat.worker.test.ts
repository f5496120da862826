import { env, evictDurableObject, runInDurableObject, SELF } from "cloudflare:test"
import { expect, it } from "vitest"

it("answers over HTTP", async () => {
  const response = await SELF.fetch("https://chat/rpc", {
    method: "POST",
    body: JSON.stringify({ _tag: "Request", id: "1", tag: "channels.list", payload: {}, headers: [] })
  })
  expect(response.status).toBe(200)
  expect(await response.json()).toEqual([{ _tag: "Exit", requestId: "1", exit: { _tag: "Success", value: [] } }])
  void env
  void evictDurableObject
  void runInDurableObject
})
