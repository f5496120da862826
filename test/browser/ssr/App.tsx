import { createHooks, type Preloaded } from "effect-dormouse/react"
import { StrictMode, Suspense } from "react"
import { HooksApi } from "../../worker/hooks.ts"

const { Preload, Provider, useLive, useLiveSuspense, usePages, useQuery } = createHooks(HooksApi)

/** What the server sends with its page. */
export interface AppProps {
  readonly url: string
  readonly tenant: string
  readonly board: string
  readonly preloaded: ReadonlyArray<Preloaded>
  /** Of the board `other`. */
  readonly other: Preloaded
}

const Texts = ({ board }: { readonly board: string }) => (
  <p id="live">{useLive("texts", { board }).value?.join() ?? "…"}</p>
)

const Suspended = ({ board }: { readonly board: string }) => (
  <p id="suspended">{useLiveSuspense("texts", { board }).value.join()}</p>
)

const Other = ({ other }: { readonly other: Preloaded }) => (
  <p id="other">{useLive("texts", { board: "other" }, { initialValue: other }).value?.join() ?? "…"}</p>
)

const Asked = ({ board }: { readonly board: string }) => (
  <p id="asked">{useQuery("texts", { board }).value?.join() ?? "…"}</p>
)

const Log = ({ board }: { readonly board: string }) => {
  const { items } = usePages("page", { board, size: 2 })
  return <p id="log">{items.length === 0 ? "…" : items.map(({ text }) => text).join()}</p>
}

/** A page that a server renders with what it has read, and that the browser takes over. */
export const App = ({ board, other, preloaded, tenant, url }: AppProps) => (
  <StrictMode>
    <Provider url={url} tenant={tenant}>
      <Preload values={preloaded}>
        <Texts board={board} />
        <Other other={other} />
        <Asked board={board} />
        <Log board={board} />
        <Suspense fallback={<p>…</p>}>
          <Suspended board={board} />
        </Suspense>
      </Preload>
    </Provider>
  </StrictMode>
)
