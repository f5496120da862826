/// <reference types="node" />
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import { createPreload, toHtmlJson } from "effect-dormouse/react/server"
import { renderToString } from "react-dom/server"
import { HooksApi } from "../../worker/hooks.ts"
import { App, type AppProps } from "./App.tsx"

/** A server of its own: `node server.js <url of the Worker> <script of the browser>`. Prints its address. */
const [url = "", script = ""] = process.argv.slice(2)

const render = async (tenant: string, board: string): Promise<string> => {
  const preload = createPreload(HooksApi, { url, tenant })
  const [texts, page, other] = await Promise.all([
    preload("texts", { board }),
    preload("page", { board, size: 2, after: null, until: null }),
    preload("texts", { board: "other" })
  ])
  const props: AppProps = { url, tenant, board, preloaded: [texts, page], other }
  return `<!doctype html><html><head><meta charset="utf-8"><title>app</title></head><body><div id="root">${renderToString(
    <App {...props} />
  )}</div><script type="application/json" id="props">${toHtmlJson(
    props
  )}</script><script type="module" src="/client.js"></script></body></html>`
}

/** Pages that were rendered, by address: it is rendered once. */
const rendered = new Map<string, string>()

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "", "http://localhost")
  if (pathname === "/client.js") {
    response.writeHead(200, { "content-type": "text/javascript" }).end(readFileSync(script))
  } else if (pathname === "/") {
    const html =
      rendered.get(request.url!) ?? (await render(searchParams.get("tenant") ?? "", searchParams.get("board") ?? ""))
    rendered.set(request.url!, html)
    response.writeHead(200, { "content-type": "text/html" }).end(html)
  } else response.writeHead(204).end()
})
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  console.log(`http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`)
})
