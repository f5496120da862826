/** What the page of the chat looks like, and how it is reached, in a browser. Run by `Chat.browser.test.ts`. */
import { setTimeout } from "node:timers/promises"
import axe from "axe-core"
import * as Effect from "effect/Effect"
import type { BrowserContextOptions, Locator, Page } from "playwright-core"
import { expect, it } from "vitest"
import { maxBody } from "../../examples/chat/schema.ts"
import {
  bodies,
  clientOf,
  closing,
  field,
  focused,
  isConnected,
  log,
  open,
  outage,
  person,
  problems,
  seed,
  sees,
  shoot,
  signIn,
  write
} from "./chat.ts"
import { brokenTimes, contrastOf, type Field, fields, smallTargets } from "./contrast.ts"

/** The smaller of two usual phones. */
const phone: BrowserContextOptions = {
  viewport: { width: 360, height: 740 },
  isMobile: true,
  hasTouch: true
}

/** Opens the actions of a message on a touch screen. A tap while the log still scrolls stops it, and does nothing else. */
const openActions = async (more: Locator) => {
  for (let attempt = 0; attempt < 20; attempt++) {
    await more.tap()
    for (let look = 0; look < 10; look++) {
      if ((await more.getAttribute("aria-expanded")) === "true") return
      await setTimeout(50)
    }
  }
  throw new Error("the actions of a message do not open")
}

/** Somebody sends a message to a channel, from another place. */
const say = (name: string, place: string, body: string) =>
  Effect.gen(function* () {
    const client = yield* clientOf(name)
    const channel = (yield* client.query("channels.list", {})).find((channel) => channel.name === place)!
    yield* client.mutate("messages.send", { channel: channel.id, body })
  }).pipe(Effect.scoped, Effect.runPromise)

const channels = (page: Page) => page.getByRole("navigation", { name: "Channels" })
const names = async (page: Page) =>
  (await channels(page).getByRole("link").allTextContents()).map((name) => name.replace("#", ""))

/** Whether an element can be seen whole, without scrolling. */
export const isInView = (page: Page, selector: string) =>
  page.evaluate<boolean>(`(() => {
    const { bottom, left, right, top } = document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect()
    const list = document.querySelector(".list").getBoundingClientRect()
    const isListed = document.querySelector(".list").contains(document.querySelector(${JSON.stringify(selector)}))
    const [from, to] = isListed ? [list.top, list.bottom] : [0, innerHeight]
    return bottom > top && top >= from && bottom <= to + 0.5 && left >= 0 && right <= innerWidth
  })()`)

/** Checks that a phone shows, without scrolling, what the page is, who the user is, the settings and the connection. */
export const showsFirstScreen = async (page: Page) => {
  for (const size of [
    { width: 360, height: 740 },
    { width: 390, height: 844 }
  ]) {
    await page.setViewportSize(size)
    await page.locator(".brand .connection").filter({ hasText: "Live" }).waitFor()
    for (const part of [".brand h1", ".brand .connection", ".account strong", ".theme", "[aria-label='Team settings']"])
      expect([size.width, part, await isInView(page, part)]).toEqual([size.width, part, true])
  }
}

