import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { createHooks, type LiveState, type Preloaded } from "effect-dormouse/react"
import { preload, toHtmlJson } from "effect-dormouse/react/server"
import { TestApp } from "effect-dormouse/testing"
import { StrictMode, Suspense, useState } from "react"
import { renderToString } from "react-dom/server"
import { expectTypeOf } from "vitest"
import { app, HooksApi, running } from "../worker/hooks.ts"
import { Boundary, checkWarnings, lingering, render, until } from "./rendering.tsx"

/** Hooks that call, skip, fail, and begin with what a server has read. */

checkWarnings()

const {
  Preload,
  Provider,
  useAction,
  useLive,
  useLiveSuspense,
  usePages,
  usePagesSuspense,
  useQuery,
  useQuerySuspense
} = createHooks(HooksApi)

/** A backend, a client that counts its calls of queries, and another client that writes. */
const world = Effect.gen(function* () {
  const made = yield* TestApp.client(HooksApi)
  const other = yield* TestApp.client(HooksApi)
  const { object, transport, url } = yield* TestApp
  const { network } = object()
  const calls: Array<string> = []
  const read = (board: string): Promise<Preloaded<"texts">> =>
    Effect.runPromise(Effect.provide(preload(HooksApi, { url }, "texts", { board }), transport))
  const readPage = (board: string): Promise<Preloaded<"page">> =>
    Effect.runPromise(
      Effect.provide(preload(HooksApi, { url }, "page", { board, size: 2, after: null, until: null }), transport)
    )
  const client: typeof made = Object.assign({}, made, {
    query: (tag: any, payload: any) => {
      calls.push(tag)
      return made.query(tag, payload)
    }
  })
  const add = (board: string, text: string) => Effect.runPromise(Effect.asVoid(other.mutate("add", { board, text })))
  const sent = (part: string) =>
    network.log.filter(({ data, direction }) => direction === "toServer" && data.includes(part)).length
  return { client, calls, network, add, sent, read, readPage }
})

type World = Effect.Success<typeof world>

const test = (name: string, body: (world: World) => Promise<void>) =>
  it.live(name, () =>
    Effect.flatMap(world, (world) => Effect.promise(() => body(world))).pipe(Effect.provide(TestApp.layer(app)))
  )

describe("useQuery", () => {
  test("C25: calls once, without a subscription, for all components that read the same, and again on request", async (world) => {
    const { add, calls, client, network, sent } = world
    await add("a", "one")
    network.hold()
    let kept: string | undefined
    const Asked = () => {
      const { error, isPending, refetch, value } = useQuery("texts", { board: "a" })
      expectTypeOf(value).toEqualTypeOf<ReadonlyArray<string> | undefined>()
      kept = value?.join()
      return (
        <button type="button" onClick={refetch}>
          {`${error?._tag ?? value?.join()} ${isPending}`}
        </button>
      )
    }
    const page = render(
      <StrictMode>
        <Provider client={client}>
          <Asked />
          <Asked />
        </Provider>
      </StrictMode>
    )
    await page.shows("undefined trueundefined true")
    network.release()
    await page.shows("one falseone false")
    await add("a", "two")
    expect([calls.length, sent("live:")]).toEqual([1, 0])
    network.hold()
    page.click("one false")
    await page.shows("one trueone true")
    network.release()
    await page.shows("one,two falseone,two false")
    // A failure keeps the value, and is over with the next call.
    await add("a", "closed")
    page.click("one,two false")
    await page.shows("Closed falseClosed false")
    expect(kept).toBe("one,two")
    await add("a", "open")
    page.click("Closed false")
    await page.shows("one,two,closed,open falseone,two,closed,open false")
    expect([calls.length, sent("live:")]).toEqual([4, 0])
    page.unmount()
  })

  test("C25: of two calls the later one counts", async ({ add, client, network }) => {
    const Asked = () => {
      const { isPending, refetch, value } = useQuery("texts", { board: "a" })
      return (
        <button type="button" onClick={refetch}>
          {isPending ? "…" : `[${value}]`}
        </button>
      )
    }
    const page = render(
      <Provider client={client}>
        <Asked />
      </Provider>
    )
    await page.shows("[]")
    network.hold()
    page.click("[]")
    await page.shows("…")
    // The first call finds nothing; the second one is made after this.
    const adding = add("a", "one")
    page.click("…")
    network.release()
    await adding
    await page.shows("[one]")
    page.unmount()
  })

  test("C25: useQuerySuspense suspends, and throws its failure", async ({ add, client }) => {
    await add("a", "one")
    await add("b", "closed")
    const Asked = ({ board }: { readonly board: string }) => {
      const { value } = useQuerySuspense("texts", { board })
      expectTypeOf(value).toEqualTypeOf<ReadonlyArray<string>>()
      return value.join()
    }
    const Page = ({ board }: { readonly board: string }) => (
      <StrictMode>
        <Provider client={client}>
          <Suspense fallback="…">
            <Boundary>
              <Asked board={board} />
            </Boundary>
          </Suspense>
        </Provider>
      </StrictMode>
    )
    const page = render(<Page board="a" />)
    await page.shows("…")
    await page.shows("one")
    page.render(<Page board="b" />)
    await page.shows("caught Closed")
    page.unmount()
  })
})

