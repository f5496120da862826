/** Messages of the chat that their authors change and delete, in a browser. Run by `Chat.browser.test.ts`. */
import type { Page } from "playwright-core"
import { expect, it } from "vitest"
import { timePath } from "../../src/protocol/MutationId.ts"
import { bodies, field, focused, isConnected, log, open, person, problems, seed, sees, shoot, write } from "./chat.ts"

const message = (page: Page, body: string) => log(page).locator("li.message", { hasText: body })
const editor = (page: Page) => page.getByRole("textbox", { name: "Edit your message" })
const question = (page: Page) => page.getByRole("dialog", { name: "Delete this message?" })
const says = (page: Page, words: string) => page.getByRole("status", { name: "Sending" }).filter({ hasText: words })

/** The tests. */
export const changesOfMessages = () => {
  it("with the keyboard alone, in a field in the place of the text; others see it at once, and have no buttons", async () => {
    await seed("changes", ["Ada"], ["Good morning."])
    const [ada, bob] = [await open(await person(), "changes"), await open(await person(), "changes")]
    await write(ada, "Helo")
    await sees(bob, "Helo")
    // The last message of one's own, from the empty field.
    await expect.poll(() => bodies(ada)).toHaveLength(2)
    await sees(ada, "Helo")
    await field(ada).press("ArrowUp")
    expect(await editor(ada).inputValue()).toBe("Helo")
    await shoot(ada, "edit")
    await editor(ada).fill("")
    await ada.getByText("A message needs a text. To remove it, delete it.").waitFor()
    await editor(ada).press("Enter")
    await editor(ada).fill("Hello")
    await editor(ada).press("Enter")
    await message(bob, "Hello (edited)").waitFor()
    await expect.poll(() => focused(ada)).toMatch(/^Message to/)
    await expect.poll(() => bodies(bob)).toEqual(["Good morning.", "Hello (edited)"])
    expect(await log(bob).getByRole("button").count()).toBe(0)
    // What is not saved is as it was, and the focus is where it began.
    const edit = message(ada, "Hello (edited)").getByRole("button", { name: "Edit this message" })
    await edit.focus()
    await ada.keyboard.press("Enter")
    await editor(ada).fill("Something else")
    await ada.keyboard.press("Escape")
    await expect.poll(() => focused(ada)).toBe("Edit this message")
    await expect.poll(() => bodies(ada)).toEqual(["Good morning.", "Hello (edited)"])
    // Deleting asks, and keeps it unless it is meant.
    for (const key of ["Tab", "Enter"]) await ada.keyboard.press(key)
    await question(ada).getByText("This cannot be undone.").waitFor()
    await shoot(ada, "delete")
    await expect.poll(() => focused(ada)).toBe("Keep it")
    await ada.keyboard.press("Enter")
    await question(ada).waitFor({ state: "hidden" })
    await expect.poll(() => focused(ada)).toBe("Delete this message")
    await ada.keyboard.press("Enter")
    await expect.poll(() => focused(ada)).toBe("Keep it")
    for (const key of ["Shift+Tab", "Enter"]) await ada.keyboard.press(key)
    await message(bob, "Hello").waitFor({ state: "detached" })
    await expect.poll(() => focused(ada)).toBe("Messages in #changes")
    await expect.poll(() => bodies(ada)).toEqual(["Good morning."])
    expect(problems).toEqual([])
  })

  it("`Sending…` and `Saving…` are said after 400 ms, and nothing moves; a change that comes too late is said to have failed", async () => {
    await seed("slow", ["Ada"], ["one", "two"])
    const context = await person()
    const other = await open(context, "slow")
    await write(other, "three")
    await sees(other, "three")
    const page = await context.newPage()
    // The page asks for the time before it sends anything.
    const held = Promise.withResolvers<void>()
    await page.route(`**${timePath}`, async (route) => {
      await held.promise
      await route.continue().catch(() => undefined)
    })
    await page.goto(other.url())
    await sees(page, "three")
    await isConnected(page, "Live")
    await page.evaluate(watchSending)
    await write(page, "four")
    await says(page, "Sending…").waitFor()
    await message(page, "four").getByText("Sending…").waitFor()
    await shoot(page, "sending")
    // Its author changes a message here, and deletes it elsewhere.
    await message(page, "three").getByRole("button", { name: "Edit this message" }).click()
    await editor(page).fill("third")
    await editor(page).press("Enter")
    await message(page, "third (edited)").getByText("Saving…").waitFor()
    await message(other, "three").getByRole("button", { name: "Delete this message" }).click()
    await question(other).getByRole("button", { name: "Delete", exact: true }).click()
    await message(page, "third (edited)").waitFor({ state: "detached" })
    held.resolve()
    const failed = page.getByRole("alert").filter({ hasText: "The message does not exist any more." })
    await failed.getByText("not changed").waitFor()
    await shoot(page, "change-failed")
    await failed.getByRole("button", { name: "Discard" }).click()
    await sees(page, "four")
    await expect.poll(() => bodies(page)).toEqual(["one", "two", "four"])
    await expect.poll(() => page.getByRole("status", { name: "Sending" }).textContent()).toBe("")
    const { local, sent, words } = await page.evaluate<SendingTimes>("window.seen")
    // Timers of browsers may be a millisecond early.
    expect(words.at - sent.at).toBeGreaterThan(398)
    expect(local.places.length).toBe(6)
    expect(words.places).toEqual(local.places)
    expect(problems).toEqual([])
  })

  it("nothing moves when the answer is there", async () => {
    await seed("still", ["Ada"], ["one", "two"])
    const page = await open(await person(), "still")
    await sees(page, "two")
    await page.evaluate(watchSending)
    await write(page, "three")
    await sees(page, "three")
    await expect.poll(() => page.evaluate("window.seen.after !== undefined")).toBe(true)
    const { after, local } = await page.evaluate<SendingTimes>("window.seen")
    expect(after.places).toEqual(local.places)
    expect(problems).toEqual([])
  })
}

interface Moment {
  readonly at: number
  readonly places: ReadonlyArray<unknown>
}

/** When a message was sent, was shown first, was said to be sent, and was confirmed; and where everything was. */
type SendingTimes = Readonly<Record<"sent" | "local" | "words" | "after", Moment>>

/** Code that runs in the page, and writes this down. */
const watchSending = `(() => {
  const moment = () => ({
    at: performance.now(),
    places: [...document.querySelectorAll(".top, .composer, li.message .body")].map((element) => {
      const { height, left, top, width } = element.getBoundingClientRect()
      // Who else is here may come and go.
      return [element.matches(".body") ? element.textContent : "", left, top, width, height]
    })
  })
  const seen = (window.seen = {})
  document.addEventListener("keydown", ({ key }) => key === "Enter" && (seen.sent ??= moment()), true)
  const look = () => {
    const isLocal = document.querySelector("li.message[data-local]") !== null
    if (isLocal) seen.local ??= moment()
    else if (seen.local !== undefined) seen.after ??= moment()
    if (document.querySelector(".sending").textContent === "Sending…") seen.words ??= moment()
  }
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true })
})()`
