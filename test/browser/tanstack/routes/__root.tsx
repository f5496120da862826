/** The document around all pages, which share a client. */
import { createRootRoute, HeadContent, Outlet, Scripts } from "@tanstack/react-router"
import { createServerFn } from "@tanstack/react-start"
import { Provider } from "../hooks.ts"

interface Search {
  /** In an app with accounts the session says which. */
  readonly tenant: string
  readonly board: string
}

const readUrl = createServerFn().handler(() => process.env["DORMOUSE_URL"]!)

export const Route = createRootRoute({
  validateSearch: ({ board, tenant }): Search => ({ tenant: String(tenant), board: String(board) }),
  loader: () => readUrl(),
  head: () => ({
    meta: [{ charSet: "utf-8" }, { title: "app" }],
    links: [{ rel: "icon", href: "data:," }]
  }),
  component: Document
})

function Document() {
  return (
    <html lang="en">
      <head>
        <HeadContent />
      </head>
      <body>
        <Provider url={Route.useLoaderData()} tenant={Route.useSearch().tenant}>
          <Outlet />
        </Provider>
        <Scripts />
      </body>
    </html>
  )
}
