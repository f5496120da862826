/// <reference types="node" />
/** What tests of pages that a server renders have in common: the server of pages, the backend behind it, and a browser. */
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath, URL } from "node:url"
import type { Page } from "playwright-core"
import { call, newTenant } from "../deployment/Deployment.ts"
import { WorkerdProcess } from "../deployment/workerd.ts"
import type { Counts } from "../worker/process/hooks.ts"
import { launch, newContext } from "./browser.ts"

/** A text that would end the script in which a page has its data, between two others. */
export const texts = ["one", "</script><script>alert(1)</script>", "three\u2028"]

/** How the server of pages is started: a script, its arguments, and variables. */
export interface PagesCommand {
  readonly args: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
}

/** Starts the server of pages, which prints its address. */
const startPages = ({ args, env }: PagesCommand) =>
  new Promise<{ readonly process: ChildProcess; readonly url: string }>((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "inherit"]
    })
    child.stdout.once("data", (line) => resolve({ process: child, url: String(line).trim() }))
    child.once("exit", (code) => reject(new Error(`the server of pages ended with ${code}`)))
  })

/** Starts everything. Warnings and errors of pages are collected in `problems`. */
export const startRendered = async (problems: Array<string>, pagesFor: (backend: string) => PagesCommand) => {
  const hooks = fileURLToPath(new URL("../worker/process/hooks.ts", import.meta.url))
  const [browser, backend] = await Promise.all([launch(), WorkerdProcess.start(hooks)])
  const endBoth = () => Promise.all([browser.close(), backend.close()])
  const pages = await startPages(pagesFor(backend.url)).catch(async (cause) => {
    await endBoth()
    throw cause
  })
  const context = await newContext(browser, problems)
  return {
    url: pages.url,
    context,
    counts: async (): Promise<Counts> => (await fetch(`${backend.url}/counts`)).json() as Promise<Counts>,
    /** A new tenant whose board `first` has the texts. */
    seed: async (prefix: string) => {
      const tenant = newTenant(prefix)
      const add = (board: string, text: string) => call(backend.deployment, tenant, "add", { board, text })
      for (const text of texts) await add("first", text)
      return { tenant, add }
    },
    /** Opens a page. Collects the messages of its socket. */
    open: async (url: string, prepare: (page: Page) => unknown = () => {}) => {
      const page = await context.newPage()
      const frames: Array<string> = []
      page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => frames.push(String(payload))))
      await prepare(page)
      await page.goto(url)
      return { page, frames }
    },
    end: async () => {
      pages.process.kill("SIGKILL")
      await endBoth()
    }
  }
}
