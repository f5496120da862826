/// <reference types="node" />
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import type { Browser, BrowserContext } from "playwright-core"
import { build } from "vite"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { call, newTenant } from "../deployment/Deployment.ts"
import { WorkerdProcess } from "../deployment/workerd.ts"
import type { Counts } from "../worker/process/hooks.ts"
import { isMissing, launch, missing, newContext } from "./browser.ts"

/** An app that Vite builds for Node and for a browser: Node reads queries and renders, and the browser takes over. */

if (isMissing) console.warn(missing)

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

/** Builds one side of the app into a file. */
const buildInto = async (folder: string, name: "server" | "client") => {
  await build({
    configFile: false,
    logLevel: "silent",
    resolve: { conditions: ["source", "module", name === "client" ? "browser" : "node", "import", "default"] },
    ssr: { noExternal: true, resolve: { conditions: ["source", "node", "module", "import", "default"] } },
    build: {
      ssr: name === "server",
      outDir: join(folder, name),
      minify: false,
      target: "es2023",
      rollupOptions: { input: pathOf(`ssr/${name}.tsx`), output: { format: "es", entryFileNames: `${name}.mjs` } }
    }
  })
  return join(folder, name, `${name}.mjs`)
}

/** Starts the server of pages. */
const startPages = (script: string, ...args: ReadonlyArray<string>) =>
  new Promise<{ readonly process: ChildProcess; readonly url: string }>((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], { stdio: ["ignore", "pipe", "inherit"] })
    child.stdout.once("data", (line) => resolve({ process: child, url: String(line).trim() }))
    child.once("exit", (code) => reject(new Error(`the server of pages ended with ${code}`)))
  })

describe.skipIf(isMissing)("a page that a server renders", () => {
  const folder = mkdtempSync(join(tmpdir(), "dormouse-ssr-"))
  let browser: Browser
  let context: BrowserContext
  let backend: WorkerdProcess
  let pages: Awaited<ReturnType<typeof startPages>>
  const problems: Array<string> = []

  beforeAll(async () => {
    const [server, client] = [await buildInto(folder, "server"), await buildInto(folder, "client")]
    ;[browser, backend] = await Promise.all([launch(), WorkerdProcess.start(pathOf("../worker/process/hooks.ts"))])
    pages = await startPages(server, backend.url, client)
    context = await newContext(browser, problems)
  })
  afterAll(async () => {
    await browser?.close()
    pages?.process.kill("SIGKILL")
    await backend?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const counts = async (): Promise<Counts> => (await fetch(`${backend.url}/counts`)).json() as Promise<Counts>

  /** A tenant with two boards, and the address of its page. */
  const seed = async () => {
    const tenant = newTenant("ssr")
    const add = (board: string, text: string) => call(backend.deployment, tenant, "add", { board, text })
    // A text that would end the script in which the page has its data.
    for (const text of ["one", "</script><script>alert(1)</script>", "three\u2028"]) await add("first", text)
    await add("other", "else")
    const html = await (await fetch(`${pages.url}/?tenant=${tenant}&board=first`)).text()
    return { add, html, url: `${pages.url}/?tenant=${tenant}&board=first` }
  }
  const all = ["one", "</script><script>alert(1)</script>", "three\u2028"].join()
  const latest = ["three\u2028", "</script><script>alert(1)</script>"].join()

  /** Opens a page that was rendered before. Collects the messages of its socket. */
  const open = async (url: string, html?: string) => {
    const page = await context.newPage()
    const frames: Array<string> = []
    page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => frames.push(String(payload))))
    if (html !== undefined) await page.route(url, (route) => route.fulfill({ body: html, contentType: "text/html" }))
    await page.goto(url)
    const shows = (id: string, text: string) =>
      expect.poll(() => page.evaluate(`document.getElementById("${id}").textContent`)).toBe(text)
    return { page, frames, shows, seen: () => page.evaluate(() => globalThis.seen) }
  }

  it("C28: the first render shows what the server has read, in HTML and when the browser takes over, and a few bytes confirm it", async () => {
    const before = await counts()
    const { add, html, url } = await seed()
    expect(html).toContain('<p id="live">one,&lt;/script&gt;')
    expect(html).toContain('<p id="suspended">one,&lt;/script&gt;')
    expect(html).toContain('<p id="asked">one,&lt;/script&gt;')
    expect(html).toContain('<p id="other">else</p>')
    expect(html).not.toContain("…")
    expect((await counts()).opened).toBe(before.opened)

    const { frames, page, seen, shows } = await open(url)
    await expect.poll(async () => (await counts()).known - before.known).toBe(3)
    const current = () => frames.join("").match(/"_tag":"Current"/g)?.length
    await expect.poll(current).toBe(3)
    for (const id of ["live", "suspended", "asked"]) await shows(id, all)
    await shows("log", latest)
    // The list requests its first page once more, with an end; nothing else was sent a second time.
    const snapshots = frames.join("").match(/"_tag":"Snapshot"/g) ?? []
    expect(snapshots.length).toBeLessThanOrEqual(1)
    expect((await counts()).opened - before.opened).toBe(1)
    const { complaints, texts } = await seen()
    expect(complaints).toEqual([])
    // No moment without values.
    expect(texts.filter((text) => text.includes("…"))).toEqual([])
    await add("first", "four")
    await shows("live", `${all},four`)
    await shows("suspended", `${all},four`)
    await shows("asked", all)
    expect(problems).toEqual([])
    await page.close()
  })

  it("C28: a page that is older than its data is taken over as it is, and then shows the present values", async () => {
    const { add, url } = await seed()
    await add("first", "later")
    const { page, seen, shows } = await open(url)
    await shows("live", `${all},later`)
    await shows("suspended", `${all},later`)
    const { complaints, texts } = await seen()
    expect(complaints).toEqual([])
    expect(texts[0]).toContain(all)
    expect(texts[0]).not.toContain("later")
    expect(texts.filter((text) => text.includes("…"))).toEqual([])
    expect(problems).toEqual([])
    await page.close()
  })

  it("control: a page with other data than its HTML is rendered again, which React reports", async () => {
    const { html, url } = await seed()
    const other = html.replace('<p id="other">else</p>', '<p id="other">wrong</p>')
    expect(other).not.toBe(html)
    const { page, seen, shows } = await open(url, other)
    await shows("other", "else")
    expect((await seen()).complaints).toHaveLength(1)
    problems.length = 0
    await page.close()
  })
})
