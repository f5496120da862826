/// <reference types="node" />
/** Serves the app that was built into a folder: `node serve.ts <folder>`. Prints its address. */
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { serve } from "srvx/node"
import { staticMiddleware } from "srvx/static"

const [folder = ""] = process.argv.slice(2)
const { default: app } = await import(pathToFileURL(join(folder, "server/server.js")).href)
const server = serve({
  port: 0,
  hostname: "127.0.0.1",
  silent: true,
  middleware: [staticMiddleware({ dir: join(folder, "client") })],
  fetch: (request) => app.fetch(request)
})
await server.ready()
console.log(server.url)
