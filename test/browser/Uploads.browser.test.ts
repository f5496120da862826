/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import type { Uploads } from "effect-dormouse/files/client"
import * as Esbuild from "esbuild"
import type { Browser } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { callersOf, newTenant } from "../deployment/Deployment.ts"
import { type S3Server, startS3 } from "../deployment/s3.ts"
import { WorkerdProcess } from "../deployment/workerd.ts"
import { small } from "../worker/files.ts"
import { isMissing, launch, missing } from "./browser.ts"

/** Uploads from a page to a bucket of another origin: the page is that of a Worker on workerd, the bucket that of a server of S3. */

if (isMissing) console.warn(missing)

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

describe.skipIf(isMissing)("uploads from a page", () => {
  let browser: Browser
  let script: string
  beforeAll(async () => {
    browser = await launch()
    const { outputFiles } = await Esbuild.build({
      entryPoints: [pathOf("./page/uploads.ts")],
      bundle: true,
      write: false,
      format: "iife",
      conditions: ["source", "browser"],
      logLevel: "silent"
    })
    await Esbuild.stop()
    script = outputFiles[0]!.text
  })
  afterAll(() => browser?.close())

  /** Runs a body with a page, and what its requests were. */
  const withPage = async (
    cors: boolean,
    body: (tools: {
      readonly send: (bytes: number) => Promise<ReadonlyArray<Uploads.UploadProgress>>
      readonly s3: S3Server
      /** Methods of requests with bytes that the Worker has got. */
      readonly received: ReadonlyArray<string>
    }) => Promise<void>
  ) => {
    const s3 = await startS3({ cors })
    const server = await WorkerdProcess.start(pathOf("../worker/process/files.ts"), s3.variables)
    const page = await browser.newPage()
    try {
      const received: Array<string> = []
      page.on("request", (request) => {
        if (request.url().startsWith(server.url) && request.method() === "PUT") received.push(request.url())
      })
      const tenant = newTenant("files")
      const { done } = callersOf(server.deployment, tenant)
      // Any page of the Worker has its origin.
      await page.goto(`${server.url}/files/none`)
      await page.addScriptTag({ content: script })
      const send = async (bytes: number) => {
        const file = { name: "a.txt", type: "text/plain", bytes }
        const target = (await done("begin", { bucket: "small", new: file })) as Uploads.Target
        const progress = await page.evaluate(([target, bytes]) => globalThis.sendFile(target, bytes), [
          target,
          bytes
        ] as const)
        expect(await done("get", { bucket: "small", file: target.file })).toMatchObject({ state: "ready", bytes })
        return progress
      }
      await body({ send, s3, received })
    } finally {
      await page.close()
      await server.close()
      await s3.close()
    }
  }

  it("C24, FI14: parts go to the bucket, and none of their bytes to the Worker", () =>
    withPage(true, async ({ received, s3, send }) => {
      const bytes = 2 * small + 1
      const progress = await send(bytes)
      expect(progress.at(-1)).toMatchObject({ sent: bytes, isReady: true })
      const parts = s3.requests.filter((request) => request === "PUT partNumber uploadId")
      expect(parts).toHaveLength(3)
      expect(received).toEqual([])
    }))

  it("C24: where the bucket does not allow the page, all parts go through the Worker", () =>
    withPage(false, async ({ received, send }) => {
      const bytes = 2 * small + 1
      const progress = await send(bytes)
      expect(progress.at(-1)).toMatchObject({ sent: bytes, isReady: true })
      expect(received).toHaveLength(3)
    }))
})
