/**
 * `dormouse check`: the types of a project, what its contract changes for the clients of the last release, and what a start
 * would do to the tenants of a deployment.
 * `deploy` runs the same checks before it deploys.
 */
import * as Console from "effect/Console"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type { App } from "../../contract/App.ts"
import * as Plans from "../admin/Plans.ts"
import { changes } from "../contract/Changes.ts"
import * as Contract from "../contract/Contract.ts"
import { Failure, Found } from "../Failure.ts"
import * as Processes from "../Processes.ts"
import * as Project from "../Project.ts"
import * as Style from "../Style.ts"
import * as AppModule from "./AppModule.ts"
import * as Report from "./Report.ts"
import * as TenantPlans from "./TenantPlans.ts"

/** The flags that `check` and `deploy` share. */
export const flags = {
  app: Flag.String("app").pipe(
    Flag.withDescription("The module that exports the app, as `app` or as its default"),
    Flag.withDefault(AppModule.defaultFile)
  ),
  file: Flag.String("contract").pipe(
    Flag.withDescription("The file with the contract of the last release"),
    Flag.withDefault("dormouse.contract.json")
  ),
  ...Plans.flags
}

/** Runs the compiler of the project. Its messages are printed. */
export const checkTypes = Effect.fnUntraced(function* (project: Project.Project) {
  const compiler = yield* Project.script(project, "typescript", "tsc")
  const style = yield* Style.style
  const pretty = style.bold("") === "" ? "false" : "true"
  const { code, text } = yield* Style.step(
    "types",
    Processes.capture(process.execPath, [compiler, "--noEmit", "--pretty", pretty, "-p", "."], {
      folder: project.folder
    })
  )
  if (code !== 0) yield* Console.log(text.trimEnd())
  return code === 0
})

/** Compares the contract of the app with the one in the file. */
export const compare = Effect.fnUntraced(function* (
  project: Project.Project,
  app: App<any>,
  options: { readonly app: string; readonly file: string }
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = path.resolve(project.folder, options.file)
  const contract = yield* Effect.try({
    try: () => Contract.describe(app),
    catch: (cause) =>
      new Failure({ problem: `the contract of ${options.app} cannot be described`, remedy: String(cause), cause })
  })
  const before = (yield* fs.exists(file))
    ? yield* Effect.mapBoth(Contract.parse(yield* fs.readFileString(file)), {
        onSuccess: Option.some,
        onFailure: (cause) =>
          new Failure({
            problem: `${options.file} is not the contract of a release`,
            remedy: "restore it from your version control, or write a new one with `dormouse check --save`",
            cause
          })
      })
    : Option.none<Contract.Contract>()
  const found = Option.map(before, (before) => changes(before, contract))
  const save = Effect.andThen(
    fs.writeFileString(file, Contract.print(contract)),
    Console.log(`The contract is in ${options.file}: commit it.`)
  )
  return { found, save }
})

/** Prints what the contract changes. Whether somebody has to decide. */
export const show = Effect.fnUntraced(function* (found: Option.Option<ReturnType<typeof changes>>) {
  const style = yield* Style.style
  if (Option.isNone(found)) {
    yield* Console.log("There is no contract of a release yet: `dormouse deploy` or `dormouse check --save` writes it.")
    return false
  }
  yield* Console.log(Report.report(found.value, style))
  return Report.needsDecision(found.value)
})

/** `dormouse check` */
export const check = Command.make(
  "check",
  {
    ...flags,
    save: Flag.Boolean("save").pipe(
      Flag.withDescription("Write the contract of the app to the file, as that of a release"),
      Flag.withDefault(false)
    ),
    types: Flag.Boolean("types").pipe(
      Flag.withDescription("Check the types; --no-types leaves them out"),
      Flag.withDefault(true)
    ),
    compares: Flag.Boolean("compare").pipe(
      Flag.withDescription("Compare the contract; --no-compare leaves it out"),
      Flag.withDefault(true)
    )
  },
  Effect.fnUntraced(function* (options) {
    const project = yield* Project.find
    const isTyped = options.types ? yield* checkTypes(project) : true
    let isOpen = false
    const asksTenants = Plans.isAsked(options)
    if (!options.compares && !options.save && !asksTenants) return isTyped ? undefined : yield* new Found()
    const app = yield* AppModule.load(project, options.app)
    if (options.compares || options.save) {
      const { found, save } = yield* compare(project, app, options)
      isOpen = yield* show(found)
      if (options.save) {
        yield* save
        isOpen = false
      }
    }
    const isRefused = asksTenants && (yield* TenantPlans.show(app, options))
    if (!isTyped || isOpen || isRefused) return yield* new Found()
  })
).pipe(
  Command.withDescription(
    "Checks the types of a project, its contract against that of the last release, and its tables against those of tenants.\n\n  " +
      "Clients of the last release are still running when a new one is deployed. They call rpcs that are gone, send payloads " +
      "that the new schema refuses, and get results that they cannot read. Each such change is reported with its place and with " +
      "what to do. What cannot be proved either way is reported, too. The contract of a release is a file that is committed: " +
      "dormouse.contract.json, which `dormouse deploy` writes.\n\n  " +
      "With --tenants or --all-tenants a deployment says what a start of this version would change in these tenants: renames, " +
      "statements of SQL, migrations with their rows, and why it would be refused. Nothing is changed. " +
      "The exit code is 1 if something has to be decided."
  ),
  Command.withShortDescription("Say what a release would break"),
  Command.withExamples([
    { command: "dormouse check", description: "Types and contract" },
    { command: "dormouse check --no-types", description: "Only what changes for old clients" },
    {
      command: "dormouse check --url https://app.example.com --all-tenants",
      description: "Also what a start would do to each tenant's database; the key is in DORMOUSE_KEY"
    },
    { command: "dormouse check --save", description: "Accept the contract as it is, as that of the last release" },
    { command: "dormouse check --app src/backend/app.ts", description: "With the app in another module" }
  ])
)
