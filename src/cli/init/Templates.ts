/**
 * The files of a new app. A template is a folder of real files over the folder `base`, which all of them share. A name with
 * `.react` or `.dom` in it is for one kind of page: `page.react/App.tsx` becomes `page/App.tsx` in an app with React. One with
 * `.npm`, `.pnpm` or `.bun` is for one package manager.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import * as Package from "../Package.ts"
import type { PackageManager } from "../Project.ts"

/** The templates. */
export const templates = ["minimal", "chat", "kanban"] as const
/** The templates. */
export type Template = (typeof templates)[number]

/** What a new app is made of. */
export interface Choice {
  readonly template: Template
  readonly react: boolean
  readonly packageManager: PackageManager
  /** The name of the app, in its package.json, on Cloudflare and as the title of its page. */
  readonly name: string
}

const Part = Schema.fromJsonString(Schema.Record(Schema.String, Schema.Json))
const decodePart = Schema.decodeEffect(Part)
/** The parts of a package.json. */
export type ManifestPart = typeof Part.Type

/** The files of an app, by their paths in its folder, and the parts of its package.json. */
export interface Files {
  readonly files: ReadonlyMap<string, string>
  readonly manifests: ReadonlyArray<ManifestPart>
}

const variant = /\.(react|dom|npm|pnpm|bun)(?=\.|\/|$)/g

/** The path of a template's file in an app; nothing if it is for another kind of page, or for another package manager. */
export const placeOf = (
  file: string,
  { packageManager, react }: Pick<Choice, "packageManager" | "react">
): string | undefined => {
  const variants = [...file.matchAll(variant)].map(([, name]) => name)
  const chosen = [packageManager, react ? "react" : "dom"]
  if (variants.some((name) => !chosen.some((each) => each === name))) return undefined
  // npm would leave a file of its real name out of the package.
  return file.replace(variant, "").replace(/(^|\/)gitignore$/, "$1.gitignore")
}

const slugOf = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 54) || "dormouse-app"

/** The name of an app in a folder: what npm and Cloudflare accept. */
export const nameOf = (folder: string): string => slugOf(folder)

/** Reads the files of an app. Those of the template replace those of `base`. */
export const filesOf = Effect.fnUntraced(function* (choice: Choice) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const files = new Map<string, string>()
  const manifests: Array<ManifestPart> = []
  const fill = (text: string) =>
    text
      .replaceAll("__name__", choice.name)
      .replaceAll("__run__", choice.packageManager === "npm" ? "npm run" : `${choice.packageManager} run`)
  for (const layer of ["base", choice.template]) {
    const folder = path.join(Package.templates, layer)
    for (const entry of yield* fs.readDirectory(folder, { recursive: true })) {
      const file = entry.replaceAll("\\", "/")
      const source = path.join(folder, entry)
      const place = placeOf(file, choice)
      if (place === undefined || (yield* fs.stat(source)).type !== "File") continue
      const text = fill(yield* fs.readFileString(source))
      if (place === "manifest.json") manifests.push(yield* decodePart(text))
      else files.set(place, text)
    }
  }
  return { files, manifests } satisfies Files
})
