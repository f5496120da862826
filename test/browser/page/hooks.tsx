/** What the test of hooks and atoms has in its page: a component for each of them, in StrictMode. */
import * as Effect from "effect/Effect"
import * as AsyncResult from "effect/reactivity/AsyncResult"
import { Atoms } from "effect-dormouse/atoms"
import { RegistryProvider, useAtom, useAtomSet, useAtomSuspense, useAtomValue } from "effect-dormouse/atoms/react"
import { Client } from "effect-dormouse/client"
import { createHooks } from "effect-dormouse/react"
import { Component, type ReactNode, StrictMode, Suspense, useRef, useState } from "react"
import { createRoot } from "react-dom/client"
import { HooksApi } from "../../worker/hooks.ts"

declare global {
  var mountHooks: (board: string) => void
  var mountAtoms: (board: string) => void
}
declare const document: { readonly body: never }
declare const location: { readonly origin: string }

const {
  Provider,
  useAction,
  useClient,
  useConnection,
  useLive,
  useLiveSuspense,
  useMutation,
  usePages,
  usePagesSuspense,
  useQuery,
  useQuerySuspense
} = createHooks(HooksApi)

interface OfBoard {
  readonly board: string
}

const Live = ({ board }: OfBoard) => <p id="live">{useLive("texts", { board }).value?.join() ?? "…"}</p>

const LiveSuspense = ({ board }: OfBoard) => (
  <p id="live-suspense">{useLiveSuspense("texts", { board }).value.join()}</p>
)

const Query = ({ board }: OfBoard) => {
  const { isPending, refetch, value } = useQuery("texts", { board })
  return (
    <button type="button" id="query" onClick={refetch}>
      {isPending ? "…" : value?.join()}
    </button>
  )
}

const QuerySuspense = ({ board }: OfBoard) => (
  <p id="query-suspense">{useQuerySuspense("texts", { board }).value.join()}</p>
)

const Skipped = ({ board }: OfBoard) => {
  const [isOn, setOn] = useState(false)
  const live = useLive("texts", isOn ? { board: `${board}-skipped` } : "skip")
  const query = useQuery("texts", isOn ? { board: `${board}-skipped` } : "skip")
  const suspended = useLiveSuspense("texts", isOn ? { board: `${board}-skipped` } : "skip")
  const shown = [live.value?.length, query.value?.length, suspended.value?.length].map(String).join()
  return (
    <button type="button" id="skip" onClick={() => setOn((isOn) => !isOn)}>
      {shown} {String(query.isPending)}
    </button>
  )
}

const Pages = ({ board }: OfBoard) => {
  const { hasMore, items, loadMore } = usePages("page", { board, size: 2 })
  return (
    <button type="button" id="pages" onClick={loadMore}>
      {items.map(({ text }) => text).join()}
      {hasMore && "+"}
    </button>
  )
}

const PagesSuspense = ({ board }: OfBoard) => (
  <p id="pages-suspense">
    {usePagesSuspense("page", { board, size: 50 })
      .items.map(({ text }) => text)
      .join()}
  </p>
)

const Mutation = ({ board }: OfBoard) => {
  const [add, isPending] = useMutation("add")
  const [added, setAdded] = useState("")
  const onClick = async () => {
    const outcome = await add({ board, text: "hi" })
    setAdded(outcome._tag === "Success" ? outcome.value.text : outcome.error._tag)
  }
  return (
    <button type="button" id="mutation" onClick={onClick}>
      {isPending ? "…" : added}
    </button>
  )
}

const Action = () => {
  const [double, isDoubling] = useAction("double")
  const [outcome, setOutcome] = useState("")
  const onClick = async () => {
    const results = [await double({ n: 21 }), await double({ n: -1 })]
    setOutcome(results.map((each) => (each._tag === "Success" ? each.value : each.error._tag)).join())
  }
  return (
    <button type="button" id="action" onClick={onClick}>
      {isDoubling ? "…" : outcome}
    </button>
  )
}

const Stream = () => {
  const [count, isCounting, progress] = useAction("count")
  const [seen, setSeen] = useState("")
  const onClick = async () => {
    const items: Array<number> = []
    const outcome = await count({ to: 3 }, { onItem: (item) => items.push(item) })
    setSeen(`${items.join()} ${outcome._tag === "Success" ? outcome.value : outcome.error._tag}`)
  }
  return (
    <button type="button" id="stream" onClick={onClick}>
      {isCounting ? "…" : `${seen} ${progress ?? "none"}`}
    </button>
  )
}

