/** A page without a preloaded value. */
import { createFileRoute, Link } from "@tanstack/react-router"
import { Texts } from "../Texts.tsx"

export const Route = createFileRoute("/without")({ component: Page })

function Page() {
  const search = Route.useSearch()
  return (
    <>
      <Texts board={search.board} />
      <Link to="/" search={{ ...search, board: "second" }}>
        second
      </Link>
    </>
  )
}
