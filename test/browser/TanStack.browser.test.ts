/// <reference types="node" />
/** An app of TanStack Start: its server reads queries in a loader, and the browser takes over what it has rendered. */
import { execFile } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { fileURLToPath, URL } from "node:url"
import { promisify } from "node:util"
import type { Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { isMissing, missing } from "./browser.ts"
import { startRendered, texts } from "./rendered.ts"

if (isMissing) console.warn(missing)

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

/** In the page: everything that it has shown of the live query, from when its HTML has arrived. */
const watch = `
globalThis.shown = []
const look = () => {
  const text = document.getElementById("live")?.textContent
  if (document.readyState !== "loading" && text !== undefined && globalThis.shown.at(-1) !== text) globalThis.shown.push(text)
}
document.addEventListener("readystatechange", look)
new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true })`

describe.skipIf(isMissing)("an app of TanStack Start", () => {
  let folder: string
  let app: Awaited<ReturnType<typeof startRendered>>
  const problems: Array<string> = []

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "dormouse-tanstack-"))
    // In a process of its own: TanStack's plugin sets variables of the process.
    await promisify(execFile)(process.execPath, [pathOf("tanstack/build.ts"), folder], { timeout: 120_000 })
    app = await startRendered(problems, (backend) => ({
      args: [pathOf("tanstack/serve.ts"), folder],
      env: { DORMOUSE_URL: backend }
    }))
    await app.context.addInitScript(watch)
  })
  afterAll(async () => {
    await app?.end()
    rmSync(folder, { recursive: true, force: true })
  })

  const counts = () => app.counts()

  /** A tenant with three boards, and the addresses of its pages. */
  const seed = async () => {
    const { add, tenant } = await app.seed("tanstack")
    await add("second", "of the second")
    await add("other", "else")
    const urlOf = (path: string) => `${app.url}${path}?tenant=${tenant}&board=first`
    return { add, url: urlOf(""), without: urlOf("without") }
  }
  const all = texts.join()
  const htmlOf = async (url: string) => (await fetch(url)).text()

  const open = async (url: string, prepare?: (page: Page) => unknown) => {
    const { frames, page } = await app.open(url, prepare)
    const textOf = (id: string) => page.evaluate(`document.getElementById("${id}")?.textContent`)
    const shows = (id: string, text: string) => expect.poll(() => textOf(id)).toBe(text)
    /** How many frames have this tag. */
    const received = (tag: string) => frames.join("").split(`{"_tag":"${tag}"`).length - 1
    return { page, received, shows, shown: () => page.evaluate("shown") as Promise<Array<string>> }
  }

  it("C28: the HTML has what a loader has preloaded, the browser takes it over, and a few bytes confirm it", async () => {
    const before = await counts()
    const { add, url } = await seed()
    const html = await htmlOf(url)
    expect(html).toContain('<p id="live">one,&lt;/script&gt;')
    expect(html).toContain('<p id="suspended">else</p>')
    expect(html).not.toContain("…")
    expect((await counts()).opened).toBe(before.opened)

    const { page, received, shown, shows } = await open(url)
    await expect.poll(() => received("Current")).toBe(2)
    expect(received("Snapshot")).toBe(0)
    expect((await counts()).known - before.known).toBe(2)
    expect((await counts()).opened - before.opened).toBe(1)
    await shows("live", all)
    await shows("suspended", "else")
    await add("first", "four")
    await add("other", "more")
    await shows("live", `${all},four`)
    await shows("suspended", "else,more")
    // No moment without values.
    expect(await shown()).toEqual([all, `${all},four`])
    expect(problems).toEqual([])
    await page.close()
  })

  it("C28: a page that is older than its data is taken over as it is, and then shows the present values", async () => {
    const { add, url } = await seed()
    // The server has sent the page when its scripts are asked for.
    let later: Promise<unknown> | undefined
    const { page, shown, shows } = await open(url, (page) =>
      page.route("**/assets/*", async (route) => {
        later ??= add("first", "later")
        await later
        await route.continue()
      })
    )
    await shows("live", `${all},later`)
    expect(await shown()).toEqual([all, `${all},later`])
    expect(problems).toEqual([])
    await page.close()
  })

  it("control: without a preloaded value the HTML has none, and the browser is sent the whole value", async () => {
    const before = await counts()
    const { without } = await seed()
    const html = await htmlOf(without)
    expect(html).toContain('<p id="live">…</p>')
    expect(html).not.toContain("three")
    const { page, received, shown, shows } = await open(without)
    await shows("live", all)
    expect(await shown()).toEqual(["…", all])
    expect(received("Snapshot")).toBe(1)
    expect(received("Current")).toBe(0)
    expect((await counts()).known).toBe(before.known)
    expect(problems).toEqual([])
    await page.close()
  })

  it("C28: a page to which the browser navigates begins with what its server function has preloaded", async () => {
    const before = await counts()
    const { add, without } = await seed()
    const { page, received, shown, shows } = await open(without)
    await shows("live", all)
    expect(received("Snapshot")).toBe(1)
    await page.click("a")
    await shows("live", "of the second")
    await shows("suspended", "else")
    await expect.poll(() => received("Current")).toBe(2)
    expect(received("Snapshot")).toBe(1)
    await add("second", "more")
    await shows("live", "of the second,more")
    // Every visit comes after its queries have ended: within a second they would still be live.
    await expect.poll(() => received("Exit")).toBe(1)
    await page.goBack()
    await shows("live", all)
    await expect.poll(() => received("Exit")).toBe(3)
    await add("second", "again")
    await page.click("a")
    await shows("live", "of the second,more,again")
    await shows("suspended", "else")
    await expect.poll(() => received("Current")).toBe(4)
    const second = "of the second,more"
    expect(await shown()).toEqual(["…", all, "of the second", second, "…", all, `${second},again`])
    expect((await counts()).opened - before.opened).toBe(1)
    expect(problems).toEqual([])
    await page.close()
  })

  it("control: a page with other data than its HTML is rendered again, which React reports", async () => {
    const { url } = await seed()
    const html = await htmlOf(url)
    const other = html.replace('<p id="live">one,', '<p id="live">wrong,')
    expect(other).not.toBe(html)
    const { page, shows } = await open(url, (page) =>
      page.route(url, (route) => route.fulfill({ body: other, contentType: "text/html" }))
    )
    await shows("live", all)
    await expect.poll(() => problems.join()).toContain("Hydration failed")
    problems.length = 0
    await page.close()
  })

  it("what reads on the server is not in the browser's bundle", () => {
    const bundle = (side: string) => {
      const assets = join(folder, side, "assets")
      return readdirSync(assets).map((name) => readFileSync(join(assets, name), "utf8"))
    }
    expect(bundle("server").join()).toContain("createPreload")
    expect(bundle("client").join()).toContain("useLive")
    expect(bundle("client").join()).not.toContain("createPreload")
    expect(bundle("client").join()).not.toContain("DORMOUSE_URL")
  })

  it("the committed tree of routes is the one that TanStack generates", async () => {
    const app = relative(folder, pathOf("tanstack"))
    const generated = readFileSync(join(folder, "routeTree.gen.ts"), "utf8")
    await expect(generated.replaceAll(`"./${app}/`, '"./').replaceAll(`"${app}/`, '"./')).toMatchFileSnapshot(
      "tanstack/routeTree.gen.ts"
    )
  })
})
