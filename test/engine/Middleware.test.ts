import { expect, it } from "vitest"
import { request } from "../deployment/Deployment.ts"
import { memory } from "../deployment/memory.ts"
import { guardedApp, guardedReactorApp } from "../worker/guarded.ts"
import { KeepingSocket, makeEngine } from "./EngineHarness.ts"
import { suite } from "./middlewareCases.ts"

suite("The author's middleware in memory", async () => {
  const [app, reacting] = await Promise.all([memory(guardedApp), memory(guardedReactorApp)])
  return {
    app,
    reacting,
    close: async () => {
      await Promise.all([app.close(), reacting.close()])
    }
  }
})

it("K6: a live query whose middleware asks who is calling is not shared by callers", async () => {
  const { close, engine, idle, sockets } = await makeEngine(guardedApp)
  const names = ["ada", "bo", "ada"].map((subject) => {
    const socket = new KeepingSocket()
    sockets.add(socket)
    engine.sockets.open(socket, { tenant: "main", identity: { subject, claims: {} } })
    engine.sockets.message(socket, JSON.stringify(request("1", "live:guarded.whoami", {}, [["token", "subject"]])))
    idle()
    return socket.messages[0].values[0].value
  })
  expect(names).toEqual(["ada", "bo", "ada"])
  expect(engine.live.explain().map(({ perIdentity, subscribers }) => [perIdentity, subscribers])).toEqual([
    [true, 2],
    [true, 1]
  ])
  await close()
})
