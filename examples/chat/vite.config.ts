/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import { defineConfig } from "vite"

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

/** Builds the page of `web` into `dist-web`, from where it is deployed with the Worker. */
export default defineConfig({
  root: pathOf("web"),
  // The package as it stands here, not as it was built last.
  resolve: { conditions: ["source", "module", "browser", "import", "default"] },
  build: {
    outDir: pathOf("dist-web"),
    emptyOutDir: true,
    target: "es2022",
    // React's development build, with which the page is tested, is larger than Vite likes.
    chunkSizeWarningLimit: 2000
  },
  // `npx vite -c examples/chat/vite.config.ts` serves the page as it is edited, beside `npm start`.
  server: { proxy: { "/rpc": { target: "http://localhost:8787", ws: true }, "/files": "http://localhost:8787" } }
})
