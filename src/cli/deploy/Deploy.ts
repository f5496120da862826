/**
 * `dormouse deploy`: a check, the build of the page, and wrangler.
 * After a release it writes the contract of the release to its file.
 */
import * as Console from "effect/Console"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as Plans from "../admin/Plans.ts"
import * as AppModule from "../check/AppModule.ts"
import * as Check from "../check/Check.ts"
import * as TenantPlans from "../check/TenantPlans.ts"
import { Failure } from "../Failure.ts"
import * as Processes from "../Processes.ts"
import * as Project from "../Project.ts"

const viteConfigs = ["vite.config.ts", "vite.config.mts", "vite.config.js", "vite.config.mjs"]

/** Runs a tool of the project in this terminal. Fails if the tool does. */
const runTool = Effect.fnUntraced(function* (
  project: Project.Project,
  tool: string,
  args: ReadonlyArray<string>,
  what: string
) {
  const script = yield* Project.script(project, tool)
  const code = yield* Processes.inherit(process.execPath, [script, ...args], { folder: project.folder })
  if (code === 0) return
  return yield* new Failure({
    problem: `${what} failed (see above)`,
    remedy: "nothing was released by it; correct it, and deploy again"
  })
})

/** `dormouse deploy` */
export const deploy = Command.make(
  "deploy",
  {
    ...Check.flags,
    dryRun: Flag.Boolean("dry-run").pipe(
      Flag.withDescription("Build everything, and deploy nothing"),
      Flag.withDefault(false)
    ),
    accept: Flag.Boolean("accept-breaking").pipe(
      Flag.withDescription("Deploy although old clients break, or although nobody can say"),
      Flag.withDefault(false)
    ),
    wrangler: Argument.String("wrangler flags").pipe(
      Argument.withDescription("What follows -- is passed to wrangler deploy"),
      Argument.variadic()
    )
  },
  Effect.fnUntraced(function* (options) {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const project = yield* Project.find
    if (!(yield* Check.checkTypes(project))) {
      return yield* new Failure({
        problem: "the project has type errors (see above)",
        remedy: "correct them, and deploy again"
      })
    }
    const app = yield* AppModule.load(project, options.app)
    const { found, save } = yield* Check.compare(project, app, options)
    if ((yield* Check.show(found)) && !options.accept) {
      return yield* new Failure({
        problem: "old clients may break (see above)",
        remedy: "keep what they need, or deploy with --accept-breaking"
      })
    }
    if (Plans.isAsked(options) && (yield* TenantPlans.show(app, options))) {
      return yield* new Failure({
        problem: "the start of some tenants would be refused (see above)",
        remedy: "change the tables or the migrations, and deploy again"
      })
    }
    const configs = yield* Effect.filter(viteConfigs, (name) => fs.exists(path.join(project.folder, name)))
    if (configs.length > 0) yield* runTool(project, "vite", ["build"], "the build of the page")
    const dryRun = options.dryRun ? ["--dry-run"] : []
    yield* runTool(project, "wrangler", ["deploy", ...dryRun, ...options.wrangler], "wrangler deploy")
    if (options.dryRun) return yield* Console.log("A dry run: nothing was deployed, and the contract was not written.")
    yield* save
  })
).pipe(
  Command.withDescription(
    "Checks the app, builds it, and deploys it to Cloudflare with the wrangler of the project.\n\n  " +
      "It stops before anything is deployed when the types are wrong, when old clients would break, or when the start of a tenant " +
      "would be refused that --tenants or --all-tenants name. After a release it writes the " +
      "contract to its file: commit it."
  ),
  Command.withShortDescription("Check the app, and deploy it to Cloudflare"),
  Command.withExamples([
    { command: "dormouse deploy", description: "Check, build, deploy" },
    { command: "dormouse deploy --dry-run", description: "Everything but the deployment; needs no account" },
    { command: "dormouse deploy -- --env staging", description: "With flags of wrangler" }
  ])
)
