import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as AsyncResult from "effect/reactivity/AsyncResult"
import * as Atom from "effect/reactivity/Atom"
import * as AtomRegistry from "effect/reactivity/AtomRegistry"
import { Atoms } from "effect-dormouse/atoms"
import {
  RegistryProvider,
  useAtom,
  useAtomMount,
  useAtomRefresh,
  useAtomSet,
  useAtomSuspense,
  useAtomValue,
  useRegistry
} from "effect-dormouse/atoms/react"
import { TestApp } from "effect-dormouse/testing"
import { StrictMode, Suspense } from "react"
import { renderToString } from "react-dom/server"
import { app, HooksApi, running } from "../worker/hooks.ts"
import { Boundary, checkWarnings, render, until } from "./rendering.tsx"

/** Atoms of actions and pages, and atoms in React components. */

checkWarnings()

const world = Effect.gen(function* () {
  const client = yield* TestApp.client(HooksApi)
  const other = yield* TestApp.client(HooksApi)
  const { object } = yield* TestApp
  const { network } = object()
  const add = (board: string, text: string) => Effect.runPromise(Effect.asVoid(other.mutate("add", { board, text })))
  const sent = (part: string) =>
    network.log.filter(({ data, direction }) => direction === "toServer" && data.includes(part)).length
  return { client, atoms: Atoms.make(client), network, add, sent }
})

type World = Effect.Success<typeof world>

const test = (name: string, body: (world: World) => Promise<void>) =>
  it.live(name, () =>
    Effect.flatMap(world, (world) => Effect.promise(() => body(world))).pipe(Effect.provide(TestApp.layer(app)))
  )

describe("atoms", () => {
  test("C29: the atom of an action has its value, and of a stream its latest item", async ({ atoms }) => {
    const registry = AtomRegistry.make()
    const double = atoms.action("double")
    expect(double).toBe(atoms.action("double"))
    registry.mount(double)
    registry.set(double, { n: 3 })
    await until(() => AsyncResult.isSuccess(registry.get(double)))
    expect(registry.get(double)).toMatchObject({ value: 6, waiting: false })
    registry.set(double, { n: -1 })
    await until(() => AsyncResult.isFailure(registry.get(double)))
    const count = atoms.action("count")
    const seen: Array<unknown> = []
    registry.subscribe(count, (result) => seen.push(AsyncResult.isSuccess(result) ? result.value : undefined))
    registry.set(count, { to: 4 })
    await until(() => AsyncResult.isSuccess(registry.get(count)) && !registry.get(count).waiting)
    expect(seen.at(-1)).toBe(4)
    const before = running.forever
    const forever = atoms.action("forever")
    const unmount = registry.mount(forever)
    registry.set(forever, {})
    await until(() => running.forever === before + 1)
    registry.set(forever, Atom.Interrupt)
    await until(() => running.forever === before)
    registry.set(forever, {})
    await until(() => running.forever === before + 1)
    unmount()
    await until(() => running.forever === before)
    registry.dispose()
  })

  test("C29: the atom of pages grows when it is written to, and shows new rows", async ({ add, atoms, network }) => {
    for (const text of ["1", "2", "3", "4", "5"]) await add("a", text)
    const registry = AtomRegistry.make()
    const pages = atoms.pages("page", { board: "a", size: 2 })
    expect(pages).toBe(atoms.pages("page", { board: "a", size: 2 }))
    const shown = () => {
      const result = registry.get(pages)
      if (!AsyncResult.isSuccess(result)) return "…"
      return `${result.value.items.map(({ text }) => text).join()} ${result.value.hasMore} ${result.waiting}`
    }
    const unmount = registry.mount(pages)
    expect(shown()).toBe("…")
    await until(() => shown() === "5,4 true false", shown)
    registry.set(pages, undefined)
    await until(() => shown() === "5,4,3,2 true false", shown)
    await add("a", "6")
    await until(() => shown() === "6,5,4,3,2 true false", shown)
    registry.set(pages, undefined)
    await until(() => shown() === "6,5,4,3,2,1 false false", shown)
    unmount()
    await until(() => network.wires.size === 0)
    registry.dispose()
  })
})

