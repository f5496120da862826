/** What the pages show: the texts of a board, live. */
import type { Preloaded } from "effect-dormouse/react"
import { useLive, useLiveSuspense } from "./hooks.ts"

interface TextsProps {
  readonly board: string
  readonly initialValue?: Preloaded
}

export const Texts = ({ board, ...options }: TextsProps) => (
  <p id="live">{useLive("texts", { board }, options).value?.join() ?? "…"}</p>
)

export const Suspended = ({ board }: { readonly board: string }) => (
  <p id="suspended">{useLiveSuspense("texts", { board }).value.join()}</p>
)