describe("skip", () => {
  test("C25: nothing is read while the payload is skip", async ({ add, calls, client, network, sent }) => {
    await add("a", "one")
    const All = ({ isOn }: { readonly isOn: boolean }) => {
      const payload = isOn ? { board: "a" } : "skip"
      const live = useLive("texts", payload)
      const suspended = useLiveSuspense("texts", payload)
      expectTypeOf(suspended.value).toEqualTypeOf<ReadonlyArray<string> | undefined>()
      const query = useQuery("texts", payload)
      const asked = useQuerySuspense("texts", payload)
      const pages = usePages("page", isOn ? { board: "a", size: 2 } : "skip")
      const listed = usePagesSuspense("page", isOn ? { board: "a", size: 2 } : "skip")
      const values = [live.value, suspended.value, query.value, asked.value].map((value) => value?.join())
      return `${values} ${pages.items.length}${listed.items.length} ${query.isPending}${pages.isLoading}`
    }
    const Page = ({ isOn }: { readonly isOn: boolean }) => (
      <StrictMode>
        <Provider client={client}>
          <Suspense fallback="…">
            <All isOn={isOn} />
          </Suspense>
        </Provider>
      </StrictMode>
    )
    const page = render(<Page isOn={false} />)
    await page.shows(",,, 00 falsefalse")
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect([network.log.length, calls.length]).toEqual([0, 0])
    await lingering(async () => {
      page.render(<Page isOn />)
      await page.shows("one,one,one,one 11 falsefalse")
    })
    expect(calls.length).toBe(1)
    page.render(<Page isOn={false} />)
    await page.shows(",,, 00 falsefalse")
    // What is not read any more is closed a moment later.
    await until(() => network.wires.size === 0)
    expect(sent('"tag":"live:texts"')).toBe(1)
    page.unmount()
  })

  it("C25: the types allow skip for hooks that read, and for no others", () => {
    const Types = () => {
      expectTypeOf(useLive("texts", "skip").value).toEqualTypeOf<ReadonlyArray<string> | undefined>()
      // @ts-expect-error: another text is no payload
      useLive("texts", "other")
      // @ts-expect-error: no field of this name
      useLive("texts", { bord: "a" })
      // @ts-expect-error: a mutation is not read
      useLive("add", "skip")
      return null
    }
    expect(Types).toBeTypeOf("function")
  })
})