describe("atoms in components", () => {
  test("C29: a component renders the value of an atom and writes to it, in StrictMode with one subscription", async (world) => {
    const { add, atoms, network, sent } = world
    const Texts = () => {
      const result = useAtomValue(atoms.live("texts", { board: "a" }))
      return <>{AsyncResult.isSuccess(result) ? `[${result.value}]` : "…"}</>
    }
    const Add = () => {
      const add = useAtomSet(atoms.mutation("add"))
      return <button type="button" onClick={() => add({ payload: { board: "a", text: "mine" } })} />
    }
    const page = render(
      <StrictMode>
        <RegistryProvider>
          <Texts />
          <Texts />
          <Add />
        </RegistryProvider>
      </StrictMode>
    )
    await page.shows("[][]")
    await add("a", "one")
    await page.shows("[one][one]")
    page.click("")
    await page.shows("[one,mine][one,mine]")
    expect([network.wires.size, sent('"tag":"live:texts"')]).toEqual([1, 1])
    page.unmount()
    // The registry closes what it has a moment later.
    await until(() => network.wires.size === 0)
  })

  test("C29: useAtom writes values and functions of the present value; useAtomRefresh computes again", async () => {
    const count = Atom.make(1)
    let reads = 0
    const read = Atom.make(() => ++reads)
    const Count = () => {
      const [value, set] = useAtom(count)
      const refresh = useAtomRefresh(read)
      useAtomMount(read)
      const click = () => {
        set((value) => value + 1)
        set((value) => value * 10)
        refresh()
      }
      return (
        <button type="button" onClick={click}>
          {value} {useAtomValue(read)}
        </button>
      )
    }
    const page = render(
      <RegistryProvider initialValues={[[count, 4]]}>
        <Count />
      </RegistryProvider>
    )
    await page.shows("4 1")
    page.click("4 1")
    await page.shows("50 2")
    page.unmount()
  })

  test("C29: useAtomSuspense suspends, throws its failure, and retries when the boundary's children are rendered again", async (world) => {
    const { add, atoms, sent } = world
    await add("a", "closed")
    /** The hooks note what was thrown after five timers of 10 ms; nobody presses a button before. */
    const thrown = async () => {
      for (let i = 0; i < 10; i++) await new Promise((resolve) => setTimeout(resolve, 10))
    }
    const Texts = () => <>{useAtomSuspense(atoms.live("texts", { board: "a" })).value.join()}</>
    const page = render(
      <StrictMode>
        <RegistryProvider>
          <Suspense fallback="…">
            <Boundary>
              <Texts />
            </Boundary>
          </Suspense>
        </RegistryProvider>
      </StrictMode>
    )
    await page.shows("…")
    await page.shows("caught Closed")
    expect(sent('"tag":"live:texts"')).toBe(1)
    await thrown()
    page.click("")
    await until(() => sent('"tag":"live:texts"') === 2)
    await page.shows("caught Closed")
    await add("a", "open")
    await thrown()
    page.click("")
    await page.shows("closed,open")
    await add("a", "more")
    await page.shows("closed,open,more")
    page.unmount()
  })

  test("C29: a server renders no value and makes no client; the browser renders the value", async ({
    add,
    atoms,
    network
  }) => {
    await add("a", "one")
    const sent = network.log.length
    const Texts = () => {
      const result = useAtomValue(atoms.live("texts", { board: "a" }))
      return <>{AsyncResult.isSuccess(result) ? result.value.join() : "…"} </>
    }
    const State = () => <>{useAtomValue(atoms.connection)._tag} </>
    const Waiting = () => <>{useAtomSuspense(atoms.live("texts", { board: "a" })).value.join()}</>
    const node = (
      <RegistryProvider>
        <Texts />
        <State />
        <Suspense fallback="waiting">
          <Waiting />
        </Suspense>
      </RegistryProvider>
    )
    const html = renderToString(node)
    expect(html.replaceAll(/<!--.*?-->|<template.*?<\/template>/gs, "")).toBe("… Idle waiting")
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(network.log.length).toBe(sent)
    const page = render(node, html)
    await page.shows("one Live one")
    expect(page.complaints.map(String).filter((complaint) => !complaint.includes("while a server renders"))).toEqual([])
    page.unmount()
  })

  test("C29: a registry of the author's is not disposed of; without a provider there is none", async () => {
    const registry = AtomRegistry.make()
    const value = Atom.make("value")
    const Shown = () => <>{useAtomValue(value)}</>
    const page = render(
      <StrictMode>
        <RegistryProvider registry={registry}>
          <Shown />
        </RegistryProvider>
      </StrictMode>
    )
    await page.shows("value")
    page.unmount()
    await new Promise((resolve) => setTimeout(resolve, 1100))
    expect(registry.get(value)).toBe("value")
    registry.dispose()
    const None = () => <>{String(useRegistry())}</>
    const without = render(
      <Boundary>
        <None />
      </Boundary>
    )
    await without.shows("caught there is no RegistryProvider above this component")
    without.unmount()
  })
})
