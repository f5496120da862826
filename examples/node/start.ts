/// <reference types="node" />

/**
 * The app of examples/minimal inside an Effect server on Node, at http://localhost:8788.
 *
 *     npm run embed:server
 */
import { createServer } from "node:http"
import * as HttpRouter from "effect/http/HttpRouter"
import { makeRoutes } from "./server.ts"
import { listener } from "./web.ts"

const { handler } = HttpRouter.toWebHandler(makeRoutes(process.argv[2]), { disableLogger: true })
const server = createServer(listener(handler))
server.listen(Number(process.env["PORT"] ?? 8788), () => {
  console.log(`listening at http://localhost:${(server.address() as { readonly port: number }).port}`)
})