const Cancelled = () => {
  const [run, isRunning, progress] = useAction("forever")
  const [reason, setReason] = useState("")
  const controller = useRef<AbortController>(undefined)
  const onClick = () => {
    if (controller.current !== undefined) return controller.current.abort("enough")
    controller.current = new AbortController()
    run({}, { signal: controller.current.signal }).then(
      (outcome) => setReason(JSON.stringify(outcome)),
      (reason) => setReason(String(reason))
    )
  }
  return (
    <button type="button" id="cancel" onClick={onClick}>
      {isRunning ? `running ${progress ?? "…"}` : reason}
    </button>
  )
}

class Boundary extends Component<{ readonly children: ReactNode }> {
  override state: { readonly error?: { readonly _tag: string } } = {}
  static getDerivedStateFromError = (error: unknown) => ({ error })
  override render() {
    const { error } = this.state
    if (error === undefined) return this.props.children
    return (
      <button type="button" id="boundary" onClick={() => this.setState({ error: undefined })}>
        {error._tag}
      </button>
    )
  }
}

const Throwing = ({ board }: OfBoard) => (
  <p id="boundary">{useLive("texts", { board: `${board}-closed` }, { throwOnError: true }).value?.join()}</p>
)
/** Reads the same as `Throwing`: it keeps the query open while the boundary shows the error. */
const Returning = ({ board }: OfBoard) => (
  <p id="returned">{useLive("texts", { board: `${board}-closed` }).error?._tag ?? "none"}</p>
)

const Connection = () => <p id="connection">{useConnection()._tag}</p>

const Run = ({ board }: OfBoard) => {
  const [count, setCount] = useState(-1)
  useClient(
    (client) =>
      Effect.flatMap(Effect.orDie(client.query("texts", { board })), ({ length }) =>
        Effect.sync(() => setCount(length))
      ),
    [board]
  )
  return <p id="client">{count}</p>
}

globalThis.mountHooks = (board) =>
  createRoot(document.body).render(
    <StrictMode>
      <Provider url={location.origin}>
        <Live board={board} />
        <Query board={board} />
        <Pages board={board} />
        <Mutation board={board} />
        <Action />
        <Stream />
        <Cancelled />
        <Connection />
        <Run board={board} />
        <Returning board={board} />
        <Suspense fallback={<p id="fallback">…</p>}>
          <LiveSuspense board={board} />
          <QuerySuspense board={board} />
          <PagesSuspense board={board} />
          <Skipped board={board} />
          <Boundary>
            <Throwing board={board} />
          </Boundary>
        </Suspense>
      </Provider>
    </StrictMode>
  )

const atoms = Atoms.make(Client.make(HooksApi, { url: location.origin }))

const AtomValue = ({ board }: OfBoard) => {
  const result = useAtomValue(atoms.live("texts", { board }))
  return <p id="atom">{AsyncResult.isSuccess(result) ? result.value.join() : "…"}</p>
}

const AtomSuspense = ({ board }: OfBoard) => (
  <p id="atom-suspense">{useAtomSuspense(atoms.live("texts", { board })).value.join()}</p>
)

const AtomMutation = ({ board }: OfBoard) => {
  const add = useAtomSet(atoms.mutation("add"))
  return <button type="button" id="atom-mutation" onClick={() => add({ payload: { board, text: "hi" } })} />
}

const AtomAction = () => {
  const [result, call] = useAtom(atoms.action("count"))
  return (
    <button type="button" id="atom-action" onClick={() => call({ to: 3 })}>
      {AsyncResult.isSuccess(result) && !result.waiting ? result.value : "…"}
    </button>
  )
}

const AtomPages = ({ board }: OfBoard) => {
  const [result, more] = useAtom(atoms.pages("page", { board, size: 2 }))
  return (
    <button type="button" id="atom-pages" onClick={() => more()}>
      {AsyncResult.isSuccess(result) && result.value.items.map(({ text }) => text).join()}
    </button>
  )
}

globalThis.mountAtoms = (board) =>
  createRoot(document.body).render(
    <StrictMode>
      <RegistryProvider>
        <AtomValue board={board} />
        <AtomMutation board={board} />
        <AtomAction />
        <AtomPages board={board} />
        <Suspense fallback={<p id="fallback">…</p>}>
          <AtomSuspense board={board} />
        </Suspense>
      </RegistryProvider>
    </StrictMode>
  )
