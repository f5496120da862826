/// <reference types="node" />
import { existsSync } from "node:fs"
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core"
import { expect } from "vitest"

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

const readStored = `new Promise((resolve, reject) => {
  const opening = indexedDB.open("dormouse-outbox")
  opening.onerror = () => reject(opening.error)
  opening.onsuccess = () => {
    const reading = opening.result.transaction("entries").objectStore("entries").get("entries")
    reading.onerror = () => reject(reading.error)
    reading.onsuccess = () => {
      opening.result.close()
      resolve(JSON.stringify(reading.result ?? []))
    }
  }
})`

/** Waits until a page has stored mutations with these texts, which are sent by another page when it is closed. */
export const stores = async (page: Page, ...texts: ReadonlyArray<string>): Promise<void> => {
  const stored = async () => {
    const entries = String(await page.evaluate(readStored))
    return texts.filter((text) => entries.includes(text))
  }
  await expect.poll(stored).toEqual(texts)
}

/** A context of its own, whose warnings and errors are collected in `problems`. */
export const newContext = async (browser: Browser, problems: Array<string>): Promise<BrowserContext> => {
  const context = await browser.newContext()
  context.setDefaultTimeout(120_000)
  context.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") problems.push(message.text())
  })
  context.on("weberror", (problem) => problems.push(String(problem.error())))
  return context
}
