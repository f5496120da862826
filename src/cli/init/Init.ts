/**
 * `dormouse init`: an app in a new folder, or in one that exists.
 * It never replaces a file of the author's unless it is told to.
 */
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Prompt from "effect/cli/Prompt"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import { Failure } from "../Failure.ts"
import * as Package from "../Package.ts"
import * as Processes from "../Processes.ts"
import * as Project from "../Project.ts"
import * as Style from "../Style.ts"
import * as Manifest from "./Manifest.ts"
import * as Templates from "./Templates.ts"

const folder = Argument.String("folder").pipe(
  Argument.withDescription("The folder of the app, new or existing; the current one unless given"),
  Argument.withDefault(".")
)

const flags = {
  template: Flag.Literals("template", Templates.templates).pipe(
    Flag.withAlias("t"),
    Flag.withDescription(
      "minimal: a live list. chat: channels and messages. kanban: boards on which several people move cards"
    ),
    Flag.optional
  ),
  react: Flag.Boolean("react").pipe(
    Flag.withDescription("A page with React, or with --no-react one of plain DOM; React unless given"),
    Flag.optional
  ),
  packageManager: Flag.Literals("package-manager", Project.packageManagers).pipe(
    Flag.withAlias("p"),
    Flag.withDescription("The package manager; the one that runs this command, or npm"),
    Flag.optional
  ),
  install: Flag.Boolean("install").pipe(
    Flag.withDescription("Install the dependencies; --no-install leaves that to you"),
    Flag.withDefault(true)
  ),
  force: Flag.Boolean("force").pipe(
    Flag.withAlias("f"),
    Flag.withDescription("Replace files that exist"),
    Flag.withDefault(false)
  ),
  dormouse: Flag.String("dormouse").pipe(
    Flag.withDescription("Where to get effect-dormouse from, such as file:effect-dormouse.tgz"),
    Flag.withHidden,
    Flag.withFallbackConfig(Config.String("DORMOUSE_PACKAGE")),
    Flag.optional
  )
}

const templateChoices: ReadonlyArray<{ value: Templates.Template; title: string; description: string }> = [
  { value: "minimal", title: "minimal", description: "a list of tasks that is live in every window" },
  { value: "chat", title: "chat", description: "channels, messages, pages of history" },
  { value: "kanban", title: "kanban", description: "boards, columns and cards that several people move" }
]

/** What was not said on the command line: asked in a terminal, otherwise the default. */
const answer = Effect.fnUntraced(function* <A>(given: Option.Option<A>, prompt: Prompt.Prompt<A>, otherwise: A) {
  if (Option.isSome(given)) return given.value
  const { canPrompt } = yield* TerminalCapabilities.TerminalCapabilities
  return canPrompt ? yield* Prompt.run(prompt) : otherwise
})

interface Written {
  readonly written: ReadonlyArray<string>
  /** Files that exist and were not replaced. */
  readonly left: ReadonlyArray<string>
}

/** Writes the files that are not there yet; with `force` also those that are. */
const write = Effect.fnUntraced(function* (home: string, files: ReadonlyMap<string, string>, force: boolean) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const written: Array<string> = []
  const left: Array<string> = []
  for (const [file, text] of files) {
    const target = path.join(home, file)
    if (yield* fs.exists(target)) {
      if ((yield* fs.readFileString(target)) === text) continue
      if (!force) {
        left.push(file)
        continue
      }
    }
    yield* fs.makeDirectory(path.dirname(target), { recursive: true })
    yield* fs.writeFileString(target, text)
    written.push(file)
  }
  return { written, left } satisfies Written
})

/** The package.json of a folder with what the app needs. What the author wrote stays. */
const manifestOf = Effect.fnUntraced(function* (
  home: string,
  parts: ReadonlyArray<Templates.ManifestPart>,
  packageManager: Project.PackageManager,
  dormouse: Option.Option<string>
) {
  const version = yield* Package.version
  const versions = { dormouse: Option.getOrElse(dormouse, () => `^${version}`), tested: yield* Package.tested }
  const needed = Manifest.needed(parts, { packageManager, versions, node: process.versions.node })
  const existing = yield* Project.readManifest(home)
  return Manifest.print(
    Manifest.merge(
      Option.getOrElse(existing, () => ({})),
      needed
    )
  )
})

