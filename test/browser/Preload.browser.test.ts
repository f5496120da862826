/// <reference types="node" />
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import { build } from "vite"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { isMissing, missing } from "./browser.ts"
import { startRendered, texts } from "./rendered.ts"

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

describe.skipIf(isMissing)("a page that a server renders", () => {
  const folder = mkdtempSync(join(tmpdir(), "dormouse-ssr-"))
  let app: Awaited<ReturnType<typeof startRendered>>
  const problems: Array<string> = []

  beforeAll(async () => {
    const [server, client] = [await buildInto(folder, "server"), await buildInto(folder, "client")]
    app = await startRendered(problems, (backend) => ({ args: [server, backend, client] }))
  })
  afterAll(async () => {
    await app?.end()
    rmSync(folder, { recursive: true, force: true })
  })

  const counts = () => app.counts()

  /** A tenant with two boards, and the address of its page. */
  const seed = async () => {
    const { add, tenant } = await app.seed("ssr")
    await add("other", "else")
    const url = `${app.url}/?tenant=${tenant}&board=first`
    return { add, html: await (await fetch(url)).text(), url }
  }
  const all = texts.join()
  const latest = ["three\u2028", "</script><script>alert(1)</script>"].join()

  /** Opens a page, or HTML that was rendered before. */
  const open = async (url: string, html?: string) => {
    const { frames, page } = await app.open(
      url,
      (page) => html && page.route(url, (route) => route.fulfill({ body: html, contentType: "text/html" }))
    )
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
