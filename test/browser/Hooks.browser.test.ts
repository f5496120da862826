/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import type { Browser, BrowserContext, Page } from "playwright-core"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { call, newTenant } from "../deployment/Deployment.ts"
import { WorkerdProcess } from "../deployment/workerd.ts"
import type { Counts } from "../worker/process/hooks.ts"
import { isMissing, launch, missing, newContext } from "./browser.ts"
import { bundle } from "./bundle.ts"

/** Hooks and atoms in a browser, in StrictMode, with a Worker on workerd that counts sockets and subscriptions. */

if (isMissing) console.warn(missing)

describe.skipIf(isMissing)("hooks in a page", () => {
  let browser: Browser
  let server: WorkerdProcess
  let script: string
  let context: BrowserContext
  const problems: Array<string> = []
  beforeAll(async () => {
    // One after the other: both end the bundler when they have used it.
    script = await bundle("hooks.tsx")
    server = await WorkerdProcess.start(fileURLToPath(new URL("../worker/process/hooks.ts", import.meta.url)))
    browser = await launch()
    context = await newContext(browser, problems)
  })
  afterAll(async () => {
    await browser?.close()
    await server?.close()
  })
  afterEach(() => {
    // React reports what a boundary has caught, and the browser that there is no icon; nothing else must be reported.
    expect(problems.filter((problem) => !/Boundary|404/.test(problem))).toEqual([])
    problems.length = 0
  })

  const counts = async (): Promise<Counts> => (await fetch(`${server.url}/counts`)).json() as Promise<Counts>

  const add = (board: string, text: string) => call(server.deployment, "main", "add", { board, text })

  /** A page of the Worker's origin, with the script. */
  const open = async (): Promise<Page> => {
    const page = await context.newPage()
    // Any answer of the Worker has its origin.
    await page.goto(`${server.url}/counts`)
    await page.evaluate("document.body.innerHTML = ''")
    await page.addScriptTag({ content: script })
    return page
  }
  const shows = async (page: Page, id: string, text: string | RegExp) =>
    page
      .locator(`#${id}`)
      .filter({ hasText: typeof text === "string" ? exactly(text) : text })
      .waitFor({ state: "attached" })
  const exactly = (text: string) => new RegExp(`^${text.replace(/[+]/g, "\\$&")}$`)

  it("C15, C25, C26, C27: each hook works in StrictMode, over one socket with one subscription for each query", async () => {
    const before = await counts()
    const page = await open()
    const board = newTenant("board")
    await page.evaluate((board) => globalThis.mountHooks(board), board)
    await shows(page, "live", "")
    await shows(page, "connection", "Live")
    await shows(page, "live-suspense", "")
    await shows(page, "query-suspense", "")
    await shows(page, "pages-suspense", "")
    await shows(page, "client", "0")
    await shows(page, "skip", "undefined,undefined,undefined false")
    // Two queries of texts and two lists of pages, of each of which the empty first page is the only one.
    const { live, opened } = await counts()
    expect([opened - before.opened, live - before.live]).toEqual([1, 4])

    await page.click("#mutation")
    await shows(page, "mutation", "hi")
    await shows(page, "live", "hi")
    await shows(page, "live-suspense", "hi")
    // A call without a subscription is made again only on request.
    await shows(page, "query", "")
    await page.click("#query")
    await shows(page, "query", "hi")

    await page.click("#mutation")
    await page.click("#mutation")
    await shows(page, "live", "hi,hi,hi")
    await shows(page, "pages-suspense", "hi,hi,hi")

    await page.click("#skip")
    await shows(page, "skip", "0,0,0 false")
    await page.click("#skip")
    await shows(page, "skip", "undefined,undefined,undefined false")

    await page.click("#action")
    await shows(page, "action", "42,Closed")
    await page.click("#stream")
    await shows(page, "stream", "1,2,3 3 3")
    await page.click("#cancel")
    await shows(page, "cancel", "running 1")
    await page.click("#cancel")
    await shows(page, "cancel", "enough")
    expect((await counts()).opened - before.opened).toBe(1)
    await page.close()
  })

  it("C13, C27: pages grow, and a boundary's button retries a query that another component still reads", async () => {
    const page = await open()
    const board = newTenant("board")
    for (const text of ["one", "two", "three"]) await add(board, text)
    await page.evaluate((board) => globalThis.mountHooks(board), board)
    await shows(page, "pages", "three,two+")
    await page.click("#pages")
    await shows(page, "pages", "three,two,one")

    await shows(page, "boundary", "")
    await add(`${board}-closed`, "closed")
    await shows(page, "boundary", "Closed")
    await shows(page, "returned", "Closed")
    await add(`${board}-closed`, "open")
    await page.click("#boundary")
    await shows(page, "boundary", "closed,open")
    await shows(page, "returned", "none")
    await page.close()
  })

  it("C29: atoms work in StrictMode, over one socket with one subscription for each", async () => {
    const before = await counts()
    const page = await open()
    const board = newTenant("board")
    await page.evaluate((board) => globalThis.mountAtoms(board), board)
    await shows(page, "atom", "")
    await shows(page, "atom-suspense", "")
    await page.click("#atom-mutation")
    await shows(page, "atom", "hi")
    await shows(page, "atom-suspense", "hi")
    await page.click("#atom-action")
    await shows(page, "atom-action", "3")
    for (const text of ["two", "three"]) await add(board, text)
    await shows(page, "atom-pages", "three,two")
    await page.click("#atom-pages")
    await shows(page, "atom-pages", "three,two,hi")
    const { opened } = await counts()
    expect(opened - before.opened).toBe(1)
    await page.close()
  })
})
