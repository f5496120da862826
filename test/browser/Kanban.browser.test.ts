/// <reference types="node" />
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Browser, BrowserContext, Page } from "playwright-core"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { buildInto } from "../../examples/chat/page.ts"
import * as Server from "../../examples/chat/server.ts"
import { isMissing, launch, missing, stores } from "./browser.ts"

/** The kanban end to end: its page in a browser, and its Worker on workerd. */

if (isMissing) console.warn(missing)

const example = (path: string) => fileURLToPath(new URL(`../../examples/kanban/${path}`, import.meta.url))
const column = (page: Page, name: string) => page.getByRole("region", { name: new RegExp(`^${name}`) })
const cards = (page: Page, name: string) => column(page, name).locator(".card .title").allTextContents()
const add = async (page: Page, name: string, title: string) => {
  const field = column(page, name).getByRole("textbox", { name: `New card in ${name}` })
  await field.fill(title)
  await field.press("Enter")
}
const card = (page: Page, title: string) => page.getByRole("button", { name: title })

describe.skipIf(isMissing)("the kanban in a browser", () => {
  const folder = mkdtempSync(join(tmpdir(), "dormouse-kanban-"))
  const scope = Scope.makeUnsafe()
  const contexts: Array<BrowserContext> = []
  let browser: Browser
  let url = ""

  beforeAll(async () => {
    const page = await Effect.runPromise(buildInto(join(folder, "page"), example("vite.config.ts")))
    const server = Server.make({ port: 0, data: join(folder, "data"), page, worker: example("worker.ts") })
    url = await Effect.runPromise(server.pipe(Scope.provide(scope)))
    browser = await launch()
  })
  afterAll(async () => {
    await browser?.close()
    await Effect.runPromise(Scope.close(scope, Exit.void))
    rmSync(folder, { recursive: true, force: true })
  })
  afterEach(async () => {
    for (const context of contexts.splice(0)) await context.close()
  })

  /** Somebody with a browser of their own. */
  const person = async (name: string) => {
    const context = await browser.newContext({ viewport: { width: 1200, height: 750 } })
    context.setDefaultTimeout(120_000)
    contexts.push(context)
    const page = await context.newPage()
    await page.goto(url)
    const field = page.getByRole("textbox", { name: "Your name" })
    await field.fill(name)
    await field.press("Tab")
    return page
  }
  const newBoard = async (page: Page, name: string) => {
    await page.getByRole("textbox", { name: "Name of a new board" }).fill(name)
    await page.getByRole("button", { name: "Create" }).click()
    // Until then another board may be shown.
    await page.locator("a[aria-current=page]", { hasText: name }).waitFor()
    await column(page, "To do").waitFor()
  }

  it("what one person moves, assigns and says, another sees", async () => {
    const ada = await person("Ada")
    await newBoard(ada, "Garden")
    for (const title of ["weed", "water", "mow"]) await add(ada, "To do", title)
    const bob = await person("Bob")
    await expect.poll(() => cards(bob, "To do")).toEqual(["weed", "water", "mow"])

    // By the keyboard, and by the mouse.
    await card(bob, "mow").focus()
    await bob.keyboard.press("Alt+ArrowUp")
    await card(bob, "weed").dragTo(column(bob, "Done"))
    await expect.poll(() => cards(ada, "To do")).toEqual(["mow", "water"])
    await expect.poll(() => cards(ada, "Done")).toEqual(["weed"])
    await expect.poll(() => ada.locator(".progress").textContent()).toBe("1 of 3 done")

    await card(ada, "mow").click()
    await ada.getByRole("combobox", { name: "Assigned to" }).selectOption({ label: "Bob" })
    await ada.getByRole("textbox", { name: "A comment" }).fill("before it rains")
    await ada.getByRole("button", { name: "Comment" }).click()
    await bob.getByRole("link", { name: "Assigned to me" }).click()
    await bob.getByRole("list", { name: "Assigned to me" }).getByText("mow").waitFor()
    await bob.goBack()
    await card(bob, "mow").click()
    await bob.getByText("before it rains").waitFor()
    expect(await bob.getByRole("region", { name: "Comments" }).getByText("Ada").count()).toBe(1)
  })

  it("what is done offline is shown at once, outlives the page, and reaches the others", async () => {
    const ada = await person("Ada")
    await newBoard(ada, "Offline")
    await add(ada, "To do", "first")
    const bob = await person("Bob")
    await bob.goto(`${url}/#/Offline`)
    await expect.poll(() => cards(bob, "To do")).toEqual(["first"])

    const context = ada.context()
    await context.setOffline(true)
    await ada.getByRole("status", { name: "Connection" }).filter({ hasText: "Offline" }).waitFor()
    await add(ada, "To do", "second")
    await card(ada, "second").focus()
    await ada.keyboard.press("Alt+ArrowUp")
    await expect.poll(() => cards(ada, "To do")).toEqual(["second", "first"])
    expect(await cards(bob, "To do")).toEqual(["first"])
    // The page is closed before the network is back.
    await stores(ada, "second", "cards.move")
    await ada.close()
    await context.setOffline(false)
    const again = await context.newPage()
    await again.goto(`${url}/#/Offline`)
    await expect.poll(() => cards(bob, "To do")).toEqual(["second", "first"])
    await expect.poll(() => cards(again, "To do")).toEqual(["second", "first"])
  })
})
