/**
 * This package as it is installed: its version, and the files that it brings beside its code.
 * Both are found from the place of this module, in `src` as in `dist`.
 */
import { fileURLToPath, URL } from "node:url"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Schema from "effect/Schema"

const folder = new URL("../../", import.meta.url)

/** The folder of the templates that `dormouse init` copies. */
export const templates = fileURLToPath(new URL("templates/", folder))

const Texts = Schema.Record(Schema.String, Schema.String)
const Manifest = Schema.Struct({
  version: Schema.String,
  dependencies: Texts,
  peerDependencies: Texts,
  devDependencies: Texts
})
const decode = Schema.decodeEffect(Schema.fromJsonString(Manifest))

const manifest = FileSystem.FileSystem.pipe(
  Effect.flatMap((fs) => fs.readFileString(fileURLToPath(new URL("package.json", folder)))),
  Effect.flatMap(decode),
  // The file is part of this package.
  Effect.orDie
)

/** The version of this package. */
export const version: Effect.Effect<string, never, FileSystem.FileSystem> = Effect.map(
  manifest,
  ({ version }) => version
)

/** The versions of other packages with which this one is tested. */
export const tested: Effect.Effect<Readonly<Record<string, string>>, never, FileSystem.FileSystem> = Effect.map(
  manifest,
  ({ dependencies, devDependencies, peerDependencies }) => ({
    ...peerDependencies,
    ...devDependencies,
    ...dependencies
  })
)