describe("useAction", () => {
  test("C26: calls an action, and returns the outcome as data", async ({ client }) => {
    const Double = () => {
      const [double, isPending, progress] = useAction("double")
      expectTypeOf(progress).toEqualTypeOf<undefined>()
      const [shown, setShown] = useState("")
      const onClick = async () => {
        const [done, failed] = [await double({ n: 2 }), await double({ n: -1 })]
        const value = done._tag === "Success" ? done.value : undefined
        expectTypeOf(value).toEqualTypeOf<number | undefined>()
        setShown(`${value} ${failed._tag === "Failure" ? failed.error._tag : ""}`)
      }
      return (
        <button type="button" onClick={onClick}>
          {isPending ? "…" : `[${shown}]`}
        </button>
      )
    }
    const page = render(
      <StrictMode>
        <Provider client={client}>
          <Double />
        </Provider>
      </StrictMode>
    )
    await page.shows("[]")
    page.click("[]")
    await page.shows("[4 Closed]")
    page.unmount()
  })

  test("C26: shows the latest item of a stream, and gives each to its caller", async ({ client }) => {
    const outcomes: Array<unknown> = []
    const items: Array<number> = []
    const Count = () => {
      const [count, isPending, progress] = useAction("count")
      expectTypeOf(progress).toEqualTypeOf<number | undefined>()
      const onClick = async () => {
        outcomes.push(await count({ to: 5 }, { onItem: (item) => items.push(item) }))
        outcomes.push(await count({ to: -1 }))
      }
      return (
        <button type="button" onClick={onClick}>
          {isPending ? "…" : `${progress}`}
        </button>
      )
    }
    const page = render(
      <Provider client={client}>
        <Count />
      </Provider>
    )
    await page.shows("undefined")
    page.click("undefined")
    await until(() => outcomes.length === 2)
    expect(items).toEqual([1, 2, 3, 4, 5])
    expect(outcomes).toMatchObject([
      { _tag: "Success", value: 5 },
      { _tag: "Failure", error: { _tag: "Closed" } }
    ])
    // Each call begins without an item.
    await page.shows("undefined")
    page.unmount()
  })

  test("C26: a signal interrupts the action in the backend; unmounting does not", async ({ client }) => {
    const controller = new AbortController()
    const reasons: Array<unknown> = []
    const Forever = () => {
      const [run, isPending, progress] = useAction("forever")
      return (
        <button type="button" onClick={() => run({}, controller).catch((reason) => reasons.push(reason))}>
          {`${isPending} ${progress}`}
        </button>
      )
    }
    const before = running.forever
    const page = render(
      <Provider client={client}>
        <Forever />
      </Provider>
    )
    await page.shows("false undefined")
    page.click("false undefined")
    await page.shows("true 1")
    page.unmount()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(running.forever).toBe(before + 1)
    controller.abort("enough")
    await until(() => reasons.length === 1 && running.forever === before)
    expect(reasons).toEqual(["enough"])
  })
})

