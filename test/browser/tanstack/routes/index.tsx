/** A page whose loader reads before it is rendered. */
import { createFileRoute } from "@tanstack/react-router"
import { createServerFn } from "@tanstack/react-start"
import { createPreload } from "effect-dormouse/react/server"
import { Suspense } from "react"
import { HooksApi } from "../../../worker/hooks.ts"
import { Preload } from "../hooks.ts"
import { Suspended, Texts } from "../Texts.tsx"

const read = createServerFn()
  .validator(({ board, tenant }: { readonly tenant: string; readonly board: string }) => ({ tenant, board }))
  .handler(async ({ data: { board, tenant } }) => {
    const preload = createPreload(HooksApi, { url: process.env["DORMOUSE_URL"]!, tenant })
    const [texts, other] = await Promise.all([preload("texts", { board }), preload("texts", { board: "other" })])
    return { texts, other }
  })

export const Route = createFileRoute("/")({
  loaderDeps: ({ search }) => search,
  loader: ({ deps }) => read({ data: deps }),
  // What an earlier visit has read is not shown again: each visit reads.
  gcTime: 0,
  component: Page
})

function Page() {
  const { board } = Route.useSearch()
  const { other, texts } = Route.useLoaderData()
  return (
    <>
      <Texts board={board} initialValue={texts} />
      <Preload values={[other]}>
        <Suspense fallback={<p>…</p>}>
          <Suspended board="other" />
        </Suspense>
      </Preload>
    </>
  )
}
