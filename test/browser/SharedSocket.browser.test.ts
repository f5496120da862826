/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import { Auth } from "effect-dormouse/auth"
import type { Browser, BrowserContext, Page } from "playwright-core"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { newTenant } from "../deployment/Deployment.ts"
import { WorkerdProcess } from "../deployment/workerd.ts"
import { isLong } from "../random.ts"
import type { Counts } from "../worker/process/hooks.ts"
import { isMissing, launch, missing } from "./browser.ts"
import { bundle } from "./bundle.ts"
import type { Tab, TabOptions } from "./page/tabs.ts"

/** Tabs of one browser that share a socket: pages of one context, and a Worker on workerd that counts its sockets. */

if (isMissing) console.warn(missing)

describe.skipIf(isMissing)("tabs that share a socket", () => {
  let browser: Browser
  let context: BrowserContext
  let server: WorkerdProcess
  let script: string
  let before: Counts
  beforeAll(async () => {
    // One after the other: both end the bundler when they have used it.
    script = await bundle("tabs.ts")
    server = await WorkerdProcess.start(fileURLToPath(new URL("../worker/process/hooks.ts", import.meta.url)))
    browser = await launch()
  })
  afterAll(async () => {
    await browser?.close()
    await server?.close()
  })
  beforeEach(async () => {
    context = await browser.newContext()
    context.setDefaultTimeout(120_000)
    // A tab whose leader does not answer within 3 s takes its place: that a busy machine is slow is not such a case.
    if (!isLong)
      await context.addInitScript(
        "const real = setTimeout; globalThis.setTimeout = (run, ms, ...more) => real(run, ms === 3000 ? 60_000 : ms, ...more)"
      )
    before = await counts()
  })
  afterEach(() => context.close())

  const counts = async (): Promise<Counts> => (await fetch(`${server.url}/counts`)).json() as Promise<Counts>
  /** How many sockets were opened since the test began. */
  const opened = async () => (await counts()).opened - before.opened

  /** Opens a tab, and waits until its live query is current. */
  const open = async (options: TabOptions, init?: string): Promise<Page> => {
    const page = await context.newPage()
    if (init !== undefined) await page.addInitScript(init)
    await page.goto(`${server.url}/counts`)
    await page.addScriptTag({ content: script })
    await page.evaluate((options) => globalThis.openTab(options), options)
    await isLive(page)
    return page
  }
  const isLive = (page: Page) => page.waitForFunction(() => tab.connection === "Live")
  const read = <A>(page: Page, of: (tab: Tab) => A) => page.evaluate(`(${of})(globalThis.tab)`) as Promise<A>
  const add = (page: Page, text: string) => page.evaluate((text) => tab.add(text), text)
  const last = async (page: Page) => (await read(page, ({ shown }) => shown.at(-1)))?.join()
  const shows = (page: Page, text: string) => expect.poll(() => last(page)).toBe(text)

  /** No value that was shown lacks a text that an earlier one had, and none has a text twice. */
  const checkShown = (shown: ReadonlyArray<ReadonlyArray<string>>) => {
    for (const [i, value] of shown.entries()) {
      expect(new Set(value).size).toBe(value.length)
      for (const text of shown[i - 1] ?? []) expect(value).toContain(text)
    }
  }

  const options = (): TabOptions => ({ tenant: newTenant("tabs"), board: "a" })
  const tokenOf = (subject: string) => Auth.testToken({ subject, claims: {} })

  it("C30: three tabs have one socket, and each sees what another one writes", async () => {
    const own = options()
    const pages = [await open(own), await open(own), await open({ ...own, board: "a" })]
    for (const [i, page] of pages.entries()) await add(page, String(i))
    for (const page of pages) {
      await expect.poll(async () => (await last(page))?.split(",").toSorted().join()).toBe("0,1,2")
      expect(await read(page, ({ failed }) => failed)).toEqual([])
    }
    expect(await opened()).toBe(1)
    // A tab that goes takes nothing from the others; with the last one the socket is closed.
    await pages[2]!.close()
    await add(pages[1]!, "3")
    for (const page of pages.slice(0, 2)) await expect.poll(() => last(page)).toContain("3")
    for (const page of pages.slice(0, 2)) await page.evaluate(() => tab.close())
    await expect.poll(async () => (await counts()).closed - before.closed).toBe(1)
    expect(await opened()).toBe(1)
  })

  it("C31: when the tab with the socket is closed, another one opens it: no mutation is lost or done twice, no value goes back", async () => {
    const own = options()
    const leader = await open(own)
    const [second, third] = [await open(own), await open(own)]
    const texts = Array.from({ length: 60 }, (_, i) => `m${i}`)
    const writing = Promise.all(
      [second, third].map((page, i) =>
        page.evaluate(
          async ([texts, i]) => {
            for (const text of texts) {
              tab.add(`${text}-${i}`)
              await new Promise((resolve) => setTimeout(resolve, 5))
            }
          },
          [texts, i] as const
        )
      )
    )
    // Mutations are in flight.
    await expect.poll(() => read(second, ({ done }) => done.length)).toBeGreaterThan(5)
    await leader.close()
    await writing
    for (const page of [second, third]) {
      await expect.poll(() => read(page, ({ done }) => done.length)).toBe(texts.length)
      await isLive(page)
    }
    const expected = [0, 1].flatMap((i) => texts.map((text) => `${text}-${i}`)).toSorted()
    for (const page of [second, third]) {
      await expect.poll(async () => (await last(page))?.split(",").toSorted()).toEqual(expected)
      checkShown(await read(page, ({ shown }) => shown))
      expect(await read(page, ({ failed }) => failed)).toEqual([])
    }
    expect(await opened()).toBe(2)
  })

  it("control: without an election nobody takes the place of the tab that is closed", async () => {
    const own = options()
    const leader = await open(own)
    // It never gets a lock that another tab has had.
    const second = await open(
      own,
      `{
      const request = LockManager.prototype.request
      LockManager.prototype.request = function (name, options, body) {
        return name.split("/").length > 4 ? request.call(this, name, options, body) : new Promise(() => {})
      }
    }`
    )
    await leader.close()
    await add(second, "lost")
    await second.waitForTimeout(1500)
    expect(await read(second, ({ done }) => done)).toEqual([])
    expect(await opened()).toBe(1)
  })

  it("C32: tabs with other tokens or tenants have sockets of their own, and so have tabs of a browser that cannot share", async () => {
    const own = { ...options(), token: tokenOf("ada") }
    const ada = [await open(own), await open(own)]
    expect(await opened()).toBe(1)
    const bob = await open({ ...own, token: tokenOf("bob") })
    const elsewhere = await open({ ...own, tenant: newTenant("tabs") })
    expect(await opened()).toBe(3)
    expect(await Promise.all([...ada, bob].map((page) => read(page, (tab) => tab.who())))).toEqual([
      "ada",
      "ada",
      "bob"
    ])
    await add(ada[0]!, "ours")
    await shows(bob, "ours")
    expect(await last(elsewhere)).toBe("")
    const without = await open(own, "delete Navigator.prototype.locks")
    await shows(without, "ours")
    const refused = await open(own, "LockManager.prototype.request = () => Promise.reject(new Error('no locks here'))")
    await shows(refused, "ours")
    await add(refused, "mine")
    await shows(without, "ours,mine")
    expect(await opened()).toBe(5)
    await refused.evaluate(() => tab.close())
    await expect.poll(async () => (await counts()).closed - before.closed).toBe(1)
  })

  it("C32: tabs with one identity share a socket, although their tokens differ", async () => {
    const own = { ...options(), identity: "ada" }
    const claims = (n: number) => Auth.testToken({ subject: "ada", claims: { n } })
    const pages = [await open({ ...own, token: claims(1) }), await open({ ...own, token: claims(2) })]
    await add(pages[0]!, "one")
    await shows(pages[1]!, "one")
    expect(await opened()).toBe(1)
  })

  it.runIf(isLong)(
    "C31: a tab that has stopped is replaced, and shows the present values when it goes on",
    async () => {
      const own = options()
      const leader = await open(own)
      const second = await open(own)
      // The page runs no code from its next message on, and keeps its lock.
      const devtools = await context.newCDPSession(leader)
      await devtools.send("Debugger.enable")
      await devtools.send("Debugger.pause")
      await add(second, "one")
      // Its user looks at it: the client asks at once whether the connection is alive.
      await second.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
      await expect.poll(() => read(second, ({ done }) => done), { timeout: 90_000 }).toEqual(["one"])
      expect(await opened()).toBe(2)
      await devtools.send("Debugger.resume")
      await devtools.send("Debugger.disable")
      await shows(leader, "one")
      await add(leader, "two")
      await shows(second, "one,two")
      expect(await opened()).toBe(2)
    }
  )
})
