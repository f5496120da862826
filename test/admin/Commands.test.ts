/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import { memory } from "../deployment/memory.ts"
import { WorkerdProcess } from "../deployment/workerd.ts"
import { app, key, options } from "../worker/admin.ts"
import { suite } from "./commandCases.ts"
import { fetchOf } from "./operated.ts"

suite(
  "The commands on an app in memory",
  async () => {
    const deployment = await memory(app, options)
    return { url: "http://dormouse.test", fetch: fetchOf(deployment), close: deployment.close }
  },
  { histories: 2 }
)

suite(
  "The commands on an app in a workerd of its own",
  async () => {
    const entry = fileURLToPath(new URL("../worker/process/admin.ts", import.meta.url).href)
    const workerd = await WorkerdProcess.start(entry, { DORMOUSE_KEY: key })
    return { url: workerd.url, fetch: fetchOf(workerd.deployment), close: () => workerd.close() }
  },
  { histories: 1 }
)
