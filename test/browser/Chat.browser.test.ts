/// <reference types="node" />
import { statSync } from "node:fs"
import type { Page, Route } from "playwright-core"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { isMissing, missing, stores } from "./browser.ts"
import { changesOfMessages } from "./changes.ts"
import {
  begin,
  bodies,
  closing,
  end,
  field,
  focused,
  isCalled,
  isConnected,
  leave,
  log,
  open,
  outage,
  password,
  pathOf,
  person,
  problems,
  seed,
  sees,
  server,
  shoot,
  signIn,
  website,
  write
} from "./chat.ts"
import { contrastOf } from "./contrast.ts"
import { isInView, lookOfPage, showsFirstScreen } from "./look.ts"

/**
 * The chat end to end: its page in a browser, and its Worker on workerd. Screenshots are written to `screenshots`. The
 * picture of the README is made by
 *
 *     README_PICTURE=1 npx vitest run test/browser -t picture
 */

if (isMissing) console.warn(missing)

describe.skipIf(isMissing)("the chat in a browser", () => {
  beforeAll(begin)
  afterAll(end)
  beforeEach(() => void problems.splice(0))
  afterEach(leave)

  it("a new user creates the first channel, and two users exchange messages", async () => {
    const ada = await open(await person())
    await ada.getByRole("heading", { name: "Nobody has said anything yet" }).waitFor()
    await shoot(ada, "welcome")
    await showsFirstScreen(ada)
    await shoot(ada, "phone-welcome")
    await ada.setViewportSize({ width: 1200, height: 750 })
    await ada.getByRole("button", { name: "Create #general" }).click()
    await signIn(ada, "Ada L")
    await write(ada, "Is anybody there?")
    await sees(ada, "Is anybody there?")
    const bob = await open(await person())
    await signIn(bob, "Bob M")
    await sees(bob, "Is anybody there?")
    await write(bob, "I am.")
    await sees(ada, "I am.")
    await ada.getByRole("log", { name: "New messages" }).filter({ hasText: "Bob M: I am." }).waitFor()
    await write(ada, "Good.")
    await sees(bob, "Good.")
    await expect.poll(() => bodies(ada)).toEqual(["Is anybody there?", "I am.", "Good."])
    expect(await bodies(bob)).toEqual(await bodies(ada))
    expect(problems).toEqual([])
  })

  it("a private channel is seen by its members alone, and is lost at once by who is removed", async () => {
    const [ada, bob] = [await open(await person()), await open(await person())]
    await signIn(ada, "Ada P")
    await signIn(bob, "Bob P")
    await ada.getByRole("textbox", { name: "Name of a new channel" }).fill("surprise")
    await ada.getByRole("checkbox", { name: "Private" }).check({ force: true })
    await ada.getByRole("button", { name: "Create the channel" }).click()
    await ada.getByRole("heading", { name: "Private: surprise" }).first().waitFor()
    await write(ada, "Do not tell Bob.")
    await sees(ada, "Do not tell Bob.")
    const place = new URL(ada.url()).hash
    expect(place).not.toContain("surprise")
    // Who knows the address sees as much as of a channel that does not exist.
    await bob.goto(`${server.url}/${place}`)
    await bob.getByRole("heading", { name: "You cannot see this channel" }).waitFor()
    expect(await bob.getByRole("link", { name: /surprise/ }).count()).toBe(0)
    await ada.getByRole("button", { name: "Members" }).click()
    const dialog = ada.getByRole("dialog", { name: "Members of surprise" })
    await dialog.getByRole("textbox", { name: "Invite by name" }).fill("Nobody P")
    await dialog.getByRole("button", { name: "Invite" }).click()
    await dialog.getByText("Nobody here is called Nobody P.").waitFor()
    await dialog.getByRole("textbox", { name: "Invite by name" }).fill("Bob P")
    await dialog.getByRole("button", { name: "Invite" }).click()
    // It appears in the open page.
    await sees(bob, "Do not tell Bob.")
    await shoot(bob, "private")
    await write(bob, "What should I not know?")
    await sees(bob, "What should I not know?")
    await shoot(ada, "members")
    await dialog.getByRole("button", { name: "Remove Bob P" }).click()
    await bob.getByRole("heading", { name: "You cannot see this channel" }).waitFor()
    await expect.poll(() => bob.getByRole("link", { name: /surprise/ }).count()).toBe(0)
    await shoot(bob, "removed")
    await dialog.getByRole("button", { name: "Close" }).click()
    await sees(ada, "What should I not know?")
    expect(problems).toEqual([])
  })

  it("a guest keeps the account at sign-up, a reload keeps the session, and signing out ends it", async () => {
    await seed("sessions", [], [])
    const context = await person()
    const page = await open(context, "sessions")
    await write(page, "written by a guest")
    await sees(page, "written by a guest")
    await page.getByText("Guest", { exact: true }).waitFor()
    await signIn(page, "Cleo S")
    // What the guest wrote is Cleo's.
    await log(page).locator("li.message[data-mine]", { hasText: "written by a guest" }).waitFor()
    await write(page, "written by Cleo")
    await sees(page, "written by Cleo")
    // Each is shown under the name that it was sent with, and both are the user's, who can change both.
    const heads = (await log(page).locator("li.message .who").allTextContents()).map((head) => head.split(/ \d|you/)[0])
    expect(heads).toEqual([expect.stringMatching(/^(?!Cleo S)\w+ \w+$/), "Cleo S"])
    const first = log(page).locator("li.message", { hasText: "written by a guest" })
    await first.locator(".me").waitFor()
    await first.getByRole("button", { name: "Edit this message" }).click()
    await page.getByRole("textbox", { name: "Edit your message" }).fill("written by a guest, once")
    await page.getByRole("button", { name: "Save" }).click()
    await first.getByText("(edited)").waitFor()
    await page.reload()
    await isCalled(page, "Cleo S")
    await log(page).locator("li.message[data-mine]", { hasText: "written by Cleo" }).waitFor()
    const other = await open(context, "sessions")
    await isCalled(other, "Cleo S")
    await page.getByRole("button", { name: "Account" }).click()
    await shoot(page, "account")
    await page.getByRole("button", { name: "Sign out", exact: true }).click()
    // Both tabs are those of a new guest.
    await page.getByText("Guest", { exact: true }).waitFor()
    await other.getByText("Guest", { exact: true }).waitFor()
    await sees(page, "written by Cleo")
    expect(await log(page).locator("li.message[data-mine]").count()).toBe(0)
    await page.getByRole("complementary").getByRole("button", { name: "Sign in" }).click()
    const dialog = page.getByRole("dialog", { name: "Sign in" })
    await dialog.getByRole("button", { name: "Close" }).click()
    await page.getByRole("textbox", { name: "Name of a new channel" }).fill("diary")
    await page.getByRole("checkbox", { name: "Private" }).check({ force: true })
    await page.getByRole("button", { name: "Create the channel" }).click()
    await page.getByRole("heading", { name: "Private: diary" }).first().waitFor()
    await page.getByRole("complementary").getByRole("button", { name: "Sign in" }).click()
    await dialog.getByRole("textbox", { name: "Name" }).fill("Cleo S")
    await dialog.getByLabel("Password").fill("a wrong password")
    await dialog.getByRole("button", { name: "Sign in" }).click()
    await dialog.getByText("The name or the password is wrong.").waitFor()
    await shoot(page, "sign-in")
    await dialog.getByLabel("Password").fill(password)
    await dialog.getByRole("button", { name: "Sign in" }).click()
    await isCalled(page, "Cleo S")
    await isCalled(other, "Cleo S")
    // The channels of the guest are Cleo's now.
    await page.getByRole("link", { name: "diary" }).waitFor()
    expect(problems.filter((problem) => !closing.test(problem))).toEqual([])
  })

  it("a passkey is added to an account, and signs in to it without a name", async () => {
    // Browsers have no passkeys for addresses.
    const url = new URL(server.url)
    url.hostname = "localhost"
    const page = await (await person()).newPage()
    const devtools = await page.context().newCDPSession(page)
    await devtools.send("WebAuthn.enable")
    const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
      options: {
        protocol: "ctap2",
        transport: "internal",
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: true
      }
    })
    const credentials = async () => (await devtools.send("WebAuthn.getCredentials", { authenticatorId })).credentials
    await page.goto(url.href)
    await signIn(page, "Fay K")
    await page.getByRole("button", { name: "Account" }).click()
    const account = page.getByRole("dialog", { name: "Fay K" })
    await account.getByRole("button", { name: "Add a passkey" }).click()
    await account.getByText("The passkey was added").waitFor()
    await shoot(page, "passkey-added")
    expect(await credentials()).toMatchObject([{ rpId: "localhost", isResidentCredential: true }])
    // The authenticator has one for this account, and makes no other.
    await account.getByRole("button", { name: "Add a passkey" }).click()
    await account.getByText("There is a passkey for this account already.").waitFor()
    await account.getByRole("button", { name: "Sign out", exact: true }).click()
    await page.getByText("Guest", { exact: true }).waitFor()

    const usePasskey = async () => {
      await page.getByRole("complementary").getByRole("button", { name: "Sign in" }).click()
      await page.getByRole("dialog", { name: "Sign in" }).getByRole("button", { name: "Use a passkey" }).click()
    }
    await usePasskey()
    await isCalled(page, "Fay K")
    // A passkey that the server does not know.
    await page.getByRole("button", { name: "Account" }).click()
    await account.getByRole("button", { name: "Sign out", exact: true }).click()
    await page.getByText("Guest", { exact: true }).waitFor()
    const [known] = await credentials()
    await devtools.send("WebAuthn.clearCredentials", { authenticatorId })
    const credential = { ...known!, credentialId: btoa("an id of another server") }
    await devtools.send("WebAuthn.addCredential", { authenticatorId, credential })
    await usePasskey()
    await page.getByText("The passkey is not accepted.").waitFor()
    await shoot(page, "passkey-refused")
    expect(problems.filter((problem) => !closing.test(problem))).toEqual([])
  })

  it("signing out everywhere ends the sessions of other browsers", async () => {
    const [home, work] = [await open(await person()), await open(await person())]
    await signIn(home, "Dora")
    await signIn(work, "Dora", "Sign in")
    await home.getByRole("button", { name: "Account" }).click()
    await home.getByRole("button", { name: "Sign out everywhere" }).click()
    await home.getByText("Guest", { exact: true }).waitFor()
    await work.getByRole("heading", { name: "You were signed out" }).waitFor()
    await shoot(work, "signed-out")
    await work.getByRole("button", { name: "Continue as a guest" }).click()
    await work.getByText("Guest", { exact: true }).waitFor()
  })

  it("a guest may not enter the second team, and who has an account may", async () => {
    const page = await open(await person())
    await page.getByRole("link", { name: "Acme" }).click()
    await page.getByRole("heading", { name: "You are not in this team" }).waitFor()
    await shoot(page, "refused")
    // A phone shows it below the head of the page.
    await page.setViewportSize({ width: 360, height: 740 })
    expect(await page.getByRole("heading", { name: "You are not in this team" }).isVisible()).toBe(true)
    expect(await isInView(page, ".brand h1")).toBe(true)
    await page.setViewportSize({ width: 1200, height: 750 })
    await page.getByRole("link", { name: "Go to Everybody" }).click()
    await signIn(page, "Eve")
    await page.getByRole("link", { name: "Acme" }).click()
    await page.getByRole("heading", { name: "Nobody has said anything yet" }).waitFor()
    await isCalled(page, "Eve")
  })

  it("two tabs of one user show the same messages, and mark the channel with new ones", async () => {
    await seed("tabs", ["Ada"], ["one"])
    const context = await person()
    const [first, second] = [await open(context, "tabs"), await open(context, "tabs")]
    await sees(first, "one")
    // The other tab has seen what the channel had before it leaves the channel.
    await sees(second, "one")
    await second.getByRole("link", { name: "general" }).click()
    await sees(second, "Good.")
    await isConnected(second, "Live")
    await write(first, "two")
    await second.getByRole("link", { name: "tabs, new messages" }).click()
    await sees(second, "two")
    await write(second, "three")
    await sees(first, "three")
    await expect.poll(() => bodies(first)).toEqual(["one", "two", "three"])
    expect(problems).toEqual([])
  })

  it("who is here, who types and who has read what is shown in the pages of others", async () => {
    await seed("company", ["Seed"], ["Anybody?"])
    const [ada, bob] = [await open(await person(), "company"), await person()]
    await signIn(ada, "Ada H")
    await sees(ada, "Anybody?")
    const here = () => ada.getByRole("list", { name: "Here now" }).getByRole("listitem").allTextContents()
    const typing = ada.getByRole("status", { name: "Who is typing" })
    const readBy = (body: string) =>
      log(ada).locator("li.message", { hasText: body }).getByText("Read by Bob H", { exact: true })
    await expect.poll(here).toEqual([expect.stringContaining("Ada H")])
    const first = await open(bob, "company")
    await signIn(first, "Bob H")
    const both = [expect.stringContaining("Ada H"), expect.stringContaining("Bob H")]
    await expect.poll(here).toEqual(both)
    await readBy("Anybody?").waitFor()
    // A second tab is the same person, which stays while one of them is open.
    const second = await open(bob, "company")
    await sees(second, "Anybody?")
    /** Bob types until Ada sees it. */
    const types = async () => {
      const seen = async () => {
        await field(second).press("x")
        return typing.textContent()
      }
      await expect.poll(seen).toBe("Bob H is typing…")
    }
    await types()
    expect(await here()).toEqual(both)
    await shoot(ada, "typing")
    // Bob writes nothing more.
    await expect.poll(() => typing.textContent()).toBe("")
    await types()
    await first.close()
    await second.close()
    await expect.poll(here).toEqual([expect.stringContaining("Ada H")])
    expect(await typing.textContent()).toBe("")
    await write(ada, "Gone already?")
    await sees(ada, "Gone already?")
    expect(await readBy("Gone already?").count()).toBe(0)
    await readBy("Anybody?").waitFor()
    await open(bob, "company")
    await readBy("Gone already?").waitFor()
    expect(await readBy("Anybody?").count()).toBe(0)
    await shoot(ada, "read")
    expect(problems).toEqual([])
  })

  it("older messages load page by page, and the scroll position stays", async () => {
    const all = Array.from({ length: 100 }, (_, i) => `message ${i}.`)
    await seed("history", ["Ada", "Bob", "Cleo"], all)
    const page = await open(await person(), "history")
    await sees(page, "message 99.")
    await expect.poll(() => bodies(page)).toEqual(all.slice(60))
    const older = page.getByRole("button", { name: "Show older messages" })
    await older.scrollIntoViewIfNeeded()
    const anchor = log(page).locator("li.message", { hasText: "message 60." })
    const before = await anchor.boundingBox()
    await shoot(page, "older")
    await older.click()
    await sees(page, "message 20.")
    expect((await anchor.boundingBox())!.y).toBeCloseTo(before!.y, -1)
    await write(await open(await person(), "history"), "while you read")
    await page.getByRole("button", { name: "1 new" }).waitFor()
    await shoot(page, "unseen")
    await older.click()
    await sees(page, "message 0.")
    await page.getByText("This is where #history begins.").waitFor()
    await page.getByRole("button", { name: "1 new" }).click()
    await page.getByRole("button", { name: "1 new" }).waitFor({ state: "hidden" })
    await expect.poll(() => bodies(page)).toEqual([...all, "while you read"])
    expect(problems).toEqual([])
  })

  it("the page reconnects to a restarted server, and no message is lost or sent twice", async () => {
    await seed("restart", ["Ada"], ["before"])
    const [ada, bob] = [await open(await person(), "restart"), await open(await person(), "restart")]
    await sees(ada, "before")
    await sees(bob, "before")
    await server.stop()
    await isConnected(ada, "Reconnecting…")
    await write(ada, "into the void")
    await log(ada).getByText("Waits for the server").waitFor()
    await ada.getByRole("status", { name: "About the connection" }).filter({ hasText: "cannot be reached" }).waitFor()
    await shoot(ada, "reconnecting")
    await server.start()
    await isConnected(ada, "Live")
    await sees(ada, "into the void")
    await isConnected(bob, "Live")
    await sees(bob, "into the void")
    await write(bob, "after")
    await sees(ada, "after")
    await expect.poll(() => bodies(ada)).toEqual(["before", "into the void", "after"])
    expect(problems.filter((problem) => !outage.test(problem))).toEqual([])
  })

  it("messages that are written offline are sent in order when the network is back", async () => {
    await seed("tunnel", ["Ada"], ["before"])
    const train = await person()
    const [ada, bob] = [await open(train, "tunnel"), await open(await person(), "tunnel")]
    await sees(ada, "before")
    for (const body of ["tea", "biscuits"]) await write(ada, body)
    await sees(ada, "biscuits")
    await sees(bob, "biscuits")
    await train.setOffline(true)
    await isConnected(ada, "Offline")
    await write(ada, "one")
    await write(ada, "two")
    await log(ada).getByText("Waits for the network").nth(1).waitFor()
    await write(bob, "meanwhile")
    await sees(bob, "meanwhile")
    // So do changes, which are shown at once.
    const own = (body: string) => log(ada).locator("li.message", { hasText: body })
    await own("tea").getByRole("button", { name: "Edit this message" }).click()
    await ada.getByRole("textbox", { name: "Edit your message" }).fill("coffee")
    await ada.getByRole("button", { name: "Save" }).click()
    await own("coffee (edited)").getByText("Waits for the network").waitFor()
    await own("biscuits").getByRole("button", { name: "Delete this message" }).click()
    await ada.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click()
    const waiting = ada.getByRole("status", { name: "Sending" })
    await waiting.filter({ hasText: "2 messages and 2 changes wait for the network" }).waitFor()
    await expect.poll(() => bodies(ada)).toEqual(["before", "coffee (edited)", "one", "two"])
    await expect.poll(() => bodies(bob)).toEqual(["before", "tea", "biscuits", "meanwhile"])
    await shoot(ada, "offline")
    await train.setOffline(false)
    await isConnected(ada, "Live")
    await sees(ada, "two")
    await sees(bob, "two")
    const all = ["before", "coffee (edited)", "meanwhile", "one", "two"]
    await expect.poll(() => bodies(bob)).toEqual(all)
    await expect.poll(() => bodies(ada)).toEqual(all)
    await expect.poll(() => waiting.textContent()).toBe("")
    expect(problems.filter((problem) => !outage.test(problem))).toEqual([])
  })

  it("a message that a closed tab had not sent is sent by the next tab", async () => {
    await seed("closed", ["Ada"], ["before"])
    const context = await person()
    const closed = await open(context, "closed")
    await sees(closed, "before")
    await context.setOffline(true)
    await isConnected(closed, "Offline")
    await write(closed, "kept")
    await log(closed).getByText("Waits for the network").waitFor()
    await stores(closed, "kept")
    await closed.close()
    await context.setOffline(false)
    const next = await open(context, "closed")
    await sees(next, "kept")
    await expect.poll(() => bodies(next)).toEqual(["before", "kept"])
    expect(problems.filter((problem) => !outage.test(problem))).toEqual([])
  })

  it("everything works with the keyboard", async () => {
    await seed("keyboard", [], [])
    const page = await open(await person(), "keyboard")
    const { keyboard } = page
    await field(page).waitFor()
    await keyboard.press("Escape")
    await page.evaluate("document.activeElement.blur()")
    await keyboard.press("n")
    await expect.poll(() => focused(page)).toBe("Name of a new channel")
    await keyboard.type("Keyboard Only!")
    await keyboard.press("Enter")
    await page.getByRole("heading", { name: "keyboard-only" }).first().waitFor()
    await expect.poll(() => focused(page)).toMatch(/^Message to #keyboard-only/)
    await keyboard.type("first line")
    await keyboard.press("Shift+Enter")
    await keyboard.type("second line")
    await keyboard.press("Enter")
    await sees(page, "first line\nsecond line")
    await keyboard.press("Alt+ArrowUp")
    await page.getByRole("heading", { name: "keyboard", exact: true }).first().waitFor()
    await keyboard.press("Alt+ArrowDown")
    await page.getByRole("heading", { name: "keyboard-only" }).first().waitFor()
    await expect.poll(() => focused(page)).toMatch(/^Message to/)
    await keyboard.press("Escape")
    await keyboard.press("?")
    await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor()
    await shoot(page, "shortcuts")
    await keyboard.press("Escape")
    await page.getByRole("dialog").waitFor({ state: "hidden" })
    await keyboard.press("/")
    await expect.poll(() => focused(page)).toMatch(/^Message to/)
    // The focus order is the reading order.
    const channels = await page.getByRole("navigation", { name: "Channels" }).getByRole("link").allTextContents()
    await page.evaluate("document.activeElement.blur(); getSelection().setPosition(document.body, 0)")
    const order: Array<string> = []
    for (let i = 0; i < 40 && !order.at(-1)?.startsWith("Message to"); i++) {
      await keyboard.press("Tab")
      order.push(await focused(page))
    }
    // The browser goes on from the field, and begins anew after the last element.
    expect(order.slice(order.indexOf("Skip to the message field"))).toEqual([
      "Skip to the message field",
      "Everybody",
      "Acme",
      ...(channels.length < 8 ? [] : ["Find a channel"]),
      ...channels,
      "Name of a new channel",
      "Private",
      "Sign in",
      "As the system",
      "Team settings",
      "Keyboard shortcuts",
      "Import messages",
      "Messages in #keyboard-only",
      "Edit this message",
      "Delete this message",
      "Attach files",
      expect.stringMatching(/^Message to #keyboard-only/)
    ])
    expect(problems).toEqual([])
  })

  it("follows the color scheme of the system or of the setting, with readable contrast in both", async () => {
    await seed("colours", ["Ada", "Bob"], ["Hello.", "Good evening."])
    const context = await person({ colorScheme: "dark" })
    const page = await open(context, "colours")
    await sees(page, "Good evening.")
    const brightness = () => page.evaluate<number>(contrastOf(".main", "background"))
    expect(await brightness()).toBeLessThan(0.05)
    const parts = [
      ".body",
      ".who time",
      ".channels a",
      ".channels a[aria-current]",
      ".hint",
      ".top .connection",
      ".face"
    ]
    const readable = async () => {
      for (const part of parts) {
        expect(await page.evaluate<number>(contrastOf(part, "ratio")), part).toBeGreaterThanOrEqual(4.5)
      }
    }
    await readable()
    await shoot(page, "dark")
    await page.getByRole("radio", { name: "Light" }).check({ force: true })
    expect(await brightness()).toBeGreaterThan(0.9)
    await readable()
    await page.reload()
    await sees(page, "Good evening.")
    expect(await brightness()).toBeGreaterThan(0.9)
    await shoot(page, "light")
    expect(problems).toEqual([])
  })

  it("fits a phone, and shows one pane at a time", async () => {
    const phone = { viewport: { width: 360, height: 700 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }
    const long = `A word that is longer than the screen: ${"zzz".repeat(40)}`
    await seed("phone", ["Ada", "Bob"], [...Array.from({ length: 20 }, (_, i) => `message ${i}`), long])
    const page = await open(await person(phone))
    await page.getByRole("link", { name: "phone" }).waitFor()
    expect(await field(page).isVisible()).toBe(false)
    await shoot(page, "phone-channels")
    await page.getByRole("link", { name: "phone" }).tap()
    await sees(page, "A word")
    expect(await page.getByRole("navigation", { name: "Channels" }).isVisible()).toBe(false)
    expect(await page.evaluate<number>("document.documentElement.scrollWidth")).toBe(360)
    await shoot(page, "phone-light")
    await page.emulateMedia({ colorScheme: "dark" })
    await shoot(page, "phone-dark")
    await page.getByRole("link", { name: "All channels" }).tap()
    await page.getByRole("navigation", { name: "Channels" }).waitFor()
    expect(problems).toEqual([])
  })

  it("a message is sent later, which only its author sees and changes, and one disappears", async () => {
    await seed("later", ["Ada"], ["Is it late?"])
    const [ada, bob] = [await open(await person(), "later"), await open(await person(), "later")]
    await sees(bob, "Is it late?")
    const waiting = ada.getByRole("region", { name: "Messages that are sent later" })
    const times = ada.getByRole("dialog", { name: "Send later" })
    /** Writes a message. The dialog of the last one closes when the server has accepted that, and empties the field. */
    const fill = async (body: string) => {
      await times.waitFor({ state: "hidden" })
      await field(ada).fill(body)
    }
    const chooseTime = async (body: string) => {
      await fill(body)
      await ada.getByRole("button", { name: "Send later" }).click()
      await times.waitFor()
    }
    // For the page it is ten minutes ago: what it sends in ten minutes is sent in a moment.
    await ada.clock.setFixedTime(Date.now() - 598_500)
    await chooseTime("In time")
    await times.getByRole("button", { name: "In 10 minutes" }).click()
    // It may be sent before the page shows that it waits: that is looked at with the next one.
    await sees(bob, "In time")
    await waiting.waitFor({ state: "hidden" })
    await ada.clock.setFixedTime(Date.now())
    await chooseTime("Not that late")
    await shoot(ada, "later-times")
    await times.getByLabel("Or at a time of your own").fill("2099-12-31T23:59")
    await times.getByRole("button", { name: "Schedule" }).click()
    await waiting.getByText("Not that late").waitFor()
    // With the keyboard alone.
    await fill("Never")
    await expect.poll(() => ada.getByRole("button", { name: "Send later" }).isEnabled()).toBe(true)
    for (const key of ["Tab", "Enter"]) await ada.keyboard.press(key)
    await times.waitFor()
    const isInDialog = "document.querySelector('dialog[open]')?.contains(document.activeElement)"
    await expect.poll(() => ada.evaluate(isInDialog)).toBe(true)
    for (const key of ["Tab", "Tab", "Enter"]) await ada.keyboard.press(key)
    await waiting.getByText("Never").waitFor()
    await expect.poll(() => focused(ada)).toMatch(/^Message to/)
    await shoot(ada, "later")
    expect(await bob.getByRole("region", { name: "Messages that are sent later" }).count()).toBe(0)
    await waiting.getByRole("button", { name: "Cancel: Never" }).click()
    await waiting.getByRole("button", { name: "Send now: Not that late" }).click()
    await sees(bob, "Not that late")
    await waiting.waitFor({ state: "hidden" })

    await ada.getByLabel("Disappears").selectOption("after 1 hour")
    await write(ada, "Burn after reading")
    const fleeting = (page: Page) => log(page).locator("li.message", { hasText: "Burn after reading" })
    await fleeting(bob)
      .getByText(/Disappears (at|on)/)
      .waitFor()
    await shoot(bob, "disappears")
    await fleeting(ada).getByRole("button", { name: "Delete this message" }).click()
    await ada.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click()
    await fleeting(bob).waitFor({ state: "hidden" })
    await expect.poll(() => bodies(bob)).toEqual(["Is it late?", "In time", "Not that late"])
    expect(problems).toEqual([])
  })

  it("a link gets the title of its page, and one whose page fails stays as it is", async () => {
    await seed("links", [], [])
    const [ada, bob] = [await open(await person(), "links"), await open(await person(), "links")]
    const preview = (page: Page) => page.getByRole("link", { name: "Preview: The life of dormice" })
    await write(ada, `Not this: http://${website.host}/broken`)
    await write(ada, `Read this: http://${website.host}/slow`)
    await sees(bob, "Read this")
    expect(await preview(bob).count()).toBe(0)
    website.slow.resolve()
    await preview(bob).getByText("They sleep for seven months.").waitFor()
    await preview(ada).waitFor()
    await shoot(bob, "preview")
    expect(await bob.getByRole("link", { name: /^Preview/ }).count()).toBe(1)
    expect(problems).toEqual([])
  })

  it("a file is imported while the chat goes on, and an import is cancelled", async () => {
    await seed("archive", ["Ada"], ["Where are the old ones?"])
    const [ada, bob] = [await open(await person(), "archive"), await open(await person(), "archive")]
    await sees(bob, "Where are the old ones?")
    const dialog = ada.getByRole("dialog", { name: "Import into archive" })
    const imports = ada.getByRole("region", { name: "Imports" })
    const choose = async (name: string, lines: ReadonlyArray<string>) => {
      await ada.getByRole("button", { name: "Import messages" }).click()
      const file = { name, mimeType: "text/plain", buffer: Buffer.from(lines.join("\n")) }
      await dialog.getByLabel("File").setInputFiles(file)
    }
    const linesOf = (count: number) =>
      Array.from({ length: count }, (_, i) => `${i % 2 === 0 ? "Grace" : "Alan"}: old message ${i}`)
    const said: Array<string> = []
    /** Imports so many lines. Returns whether the chat has gone on before the import has ended. */
    const goesOnDuring = async (count: number) => {
      const [file, number] = [`${count}.txt`, count.toLocaleString("en")]
      await choose(file, [...linesOf(count), "no message"])
      await dialog.getByText(`${number} messages. Left out, because they cannot be read: line ${count + 1}.`).waitFor()
      await shoot(ada, "import")
      await dialog.getByRole("button", { name: "Import" }).click()
      await imports.getByText(file).waitFor()
      const bar = imports.getByRole("progressbar", { name: `Import of ${file}` })
      said.push(`They are coming ${said.length}`)
      await write(bob, said.at(-1)!)
      await sees(ada, said.at(-1)!)
      const isDuring = (await bar.count()) === 1
      // It moves, or has come to its end.
      const value = async () =>
        (await bar.count()) === 0 ? number : bar.getAttribute("value", { timeout: 1000 }).catch(() => "")
      await expect.poll(value).toMatch(/[1-9]/)
      await shoot(ada, "importing")
      await imports.getByText(`${number} messages imported, 1 line could not be read`).waitFor()
      await imports.getByRole("button", { name: `Dismiss: ${file}` }).click()
      return isDuring
    }
    // A page on a busy machine may be too slow to see it during a short one.
    const counts = [2000, 10_000, 40_000]
    let isDuring = false
    for (const count of counts) if (!isDuring) isDuring = await goesOnDuring(count)
    expect(isDuring).toBe(true)
    await sees(bob, "old message 1999")
    const last = ["old message 1999", "Where are the old ones?", ...said]
    expect((await bodies(bob)).slice(-last.length)).toEqual(last)
    await shoot(bob, "imported")
    /** Returns whether the import was cancelled before its end. */
    const cancels = async (file: string) => {
      await choose(file, linesOf(20_000))
      await dialog.getByRole("button", { name: "Import" }).click()
      const [cancel, dismiss] = ["Cancel", "Dismiss"].map((what) =>
        imports.getByRole("button", { name: `${what}: ${file}` })
      )
      await cancel!.or(dismiss!).waitFor()
      await cancel!.click({ timeout: 1000 }).catch(() => {})
      await dismiss!.waitFor()
      const isCancelled = (await imports.getByText(/Cancelled after/).count()) === 1
      await dismiss!.click()
      return isCancelled
    }
    const files = ["again.txt", "once more.txt", "at last.txt"]
    let isCancelled = false
    for (const file of files) if (!isCancelled) isCancelled = await cancels(file)
    expect(isCancelled).toBe(true)
    expect(problems).toEqual([])
  })

  it("files are uploaded, shown to others, and gone with their message", async () => {
    await seed("pictures", ["Ada"], ["Show me."])
    const [ada, bob] = [await open(await person(), "pictures"), await open(await person(), "pictures")]
    await sees(bob, "Show me.")
    await isConnected(ada, "Live")
    // One pixel.
    const bytes = Buffer.from(
      "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==",
      "base64"
    )
    const chosen = ada.getByRole("list", { name: "Files of the message" })
    await ada.setInputFiles("input[type=file]", [
      { name: "dormouse.png", mimeType: "image/png", buffer: bytes },
      { name: "virus.exe", mimeType: "application/x-msdownload", buffer: Buffer.from("MZ") },
      { name: "mistake.txt", mimeType: "text/plain", buffer: Buffer.from("not this one") }
    ])
    await chosen.getByText("Files of the type application/x-msdownload cannot be sent.").waitFor()
    await chosen.getByRole("button", { name: "Remove: virus.exe" }).click()
    await chosen.getByRole("button", { name: "Remove: mistake.txt" }).click()
    // Another one is dropped.
    const dropped = await ada.evaluateHandle<DataTransfer>(`(() => {
      const files = new DataTransfer()
      files.items.add(new File(["They sleep for seven months."], "notes.txt", { type: "text/plain" }))
      return files
    })()`)
    await log(ada).dispatchEvent("dragover", { dataTransfer: dropped })
    await ada.getByText("Drop files to send them to #pictures").waitFor()
    await log(ada).dispatchEvent("drop", { dataTransfer: dropped })
    await expect.poll(() => chosen.getByText(/, ready$/).count()).toBe(2)
    await shoot(ada, "uploading")
    await ada.getByRole("button", { name: "Send", exact: true }).click()
    const picture = log(bob).getByRole("img", { name: "dormouse.png" })
    await picture.waitFor()
    expect(await chosen.count()).toBe(0)
    await log(bob).getByRole("link", { name: "notes.txt" }).getByText("28 bytes").waitFor()
    await expect.poll(() => bob.evaluate<number>("document.querySelector('.picture img').naturalWidth")).toBe(1)
    await shoot(bob, "files")
    const url = new URL((await picture.getAttribute("src"))!, server.url)
    const response = await fetch(url)
    expect([response.status, response.headers.get("x-content-type-options")]).toEqual([200, "nosniff"])
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true)
    const opened = bob.waitForEvent("popup")
    await picture.click()
    expect((await opened).url()).toBe(url.href)
    await (await opened).close()
    // The next upload is refused, and then takes its time.
    const answers = [(route: Route) => route.fulfill({ status: 403, body: "{}" })]
    const held = Promise.withResolvers<void>()
    await ada.route(/\/files\//, async (route) => {
      if (route.request().method() !== "PUT") return route.continue()
      const answer = answers.pop()
      if (answer !== undefined) return answer(route)
      await held.promise
      // The page has cancelled one of them.
      await route.continue().catch(() => undefined)
    })
    await ada.evaluate(`(() => {
      const clipboardData = new DataTransfer()
      clipboardData.items.add(new File(["words"], "pasted.txt", { type: "text/plain" }))
      const paste = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true })
      document.querySelector("#write").dispatchEvent(paste)
    })()`)
    await chosen.getByText("The upload was refused.").waitFor()
    await chosen.getByRole("button", { name: "Try again: pasted.txt" }).click()
    await ada.setInputFiles("input[type=file]", { name: "no.txt", mimeType: "text/plain", buffer: Buffer.from("no") })
    await chosen.getByRole("progressbar", { name: "Upload of pasted.txt" }).waitFor()
    await chosen.getByRole("button", { name: "Cancel: no.txt" }).click()
    await write(ada, "Wait for it")
    await ada.getByText("The message is sent when its files are uploaded.").waitFor()
    await shoot(ada, "waiting-for-files")
    held.resolve()
    await sees(bob, "Wait for it")
    await log(bob).getByRole("link", { name: "pasted.txt" }).waitFor()
    expect(await log(bob).getByRole("link", { name: "no.txt" }).count()).toBe(0)
    const message = log(ada).locator("li.message[data-mine]", { has: ada.getByRole("img", { name: "dormouse.png" }) })
    await message.hover()
    await message.getByRole("button", { name: "Delete this message" }).click()
    await ada.getByRole("dialog").getByText("It disappears for everybody, with 2 files.").waitFor()
    await ada.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click()
    await expect.poll(() => picture.count()).toBe(0)
    expect((await fetch(url)).status).toBe(404)
    expect(problems.filter((problem) => !/status of 403/.test(problem))).toEqual([])
  })

  it("the owner of a team moves its nightly digest to another time zone", async () => {
    const context = await person({ timezoneId: "UTC" })
    const page = await open(context)
    await signIn(page, "Olga")
    await page.goto(`${server.url}/?tenant=acme#/night`)
    await isCalled(page, "Olga")
    await page.getByRole("button", { name: "Create #night" }).click()
    await page.getByRole("heading", { name: "night" }).first().waitFor()
    await page.getByRole("button", { name: "Team settings" }).click()
    const dialog = page.getByRole("dialog", { name: "Nightly digest" })
    const next = dialog.getByRole("status")
    await next.filter({ hasText: "It is off." }).waitFor()
    const save = async (channel: string, zone: string) => {
      await dialog.getByLabel("Channel").selectOption(channel)
      await dialog.getByLabel("Time zone").selectOption(zone)
      await dialog.getByRole("button", { name: "Save" }).click()
    }
    // Both are at midnight, with other names and offsets.
    await save("night", "Asia/Tokyo")
    await next.filter({ hasText: /00:00 GMT\+9\.$/ }).waitFor()
    await shoot(page, "digest")
    await save("night", "America/Phoenix")
    await next.filter({ hasText: /00:00 MST\.$/ }).waitFor()
    await save("None: no digest", "America/Phoenix")
    await next.filter({ hasText: "It is off." }).waitFor()
    expect(problems).toEqual([])
  })

  describe("messages that their authors change", changesOfMessages)
  describe("its look, and how it is reached", lookOfPage)

  it.runIf(process.env["README_PICTURE"])("the picture of the README", async () => {
    await seed("burrow-building", ["Mossy Fern"], ["Moss or leaves?"])
    await seed(
      "night-shift",
      ["Mossy Fern", "Ada"],
      [
        "Is anybody still awake?",
        "Just about. The object went to sleep an hour ago, and my list did not notice.",
        "It woke up when I wrote?",
        "And was asleep again before you had read the answer.",
        "I wrote that in a tunnel, by the way. It was sent when the train came out."
      ]
    )
    const context = await person()
    const page = await open(context, "night-shift")
    await signIn(page, "Quiet Hazel")
    await write(page, "Once, I hope.")
    await sees(page, "Once, I hope.")
    await isConnected(page, "Live")
    const path = pathOf("../../docs/chat.png")
    await page.screenshot({ path })
    expect(statSync(path).size).toBeLessThan(200_000)
  })
})

it.runIf(isMissing)(missing, ({ skip }) => skip(missing))
