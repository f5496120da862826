import { Component, type ReactNode } from "react"
import { createRoot, hydrateRoot } from "react-dom/client"
import { afterEach, expect, vi } from "vitest"
import { document } from "./page.ts"

/** Rendering in tests of hooks. */

/** Renders into the page. `complaints` are the errors that React reports as recoverable. */
export const render = (node: ReactNode, html = "") => {
  const container = document.createElement("div")
  container.innerHTML = html
  const complaints: Array<unknown> = []
  const options = { onRecoverableError: (error: unknown) => complaints.push(error), onCaughtError: () => {} }
  const element = container as never
  const root = html === "" ? createRoot(element, options) : hydrateRoot(element, node, options)
  if (html === "") root.render(node)
  return {
    complaints,
    render: (node: ReactNode) => root.render(node),
    unmount: () => root.unmount(),
    text: () => container.textContent,
    click: (name: string) =>
      [...container.querySelectorAll("button")].find((button) => button.textContent === name)!.click(),
    shows: (text: string) =>
      until(
        () => container.textContent === text,
        () => container.textContent
      )
  }
}

/** Waits until a condition holds. */
export const until = async (predicate: () => boolean, seen: () => unknown = () => "") => {
  for (let i = 0; i < 3000; i++) {
    if (predicate()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`not within 30 s; last seen: ${seen()}`)
}

/** Runs a body during which what no component reads stays open for a minute instead of a second. */
export const lingering = async <A,>(body: () => Promise<A>): Promise<A> => {
  const { setTimeout } = globalThis
  const spy = vi
    .spyOn(globalThis, "setTimeout")
    .mockImplementation(((run: () => void, ms?: number) => setTimeout(run, ms === 1000 ? 60_000 : ms)) as never)
  try {
    return await body()
  } finally {
    spy.mockRestore()
  }
}

/** Shows what it has caught. Its button renders its children again. */
export class Boundary extends Component<{ readonly children: ReactNode }> {
  override state: { readonly error?: { readonly _tag?: string; readonly message?: string } } = {}
  static getDerivedStateFromError = (error: unknown) => ({ error })
  override render() {
    const { error } = this.state
    if (error === undefined) return this.props.children
    return (
      <>
        caught {error._tag ?? error.message}
        <button type="button" onClick={() => this.setState({ error: undefined })} />
      </>
    )
  }
}

/** Fails a test of this file when React finds something wrong with the use of its own API. */
export const checkWarnings = () => {
  const warnings = vi.spyOn(console, "error")
  afterEach(() => {
    expect(warnings.mock.calls.map(([text]) => String(text)).filter((text) => text.includes("use()"))).toEqual([])
  })
}
