/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import { defineConfig } from "vite"

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

/** Builds the page of `web` into `dist-web`, from where it is deployed with the Worker. */
export default defineConfig({
  root: pathOf("web"),
  // The package as it stands here, not as it was built last.
  resolve: { conditions: ["source", "module", "browser", "import", "default"] },
  build: { outDir: pathOf("dist-web"), emptyOutDir: true, target: "es2022", chunkSizeWarningLimit: 2000 }
})
