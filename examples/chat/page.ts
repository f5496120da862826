/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Vite from "vite"

/** The page could not be built; Vite has said why. */
export class PageError extends Schema.TaggedError<PageError>()("PageError", { cause: Schema.Defect() }) {
  override get message() {
    return "the page could not be built"
  }
}

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

/** Builds a page into a folder, and gives the folder. The configuration is that of the chat unless given. */
export const buildInto = (folder: string, configFile = pathOf("vite.config.ts")): Effect.Effect<string, PageError> =>
  Effect.as(
    Effect.tryPromise({
      try: () =>
        Vite.build({
          configFile,
          logLevel: "warn",
          build: { outDir: folder, emptyOutDir: true }
        }),
      catch: (cause) => new PageError({ cause })
    }),
    folder
  )

/** The same, into the folder that is deployed with the Worker. */
export const build = buildInto(pathOf("dist-web"))
