/// <reference types="node" />
/**
 * The chat with its page, for the tests that use it in a browser: its server, its users, and what they do and see.
 * React is the development build, with its warnings and double mounts.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { Accounts } from "effect-dormouse/accounts/client"
import { Client } from "effect-dormouse/client"
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core"
import type { TestContext } from "vitest"
import { ChatApi } from "../../examples/chat/api.ts"
import * as ChatPage from "../../examples/chat/page.ts"
import * as Server from "../../examples/chat/server.ts"
import { freePort } from "../deployment/workerd.ts"
import { isMissing, launch } from "./browser.ts"

export const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))
const folder = isMissing ? "" : mkdtempSync(join(tmpdir(), "dormouse-browser-"))

/** The server. It keeps its address and its data across restarts. */
export const server = {
  url: "",
  variables: {},
  scope: Scope.makeUnsafe(),
  async start() {
    this.scope = Scope.makeUnsafe()
    const port = Number(this.url.split(":").at(2) ?? (await freePort()))
    const options = { port, data: join(folder, "data"), page: join(folder, "page"), variables: this.variables }
    this.url = await Effect.runPromise(Server.make(options).pipe(Scope.provide(this.scope)))
  },
  async stop() {
    await Effect.runPromise(Scope.close(this.scope, Exit.void))
  }
}

/** A website that messages link to. One page of it waits for `slow`. */
export const website = {
  host: "",
  slow: Promise.withResolvers<void>(),
  server: createServer((request, response) => {
    const send = () =>
      response
        .writeHead(request.url === "/broken" ? 500 : 200, { "content-type": "text/html" })
        .end("<title>The life of dormice</title><meta name=description content='They sleep for seven months.'>")
    if (request.url === "/slow") website.slow.promise.then(send)
    else send()
  }),
  async start() {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve))
    const address = this.server.address()
    this.host = `127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`
  },
  async stop() {
    this.server.closeAllConnections()
    await new Promise((resolve) => this.server.close(resolve))
  }
}

export const password = "correct horse battery staple"

/** Tokens of those who write what is there before a test, by name. */
const tokens = new Map<string, { readonly token: string; readonly since: number }>()

/** A token of somebody, who has an account afterwards. It is valid for ten minutes: older than five it is not used. */
const tokenOf = Effect.fnUntraced(function* (name: string) {
  const known = tokens.get(name)
  const since = performance.now()
  if (known !== undefined && since - known.since < 300_000) return known.token
  const accounts = yield* Client.make(Accounts.AccountsApi, { url: server.url })
  const credentials = { name, password: Redacted.make(password) }
  const how = known === undefined ? "accounts.password.signUp" : "accounts.password.signIn"
  const token = Redacted.value((yield* accounts.act(how, credentials)).accessToken)
  tokens.set(name, { token, since })
  return token
})

/** A client of somebody who has an account. */
export const clientOf = Effect.fnUntraced(function* (name: string) {
  return yield* Client.make(ChatApi, { url: server.url, token: yield* tokenOf(name) })
})

/** Creates a channel with messages. */
export const seed = (name: string, authors: ReadonlyArray<string>, bodies: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const channel = yield* (yield* clientOf("Seed")).mutate("channels.create", { name, access: "public" })
    const clients = yield* Effect.forEach(authors, clientOf)
    for (const [i, body] of bodies.entries()) {
      yield* clients[i % clients.length]!.mutate("messages.send", { channel: channel.id, body })
    }
  }).pipe(Effect.scoped, Effect.runPromise)

let browser: Browser | undefined
const contexts: Array<BrowserContext> = []

/** What the pages of a test have logged as a warning or an error. */
export const problems: Array<string> = []

/** Builds the page, and starts the servers and the browser. */
export const begin = async () => {
  mkdirSync(pathOf("screenshots"), { recursive: true })
  await Effect.runPromise(ChatPage.buildInto(join(folder, "page")))
  await website.start()
  server.variables = { PREVIEW_HOSTS: website.host }
  await server.start()
  browser = await launch()
}

/** Ends all of it. */
export const end = async () => {
  await browser?.close()
  await server.stop()
  await website.stop()
  rmSync(folder, { recursive: true, force: true })
}

/** Closes the pages of a test. Prints what those of a test that failed show, and what they have logged. */
export const leave = async ({ task }: TestContext) => {
  const hasFailed = task.result?.state === "fail"
  if (hasFailed) console.log(problems.join("\n"))
  for (const context of contexts.splice(0)) {
    for (const page of hasFailed ? context.pages() : []) {
      console.log(`${page.url()}:\n${await page.locator("body").innerText().catch(String)}`)
    }
    await context.close()
  }
}

/** The messages that the browser itself logs when the network is lost. */
export const outage = /WebSocket connection to|net::ERR_/
/** What the browser itself logs when a page leaves a channel while the server closes the socket of an ended session. */
export const closing = /^WebSocket is already in CLOSING or CLOSED state\.$/

/** A user: a browser context with its own storage. Its warnings and errors are collected in `problems`. */
export const person = async (options: BrowserContextOptions = {}) => {
  const context = await browser!.newContext({
    viewport: { width: 1200, height: 750 },
    colorScheme: "light",
    ...options
  })
  context.setDefaultTimeout(120_000)
  context.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") problems.push(message.text())
  })
  context.on("weberror", (problem) => problems.push(problem.error().stack ?? String(problem.error())))
  contexts.push(context)
  return context
}

export const open = async (context: BrowserContext, channel = "") => {
  const page = await context.newPage()
  await page.goto(channel === "" ? server.url : `${server.url}/#/${channel}`)
  return page
}

export const field = (page: Page) => page.getByRole("textbox", { name: /^Message to/ })
export const log = (page: Page) => page.getByRole("region", { name: /^Messages in/ })
export const connection = (page: Page) => page.getByRole("status", { name: "Connection", exact: true })

export const write = async (page: Page, body: string) => {
  await field(page).fill(body)
  await field(page).press("Enter")
}

/** Gives the user a name and a password; a user who has them signs in. */
export const signIn = async (page: Page, name: string, how: "Create an account" | "Sign in" = "Create an account") => {
  await page.locator(".account").getByRole("button", { name: "Sign in" }).click()
  const dialog = page.getByRole("dialog", { name: "Sign in" })
  await dialog.getByRole("textbox", { name: "Name" }).fill(name)
  await dialog.getByLabel("Password").fill(password)
  await dialog.getByRole("button", { name: how }).click()
  await isCalled(page, name)
}

/** Waits until the side shows this name. */
export const isCalled = (page: Page, name: string | RegExp) =>
  page.locator(".account").getByRole("strong").filter({ hasText: name }).waitFor()

/** Waits until the log shows a message that the server has confirmed. */
export const sees = (page: Page, body: string) =>
  log(page).locator("li.message:not([data-local])", { hasText: body }).first().waitFor()

export const isConnected = (page: Page, word: string) => connection(page).filter({ hasText: word }).waitFor()

export const bodies = (page: Page) => log(page).locator("li.message .body").allTextContents()

export const shoot = (page: Page, name: string) => page.screenshot({ path: join(pathOf("screenshots"), `${name}.png`) })

/** The accessible name or the text of the focused element. */
export const focused = (page: Page) =>
  page.evaluate<string>(`(() => {
    const element = document.activeElement
    if (element === document.body) return "the page"
    return element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? element.textContent
  })()`)
