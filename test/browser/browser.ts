/// <reference types="node" />
import { existsSync } from "node:fs"
import { type Browser, type BrowserContext, chromium } from "playwright-core"

const executablePath = "/usr/bin/chromium"

/** Whether there is no browser: its tests are skipped, and say so. */
export const isMissing = !existsSync(executablePath)
export const missing = `skipped: no Debian chromium at ${executablePath}; install it with apt-get install chromium`

export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync"
    ]
  })

/** A context of its own, whose warnings and errors are collected in `problems`. */
export const newContext = async (browser: Browser, problems: Array<string>): Promise<BrowserContext> => {
  const context = await browser.newContext()
  context.setDefaultTimeout(30_000)
  context.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") problems.push(message.text())
  })
  context.on("weberror", (problem) => problems.push(String(problem.error())))
  return context
}
