/// <reference types="node" />
/** Builds the app: `node build.ts <folder>`. Everything that TanStack's plugin generates goes into this folder as well. */
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import { tanstackStart } from "@tanstack/react-start/plugin/vite"
import { createBuilder } from "vite"

const conditions = ["source", "module", "import", "default"]
const [folder = ""] = process.argv.slice(2)

const builder = await createBuilder({
  configFile: false,
  logLevel: "error",
  root: fileURLToPath(new URL(".", import.meta.url)),
  cacheDir: join(folder, "cache"),
  plugins: [
    tanstackStart({
      srcDirectory: ".",
      router: {
        // Of the app itself it is committed, as TanStack advises.
        generatedRouteTree: join(folder, "routeTree.gen.ts"),
        tmpDir: join(folder, "tmp"),
        addExtensions: true,
        quoteStyle: "double"
      }
    })
  ],
  build: { outDir: folder, minify: false, target: "es2023" },
  environments: {
    client: { resolve: { conditions: ["browser", ...conditions] } },
    // The folder has no `node_modules`.
    ssr: { resolve: { conditions: ["node", ...conditions], noExternal: true } }
  }
})
await builder.buildApp()
