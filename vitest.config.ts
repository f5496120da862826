/// <reference types="node" />
import { rmSync } from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { join } from "node:path"
import { cloudflareTest } from "@cloudflare/vitest-plugin"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

const conditions = ["source"]

// Random tests of one run begin with one seed, in Node and in workerd: see test/random.ts.
process.env["DORMOUSE_SEED"] ??= String((Date.now() ^ (Math.random() * 2 ** 31)) >>> 0)
const { DORMOUSE_LONG = "", DORMOUSE_SEED } = process.env

// Compilers that tests start are written in Go: a larger heap takes a tenth of their time away.
process.env["GOGC"] ??= "400"

// A test in workerd collects garbage.
process.env["MINIFLARE_WORKERD_V8_FLAGS"] ??= "--expose-gc"

// The package is packed once in a run, by the first file that needs it: see test/packed.ts.
const DORMOUSE_PACKED = join(tmpdir(), `dormouse-packed-${process.pid}`)
process.once("exit", () => rmSync(DORMOUSE_PACKED, { recursive: true, force: true }))

const common = {
  env: { DORMOUSE_LONG, DORMOUSE_PACKED, DORMOUSE_SEED },
  // What is polled may take long on a machine that is busy with something else.
  expect: { poll: { timeout: 120_000 } },
  hookTimeout: 300_000,
  testTimeout: DORMOUSE_LONG === "1" ? 3_600_000 : 900_000
}

const nodeConditions = [...conditions, "node", "module", "import", "default"]
const node = { resolve: { conditions: nodeConditions }, ssr: { resolve: { conditions: nodeConditions } } }

/** Files with modules of their own: they replace some, or count what a module does when it is used first. */
const fresh = [
  "test/client/Outbox.test.ts",
  "test/client/Tamper.test.ts",
  "test/engine/Start.test.ts",
  "test/random.test.ts"
]

/**
 * Files that take longest, the longest first: the others fill what is left of the time. A fresh clone has no times of its own. In
 * workerd, where files wait for the platform, one that waits and one that computes follow each other.
 */
const longest = [
  "browser/Chat.browser",
  "cli/FirstHour",
  "engine/LiveDifferential",
  "do/JobsKill",
  "services/files/S3",
  "cli/FirstApp",
  "test/package",
  "test/examples",
  "services/workflows/Crash",
  "engine/Crash",
  "services/jobs/Crash",
  "do/FrontDoor.test",
  "services/pubsub/Topics.test",
  "types/types",
  "do/SleepingJobs.worker",
  "engine/MutationLog.worker",
  "do/Hibernation.worker",
  "services/files/Files.worker",
  "services/pubsub/Topics.worker",
  "do/Soak.worker",
  "engine/Live.worker",
  "services/workflows/Workflows.worker",
  "do/BadInput.worker",
  "do/FrontDoor.worker",
  "accounts/Passkeys.worker",
  "services/jobs/Broker.worker",
  "contract/StorageProperties.worker",
  "services/SchemaPairs.worker",
  "services/jobs/Scheduler.worker"
]
/** A process that goes on with a file of another project begins anew: those of one project follow each other. */
const order = ["node", "fresh", "workerd"]
const rankOf = ({ moduleId, project }: TestSpecification): number => {
  const rank = longest.findIndex((name) => moduleId.includes(name))
  return order.indexOf(project.name) * 100 + (rank === -1 ? longest.length : rank)
}

class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const sorted = await super.sort(files)
    return sorted.sort((one, other) => rankOf(one) - rankOf(other))
  }
}

// The other files share the modules that they import, and in workerd the process: starting anew for each took a
// quarter of the time. What a test leaves behind, such as rows, the next one may find: objects have names of their own.
export default defineConfig({
  test: {
    // Much of the time a test waits: five at a time keep two cores busy.
    maxWorkers: availableParallelism() + 3,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        ...node,
        test: {
          name: "node",
          include: ["test/**/*.test.{ts,tsx}", "templates/*/test/**/*.test.ts"],
          exclude: ["test/**/*.worker.test.ts", ...fresh],
          isolate: false,
          ...common
        }
      },
      { ...node, test: { name: "fresh", include: fresh, ...common } },
      {
        plugins: [cloudflareTest({ wrangler: { configPath: "./test/worker/wrangler.jsonc" } })],
        resolve: { conditions: [...conditions, "workerd", "worker", "browser", "module", "import", "default"] },
        ssr: {
          resolve: { conditions: [...conditions, "workerd", "worker", "browser", "module", "import", "default"] }
        },
        test: {
          name: "workerd",
          include: ["test/**/*.worker.test.ts"],
          isolate: false,
          ...common
        }
      }
    ]
  }
})