describe("failures", () => {
  test("C27: typed errors are thrown on request, and rendering the boundary's children again retries", async (world) => {
    const { add, client, sent } = world
    const asked = () => sent('"tag":"live:texts"')
    /** The hooks note a turn later what was thrown; nobody presses a button within it. */
    const thrown = () => new Promise((resolve) => setTimeout(resolve, 5))
    await add("a", "closed")
    const Throwing = () => <>{useLive("texts", { board: "a" }, { throwOnError: true }).value?.join()}</>
    const Suspended = () => <>{useLiveSuspense("texts", { board: "a" }).value.join()}</>
    // Reads the same, and stays mounted.
    const Returning = () => <>{useLive("texts", { board: "a" }).error?._tag ?? "fine"}</>
    const page = render(
      <StrictMode>
        <Provider client={client}>
          <Returning />{" "}
          <Boundary>
            <Throwing />
          </Boundary>{" "}
          <Suspense fallback="…">
            <Boundary>
              <Suspended />
            </Boundary>
          </Suspense>
        </Provider>
      </StrictMode>
    )
    await page.shows("Closed caught Closed caught Closed")
    // It fails a second time.
    const before = asked()
    await thrown()
    page.click("")
    await until(() => asked() > before)
    await page.shows("Closed caught Closed caught Closed")
    await add("a", "open")
    await thrown()
    page.click("")
    await page.shows("fine closed,open caught Closed")
    page.click("")
    await page.shows("fine closed,open closed,open")
    page.unmount()
  })

  test("C27: a query that has failed is requested again with retry, for all that read it", async ({
    add,
    client,
    sent
  }) => {
    await add("a", "closed")
    const asked = () => sent('"tag":"live:texts"')
    const states: Array<LiveState<unknown, unknown>> = []
    const Shown = () => {
      const state = useLive("texts", { board: "a" })
      states.push(state)
      const pages = usePages("page", { board: "a", size: 2 })
      return `${state.error?._tag ?? state.value?.join()} ${pages.items.length} `
    }
    const page = render(
      <Provider client={client}>
        <Shown />
        <Shown />
      </Provider>
    )
    await page.shows("Closed 1 Closed 1 ")
    states.at(-1)!.retry()
    await until(() => asked() === 2)
    await page.shows("Closed 1 Closed 1 ")
    await add("a", "open")
    states.at(-1)!.retry()
    await page.shows("closed,open 2 closed,open 2 ")
    // Nothing to retry.
    states.at(-1)!.retry()
    await add("a", "more")
    await page.shows("closed,open,more 2 closed,open,more 2 ")
    expect(asked()).toBe(3)
    page.unmount()
  })
})

