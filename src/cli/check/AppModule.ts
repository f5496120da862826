/**
 * Loads the app of a project, with the Vite that the project has installed.
 * It runs in Node, as in the tests of the project, and not in a Worker.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type * as Vite from "vite"
import type { App } from "../../contract/App.ts"
import { Failure } from "../Failure.ts"
import { importPackage, type Project } from "../Project.ts"

/** Where the app is unless the author says otherwise. */
export const defaultFile = "src/app.ts"

const isApp = (value: unknown): value is App<any> =>
  typeof value === "object" && value !== null && "api" in value && "tables" in value && "layers" in value

/** The app that a module exports, by the name `app` or as the default. */
export const load = Effect.fnUntraced(function* (project: Project, file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const source = path.resolve(project.folder, file)
  if (!(yield* fs.exists(source))) {
    return yield* new Failure({
      problem: `there is no ${file}`,
      remedy: "name the module that exports your app with --app src/my-app.ts"
    })
  }
  const vite = yield* importPackage<typeof Vite>(project, "vite")
  const imported = yield* Effect.tryPromise({
    try: () =>
      vite.runnerImport<Record<string, unknown>>(source, {
        root: project.folder,
        // The page's plugins, and the Worker's, are not for Node.
        configFile: false,
        logLevel: "silent"
      }),
    catch: (cause) => {
      const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause)
      const isWorker = reason?.includes("cloudflare:") === true
      return new Failure({
        problem: `${file} could not be loaded: ${reason}`,
        remedy: isWorker
          ? "keep what imports cloudflare:workers out of it, for example in src/worker.ts; tests need that, too"
          : "correct it, or run `dormouse check --no-compare` for the types alone",
        cause
      })
    }
  })
  const found = [imported.module["app"], imported.module["default"]].find(isApp)
  if (found !== undefined) return found
  return yield* new Failure({
    problem: `${file} exports no app`,
    remedy: "export it as `export const app = App.make(…)`, or name its module with --app"
  })
})