const install = Effect.fnUntraced(function* (home: string, packageManager: Project.PackageManager) {
  const args = packageManager === "npm" ? ["install", "--no-audit", "--no-fund", "--prefer-offline"] : ["install"]
  const { code, text } = yield* Style.step(
    `${packageManager} install`,
    Effect.flatMap(Processes.capture(packageManager, args, { folder: home }), (output) =>
      output.code === 0 ? Effect.succeed(output) : Effect.fail(output)
    )
  ).pipe(Effect.catchIf((error): error is Processes.Output => "code" in error, Effect.succeed))
  if (code === 0) return
  yield* Console.error(Processes.tail(text, 20))
  return yield* new Failure({
    problem: `${packageManager} could not install the dependencies (see above)`,
    remedy: `run \`${packageManager} install\` in ${home} when it can`
  })
})

/** A path as a word of a shell. */
const quoted = (path: string): string => (/^[\w./-]+$/.test(path) ? path : `"${path}"`)

/** `dormouse init` */
export const init = Command.make(
  "init",
  { folder, ...flags },
  Effect.fnUntraced(function* (options) {
    const path = yield* Path.Path
    const fs = yield* FileSystem.FileSystem
    const home = path.resolve(options.folder)
    const template = yield* answer(
      options.template,
      Prompt.Select({ message: "Which app?", choices: templateChoices }),
      "minimal"
    )
    const react = yield* answer(options.react, Prompt.Confirm({ message: "With React?", initial: true }), true)
    const packageManager = yield* Option.match(options.packageManager, {
      onNone: () => Project.packageManager,
      onSome: Effect.succeed
    })
    const name = Templates.nameOf(path.basename(home))

    if ((yield* fs.exists(home)) && (yield* fs.stat(home)).type !== "Directory") {
      return yield* new Failure({ problem: `${home} is a file`, remedy: "name another folder" })
    }
    const { files, manifests } = yield* Templates.filesOf({ template, react, packageManager, name })
    const manifest = yield* manifestOf(home, manifests, packageManager, options.dormouse)
    const { left, written } = yield* write(home, files, options.force)
    yield* fs.makeDirectory(home, { recursive: true })
    yield* fs.writeFileString(path.join(home, "package.json"), manifest)

    const style = yield* Style.style
    const kind = react ? "with React" : "without a framework"
    yield* Console.log(`${style.green("✓")} ${template} ${kind} in ${home}: ${written.length + 1} files`)
    if (left.length > 0) {
      yield* Console.log(`Files that exist were left as they are (--force replaces them): ${left.join(", ")}`)
    }
    if (options.install) yield* install(home, packageManager)

    // Without `run`, some of these names are commands of the package manager's own.
    const run = `${packageManager} run`
    const here = path.resolve(".")
    const way = path.relative(here, home)
    const steps: ReadonlyArray<readonly [command: string, does: string]> = [
      ...(way === "" ? [] : [[`cd ${quoted(way.startsWith("..") ? home : way)}`, ""] as const]),
      ...(options.install ? [] : [[`${packageManager} install`, ""] as const]),
      [`${run} dev`, "the Worker and the page on this machine"],
      [`${run} test`, "the tests"],
      [`${run} deploy`, "to Cloudflare"]
    ]
    yield* Console.log("\nNext:\n")
    for (const [command, does] of steps) {
      yield* Console.log(`  ${style.cyan(command.padEnd(18))} ${style.dim(does)}`.trimEnd())
    }
  })
).pipe(
  Command.withDescription(
    "Makes an app: tables, contract, handlers, Worker, page and tests.\n\n  " +
      "In a folder that exists, package.json gets what the app needs, and files that are there stay as they are. " +
      "Questions are asked in a terminal only; without one, flags and defaults decide."
  ),
  Command.withShortDescription("Make an app in a new or an existing folder"),
  Command.withExamples([
    { command: "dormouse init my-app", description: "Ask what to make, and make it in the folder my-app" },
    { command: "dormouse init my-app --template kanban --react", description: "Ask nothing" },
    { command: "dormouse init --template minimal --no-react --no-install", description: "In the current folder" }
  ])
)