/** What axe finds wrong, and where. */
const violations = async (page: Page, what: "everything" | "colours") => {
  await page.evaluate(axe.source)
  const options = { resultTypes: ["violations"], ...(what === "colours" && { runOnly: ["color-contrast"] }) }
  const results = await page.evaluate<axe.AxeResults>(`axe.run(document, ${JSON.stringify(options)})`)
  // Otherwise nothing was looked at.
  expect(results.passes.length + results.incomplete.length).toBeGreaterThan(what === "colours" ? 0 : 10)
  return results.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 150)).join(" | ")}`)
}

/** The tests. */
export const lookOfPage = () => {
  it("the first message of somebody else in an empty channel is announced; a text that is too long stays in the field, with what to do", async () => {
    await seed("silence", [], [])
    const page = await open(await person(), "silence")
    await page.getByText("No messages yet.").waitFor()
    const announced = page.getByRole("log", { name: "New messages" })
    await say("Ada", "silence", "Is this on?")
    await announced.getByText("Ada: Is this on?").waitFor()
    await say("Bob", "silence", "It is.")
    await announced.getByText("Bob: It is.").waitFor()
    expect(await announced.locator("p").allTextContents()).toEqual(["Ada: Is this on?", "Bob: It is."])

    await field(page).focus()
    // As a paste does, it keeps to the limits of the field.
    await page.keyboard.insertText("x".repeat(maxBody + 213))
    await page.getByText("4,213 of 4,000 characters. Remove 213, or send it in parts.").waitFor()
    await page.getByRole("alert").filter({ hasText: "The message is too long." }).waitFor()
    await shoot(page, "too-long")
    const button = page.getByRole("button", { name: "Send", exact: true })
    expect([await button.getAttribute("aria-disabled"), await button.getAttribute("title")]).toEqual([
      "true",
      "Too long by 213 characters"
    ])
    await field(page).press("Enter")
    await button.click({ force: true })
    await expect.poll(() => focused(page)).toMatch(/^Message to/)
    expect((await field(page).inputValue()).length).toBe(maxBody + 213)
    expect(await bodies(page)).toEqual(["Is this on?", "It is."])
    await field(page).fill("x".repeat(maxBody))
    await page.getByText("0 characters left").waitFor()
    await button.click()
    await expect.poll(async () => (await bodies(page)).at(-1)?.length).toBe(maxBody)
    expect(await field(page).inputValue()).toBe("")
    expect(problems).toEqual([])
  })

  it("of thirty channels the current one is in view, in natural order, those with new messages first, and one is found by its name", async () => {
    for (let i = 30; i > 0; i--) await seed(`room-${i}`, [], [])
    const page = await open(await person({ viewport: { width: 1200, height: 640 } }), "room-30")
    await page.getByRole("heading", { name: "room-30" }).first().waitFor()
    await isConnected(page, "Live")
    await expect.poll(() => isInView(page, ".list a[aria-current]")).toBe(true)
    const rooms = Array.from({ length: 30 }, (_, i) => `room-${i + 1}`)
    expect((await names(page)).filter((name) => name.startsWith("room"))).toEqual(rooms)
    const natural = await names(page)
    await shoot(page, "thirty-channels")
    // With the keyboard.
    await page.keyboard.press("Escape")
    await page.keyboard.press("f")
    await expect.poll(() => focused(page)).toBe("Find a channel")
    await page.keyboard.type("ROOM-2")
    await expect.poll(() => names(page)).toEqual(["room-2", ...rooms.slice(19, 29)])
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await expect.poll(() => focused(page)).toBe("#room-20")
    await page.keyboard.press("Enter")
    await page.getByRole("heading", { name: "room-20" }).first().waitFor()
    await page.getByRole("searchbox", { name: "Find a channel" }).fill("no such")
    await page.getByText("No channel has “no such” in its name.").waitFor()
    await page.getByRole("searchbox", { name: "Find a channel" }).press("Escape")
    await expect.poll(() => names(page)).toEqual(natural)
    await expect.poll(() => isInView(page, ".list a[aria-current]")).toBe(true)

    // New messages: first, but not while the user is at the list.
    await page.mouse.move(800, 300)
    await say("Ada", "room-15", "news")
    await expect.poll(async () => (await names(page)).slice(0, 2)).toEqual(["room-15", natural[0]])
    await page.getByRole("heading", { name: "New messages" }).waitFor()
    await channels(page).getByRole("link", { name: "room-15, new messages" }).hover()
    await say("Ada", "room-16", "more news")
    await channels(page).getByRole("link", { name: "room-16, new messages" }).waitFor()
    expect((await names(page)).slice(0, 2)).toEqual(["room-15", natural[0]])
    await channels(page).getByRole("link", { name: "room-15, new messages" }).click()
    await sees(page, "news")
    expect((await names(page)).slice(0, 2)).toEqual(["room-15", natural[0]])
    await page.mouse.move(800, 300)
    // The one that is read stays.
    await expect.poll(async () => (await names(page)).slice(0, 3)).toEqual(["room-15", "room-16", natural[0]])
    await shoot(page, "unread-first")
    await page.keyboard.press("Alt+ArrowDown")
    await sees(page, "more news")
    await expect.poll(async () => (await names(page)).slice(0, 2)).toEqual(["room-16", natural[0]])
    expect(problems).toEqual([])
  })

  it("what is pressed is 44 pixels wide and high on a phone, wherever it is", async () => {
    await seed("fingers", ["Ada"], ["Look at http://localhost/, it is short.", "And this."])
    const page = await open(await person(phone), "fingers")
    await sees(page, "And this.")
    await write(page, "Mine")
    await sees(page, "Mine")
    await write(page, "Mine as well, and it is long enough for more than one line of text on a phone")
    await sees(page, "Mine as well")
    const small: Array<string> = []
    const look = async (where: string) => {
      small.push(...(await page.evaluate<ReadonlyArray<string>>(smallTargets)).map((target) => `${where}: ${target}`))
    }
    const dialog = async (where: string) => {
      await page.locator("dialog[open]").waitFor()
      await look(where)
      await page.keyboard.press("Escape")
      await page.locator("dialog[open]").waitFor({ state: "detached" })
    }
    await look("messages")
    const more = log(page).getByRole("button", { name: "Edit or delete" })
    expect(await more.count()).toBe(2)
    await openActions(more.last())
    await look("actions")
    await shoot(page, "phone-actions")
    await page.getByRole("button", { name: "Delete this message" }).last().tap()
    await dialog("delete")
    await openActions(more.last())
    await page.getByRole("button", { name: "Edit this message" }).last().tap()
    await look("edit")
    await page.getByRole("button", { name: "Cancel" }).tap()
    await field(page).fill("later")
    await page.getByRole("button", { name: "Send later" }).tap()
    await dialog("later")
    await page.getByRole("button", { name: "Import messages" }).tap()
    await dialog("import")
    await page.getByRole("link", { name: "All channels" }).tap()
    await look("channels")
    // Without scrolling there is what the page is, who the user is, the settings and the connection.
    await showsFirstScreen(page)
    await shoot(page, "phone-first")
    for (const name of ["Team settings", "Keyboard shortcuts", "Sign in"]) {
      await page.getByRole("button", { name }).tap()
      await dialog(name.toLowerCase().replace(" ", "-"))
    }
    expect(small).toEqual([])
    expect(problems).toEqual([])
  })

  it("a time stays on one line, beside the longest names and on the smallest screen", async () => {
    const name = `Maximiliane-Wolfeschlegelsteinhausenbergerdorff ${"z".repeat(12)}`
    await seed("times", [name], ["Look at the clock"])
    const context = await person({ ...phone, viewport: { width: 320, height: 640 } })
    const page = await open(context, "times")
    await sees(page, "Look at the clock")
    await page.getByLabel("Disappears").selectOption("after 1 day")
    await write(page, "Gone tomorrow")
    await sees(page, "Gone tomorrow")
    await field(page).fill("Next week")
    await page.getByRole("button", { name: "Send later" }).tap()
    await page.getByRole("button", { name: /^Next Monday/ }).tap()
    await page.getByText(/^Will be sent on/).waitFor()
    expect(await page.evaluate(brokenTimes)).toEqual([])
    // A day later, for the page.
    await page.clock.setFixedTime(Date.now() + 86_400_000)
    await say("Ada", "times", "Is it late?")
    await log(page).getByText("Yesterday", { exact: true }).waitFor()
    expect(await page.evaluate(brokenTimes)).toEqual([])
    expect(await page.evaluate<number>("document.documentElement.scrollWidth")).toBe(320)
    await shoot(page, "narrow-yesterday")
    await page.getByRole("button", { name: /^Cancel: / }).tap()
  })

  it("a field has a border, a name and a ring that are seen, in light and in dark", async () => {
    // So many that there is a field to find one.
    for (let i = 1; i <= 8; i++) await seed(`fields-${i}`, [], [])
    const page = await open(await person(), "fields-1")
    await field(page).waitFor()
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme })
      const found = [...(await page.evaluate<ReadonlyArray<Field>>(fields))]
      await page.getByRole("complementary").getByRole("button", { name: "Sign in" }).click()
      found.push(...(await page.evaluate<ReadonlyArray<Field>>(fields)))
      await shoot(page, `fields-${colorScheme}`)
      // Of what is in a dialog axe does not know what is behind it.
      for (const part of ["h2", "label", ".about", ".primary:not(:disabled), .plain:not(:disabled)"]) {
        const ratio = await page.evaluate<number>(contrastOf(`dialog[open] :is(${part})`, "ratio"))
        expect([colorScheme, part, ratio >= 4.5]).toEqual([colorScheme, part, true])
      }
      await page.keyboard.press("Escape")
      // To find a channel, a new one, the message, how long it stays, a name and a password.
      expect(found.length).toBe(6)
      const weak = found.filter(({ border, name, ring }) => border < 3 || ring < 3 || name === "")
      expect([colorScheme, weak]).toEqual([colorScheme, []])
    }
    expect(problems).toEqual([])
  })

  it("axe finds nothing wrong, in light, in dark and on a phone", async () => {
    await seed("axe", ["Ada", "Bob"], ["Good morning.", "See http://localhost/ for more."])
    await seed("axe-empty", [], [])
    const found: Array<string> = []
    const visit = async (name: string, options: BrowserContextOptions) => {
      const context = await person(options)
      const page = await open(context, "axe")
      const isPhone = options === phone
      const look = async (state: string) => {
        found.push(...(await violations(page, "everything")).map((violation) => `${name}, ${state}: ${violation}`))
        if (isPhone) return
        // In dark it differs by its colours alone.
        await page.emulateMedia({ colorScheme: "dark" })
        found.push(...(await violations(page, "colours")).map((violation) => `dark, ${state}: ${violation}`))
        await page.emulateMedia({ colorScheme: "light" })
      }
      await sees(page, "See http")
      await write(page, `Mine, on ${name}`)
      await sees(page, `Mine, on ${name}`)
      const own = log(page).locator("li.message", { hasText: `Mine, on ${name}` })
      if (isPhone) await openActions(own.getByRole("button", { name: "Edit or delete" }))
      await own.getByRole("button", { name: "Edit this message" }).click()
      await look("a message that is edited")
      await page.getByRole("textbox", { name: "Edit your message" }).fill(`Mine, changed on ${name}`)
      await page.getByRole("button", { name: "Save" }).click()
      await log(page).getByText(`Mine, changed on ${name} (edited)`).waitFor()
      await page.evaluate(`location.hash = "#/axe-empty"`)
      await page.getByText("No messages yet.").waitFor()
      await look("an empty channel")
      if (isPhone) {
        await page.getByRole("link", { name: "All channels" }).click()
        await channels(page).getByRole("link").first().waitFor()
        await look("the channels")
      }
      await page.getByRole("button", { name: "Team settings" }).click()
      await page.getByRole("dialog", { name: "Nightly digest" }).waitFor()
      await look("the settings")
      await page.keyboard.press("Escape")
      await page.getByRole("button", { name: "Sign in" }).click()
      await page.getByRole("dialog", { name: "Sign in" }).waitFor()
      await look("signing in")
      await page.keyboard.press("Escape")
      await signIn(page, `Axe ${name}`)
      await page.evaluate(`location.hash = "#/axe"`)
      await sees(page, `Mine, changed on ${name}`)
      await look("messages, signed in")
      await context.setOffline(true)
      await isConnected(page, "Offline")
      await write(page, `Offline on ${name}`)
      await log(page).getByText("Waits for the network").waitFor()
      await look("offline")
    }
    await Promise.all([visit("light", {}), visit("phone", phone)])
    expect(found).toEqual([])
    expect(problems.filter((problem) => !outage.test(problem) && !closing.test(problem))).toEqual([])
  })
}
