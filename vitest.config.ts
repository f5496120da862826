import { cloudflareTest } from "@cloudflare/vitest-plugin"
import { defineConfig } from "vitest/config"

const conditions = ["source"]

export default defineConfig({
  test: {
    projects: [
      {
        resolve: { conditions: [...conditions, "node", "module", "import", "default"] },
        ssr: { resolve: { conditions: [...conditions, "node", "module", "import", "default"] } },
        test: {
          name: "node",
          include: ["test/**/*.test.{ts,tsx}"],
          exclude: ["test/**/*.worker.test.ts"],
          testTimeout: 60_000
        }
      },
      {
        plugins: [cloudflareTest({ wrangler: { configPath: "./test/worker/wrangler.jsonc" } })],
        resolve: { conditions: [...conditions, "workerd", "worker", "browser", "module", "import", "default"] },
        ssr: {
          resolve: { conditions: [...conditions, "workerd", "worker", "browser", "module", "import", "default"] }
        },
        test: {
          name: "workerd",
          include: ["test/**/*.worker.test.ts"],
          testTimeout: 60_000
        }
      }
    ]
  }
})