describe("what a server has read", () => {
  const Texts = ({ initial }: { readonly initial?: Preloaded | undefined }) => (
    <>[{useLive("texts", { board: "a" }, { initialValue: initial }).value?.join() ?? "…"}]</>
  )
  const Suspended = () => <>[{useLiveSuspense("texts", { board: "a" }).value.join()}]</>
  const Asked = () => <>[{useQuery("texts", { board: "a" }).value?.join() ?? "…"}]</>
  const Listed = () => (
    <>
      [
      {usePagesSuspense("page", { board: "a", size: 2 })
        .items.map(({ text }) => text)
        .join()}
      ]
    </>
  )

  test("C28: is rendered by the server and at once in the browser, which asks with its hash", async (world) => {
    const { add, calls, client, network, read, readPage, sent } = world
    await add("a", "one")
    // As it travels: plain JSON.
    const values: ReadonlyArray<Preloaded> = JSON.parse(toHtmlJson([await read("a"), await readPage("a")]))
    expect(values[0]).toMatchObject({ tag: "texts", payload: { board: "a" }, value: ["one"] })
    const node = (
      <StrictMode>
        <Provider client={client}>
          <Preload values={values}>
            <Texts />
            <Asked />
            <Suspense fallback="…">
              <Suspended />
              <Listed />
            </Suspense>
          </Preload>
        </Provider>
      </StrictMode>
    )
    const html = renderToString(node)
    expect(html.replaceAll(/<!--.*?-->/gs, "")).toBe("[one][one][one][one]")
    expect(network.log).toEqual([])
    const page = render(node, html)
    await until(() => sent("dormouse-have") === 2)
    await until(() => network.log.filter(({ data }) => data.includes('"_tag":"Current"')).length > 0)
    expect(page.text()).toBe("[one][one][one][one]")
    await add("a", "two")
    await page.shows("[one,two][one][one,two][two,one]")
    expect(calls).toEqual([])
    expect(page.complaints).toEqual([])
    page.unmount()
  })

  test("C28: a value that changed meanwhile is replaced, and is not shown again once it was shown", async (world) => {
    const { add, client, network, read } = world
    await add("a", "one")
    const initial = await read("a")
    await add("a", "two")
    const seen: Array<string | undefined> = []
    const Shown = () => {
      const { value } = useLive("texts", { board: "a" }, { initialValue: initial })
      seen.push(value?.join())
      return value?.join() ?? "…"
    }
    const Page = ({ isShown }: { readonly isShown: boolean }) => (
      <Provider client={client}>{isShown && <Shown />}</Provider>
    )
    const page = render(<Page isShown />)
    await page.shows("one,two")
    expect(seen[0]).toBe("one")
    page.render(<Page isShown={false} />)
    await until(() => network.wires.size === 0)
    seen.length = 0
    page.render(<Page isShown />)
    await page.shows("one,two")
    expect(seen).not.toContain("one")
    page.unmount()
  })

  test("C28: what was read before a value that was live since is not shown, although it was not shown yet", async (world) => {
    const { add, client, network, read, readPage } = world
    await add("a", "one")
    const older = [await read("a"), await readPage("a")]
    await add("a", "two")
    const newer = [await read("a"), await readPage("a")]
    const seen: Array<string> = []
    const Shown = () => {
      const texts = useLive("texts", { board: "a" }).value?.join()
      const page = usePages("page", { board: "a", size: 2 }).items.map(({ text }) => text)
      const text = `${texts ?? "…"} ${page.join() || "…"}`
      seen.push(text)
      return text
    }
    const Page = ({ values }: { readonly values?: ReadonlyArray<Preloaded> }) => (
      <Provider client={client}>
        {values && (
          <Preload values={values}>
            <Shown />
          </Preload>
        )}
      </Provider>
    )
    const page = render(<Page values={[]} />)
    const visit = async (values: ReadonlyArray<Preloaded>) => {
      // What was preloaded is shown before there is a connection, which the next visit waits to end.
      await until(() => network.wires.size === 1)
      page.render(<Page />)
      await page.shows("")
      await until(() => network.wires.size === 0)
      seen.length = 0
      page.render(<Page values={values} />)
      await page.shows("one,two two,one")
      return seen
    }
    await page.shows("one,two two,one")
    for (const text of await visit(older)) expect(text).not.toMatch(/^one | one$/)
    // Control: what is not older is shown, also when nothing was written between two visits.
    expect((await visit(newer))[0]).toBe("one,two two,one")
    expect((await visit(newer))[0]).toBe("one,two two,one")
    page.unmount()
  })

  test("C28: a value of another query, or that does not fit the contract, is not shown", async (world) => {
    const { add, client, read } = world
    await add("a", "one")
    const initial = await read("a")
    const wrong: ReadonlyArray<Preloaded> = [
      { ...initial, value: { not: "a list" } },
      { ...initial, value: [1] },
      { ...initial, payload: { board: "b" } },
      { ...initial, tag: "who" }
    ]
    for (const initial of wrong) {
      const node = (
        <Provider client={client}>
          <Texts initial={initial} />
        </Provider>
      )
      expect(renderToString(node).replaceAll("<!-- -->", "")).toBe("[…]")
    }
  })

  test("C28: a value whose hash is wrong is shown until the server has sent the present one", async (world) => {
    const { add, client, read } = world
    await add("a", "one")
    const initial = await read("a")
    // As if it were from another deployment: the server does not know the hash, or has another value for it.
    for (const changed of [
      { ...initial, hash: "unknown" },
      { ...initial, value: ["forged"] },
      { ...initial, version: initial.version + 1_000_000_000 }
    ] satisfies ReadonlyArray<Preloaded<string> & { readonly value: Schema.Json }>) {
      const page = render(
        <Provider client={client}>
          <Texts initial={changed} />
        </Provider>
      )
      await page.shows("[one]")
      page.unmount()
    }
  })

  it("C28: its JSON does not end a script", () => {
    const text = toHtmlJson(["</script>", "<!--", "\u2028\u2029"])
    expect(text).not.toMatch(/[<\u2028\u2029]/)
    expect(JSON.parse(text)).toEqual(["</script>", "<!--", "\u2028\u2029"])
  })
})
