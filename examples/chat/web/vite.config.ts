import { fileURLToPath, URL } from "node:url"
import { defineConfig } from "vite"

/** Builds the page into `dist-web`, from where the Worker serves it. */
export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  // The package as it stands here, not as it was built last.
  resolve: { conditions: ["source", "module", "browser", "import", "default"] },
  build: {
    outDir: fileURLToPath(new URL("../dist-web", import.meta.url)),
    emptyOutDir: true,
    target: "es2022",
    // React's development build, with which the page is tested, is larger than Vite likes.
    chunkSizeWarningLimit: 2000
  },
  server: { proxy: { "/rpc": { target: "http://localhost:8787", ws: true } } }
})
