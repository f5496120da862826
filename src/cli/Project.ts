/**
 * The author's project: its folder, its package.json, its package manager, and the tools that it has installed, which the
 * commands run instead of versions of their own.
 */
import { createRequire } from "node:module"
import { pathToFileURL } from "node:url"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import { Failure } from "./Failure.ts"

const Texts = Schema.Record(Schema.String, Schema.String)

/** What the commands read of a package.json. The rest of it is kept when it is written. */
export const Manifest = Schema.StructWithRest(
  Schema.Struct({
    name: Schema.optionalKey(Schema.String),
    version: Schema.optionalKey(Schema.String),
    bin: Schema.optionalKey(Schema.Union([Schema.String, Texts]))
  }),
  [Schema.Record(Schema.String, Schema.Json)]
)
/** What the commands read of a package.json. */
export type Manifest = typeof Manifest.Type

const decodeManifest = Schema.decodeEffect(Schema.fromJsonString(Manifest))

/** Reads the package.json of a folder; nothing if it has none. */
export const readManifest = Effect.fnUntraced(function* (folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = path.join(folder, "package.json")
  if (!(yield* fs.exists(file))) return Option.none<Manifest>()
  const text = yield* fs.readFileString(file)
  return yield* Effect.mapBoth(decodeManifest(text), {
    onSuccess: Option.some,
    onFailure: (cause) => new Failure({ problem: `${file} is not a package.json`, remedy: "correct its JSON", cause })
  })
})

/** A folder with a package.json. */
export interface Project {
  readonly folder: string
  readonly manifest: Manifest
}

/** The project around the current folder: the nearest folder with a package.json. */
export const find: Effect.Effect<Project, Failure, FileSystem.FileSystem | Path.Path> = Effect.gen(function* () {
  const path = yield* Path.Path
  for (let folder = path.resolve("."); ; folder = path.dirname(folder)) {
    const manifest = yield* Effect.catchTag(readManifest(folder), "PlatformError", () =>
      Effect.succeed(Option.none<Manifest>())
    )
    if (Option.isSome(manifest)) return { folder, manifest: manifest.value }
    if (path.dirname(folder) === folder) {
      return yield* new Failure({
        problem: "there is no package.json in this folder or above it",
        remedy: "change to the folder of your app, or make one with `dormouse init my-app`"
      })
    }
  }
})

/** The package managers that projects are made for. */
export const packageManagers = ["npm", "pnpm", "bun"] as const
/** The package managers that projects are made for. */
export type PackageManager = (typeof packageManagers)[number]

/** The package manager that runs this command, or npm. */
export const packageManager: Effect.Effect<PackageManager> = Config.String("npm_config_user_agent").pipe(
  Effect.map((agent) => packageManagers.find((name) => agent.startsWith(`${name}/`)) ?? "npm"),
  Effect.orElseSucceed(() => "npm" as const)
)

const missing = (name: string) =>
  new Failure({
    problem: `${name} is not installed in this project`,
    remedy: "install its dependencies (`npm install`), or add it to devDependencies"
  })

/** The script of a tool that the project has installed, to be run by Node. */
export const script = Effect.fnUntraced(function* ({ folder }: Project, tool: string, command = tool) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  for (let at = folder; ; at = path.dirname(at)) {
    const home = path.join(at, "node_modules", tool)
    if (yield* Effect.orElseSucceed(fs.exists(path.join(home, "package.json")), () => false)) {
      const manifest = yield* Effect.orElseSucceed(readManifest(home), () => Option.none<Manifest>())
      const bin = Option.getOrUndefined(manifest)?.bin
      const file = typeof bin === "string" ? bin : bin?.[command]
      if (file !== undefined) return path.join(home, file)
    }
    if (path.dirname(at) === at) return yield* missing(tool)
  }
})

/** Imports a package that the project has installed. */
export const importPackage = <A>({ folder }: Project, name: string): Effect.Effect<A, Failure> =>
  Effect.tryPromise({
    try: async () => {
      const file = createRequire(`${folder}/package.json`).resolve(name)
      const module: A = await import(pathToFileURL(file).href)
      return module
    },
    catch: () => missing(name)
  })
