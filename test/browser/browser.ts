/// <reference types="node" />
import { existsSync } from "node:fs"
import { type Browser, chromium } from "playwright-core"

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
